//! The units of a chain for codes of 4 bits: two stripes × two tokens, scheduled by hand.
//!
//! The multiplier takes one instruction a cycle, and everything else has to fit beside it. So the
//! floats of a stripe are computed among the products of the next one, across units: compilers put
//! them in a row, and then they take the multiplier's turns (Cortex-A72, llvm-mca: 7.3 instead of
//! 8.0 multiply-adds a cycle).
//!
//! ```text
//! v0-v7, v8-v15  the columns of two tokens in four orders, twice (see `super::panel`)
//! v16, v17       products of the stripe at work
//! v18, v19       sums of the stripe before it, v22 and v28 its scales and minima
//! v29, v31       scales of the tokens, v30 and v21 their scaled sums
//! v24-v27        the results
//! ```

use core::arch::aarch64::*;
use core::arch::asm;

use crate::arch::aarch64::panel::{Tokens, Units};
use crate::table::{PANEL_ROWS, Panel};

/// The products of a register of codes with both tokens.
macro_rules! products {
    ($op:literal, $codes:literal, $x:literal, $y:literal) => {
        concat!(
            "ldr q20, [{",
            $codes,
            "}], #16\n",
            $op,
            " v16.8h, v20.8b, v",
            $x,
            ".8b\n",
            $op,
            " v17.8h, v20.8b, v",
            $y,
            ".8b\n",
            "smlal2 v16.8h, v20.16b, v",
            $x,
            ".16b\n",
            "smlal2 v17.8h, v20.16b, v",
            $y,
            ".16b",
        )
    };
}

/// Text only where units have a minimum.
macro_rules! minimum {
    (yes $text:literal) => {
        $text
    };
    (no $text:literal) => {
        ""
    };
}

/// One loop over the units. `2:` is its label.
macro_rules! units {
    ($minimum:ident, $($operand:tt)*) => {
        asm!(
            "2: /* {f0} {f1} {minima} */",
            "ldp q0, q4, [{x0}], #128",
            "ldp q8, q12, [{x1}], #128",
            "rev32 v1.8h, v0.8h",
            "rev32 v9.8h, v8.8h",
            products!("smull", "first", "0", "8"),
            "rev64 v2.4s, v0.4s",
            "rev64 v10.4s, v8.4s",
            products!("smlal", "first", "1", "9"),
            "rev64 v3.8h, v0.8h",
            "rev64 v11.8h, v8.8h",
            products!("smlal", "first", "2", "10"),
            "scvtf v18.4s, v18.4s",
            "fmul v23.4s, v22.4s, v29.s[0]",
            products!("smlal", "first", "3", "11"),
            "rev32 v5.8h, v4.8h",
            "rev32 v13.8h, v12.8h",
            "scvtf v19.4s, v19.4s",
            "fmla v26.4s, v18.4s, v23.4s",
            products!("smlal", "first", "4", "12"),
            "rev64 v6.4s, v4.4s",
            "rev64 v14.4s, v12.4s",
            "fmul v23.4s, v22.4s, v31.s[0]",
            "fmla v27.4s, v19.4s, v23.4s",
            products!("smlal", "first", "5", "13"),
            "rev64 v7.8h, v4.8h",
            "rev64 v15.8h, v12.8h",
            minimum!($minimum "fmla v26.4s, v28.4s, v30.s[0]"),
            minimum!($minimum "fmla v27.4s, v28.4s, v21.s[0]"),
            products!("smlal", "first", "6", "14"),
            products!("smlal", "first", "7", "15"),
            // From here on the stripe before is the first one of this unit.
            "ldr s29, [{d0}], #16",
            "ldr s31, [{d1}], #16",
            "ldr q22, [{scales}]",
            minimum!($minimum "ldr s30, [{f0}], #16"),
            minimum!($minimum "ldr s21, [{f1}], #16"),
            minimum!($minimum "ldr q28, [{minima}]"),
            "saddlp v18.4s, v16.8h",
            "saddlp v19.4s, v17.8h",
            products!("smull", "second", "0", "8"),
            products!("smlal", "second", "1", "9"),
            products!("smlal", "second", "2", "10"),
            "scvtf v18.4s, v18.4s",
            "fmul v23.4s, v22.4s, v29.s[0]",
            products!("smlal", "second", "3", "11"),
            "scvtf v19.4s, v19.4s",
            "fmla v24.4s, v18.4s, v23.4s",
            products!("smlal", "second", "4", "12"),
            "fmul v23.4s, v22.4s, v31.s[0]",
            "fmla v25.4s, v19.4s, v23.4s",
            products!("smlal", "second", "5", "13"),
            minimum!($minimum "fmla v24.4s, v28.4s, v30.s[0]"),
            minimum!($minimum "fmla v25.4s, v28.4s, v21.s[0]"),
            products!("smlal", "second", "6", "14"),
            products!("smlal", "second", "7", "15"),
            // The second stripe's floats are for the next turn.
            "ldr q22, [{scales}, #16]",
            minimum!($minimum "ldr q28, [{minima}, #16]"),
            "saddlp v18.4s, v16.8h",
            "saddlp v19.4s, v17.8h",
            "add {scales}, {scales}, #128",
            minimum!($minimum "add {minima}, {minima}, #128"),
            "subs {n}, {n}, #1",
            "b.ne 2b",
            "scvtf v18.4s, v18.4s",
            "fmul v23.4s, v22.4s, v29.s[0]",
            "scvtf v19.4s, v19.4s",
            "fmla v26.4s, v18.4s, v23.4s",
            "fmul v23.4s, v22.4s, v31.s[0]",
            "fmla v27.4s, v19.4s, v23.4s",
            minimum!($minimum "fmla v26.4s, v28.4s, v30.s[0]"),
            minimum!($minimum "fmla v27.4s, v28.4s, v21.s[0]"),
            $($operand)*
        )
    };
}

/// Rows of a stripe times units: bytes of a unit.
const UNIT_BYTES: usize = 4 * 32;

/// The sums of a chain's units of 32 whose sums of 16 products fit a word: those of the first
/// stripe and the second, each with both tokens.
///
/// # Safety
/// The CPU has NEON; `T` is 2; the units exist in the panel, for two stripes, and in both tokens.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn add<const T: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Tokens<T>,
    Units { stripe, first, end, column }: Units,
) -> [float32x4_t; 4] {
    const { assert!(T == 2) };
    // In the first turn there is no stripe before: nothing times nothing is added.
    let zero = vdupq_n_f32(0.0);
    let mut sums = [zero; 4];
    let n = end - first;
    if n == 0 {
        return sums;
    }
    // SAFETY: the caller's promises; a chain's units lie one after the other, its activations four
    // units apart.
    unsafe {
        let codes = panel.codes.as_ptr().add(4 * stripe * panel.k + first * UNIT_BYTES);
        let at = first * PANEL_ROWS + stripe * 4;
        macro_rules! run {
            ($minimum:ident) => {
                units!($minimum,
                    n = inout(reg) n => _,
                    first = inout(reg) codes => _,
                    second = inout(reg) codes.add(4 * panel.k) => _,
                    x0 = inout(reg) x.high[0].add(column) => _,
                    x1 = inout(reg) x.high[1].add(column) => _,
                    d0 = inout(reg) x.scales[0].add(column / 32) => _,
                    d1 = inout(reg) x.scales[1].add(column / 32) => _,
                    f0 = inout(reg) x.scaled_sums[0].add(column / 32) => _,
                    f1 = inout(reg) x.scaled_sums[1].add(column / 32) => _,
                    scales = inout(reg) panel.scales.as_ptr().add(at) => _,
                    minima = inout(reg) panel.minima.as_ptr().add(at) => _,
                    inout("v18") zero => _, inout("v19") zero => _, inout("v21") zero => _,
                    inout("v22") zero => _, inout("v28") zero => _, inout("v29") zero => _,
                    inout("v30") zero => _, inout("v31") zero => _,
                    inout("v24") zero => sums[0], inout("v25") zero => sums[1],
                    inout("v26") zero => sums[2], inout("v27") zero => sums[3],
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
                    out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _,
                    out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                    out("v16") _, out("v17") _, out("v20") _, out("v23") _,
                    options(readonly, nostack),
                )
            };
        }
        if MINIMUM {
            run!(yes);
        } else {
            run!(no);
        }
    }
    sums
}
