//! n-gram models.

pub mod arpa;

/// The highest order of an n-gram model.
pub const MAX_ORDER: usize = 16;
