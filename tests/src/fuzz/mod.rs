//! What the fuzzer runs: one function of bytes for each way by which something from outside comes in.
//!
//! A target is done when it returns, whatever it was given; it panics when something is wrong, which is
//! more than a crash: what is accepted must be accepted twice alike, run, and be written again with
//! the same meaning. `tests/fuzz` puts libFuzzer and a sanitizer around the list (README.md there), and
//! `tests/it/fuzz_corpus.rs` runs what the fuzzer kept on every compiler.

#[path = "../../support/abi.rs"]
mod abi;
mod arpa;
mod config_json;
mod gguf;
mod input;
mod model;
mod ngram;
mod play;
mod safetensors;
mod saved_session;
mod scratch;
mod template;
mod tokenizer_files;
mod two_readers;
mod vocabulary;

/// One of them.
pub type Target = fn(&[u8]);

/// THE LIST OF TARGETS, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("abi", abi::run),
    ("arpa", arpa::run),
    ("bpe", vocabulary::run_byte_level),
    ("config-json", config_json::run),
    ("gguf", gguf::run),
    ("model", model::run),
    ("ngram", ngram::run),
    ("safetensors", safetensors::run),
    ("saved-session", saved_session::run),
    ("spm", vocabulary::run_pieces),
    ("template", template::run),
    ("tokenizer-files", tokenizer_files::run),
    ("two-readers", two_readers::run),
    ("words", vocabulary::run_others),
];
