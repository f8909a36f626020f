//! Lent memory that is full of something: nothing of it is read before it is written.

use mote_formats::Gguf;
use mote_kernels::arch;
use mote_runtime::executor::Serial;
use mote_runtime::{
    Completion, CompletionOptions, Fallback, LanguageModel, Model, NgramModel, NgramSession,
    Options, Pooling, Session, sample,
};
use mote_tests::models::{fixture, llama};
use mote_tests::ngrams::ngram;
use mote_tests::random::Random;
use mote_tests::shared::root;
use mote_tests::speak::caches;

use super::mapped::Temporary;
use crate::cli::{mote, text};

/// What lies in memory when it is lent.
#[derive(Clone, Copy, Debug)]
enum Poison {
    Zeros,
    /// Quiet NaN, for who reads floats; large numbers, for who reads lengths.
    NotANumber,
    Ones,
    Random(u64),
}

impl Poison {
    fn memory(self, bytes: usize) -> Vec<u8> {
        let mut random = Random::new(match self {
            Poison::Random(seed) => seed,
            _ => 0,
        });
        let words = (0..bytes.div_ceil(8)).flat_map(|_| {
            let word = match self {
                Poison::Zeros => 0,
                Poison::NotANumber => 0x7fc0_0000_7fc0_0000,
                Poison::Ones => u64::MAX,
                Poison::Random(_) => random.bits(),
            };
            word.to_ne_bytes()
        });
        words.take(bytes).collect()
    }
}

const POISONS: [Poison; 4] =
    [Poison::NotANumber, Poison::Ones, Poison::Random(1), Poison::Random(2)];

/// The tokens that are written, and the bits of the logits behind the last.
type Written = (Vec<u32>, Vec<u32>);

/// What a model writes with everything that can be asked of a completion.
fn written(model: &mut dyn LanguageModel<'_>, poison: Poison, ids: &[u32]) -> Written {
    let options = CompletionOptions {
        sampling: sample::Options {
            temperature: 1.3,
            top_k: 0,
            repetition_penalty: 1.1,
            seed: 7,
            ..sample::Options::default()
        },
        max_tokens: 6,
        stops: &["a text that does not come"],
        ignore_eos: true,
        show_special: true,
        ..CompletionOptions::default()
    };
    let mut lent = poison.memory(Completion::bytes_needed(model.tokenizer(), &options));
    let mut completion = Completion::new(model, options, &mut lent).unwrap();
    completion.feed(ids, |_| true).unwrap();
    let mut written = Vec::new();
    while let Some(step) = completion.step().unwrap() {
        written.push(step.id);
    }
    model.feed_generated(&[ids[0]]).unwrap();
    (written, model.logits().unwrap().iter().map(|logit| logit.to_bits()).collect())
}

/// A Transformer's, whose session is then saved into poisoned memory and restored in it.
fn of_model(file: &[u8], poison: Poison) -> (Written, Vec<u8>) {
    let gguf = Gguf::parse(file).unwrap();
    let mut tables = poison.memory(Model::bytes_needed(&gguf).unwrap());
    let model = Model::new(&gguf, &mut tables).unwrap();
    let cache = caches(file).last().copied().unwrap();
    let options = Options { n_ctx: 40, batch: 5, cache, ..Options::default() };
    let mut memory = poison.memory(Session::plan(&model, &options).unwrap().total_bytes);
    let mut session = Session::new(&model, &options, arch::best(), &Serial, &mut memory).unwrap();
    let n_vocab = model.tokenizer().len() as u32;
    let ids: Vec<u32> = (0..17).map(|i| (i * 37 + i * i * 11) % n_vocab).collect();
    let written = written(&mut session, poison, &ids);
    let mut saved = poison.memory(session.saved_bytes());
    session.save(&mut saved).unwrap();
    session.rewind(0);
    session.restore(&saved).unwrap();
    (written, saved)
}

#[test]
fn case_427_models_of_every_architecture() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("tests/fixtures/models")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gguf") {
            let file = std::fs::read(&path).unwrap();
            let expected = of_model(&file, Poison::Zeros);
            for poison in POISONS {
                assert!(of_model(&file, poison) == expected, "{}: {poison:?}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}

#[test]
fn case_427_an_n_gram_model_and_a_fallback() {
    let file = llama();
    let ids: Vec<u32> = (0..300).map(|i| 3 + i * i % 29).collect();
    let lm = ngram(&file, &ids, 3);
    let (gguf, lm) = (Gguf::parse(&file).unwrap(), Gguf::parse(&lm).unwrap());
    let of_both = |poison: Poison| {
        let mut tables = poison.memory(NgramModel::bytes_needed(&lm).unwrap());
        let lm = NgramModel::new(&lm, &mut tables).unwrap();
        let mut memory = poison.memory(NgramSession::plan(&lm, 64).unwrap().total_bytes);
        let mut spare = NgramSession::new(&lm, 64, arch::best(), &mut memory).unwrap();
        let alone = written(&mut spare, poison, &ids[..20]);
        spare.rewind(0);
        let mut tables = poison.memory(Model::bytes_needed(&gguf).unwrap());
        let model = Model::new(&gguf, &mut tables).unwrap();
        let options = Options { n_ctx: 64, batch: 5, ..Options::default() };
        let mut memory = poison.memory(Session::plan(&model, &options).unwrap().total_bytes);
        let mut main = Session::new(&model, &options, arch::best(), &Serial, &mut memory).unwrap();
        let mut both = Fallback::new(&mut main, &mut spare).unwrap();
        (alone, written(&mut both, poison, &ids[..20]))
    };
    let expected = of_both(Poison::Zeros);
    for poison in POISONS {
        assert!(of_both(poison) == expected, "{poison:?}");
    }
}

/// An encoder's states and its embedding.
#[test]
fn case_427_an_encoder() {
    let checkpoint = root().join("tests/fixtures/bert");
    let output = Temporary::new("encoder", b"");
    let args = ["convert", text(&checkpoint), "--force", "-o", text(output.path())];
    assert_eq!(mote(&args).code, 0);
    let file = std::fs::read(output.path()).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let embedding = |poison: Poison| {
        let mut tables = poison.memory(Model::bytes_needed(&gguf).unwrap());
        let model = Model::new(&gguf, &mut tables).unwrap();
        let options = Options { n_ctx: 20, batch: 20, ..Options::default() };
        let mut memory = poison.memory(Session::plan(&model, &options).unwrap().total_bytes);
        let mut session =
            Session::new(&model, &options, arch::best(), &Serial, &mut memory).unwrap();
        let mut numbers = vec![f32::NAN; model.config().n_embd];
        assert_eq!(
            session.embed(&[2, 5, 6, 7, 8, 3], Pooling::Mean, &mut numbers, |_| true),
            Ok(true)
        );
        numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>()
    };
    let expected = embedding(Poison::Zeros);
    for poison in POISONS {
        assert!(embedding(poison) == expected, "{poison:?}");
    }
}

/// The scratch of the tokenizer, in which words are merged.
#[test]
fn case_427_texts_that_become_tokens() {
    for name in ["models/gemma3.gguf", "models/gpt2.gguf", "models/qwen3.gguf"] {
        let file = fixture(name);
        let gguf = Gguf::parse(&file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
        let model = Model::new(&gguf, &mut tables).unwrap();
        let tokenizer = model.tokenizer();
        let prose = "the man and the other ".repeat(900) + &"abcde".repeat(50);
        let ids_with = |poison: Poison| {
            let mut scratch = poison.memory(tokenizer.scratch_bytes(prose.len()));
            let mut ids = vec![0; prose.len() + 2];
            let options = tokenizer.default_options();
            let n = tokenizer.encode(prose.as_bytes(), options, &mut scratch, &mut ids).unwrap();
            ids.truncate(n);
            ids
        };
        let expected = ids_with(Poison::Zeros);
        for poison in POISONS {
            assert!(ids_with(poison) == expected, "{name}: {poison:?}");
        }
    }
}
