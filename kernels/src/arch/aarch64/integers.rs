//! The table's integer entries of one target.

/// Defines, for a type that is [`super::panel::PanelDots`], the stripes that it takes together and
/// the features it needs, the entries of the integer encodings and `with_integers`, which puts them
/// into a table. A macro, because a `target_feature` attribute cannot depend on a type.
macro_rules! integer_entries {
    ($dots:ty, $stripes:literal, $features:literal) => {
        /// `table` with this target's products of integers.
        pub(super) const fn with_integers(table: Kernels) -> Kernels {
            use crate::arch::aarch64::formats::{Legacy, Q4_K, Q5_K, Q6_K, Q8_0};
            use crate::arch::aarch64::formats::{Q4_0, Q4_1, Q5_0, Q5_1};
            let table = with::<Legacy<Q4_1>>(with::<Legacy<Q4_0>>(table));
            let table = with::<Legacy<Q5_1>>(with::<Legacy<Q5_0>>(table));
            let table = with::<Q5_K>(with::<Q4_K>(with::<Q8_0>(table)));
            Kernels { gemm, peak_integer, ..with::<Q6_K>(table) }
        }

        const fn with<F: Format>(table: Kernels) -> Kernels {
            table.with_gemv(F::KIND, gemv::<F>).with_unpack(F::KIND, unpack::<F>)
        }

        #[target_feature(enable = $features)]
        unsafe fn gemv<F: Format>(w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
            // SAFETY: the features are enabled here; the rest the caller promises.
            unsafe { crate::arch::aarch64::gemv::gemv::<F, $dots>(w, x, out) }
        }

        #[target_feature(enable = $features)]
        unsafe fn unpack<F: Format>(w: &[u8], panel: &mut Panel<'_>) {
            // SAFETY: the features are enabled here; the rest the caller promises.
            unsafe { crate::arch::aarch64::panel::unpack::<F, $dots, $stripes>(w, panel) }
        }

        #[target_feature(enable = $features)]
        unsafe fn gemm(panel: &Panel<'_>, x: &Activations<'_>, out: &mut Tile<'_>) {
            // SAFETY: the features are enabled here, and `unpack` is the one above.
            unsafe { crate::arch::aarch64::panel::gemm::<$dots, $stripes>(panel, x, out) }
        }
    };
}

pub(super) use integer_entries;
