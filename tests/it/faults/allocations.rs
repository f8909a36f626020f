//! Allocations that fail, one after the other. (Through the C ABI: runtime/capi/src/tests/memory.rs. Of the
//! binary: processes/memory.rs.)

use mote_formats::{Gguf, Mapping};
use mote_kernels::arch;
use mote_runtime::executor::Serial;
use mote_runtime::tokenizer::EncodeError;
use mote_runtime::{Model, Options, Session};
use mote_tests::allocations::{allocations, failing};
use mote_tests::models::fixture;

use super::mapped::Temporary;

/// What the libraries allocate by themselves is the ids of a text, and the scratch for it. Short texts, long
/// words and long texts take it in different steps.
#[test]
fn case_419_texts_become_tokens_or_an_error() {
    let texts =
        ["hello world".to_owned(), "abcde".repeat(100), "the man and the other ".repeat(900)];
    for name in ["models/gemma3.gguf", "models/gpt2.gguf", "models/qwen3.gguf"] {
        let file = fixture(name);
        let gguf = Gguf::parse(&file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
        let model = Model::new(&gguf, &mut tables).unwrap();
        let tokenizer = model.tokenizer();
        let encode =
            |text: &str| tokenizer.encode_to_vec(text.as_bytes(), tokenizer.default_options());
        for text in &texts {
            let expected = encode(text).unwrap();
            let mut failures = 0;
            loop {
                let (outcome, left, failed) = failing(failures, || encode(text));
                if !failed {
                    assert_eq!(outcome.unwrap(), expected);
                    break;
                }
                assert_eq!((outcome, left), (Err(EncodeError::OutOfMemory), 0), "{failures}");
                assert_eq!(encode(text).unwrap(), expected, "a later try");
                failures += 1;
            }
            assert!(failures >= 2, "{failures}");
        }
    }
}

/// There is no allocation that could fail: of a file, a model, a session, a saved state and back.
#[test]
fn case_419_everything_else_needs_lent_memory_alone() {
    let file = Temporary::new("allocations", &fixture("models/llama-q4_0.gguf"));
    let options = Options { n_ctx: 40, batch: 5, ..Options::default() };
    let (mut tables, mut memory, mut saved) =
        (vec![0; 1 << 20], vec![0; 1 << 23], vec![0; 1 << 20]);
    for open in [|path| Mapping::open(path), |path: &std::path::Path| Mapping::read(path)] {
        let count = allocations(|| {
            let file = open(file.path()).unwrap();
            let gguf = Gguf::parse(&file).unwrap();
            let model = Model::new(&gguf, &mut tables).unwrap();
            let mut session =
                Session::new(&model, &options, arch::best(), &Serial, &mut memory).unwrap();
            session.feed(&[3, 4, 5, 6]).unwrap();
            let saved = &mut saved[..session.saved_bytes()];
            session.save(saved).unwrap();
            session.rewind(0);
            session.restore(saved).unwrap();
        });
        assert_eq!(count, 0);
    }
}
