//! What mote guarantees.
mod encodings;
mod gguf_malformed;
mod kernels_match_scalar;
mod reference;
mod same_bits;
mod tidy;
mod tokenizer;
