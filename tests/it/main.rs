//! What mote guarantees.
mod allocations;
mod architectures;
mod bench_cli;
// Its programs are scripts.
#[cfg(unix)]
mod bench_compare;
mod budget;
mod cancel;
mod cli;
mod encodings;
mod fallback;
mod gguf_malformed;
mod kernels_match_scalar;
mod mixing;
mod ngram_arpa_malformed;
mod ngram_convert;
mod ngram_gguf_malformed;
mod ngram_query;
mod ngram_session;
mod ngram_train;
mod notes;
mod reference;
mod same_bits;
mod save;
mod speculation;
mod tidy;
mod tokenizer;
mod two_cores;
