//! What a file may ask for. Real files stay far below; the limits keep the cost of a hostile one
//! in proportion to its size.

/// Keys in a file.
pub const MAX_KEYS: u64 = 65_536;
/// Bytes of a key or of a tensor's name (the format's own limit for keys).
pub const MAX_NAME_BYTES: u64 = 65_535;
/// Bytes of one string, in an array or not.
pub const MAX_STRING_BYTES: u64 = 16 << 20;
/// Tensors in a file.
pub const MAX_TENSORS: u64 = 65_536;
/// Dimensions of a tensor.
pub const MAX_DIMENSIONS: u32 = 4;
/// Bytes before the first tensor's data. An offset into metadata thus fits a u32.
pub const MAX_INDEX_BYTES: u64 = u32::MAX as u64;
/// Smallest and largest alignment of tensor data; in between, powers of two.
pub const ALIGNMENTS: core::ops::RangeInclusive<u32> = 8..=4096;
/// The alignment of a file that has no `general.alignment`.
pub const DEFAULT_ALIGNMENT: u32 = 32;
