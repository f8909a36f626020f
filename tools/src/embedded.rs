//! The model that is built in, and the n-gram model of its vocabulary: models/tiny says what they are
//! and makes them.

/// The name of the model.
pub const MODEL: &str = "tiny";

/// The name of the n-gram model.
pub const NGRAM: &str = "tiny-ngram";

/// The model's weight beside the n-gram model, as `mote perplexity --tune` found it (models/tiny).
pub const WEIGHT: f64 = 0.6;

/// Bytes that begin where a cache line does, as those of a mapped file.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static MODEL_BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("../../models/tiny/tiny.gguf"));
static NGRAM_BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("../../models/tiny/tiny.ngram.gguf"));

/// The GGUF file of the model.
pub fn model() -> &'static [u8] {
    &MODEL_BYTES.0
}

/// The GGUF file of the n-gram model.
pub fn ngram() -> &'static [u8] {
    &NGRAM_BYTES.0
}

/// The one of that name.
pub fn named(name: &str) -> Option<&'static [u8]> {
    match name {
        MODEL => Some(model()),
        NGRAM => Some(ngram()),
        _ => None,
    }
}
