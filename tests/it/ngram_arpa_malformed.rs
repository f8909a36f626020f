//! ARPA texts that are wrong in one way get a sentence with the line; variants that programs write
//! are read; none takes the process down.

use std::io::{BufReader, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use mote_formats::gguf::Gguf;
use mote_formats::ngram::{NEVER, Trie};
use mote_kernels::Candidate;
use mote_runtime::ngram::{State, distribution, score};
use mote_runtime::sample;
use mote_tests::ngram::{Words, convert};
use mote_tools::failure::Code;
use mote_tools::ngram::convert::text_to_gguf;
use mote_tools::streams::{Streams, Terminal};

pub(super) const BASE: &str = "\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.3
-1\t<unk>
-0.7\t</s>
-0.6\ta\t-0.2
-0.5\tb\t-0.1

\\2-grams:
-0.3\t<s> a\t-0.15
-0.4\ta b\t-0.05
-0.25\tb </s>

\\3-grams:
-0.1\t<s> a b

\\end\\
";

/// Every error is to be there soon, in any build.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// `BASE` with one piece replaced.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "{from}");
    BASE.replace(from, to)
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, sentence: &str) {
    let message = convert(text.as_ref()).expect_err("was accepted");
    assert_eq!(message, sentence);
}

/// The text is accepted, and what the model says of some sentences is what `BASE` says.
#[track_caller]
fn same_as_base(text: impl AsRef<[u8]>) {
    let sentences: [&[&str]; 3] = [&["a", "b", "</s>"], &["b", "a", "b", "zebra"], &["</s>"]];
    let of = |text: &[u8]| {
        let file = convert(text).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let words = Words::new(&gguf);
        sentences.map(|sentence| words.scores(sentence))
    };
    assert_eq!(of(text.as_ref()), of(BASE.as_bytes()));
}

/// log10 p of the words after `<s>`.
fn scores(text: &str, words: &[&str]) -> Vec<f32> {
    let file = convert(text.as_bytes()).unwrap();
    Words::new(&Gguf::parse(&file).unwrap()).scores(words)
}

#[test]
fn case_328_nothing_or_half_of_it() {
    refused("", "line 0: no \\data\\ up to here: is it an ARPA file?");
    refused("\\data\\\n", "line 1: the file ends without \\end\\");
    refused("\\data\\\n\n\\end\\\n", "line 3: no 1-grams are announced");
    refused("\\data\\\nngram 1=1\n\\end\\\n", "line 3: the section of the 1-grams is missing");
    refused("\\end\\\n", "line 1: no \\data\\ up to here: is it an ARPA file?");
    refused(changed("\\end\\\n", ""), "line 20: the file ends without \\end\\");
    refused(&BASE[..60], "line 7: the file ends without \\end\\");
}

#[test]
fn case_329_counts_that_cannot_be() {
    let limit = "n-grams are announced, the limit is 4294967295";
    let count = |count: &str| changed("ngram 1=5", &format!("ngram 1={count}"));
    let huge = "18446744073709551615";
    refused(count(huge), &format!("line 2: {huge} {limit}"));
    refused(count("99999999999999999999999"), &format!("line 2: 99999999999999999999999 {limit}"));
    for text in ["-5", "1e9", "", "0x5", "5.0", "+5", "5 5"] {
        let form = format!("line 2: 'ngram 1={text}' is not of the form ngram ORDER=COUNT");
        refused(count(text), &form);
    }
    // No room is made for what is only announced.
    let message = "line 13: 1000000000 1-grams are announced, but there are 5 of them";
    refused(count("1000000000"), message);
    refused(count("0"), "line 6: no 1-grams are announced");
}

#[test]
fn case_330_one_more_and_one_less() {
    let count = |from: &str, to: &str, sentence: &str| refused(changed(from, to), sentence);
    count("1=5", "1=6", "line 13: 6 1-grams are announced, but there are 5 of them");
    count("1=5", "1=4", "line 11: 4 1-grams are announced, but there are 5 or more");
    count("2=3", "2=4", "line 18: 4 2-grams are announced, but there are 3 of them");
    count("2=3", "2=2", "line 16: 2 2-grams are announced, but there are 3 or more");
    count("3=1", "3=2", "line 21: 2 3-grams are announced, but there are 1 of them");
    count("3=1", "3=0", "line 19: 0 3-grams are announced, but there are 1 or more");
}

#[test]
fn case_331_sections_that_are_missing_or_wrong() {
    let section = "\\2-grams:\n-0.3\t<s> a\t-0.15\n-0.4\ta b\t-0.05\n-0.25\tb </s>\n\n";
    refused(changed(section, ""), "line 13: the section of the 2-grams is missing");
    let twice = format!("{section}{section}");
    refused(changed(section, &twice), "line 18: a section of 2-grams, whose turn was before");
    let order = changed("\\2-grams:", "\\3-grams:");
    refused(order, "line 13: the section of the 2-grams is missing");
    let back = changed("\\3-grams:", "\\1-grams:");
    refused(back, "line 18: a section of 1-grams, whose turn was before");
    for heading in
        ["\\02-grams:", "\\2-gram:", "\\-grams:", "\\2-grams", "\\2 -grams:", "\\x", "\\"]
    {
        let sentence = format!("line 13: '{}' is no heading", heading.replace('\\', "\\\\"));
        refused(changed("\\2-grams:", heading), &sentence);
    }
    let unknown = "a section of 99-grams, which the header does not announce";
    refused(changed("\\2-grams:", "\\99-grams:"), &format!("line 13: {unknown}"));
    let line = "line 6: '-99\\t<s>\\t-0.3' is not of the form ngram ORDER=COUNT";
    refused(changed("\\1-grams:\n", ""), line);
    refused(format!("{BASE}-1\ta\n"), "line 22: text after \\end\\");
}

#[test]
fn case_332_what_srilm_leaves_out() {
    let without = changed("\\3-grams:\n-0.1\t<s> a b\n\n", "").replace("3=1", "3=0");
    let empty = without.replace("\\end\\", "\\3-grams:\n\n\\end\\");
    let expected = vec![-0.3, -0.4 - 0.15, -0.25 - 0.05];
    for text in [without, empty] {
        assert_eq!(scores(&text, &["a", "b", "</s>"]), expected);
    }
    same_as_base(changed("\n\n\\end\\", "\n\\end\\"));
    same_as_base(BASE.replace("\n\n", "\n"));
    same_as_base(BASE.replace('\n', "\n\n"));
    same_as_base(BASE.trim_end());
    same_as_base(format!("a comment\n\n{BASE}\n\n"));
}

#[test]
fn case_333_an_order_that_is_skipped() {
    let sentence = "order 4 is announced where order 3 should be";
    refused(changed("ngram 3=1", "ngram 4=1"), &format!("line 4: {sentence}"));
    let sentence = "order 1 is announced where order 2 should be";
    refused(changed("ngram 2=3", "ngram 1=3"), &format!("line 3: {sentence}"));
    let sentence = "order 0 is announced where order 1 should be";
    refused(changed("ngram 1=5", "ngram 0=5"), &format!("line 2: {sentence}"));
}

/// Numbers are read by Rust's core library, which knows no locale.
#[test]
fn case_334_numbers() {
    let probability = |text: &str| changed("-0.6\ta", &format!("{text}\ta"));
    let backoff = |text: &str| changed("a\t-0.2", &format!("a\t{text}"));
    let words = ["nan", "NaN", "inf", "infinity", "1e400", "-1e400", "0x1p-3", "-2,624282"];
    let others = ["-", "", "--1", "-1.5.5", "1e", "e5", "−1", "-1d0", "-0.5_0", "١", "-1f"];
    for text in words.into_iter().chain(others) {
        let number = format!("line 10: '{text}' is not a finite number");
        if text.is_empty() {
            // The word stands in the number's place.
            refused(probability(text), "line 10: 'a' is not a finite number");
            continue;
        }
        refused(probability(text), &number);
        refused(backoff(text), &number);
    }
    let infinite = "line 10: the log probability -inf; for a probability of zero write -99";
    refused(probability("-inf"), infinite);
    refused(backoff("-inf"), "line 10: '-inf' is not a finite number");
    refused(probability("+0.5"), "line 10: the log probability +0.5 is above 0");
    refused(probability("1e-30"), "line 10: the log probability 1e-30 is above 0");
    let accepted: [(&str, f32); 7] = [
        ("-99", -99.0),
        ("-1.5e-3", -0.0015),
        ("-1.5E-3", -0.0015),
        ("0", 0.0),
        ("-.5", -0.5),
        ("-5.", -5.0),
        ("-1000", NEVER),
    ];
    for (text, value) in accepted {
        assert_eq!(scores(&probability(text), &["b", "a"])[1], value - 0.1, "{text}");
    }
    // A weight may be a factor above 1, of a pruned model.
    assert_eq!(scores(&backoff("0.25"), &["b", "a", "a"])[2], -0.6 + 0.25);
}

#[test]
fn case_335_backoff_on_the_highest_order() {
    for zero in ["0", "-0", "0.0000"] {
        same_as_base(changed("<s> a b", &format!("<s> a b\t{zero}")));
    }
    let sentence = "line 19: the back-off weight -0.2 on an n-gram of the highest order";
    refused(changed("<s> a b", "<s> a b\t-0.2"), sentence);
}

#[test]
fn case_336_a_missing_backoff_is_0() {
    let without = changed("\ta b\t-0.05", "\ta b");
    assert_eq!(scores(&without, &["a", "b", "</s>"])[2], -0.25);
    same_as_base(changed("\tb </s>", "\tb </s>\t0"));
}

#[test]
fn case_337_separators() {
    same_as_base(BASE.replace('\t', " "));
    same_as_base(BASE.replace('\t', "\t\t"));
    same_as_base(BASE.replace(' ', "\t").replace("ngram\t", "ngram "));
    same_as_base(BASE.replace('\t', " \t ").replace("a b", "a  b"));
    same_as_base(BASE.replace('\n', " \t\n"));
    same_as_base(BASE.replace('\n', "\r\n"));
    same_as_base(BASE.replace("ngram ", "ngram   ").replace('=', " =\t"));
}

#[test]
fn case_338_too_few_and_too_many_words() {
    let line = |to: &str, sentence: &str| {
        refused(changed("-0.4\ta b\t-0.05", to), &format!("line 15: {sentence}"));
    };
    line("-0.4\ta", "1 words in a line of 2-grams");
    line("-0.4", "0 words in a line of 2-grams");
    // The weight is taken for a word, and is none.
    line("-0.4\ta\t-0.05", "the word '-0.05' is not among the 1-grams");
    line("-0.4\ta b b\t-0.05", "more than 2 words in a line of 2-grams");
    line("-0.4\ta b b", "more than 2 words in a line of 2-grams");
    line("-0.4 a b b", "'b' is not a finite number");
    // Where words are numbers, too, the last is no weight for want of a tab.
    line("-0.4\ta b 1", "more than 2 words in a line of 2-grams");
    line("-0.4\ta b\t-0.05\t0", "more than 2 words in a line of 2-grams");
}

#[test]
fn case_339_a_word_that_is_no_1_gram() {
    refused(changed("\ta b\t", "\ta c\t"), "line 15: the word 'c' is not among the 1-grams");
    let c = "line 19: the word 'c\\u{1b}' is not among the 1-grams";
    refused(changed("<s> a b", "<s> c\x1b b"), c);
}

/// What is missing is given what the model says of it anyway.
#[test]
fn case_340_prefix_or_suffix_absent() {
    let text = |trigram: &str| changed("-0.1\t<s> a b", trigram);
    // Neither "b a" nor "a </s>" is a 2-gram.
    let text = text("-0.1\tb a </s>");
    let expected = [-0.5 - 0.3, -0.6 - 0.1, -0.1, -0.6 - 0.1];
    let found = scores(&text, &["b", "a", "</s>"]);
    assert_eq!(found, expected[..3]);
    assert_eq!(scores(&text, &["a", "</s>"])[1], -0.7 - 0.2 - 0.15);
    let file = convert(text.as_bytes()).unwrap();
    let trie = Trie::new(&Gguf::parse(&file).unwrap()).unwrap();
    assert_eq!((1..=3).map(|n| trie.n_grams(n)).collect::<Vec<_>>(), [5, 5, 1]);
}

#[test]
fn case_341_duplicates() {
    let two =
        changed("ngram 2=3", "ngram 2=4").replace("-0.25\tb </s>", "-0.25\tb </s>\n-0.9\ta b");
    refused(two, "the 2-gram 'a b' stands in the file twice");
    let one = changed("ngram 1=5", "ngram 1=6").replace("-0.5\tb", "-0.9\ta\n-0.5\tb");
    refused(one, "line 11: the 1-gram 'a' stands in the file twice");
    // The same n-gram without context, too.
    let orphans = changed("ngram 3=1", "ngram 3=2");
    refused(
        orphans.replace("-0.1\t<s> a b", "-0.1\tb a b\n-0.2\tb a b"),
        "the 3-gram 'b a b' stands in the file twice",
    );
}

/// They are there with the probability 0.
#[test]
fn case_342_without_markers() {
    let without = |line: &str| changed(line, "").replace("1=5", "1=4");
    assert_eq!(scores(&without("-1\t<unk>\n"), &["zebra", "a"]), [NEVER - 0.3, -0.6]);
    let lost = without("-99\t<s>\t-0.3\n");
    let lost = lost.replace("-0.3\t<s> a\t-0.15\n", "").replace("2=3", "2=2");
    let lost = lost.replace("-0.1\t<s> a b", "-0.1\ta b b");
    assert_eq!(scores(&lost, &["a", "b", "b"]), [-0.6, -0.4, -0.1]);
    let lost = without("-0.7\t</s>\n").replace("-0.25\tb </s>\n", "").replace("2=3", "2=2");
    assert_eq!(scores(&lost, &["</s>", "a"]), [NEVER - 0.3, -0.6]);
    // KenLM's other name of the unknown word.
    same_as_base(changed("<unk>", "<UNK>"));
}

#[test]
fn case_343_long_words_and_lines_and_bytes_of_all_kinds() {
    let long = "x".repeat(1 << 20);
    let file = convert(
        changed("\tb\t", &format!("\t{long}\t"))
            .replace("a b", "a a")
            .replace("b </s>", "a </s>")
            .as_bytes(),
    );
    assert!(file.unwrap().len() > long.len());
    let longer = changed("\tb\t", &format!("\t{long}x\t"));
    refused(longer, "line 11: a word of more than 1048576 bytes");
    refused(changed("\tb\t", "\tb\0c\t"), "line 11: a word with a NUL byte inside");
    let latin: Vec<u8> = BASE.bytes().map(|byte| if byte == b'b' { 0xE9 } else { byte }).collect();
    let file = convert(&latin).unwrap();
    assert_eq!(Trie::new(&Gguf::parse(&file).unwrap()).unwrap().n_words(), 5);
    // Lines that never end.
    for start in ["", "\\data\\\nngram 1=", "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t"] {
        let start = start.as_bytes().chain(std::io::repeat(b'7').take(100 << 20));
        let failure = text_to_gguf(BufReader::new(start), 8, &mut Vec::new()).unwrap_err();
        assert!(failure.message.ends_with("more than the limit of 16777216 bytes"), "{failure:?}");
    }
}

#[test]
fn case_344_an_order_of_a_thousand() {
    refused(changed("ngram 3=1", "ngram 1000=1"), "line 4: order 1000 is above the limit of 16");
    let header: String = (1..=1000).map(|order| format!("ngram {order}=1\n")).collect();
    let sentence = "line 18: order 17 is above the limit of 16";
    refused(format!("\\data\\\n{header}\n\\end\\\n"), sentence);
    refused(
        changed("ngram 3=1", "ngram 99999999999999999999=1"),
        "line 4: order 18446744073709551615 is above the limit of 16",
    );
}

/// A sentence that ends within `words`, drawn from what the model says.
fn draw(file: &[u8], words: usize) -> Vec<u32> {
    let trie = Trie::new(&Gguf::parse(file).unwrap()).unwrap();
    let options = sample::Options { top_k: 0, seed: 7, ..sample::Options::default() };
    let kernels = mote_kernels::arch::best();
    let mut state = State::EMPTY;
    let mut ids = Vec::new();
    let mut candidates = vec![Candidate::default(); options.candidates(trie.n_words())];
    for _ in 0..words {
        let mut logits = vec![0.0; trie.n_words()];
        distribution(&trie, &state, &mut logits);
        logits.iter_mut().for_each(|log10| *log10 *= std::f32::consts::LN_10);
        let id = sample::pick(kernels, &options, &mut logits, &ids, &mut candidates).unwrap();
        assert!((id as usize) < trie.n_words());
        state = score(&trie, &state, id).1;
        ids.push(id);
    }
    ids
}

/// Runs `mote ngram convert` on a file of this content: exit code and what it says.
fn command(name: &str, content: &[u8]) -> (u8, String) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let input = folder.join(name);
    std::fs::write(&input, content).unwrap();
    command_on(&input)
}

fn command_on(input: &std::path::Path) -> (u8, String) {
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ngram-malformed.gguf");
    let args = ["mote", "ngram", "convert", "--force", "-o"].map(Into::into);
    let args = args.into_iter().chain([output.into_os_string(), input.into()]);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let terminal = Terminal::default();
    let streams =
        &mut Streams { input: &mut &b""[..], output: &mut out, errors: &mut errors, terminal };
    let code = mote_tools::run(args, streams);
    (code, String::from_utf8(errors).unwrap())
}

#[test]
fn case_345_probabilities_that_sum_to_3() {
    let text = changed("-0.6\ta", "-0\ta").replace("-0.5\tb", "0\tb").replace("-0.7\t<", "0\t<");
    let (code, errors) = command("sum-3.arpa", text.as_bytes());
    assert_eq!(code, 0, "{errors}");
    let note = "contexts whose probabilities sum to more than 1: 1; after '' to 3.100";
    assert!(errors.contains(note), "{errors}");
    let ids = draw(&convert(text.as_bytes()).unwrap(), 200);
    for id in [2, 3, 4] {
        assert!(ids.contains(&id), "{id} is drawn now and then");
    }
}

/// What all words are as far from possible as can be told, they are equally probable.
#[test]
fn case_346_nothing_is_probable() {
    let numbers = ["-0.1", "-0.25", "-0.3", "-0.4", "-0.5", "-0.6", "-0.7", "-1"];
    let text = numbers
        .iter()
        .fold(BASE.to_string(), |text, number| text.replace(&format!("\n{number}\t"), "\n-99\t"));
    let (code, errors) = command("nothing.arpa", text.as_bytes());
    assert_eq!(code, 0, "{errors}");
    let ids = draw(&convert(text.as_bytes()).unwrap(), 200);
    assert!((0..5).all(|id| ids.contains(&id)), "{ids:?}");
}

#[test]
fn case_350_a_bomb_and_a_directory() {
    let packed = |bytes: &[u8]| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let small = packed(BASE.as_bytes());
    assert_eq!(command("small.gz", &small), command("small.arpa", BASE.as_bytes()));
    let start = Instant::now();
    let header = packed(b"\\data\\\nngram 1=9\nngram 2=9\n\n\\1-grams:\n-1\ta\n");
    let bombs: [(&[u8], &str); 4] = [
        (b"0", "line 7: more than the limit of 16777216 bytes"),
        (b"\n", "line 4103: more than 4096 blank lines in a row"),
        (b"-1\ta\n", "line 7: the 1-gram 'a' stands in the file twice"),
        (b"\n\\2-grams:\n", "line 8: 9 1-grams are announced, but there are 1 of them"),
    ];
    for (content, sentence) in bombs {
        // Many members, each a megabyte of the same: some gigabytes in all.
        let member = packed(&content.repeat((1 << 20) / content.len()));
        let bomb = [header.clone(), member.repeat(4096)].concat();
        let (code, errors) = command("bomb.gz", &bomb);
        assert_eq!(code, 4, "{errors}");
        assert!(errors.trim_end().ends_with(sentence), "{errors}");
    }
    let (code, errors) = command("cut.gz", &small[..small.len() / 2]);
    assert_eq!(code, 1, "{errors}");
    let (code, errors) = command_on(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")));
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("directory"), "{errors}");
    assert!(start.elapsed() < TIME_LIMIT * 4);
}

#[test]
fn a_text_that_cannot_be_read_is_no_fault_of_the_text() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let failure = text_to_gguf(BufReader::new(Broken), 8, &mut Vec::new()).unwrap_err();
    assert_eq!((failure.code, &failure.message[..]), (Code::Io, "the disk is gone"));
}
