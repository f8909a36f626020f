//! Integer rows as the file has them × 1 to 8 tokens.
//!
//! Four units of a row fill a register, and each lane is a chain: after the exact sums of a group
//! everything is one instruction for four units. Four results are made at once: four rows of one
//! token, or two of two, whose codes then are taken apart once for both. (With four tokens of one
//! row, compilers load all activations first and spill them: half the speed.)

use core::arch::aarch64::*;

use super::formats::{Codes, Facts, Format, GROUP, MAX_BYTES};
use crate::activation::{Activations, Rows};
use crate::cast::Tile;

/// How a target multiplies.
///
/// # Safety
/// Of every method: the CPU has the target's features.
pub(super) trait Dots {
    /// Whether a sum that begins with [`ROUND`] becomes a float by a subtraction, because that is
    /// faster than a conversion.
    const ROUND: bool;

    /// The exact sums of the products of a group, a unit in each lane: four units, or eight where
    /// units have 16 values. They begin with `start`.
    unsafe fn sums<F: Format>(codes: &Codes, x: &Codes, start: &[i32; 8]) -> [int32x4_t; 2];
}

/// The bits of 1.5 * 2^23: an integer below 2^22 added to them is added to the float, exactly. The
/// sum of a unit is at most 32 * 128 * 127.
pub(super) const ROUND_BITS: i32 = 0x4b40_0000;
const ROUND: f32 = 12_582_912.0;

/// What sums of 8-bit activations begin with.
const fn first<D: Dots>() -> i32 {
    if D::ROUND { ROUND_BITS } else { 0 }
}

/// Sums of a unit as floats. `round`: they began with [`ROUND_BITS`].
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
pub(super) unsafe fn floats(sums: int32x4_t, round: bool) -> float32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        if round {
            return vsubq_f32(vreinterpretq_f32_s32(sums), vdupq_n_f32(ROUND));
        }
        vcvtq_f32_s32(sums)
    }
}

/// See [`crate::table::Gemv`].
///
/// # Safety
/// The CPU has the features of `D`; the promises of [`crate::table::Gemv`].
#[inline(always)]
pub(super) unsafe fn gemv<F: Format, D: Dots>(w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
    const { assert!(Facts::<F>::BYTES <= MAX_BYTES) };
    let Some(x) = x.quantized else { return };
    let mut t = 0;
    while t < x.tokens {
        // SAFETY: the caller's promises.
        unsafe {
            match (x.tokens - t, x.low.is_some()) {
                (1, false) => all_rows::<F, D, 4, 1, false>(w, &x, &mut t, out),
                (1, true) => all_rows::<F, D, 4, 1, true>(w, &x, &mut t, out),
                (_, false) => all_rows::<F, D, 2, 2, false>(w, &x, &mut t, out),
                (_, true) => all_rows::<F, D, 2, 2, true>(w, &x, &mut t, out),
            }
        }
    }
}

/// Every row × `T` tokens from token `t`.
#[inline(always)]
unsafe fn all_rows<F: Format, D: Dots, const R: usize, const T: usize, const WIDE: bool>(
    w: &[u8],
    x: &Activations<'_>,
    t: &mut usize,
    out: &mut Tile<'_>,
) {
    let n = out.rows();
    let row_bytes = w.len() / n;
    let mut tokens = [*t; T];
    for i in 0..T {
        tokens[i] += i;
    }
    let mut row = 0;
    while row < n {
        // The last rows may be done twice: that gives the same result twice.
        let first = row.min(n.saturating_sub(R));
        let mut rows = [w.as_ptr(); R];
        for r in 0..R {
            rows[r] = w[(first + r).min(n - 1) * row_bytes..].as_ptr();
        }
        // SAFETY: whole rows, and tokens that exist.
        let sums = unsafe { some_rows::<F, D, R, T, WIDE>(rows, row_bytes, x, tokens) };
        for i in 0..T {
            let out = &mut out.token(tokens[i])[first..];
            for (r, out) in out.iter_mut().enumerate().take(R) {
                *out = sums[r * T + i];
            }
        }
        row += R;
    }
    *t += T;
}

/// `R` rows × `T` tokens, together four results: that of row `r` and token `t` is number `r T + t`.
#[inline(always)]
unsafe fn some_rows<F: Format, D: Dots, const R: usize, const T: usize, const WIDE: bool>(
    rows: [*const u8; R],
    row_bytes: usize,
    x: &Activations<'_>,
    tokens: [usize; T],
) -> [f32; 4] {
    const { assert!(R * T == 4) };
    // SAFETY: steps lie inside the rows, or in a copy of what is left of them; activations are
    // padded to whole groups.
    unsafe {
        let mut chains = [[vdupq_n_f32(0.0); T]; R];
        let (steps, bytes) = (x.k / Facts::<F>::STEP, Facts::<F>::BYTES);
        for s in 0..steps {
            let mut step = rows;
            for row in &mut step {
                *row = row.add(s * bytes);
            }
            add_step::<F, D, R, T, WIDE>(step, x, tokens, s * Facts::<F>::STEP, &mut chains);
        }
        let (at, rest) = (steps * bytes, row_bytes - steps * bytes);
        if rest > 0 {
            // Blocks of zeros add nothing.
            let mut copies = [[0u8; MAX_BYTES]; R];
            let mut step = rows;
            for r in 0..R {
                core::ptr::copy_nonoverlapping(rows[r].add(at), copies[r].as_mut_ptr(), rest);
                step[r] = copies[r].as_ptr();
            }
            add_step::<F, D, R, T, WIDE>(step, x, tokens, steps * Facts::<F>::STEP, &mut chains);
        }
        let chain = |i: usize| chains[i / T][i % T];
        let sums = vpaddq_f32(vpaddq_f32(chain(0), chain(1)), vpaddq_f32(chain(2), chain(3)));
        let mut results = [0.0; 4];
        vst1q_f32(results.as_mut_ptr(), sums);
        results
    }
}

/// One step of every row, whose activations begin at column `k`.
#[inline(always)]
unsafe fn add_step<F: Format, D: Dots, const R: usize, const T: usize, const WIDE: bool>(
    rows: [*const u8; R],
    x: &Activations<'_>,
    tokens: [usize; T],
    k: usize,
    chains: &mut [[float32x4_t; T]; R],
) {
    // SAFETY: the caller's rows have the step, and the tokens its activations.
    unsafe {
        let mut heads = [F::head(rows[0]); R];
        for r in 1..R {
            heads[r] = F::head(rows[r]);
        }
        for group in 0..Facts::<F>::GROUPS {
            let at = k + group * GROUP;
            let mut token = Group::load::<F, WIDE>(x, tokens[0], at);
            let mut start = starts::<F, D, WIDE>(x, tokens[0], at);
            for r in 0..R {
                let codes = F::codes(rows[r], group);
                for t in 0..T {
                    if T > 1 {
                        token = Group::load::<F, WIDE>(x, tokens[t], at);
                        start = starts::<F, D, WIDE>(x, tokens[t], at);
                    }
                    let chain = &mut chains[r][t];
                    *chain = token.add::<F, D, WIDE>(&codes, &start, &heads[r], group, *chain);
                }
            }
        }
    }
}

/// One token's activations beside a group.
struct Group {
    high: Codes,
    low: Codes,
    scales: [float32x4_t; 2],
    scaled_sums: float32x4_t,
}

impl Group {
    /// The group at column `at` of token `token`.
    #[inline(always)]
    unsafe fn load<F: Format, const WIDE: bool>(
        x: &Activations<'_>,
        token: usize,
        at: usize,
    ) -> Self {
        let at = token * x.stride + at;
        // SAFETY: a whole group lies there, by the invariant of `Activations::stride`.
        unsafe {
            let high = plane(x.high.as_ptr().add(at));
            let low = match x.low {
                Some(low) if WIDE => plane(low.as_ptr().add(at)),
                _ => high,
            };
            let scales = vld1q_f32(x.scales.as_ptr().add(at / 32));
            let scaled_sums = vld1q_f32(x.scaled_sums.as_ptr().add(at / 32));
            // Two units of 16 share a scale.
            let scales = match Facts::<F>::UNIT {
                16 => [vzip1q_f32(scales, scales), vzip2q_f32(scales, scales)],
                _ => [scales; 2],
            };
            Group { high, low, scales, scaled_sums }
        }
    }

    /// Adds a row's group to its chains.
    #[inline(always)]
    unsafe fn add<F: Format, D: Dots, const WIDE: bool>(
        &self,
        codes: &Codes,
        start: &[i32; 8],
        head: &F::Head,
        group: usize,
        mut chains: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: the caller's CPU has the features.
        unsafe {
            let mut sums = if WIDE {
                D::sums::<F>(codes, &self.high, &[0; 8])
            } else {
                D::sums::<F>(codes, &self.high, start)
            };
            if WIDE {
                let low = D::sums::<F>(codes, &self.low, start);
                for i in 0..2 {
                    sums[i] = vmlaq_n_s32(low[i], sums[i], 255);
                }
            }
            let scales = F::scales(head, group);
            for i in 0..32 / Facts::<F>::UNIT {
                let scale = vmulq_f32(scales[i], self.scales[i]);
                chains = vfmaq_f32(chains, floats(sums[i], D::ROUND && !WIDE), scale);
            }
            if Facts::<F>::FACTS.minimum {
                chains = vfmaq_f32(chains, F::minima(head, group), self.scaled_sums);
            }
            chains
        }
    }
}

/// What the sums of a group begin with: what the bias takes from them, and [`first`]. Not part of
/// [`Group`], because it is read from memory, and then the whole would lie there.
#[inline(always)]
unsafe fn starts<F: Format, D: Dots, const WIDE: bool>(
    x: &Activations<'_>,
    token: usize,
    at: usize,
) -> [i32; 8] {
    let at = token * x.stride + at;
    // SAFETY: as in `Group::load`; four of eight values are written.
    unsafe {
        let first = if WIDE { 0 } else { first::<D>() };
        let mut start = [first; 8];
        if Facts::<F>::BIAS != 0 {
            let sums = x.sums.as_ptr().add(at / 16);
            let mut sums = [vld1q_s32(sums), vld1q_s32(sums.add(4))];
            if Facts::<F>::UNIT == 32 {
                sums = [vpaddq_s32(sums[0], sums[1]); 2];
            }
            for i in 0..32 / Facts::<F>::UNIT {
                let sums = vmlsq_n_s32(vdupq_n_s32(first), sums[i], Facts::<F>::BIAS);
                vst1q_s32(start[4 * i..].as_mut_ptr(), sums);
            }
        }
        start
    }
}

/// 128 values of a plane.
#[inline(always)]
unsafe fn plane(from: *const i8) -> Codes {
    // SAFETY: the caller has them there.
    unsafe {
        let mut values = [vld1q_s8(from); 8];
        for i in 1..8 {
            values[i] = vld1q_s8(from.add(16 * i));
        }
        values
    }
}
