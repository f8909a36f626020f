//! What the libraries tell a program's logger. (The other tests hear nothing: they have none.)

use std::cell::RefCell;

use log::{LevelFilter, Log, Metadata, Record};
use mote_tests::models::{fixture, with_strings};
use mote_tests::speak::Run;

thread_local! {
    /// Notes of this thread, where a test listens.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Listener;

impl Log for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard {
                heard.push(format!("{} {}", record.level(), record.args()));
            }
        });
    }

    fn flush(&self) {}
}

fn notes_of(work: impl FnOnce()) -> Vec<String> {
    // Another test may have been first.
    let _ = log::set_logger(&Listener);
    log::set_max_level(LevelFilter::Trace);
    HEARD.set(Some(Vec::new()));
    work();
    HEARD.take().unwrap()
}

#[test]
fn a_logger_hears_of_models_sessions_and_tokens() {
    let file = fixture("models/llama-q4_0.gguf");
    let notes = notes_of(|| {
        Run::default().session(&file, 8, |session| session.feed(&[1, 2, 3]).unwrap());
    });
    let kernels = mote_kernels::arch::best().name();
    let expected = [
        "DEBUG model: 3 layers of width 64, 800 tokens".to_owned(),
        format!("DEBUG session: 8 positions, {kernels} kernels"),
        "TRACE 3 tokens fed, 3 in the context".to_owned(),
    ];
    assert_eq!(notes, expected);
}

#[test]
fn an_unknown_pre_tokenizer_is_worth_a_warning() {
    let file = fixture("tokenizer/bpe_gpt2.gguf");
    let file = with_strings(&file, &[("tokenizer.ggml.pre", "of-tomorrow")]);
    let gguf = mote_formats::Gguf::parse(&file).unwrap();
    let mut memory = vec![0; mote_runtime::Tokenizer::bytes_needed(&gguf).unwrap()];
    let notes = notes_of(|| {
        mote_runtime::Tokenizer::new(&gguf, &mut memory).unwrap();
    });
    assert!(notes[0].starts_with("WARN unknown pre-tokenizer"), "{notes:?}");
}
