//! `mote ngram train` estimates what KenLM estimates, what exact fractions say, and the same bytes
//! whatever the memory and the threads.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mote_formats::gguf::{Gguf, Value as Metadata};
use mote_formats::ngram::Trie;
use mote_runtime::ngram::{State, distribution, score};
use mote_tests::shared::{root, shared};
use mote_tools::streams::{Streams, Terminal};
use serde_json::Value;

mod brown;
mod kenlm;
mod options;
mod tiny;

/// What a command left behind.
struct Outcome {
    code: u8,
    out: String,
    errors: String,
}

/// Runs `mote ngram train` with these arguments.
fn train(args: &[&str], mut input: &[u8]) -> Outcome {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let args = ["mote", "ngram", "train", "--json", "--force"].iter().chain(args);
    let mut streams = Streams {
        input: &mut input,
        output: &mut out,
        errors: &mut errors,
        terminal: Terminal::default(),
    };
    let code = mote_tools::run(args.map(OsString::from), &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code, out: text(out), errors: text(errors) }
}

impl Outcome {
    /// The report of a command that went well.
    fn report(&self) -> Value {
        assert_eq!(self.code, 0, "{} {}", self.out, self.errors);
        serde_json::from_str(&self.out).unwrap()
    }

    /// The sentence of one that did not.
    fn error(&self) -> String {
        assert_ne!(self.code, 0);
        let report: Value = serde_json::from_str(&self.out).unwrap();
        report["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// A place for one test's file. The name is the test's own.
fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ngram-train-{name}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A model as `options` make it, with values as they are, and the report.
fn model(name: &str, train_text: &Path, options: &[&str]) -> (Vec<u8>, Value) {
    let path = place(name);
    let mut args = vec!["--value-bits", "32", "-o", text(&path), text(train_text)];
    args.extend(options);
    let report = train(&args, b"").report();
    (std::fs::read(path).unwrap(), report)
}

/// A model that is asked about words.
struct Asked<'a> {
    trie: Trie<'a>,
    ids: HashMap<&'a [u8], u32>,
}

/// A word's score.
struct Scored {
    log10: f64,
    matched: usize,
    unknown: bool,
}

impl<'a> Asked<'a> {
    fn new(gguf: &'a Gguf<'a>) -> Self {
        let Some(Metadata::Array(tokens)) = gguf.get("tokenizer.ggml.tokens") else {
            panic!("no words");
        };
        let tokens = tokens.strings().unwrap().map(|token| token.as_bytes());
        Asked { trie: Trie::new(gguf).unwrap(), ids: tokens.zip(0..).collect() }
    }

    fn id(&self, word: &str) -> u32 {
        self.ids.get(word.as_bytes()).copied().unwrap_or(0)
    }

    /// The context `<s>`.
    fn start(&self) -> State {
        score(&self.trie, &State::EMPTY, self.id("<s>")).1
    }

    /// The words' scores, each after those before it.
    fn score<'w>(&self, words: impl Iterator<Item = &'w str>) -> Vec<Scored> {
        let mut state = self.start();
        let scored = words.map(|word| {
            let id = self.id(word);
            let (score, next) = score(&self.trie, &state, id);
            state = next;
            Scored { log10: score.log10.into(), matched: score.matched, unknown: id == 0 }
        });
        scored.collect()
    }

    /// The sentence's words and `</s>`.
    fn sentence(&self, line: &str) -> Vec<Scored> {
        self.score(line.split_ascii_whitespace().chain(["</s>"]))
    }

    /// The probabilities of all words after this context.
    fn sum_after(&self, words: &[&str]) -> f64 {
        let state = words
            .iter()
            .fold(self.start(), |state, word| score(&self.trie, &state, self.id(word)).1);
        let mut all = vec![0.0; self.ids.len()];
        distribution(&self.trie, &state, &mut all);
        all.iter().map(|log10| 10f64.powf((*log10).into())).sum()
    }
}

/// An ARPA file's n-grams, and their probabilities and backoffs as log10.
fn arpa(path: &Path) -> HashMap<String, (f64, f64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut counts = Vec::new();
    let mut all = HashMap::new();
    let mut order = 0;
    for line in text.lines() {
        if let Some(count) = line.strip_prefix("ngram ") {
            counts.push(count.split_once('=').unwrap().1.parse::<usize>().unwrap());
        } else if line.ends_with("-grams:") {
            order += 1;
        } else if line.contains('\t') {
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!(fields[1].split(' ').count(), order, "{line}");
            let number = |field: Option<&&str>| field.map_or(0.0, |text| text.parse().unwrap());
            let values = (number(fields.first()), number(fields.get(2)));
            assert!(all.insert(fields[1].to_owned(), values).is_none(), "{line}: twice");
        }
    }
    assert!(text.starts_with("\\data\\\n") && text.ends_with("\n\\end\\\n"));
    assert_eq!(counts.iter().sum::<usize>(), all.len(), "{counts:?}");
    all
}

/// The text of the small model in the repository.
fn tiny_text() -> PathBuf {
    root().join("tests/fixtures/ngram/tiny/train.txt")
}
