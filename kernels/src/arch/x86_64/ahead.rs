//! Weights are called into the caches before they are needed.

#![allow(unsafe_code)]

use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T2, _mm_prefetch};

/// How far ahead of the weights in use a product with raw rows calls the next ones: two distances are
/// better than one. They are linear, as rows are taken in the order of their addresses.
const FAR: usize = 36 * 1024;
const NEAR: usize = 8 * 1024;

/// Calls as many bytes as are used `here`, at both distances.
#[inline]
#[allow(unused_unsafe)] // the intrinsic became safe in a later compiler than our oldest
pub(super) fn ahead(here: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        // SAFETY: a prefetch reads nothing that the program could see, and never faults.
        unsafe {
            _mm_prefetch::<_MM_HINT_T2>(here.wrapping_add(FAR + line).cast());
            _mm_prefetch::<_MM_HINT_T0>(here.wrapping_add(NEAR + line).cast());
        }
    }
}

/// Calls bytes `from..from + bytes` of the panel that follows `w` into the second cache: it is
/// unpacked when this one has met all tokens, and would be waited for.
#[inline]
#[allow(unused_unsafe)] // as above
pub(super) fn next_panel(w: &[u8], from: usize, bytes: usize) {
    let next = w.as_ptr().wrapping_add(w.len());
    for line in (from..from + bytes).step_by(64) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T2>(next.wrapping_add(line).cast()) };
    }
}
