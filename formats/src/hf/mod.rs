//! Checkpoints as Hugging Face's libraries save them.

pub mod tokenizer;
