//! What targets share of encodings that [`Integer::unpack`] takes apart (`quant::with_apart`).
#![allow(unsafe_code)]

use crate::quant::{Integer, Unpacked};

/// How a block is taken apart.
pub(crate) struct Apart {
    take: Take,
    bytes: usize,
}

/// [`crate::scalar::integer::unpack_block`] with a target's features. Safe where the CPU has them.
pub(crate) type Take = unsafe fn(&[u8], &mut Unpacked);

/// That of `E`.
pub(crate) const fn apart<E: Integer>(take: Take) -> Apart {
    assert!(E::BITS == 8 && E::BIAS == 128 && E::LEN == 256 && !E::MINIMUM);
    Apart { take, bytes: size_of::<E::Block>() }
}

impl Apart {
    /// Block `block` of the rows of `w` from `first` on, as [`Unpacked`]. Rows have `blocks` of them; those
    /// behind row `last` are that row again.
    ///
    /// # Safety
    /// The CPU has the features of `take`.
    #[inline]
    pub(crate) unsafe fn rows<const N: usize>(
        &self,
        w: &[u8],
        (first, last): (usize, usize),
        (block, blocks): (usize, usize),
        out: &mut [Unpacked; N],
    ) -> [*const u8; N] {
        for (i, out) in out.iter_mut().enumerate() {
            let at = (first + i).min(last) * blocks + block;
            // SAFETY: the caller's promise.
            unsafe { (self.take)(&w[at * self.bytes..][..self.bytes], out) };
        }
        out.each_ref().map(|out| core::ptr::from_ref(out).cast())
    }
}
