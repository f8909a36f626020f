//! The table's integer entries of one target. Macros, because a `target_feature` attribute cannot
//! depend on a type.

/// Defines the products of raw rows, for a type that is [`super::gemv::Dots`] and the features it
/// needs, and `with_gemvs`, which puts them into a table.
macro_rules! gemv_entries {
    ($dots:ty, $features:literal) => {
        /// `table` with this target's products of raw rows of integers.
        pub(super) const fn with_gemvs(table: Kernels) -> Kernels {
            use crate::arch::aarch64::formats::{Legacy, Q4_K, Q5_K, Q6_K, Q8_0};
            use crate::arch::aarch64::formats::{Q4_0, Q4_1, Q5_0, Q5_1};
            use crate::arch::aarch64::formats_low::{IQ4_NL, IQ4_XS, MXFP4, Q3_K, TQ2_0};
            let table = with_gemv::<Legacy<Q4_1>>(with_gemv::<Legacy<Q4_0>>(table));
            let table = with_gemv::<Legacy<Q5_1>>(with_gemv::<Legacy<Q5_0>>(table));
            let table = with_gemv::<Q5_K>(with_gemv::<Q4_K>(with_gemv::<Q8_0>(table)));
            let table = with_gemv::<IQ4_XS>(with_gemv::<IQ4_NL>(with_gemv::<MXFP4>(table)));
            let table = with_gemv::<TQ2_0>(with_gemv::<Q3_K>(table));
            with_apart!(with_gemv_apart, with_gemv::<Q6_K>(table))
        }

        const fn with_gemv_apart<E: Integer>(table: Kernels) -> Kernels {
            table.with_gemv(kind::<E>(), gemv_apart::<E>)
        }

        unsafe fn gemv_apart<E: Integer>(w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
            // SAFETY: the same promises.
            unsafe { products(E::UNIT, &const { apart::<E>(unpack_block::<E>) }, w, x, out) }
        }

        #[target_feature(enable = $features)]
        unsafe fn products(unit: usize, by: &Apart, w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
            // SAFETY: the features are enabled here; the rest the caller promises.
            unsafe { crate::arch::aarch64::apart::gemv::<$dots>(unit, by, w, x, out) }
        }

        const fn with_gemv<F: Format>(table: Kernels) -> Kernels {
            table.with_gemv(F::KIND, gemv::<F>)
        }

        #[target_feature(enable = $features)]
        unsafe fn gemv<F: Format>(w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
            // SAFETY: the features are enabled here; the rest the caller promises.
            unsafe { crate::arch::aarch64::gemv::gemv::<F, $dots>(w, x, out) }
        }
    };
}

/// Defines what unpacks rows and multiplies panels, for a type that is [`super::panel::PanelDots`],
/// the stripes and the tokens that it takes together and the features it needs, and `with_panels`,
/// which puts them into a table.
macro_rules! panel_entries {
    ($dots:ty, $stripes:literal, $tokens:literal, $features:literal) => {
        /// `table` with this target's panels of integers.
        pub(super) const fn with_panels(table: Kernels) -> Kernels {
            use crate::arch::aarch64::formats::{Legacy, Q4_K, Q5_K, Q6_K, Q8_0};
            use crate::arch::aarch64::formats::{Q4_0, Q4_1, Q5_0, Q5_1};
            use crate::arch::aarch64::formats_low::{IQ4_NL, IQ4_XS, MXFP4, Q3_K, TQ2_0};
            let table = with_unpack::<Legacy<Q4_1>>(with_unpack::<Legacy<Q4_0>>(table));
            let table = with_unpack::<Legacy<Q5_1>>(with_unpack::<Legacy<Q5_0>>(table));
            let table = with_unpack::<Q5_K>(with_unpack::<Q4_K>(with_unpack::<Q8_0>(table)));
            let table = with_unpack::<IQ4_XS>(with_unpack::<IQ4_NL>(with_unpack::<MXFP4>(table)));
            let table = with_unpack::<TQ2_0>(with_unpack::<Q3_K>(table));
            let table = with_apart!(with_unpack_apart, with_unpack::<Q6_K>(table));
            Kernels { gemm, ..table }
        }

        const fn with_unpack_apart<E: Integer>(table: Kernels) -> Kernels {
            table.with_unpack(kind::<E>(), unpack_apart::<E>)
        }

        unsafe fn unpack_apart<E: Integer>(w: &[u8], panel: &mut Panel<'_>) {
            // SAFETY: the same promises.
            unsafe { all_rows(E::UNIT, &const { apart::<E>(unpack_block::<E>) }, w, panel) }
        }

        #[target_feature(enable = $features)]
        unsafe fn all_rows(unit: usize, by: &Apart, w: &[u8], panel: &mut Panel<'_>) {
            // SAFETY: the features are enabled here; the rest the caller promises.
            unsafe { crate::arch::aarch64::apart::unpack::<$dots, $stripes>(unit, by, w, panel) }
        }

        const fn with_unpack<F: Format>(table: Kernels) -> Kernels {
            table.with_unpack(F::KIND, unpack::<F>)
        }

        #[target_feature(enable = $features)]
        unsafe fn unpack<F: Format>(w: &[u8], panel: &mut Panel<'_>) {
            // SAFETY: the features are enabled here; the rest the caller promises.
            unsafe { crate::arch::aarch64::panel::unpack::<F, $dots, $stripes>(w, panel) }
        }

        #[target_feature(enable = $features)]
        unsafe fn gemm(panel: &Panel<'_>, x: &Activations<'_>, out: &mut Tile<'_>) {
            // SAFETY: the features are enabled here, and `unpack` is the one above.
            unsafe { crate::arch::aarch64::panel::gemm::<$dots, $stripes, $tokens>(panel, x, out) }
        }
    };
}

pub(super) use {gemv_entries, panel_entries};
