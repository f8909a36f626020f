//! Integer rows as the file has them × 1 to 8 tokens.
//!
//! Four units of a row fill a register, and each lane is a chain: after the exact sums of a group
//! everything is one instruction for four units. Four results are made at once: four rows of one
//! token, or two of two, whose codes then are taken apart once for both. (With four tokens of one
//! row, compilers load all activations first and spill them: half the speed.)

use core::arch::aarch64::*;
use core::arch::asm;

use super::formats::{Codes, Facts, Format, GROUP, MAX_BYTES};
use crate::activation::{Activations, Rows};
use crate::cast::Tile;

/// How a target multiplies.
///
/// # Safety
/// Of every method: the CPU has the target's features.
pub(super) trait Dots {
    /// Whether a sum that begins with [`ROUND_BITS`] becomes a float by a subtraction, because that
    /// is faster than a conversion. Sums of 16-bit activations are too large for it.
    const ROUND: bool;

    /// The exact sums of the products of a group, a unit in each lane: four units, or eight where
    /// units have 16 values. They begin with `FIRST`, where [`Dots::ROUND`] asks for it.
    unsafe fn sums<F: Format, const FIRST: i32>(codes: &Codes, x: &Codes) -> [int32x4_t; 2];
}

/// How far ahead of the weights in use the next ones are called into the first cache. Rows are taken
/// in the order of their addresses, so the distance is linear. Not measured on any ARM machine, but
/// reasoned: at the 10 GB/s that a core of a Raspberry Pi 5 reads, and 100 to 150 ns for a miss, 1 to
/// 1.5 KiB are under way. More than twice that is called, and it fits the smallest first cache (32
/// KiB) four times beside the activations. (On x86 two distances are better than one: a larger
/// second cache, and more misses at once, are there to be used.)
const AHEAD: usize = 4 * 1024;

/// The bits of 1.5 * 2^23: an integer below 2^22 added to them is added to the float, exactly. The
/// sum of a unit is at most 32 * 128 * 127.
pub(super) const ROUND_BITS: i32 = 0x4b40_0000;
const ROUND: f32 = 12_582_912.0;

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
            // Codes of 8 bits are bound by loads: a tenth slower in the cache (llvm-mca).
            if Facts::<F>::FACTS.bits < 8 {
                ahead(rows[0].wrapping_add(s * R * bytes), R * bytes);
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
        results(&chains)
    }
}

/// The sums of four chains, that of row `r` and token `t` being number `r T + t`.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
pub(super) unsafe fn results<const R: usize, const T: usize>(
    chains: &[[float32x4_t; T]; R],
) -> [f32; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let chain = |i: usize| chains[i / T][i % T];
        let sums = vpaddq_f32(vpaddq_f32(chain(0), chain(1)), vpaddq_f32(chain(2), chain(3)));
        let mut results = [0.0; 4];
        vst1q_f32(results.as_mut_ptr(), sums);
        results
    }
}

/// Calls `bytes` into the cache, [`AHEAD`] of `here`.
#[inline(always)]
unsafe fn ahead(here: *const u8, bytes: usize) {
    const { assert!(4 * MAX_BYTES <= 14 * LINE) };
    /// Cache lines of so many bytes.
    const LINE: usize = 64;
    macro_rules! lines {
        ($($line:literal)*) => {
            $(if $line * LINE < bytes {
                // The distance stands in the instruction, not in a register.
                // SAFETY: a prefetch reads nothing that the program could see, and never faults.
                unsafe {
                    asm!("prfm pldl1keep, [{}, #{}]", in(reg) here,
                        const AHEAD + $line * LINE, options(readonly, nostack, preserves_flags));
                }
            })*
        };
    }
    lines!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
}

/// One step of every row, whose activations begin at column `k`.
#[inline(always)]
pub(super) unsafe fn add_step<
    F: Format,
    D: Dots,
    const R: usize,
    const T: usize,
    const WIDE: bool,
>(
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
            let mut sums = [[[vdupq_n_s32(0); 2]; T]; R];
            let mut planes = Planes::load::<WIDE>(x, tokens[0], at);
            // Row after row, because all of them together need more registers than there are.
            let mut row = rows[0];
            macro_rules! add_row {
                ($r:expr) => {
                    let codes = F::codes(row, group);
                    for t in 0..T {
                        if T > 1 {
                            planes = Planes::load::<WIDE>(x, tokens[t], at);
                        }
                        sums[$r][t] = planes.sums::<F, D, WIDE>(&codes);
                    }
                    row = after(rows[($r + 1) % R], sums[$r][T - 1][0]);
                };
            }
            let bits = Facts::<F>::FACTS.bits;
            if R == 4 && (bits == 5 || bits == 6 && !WIDE) {
                // Compilers leave bodies of this length in a loop, with what it needs in memory.
                // (Two planes, and two sums for each row, are more than registers hold anyway.)
                add_row!(0);
                add_row!(1);
                add_row!(2);
                add_row!(3);
            } else {
                for r in 0..R {
                    add_row!(r);
                }
            }
            if Facts::<F>::GROUPS == 1 {
                heads[0] = F::head(row);
                for r in 1..R {
                    heads[r] = F::head(after(rows[r], sums[R - 1][T - 1][0]));
                }
            }
            let at = at + (row as usize - rows[0] as usize);
            for t in 0..T {
                let factors = Factors::load::<F, D, WIDE>(x, tokens[t], at);
                for r in 0..R {
                    let chain = &mut chains[r][t];
                    *chain = factors.add::<F, D, WIDE>(sums[r][t], &heads[r], group, *chain);
                }
            }
        }
    }
}

/// `place`, of which the compiler knows nothing before `sums` are there.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // it is not read
unsafe fn after(mut place: *const u8, sums: int32x4_t) -> *const u8 {
    // SAFETY: no instruction.
    unsafe {
        asm!("/* {0} {1:v} */", inout(reg) place, in(vreg) sums,
            options(pure, nomem, nostack, preserves_flags));
    }
    place
}

/// One token's activations beside a group.
struct Planes {
    high: Codes,
    low: Codes,
}

impl Planes {
    /// The group at column `at` of token `token`.
    #[inline(always)]
    unsafe fn load<const WIDE: bool>(x: &Activations<'_>, token: usize, at: usize) -> Self {
        let at = token * x.stride + at;
        // SAFETY: a whole group lies there, by the invariant of `Activations::stride`.
        unsafe {
            let high = plane(x.high.as_ptr().add(at));
            let low = match x.low {
                Some(low) if WIDE => plane(low.as_ptr().add(at)),
                _ => high,
            };
            Planes { high, low }
        }
    }

    /// The sums of a row's group.
    #[inline(always)]
    unsafe fn sums<F: Format, D: Dots, const WIDE: bool>(&self, codes: &Codes) -> [int32x4_t; 2] {
        // SAFETY: the caller's CPU has the features.
        unsafe {
            if !WIDE {
                return D::sums::<F, ROUND_BITS>(codes, &self.high);
            }
            let high = D::sums::<F, 0>(codes, &self.high);
            let low = D::sums::<F, 0>(codes, &self.low);
            [vmlaq_n_s32(low[0], high[0], 255), vmlaq_n_s32(low[1], high[1], 255)]
        }
    }
}

/// What the sums of one token's group are multiplied by.
struct Factors {
    scales: [float32x4_t; 2],
    scaled_sums: float32x4_t,
    /// What the bias of the codes adds to the sums; and [`ROUND_BITS`], where sums begin with it.
    bias: [int32x4_t; 2],
}

impl Factors {
    /// Those of the group at column `at` of token `token`.
    #[inline(always)]
    unsafe fn load<F: Format, D: Dots, const WIDE: bool>(
        x: &Activations<'_>,
        token: usize,
        at: usize,
    ) -> Self {
        let at = token * x.stride + at;
        // SAFETY: a whole group lies there, by the invariant of `Activations::stride`.
        unsafe {
            let scales = vld1q_f32(x.scales.as_ptr().add(at / 32));
            let scaled_sums = vld1q_f32(x.scaled_sums.as_ptr().add(at / 32));
            // Two units of 16 share a scale.
            let scales = match Facts::<F>::UNIT {
                16 => [vzip1q_f32(scales, scales), vzip2q_f32(scales, scales)],
                _ => [scales; 2],
            };
            let first = if D::ROUND && !WIDE { ROUND_BITS } else { 0 };
            let mut bias = [vdupq_n_s32(first); 2];
            if Facts::<F>::BIAS != 0 {
                let sums = x.sums.as_ptr().add(at / 16);
                let mut sums = [vld1q_s32(sums), vld1q_s32(sums.add(4))];
                if Facts::<F>::UNIT == 32 {
                    sums = [vpaddq_s32(sums[0], sums[1]); 2];
                }
                for i in 0..2 {
                    bias[i] = vmlaq_n_s32(bias[i], sums[i], Facts::<F>::BIAS);
                }
            }
            Factors { scales, scaled_sums, bias }
        }
    }

    /// Adds the sums of a row's group to its chains.
    #[inline(always)]
    unsafe fn add<F: Format, D: Dots, const WIDE: bool>(
        &self,
        sums: [int32x4_t; 2],
        head: &F::Head,
        group: usize,
        mut chains: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: the caller's CPU has the features.
        unsafe {
            let scales = F::scales(head, group);
            for i in 0..32 / Facts::<F>::UNIT {
                let scale = vmulq_f32(scales[i], self.scales[i]);
                let sums = if D::ROUND && !WIDE {
                    let float = vreinterpretq_f32_s32;
                    vsubq_f32(float(sums[i]), float(self.bias[i]))
                } else {
                    vcvtq_f32_s32(vsubq_s32(sums[i], self.bias[i]))
                };
                chains = vfmaq_f32(chains, sums, scale);
            }
            if Facts::<F>::FACTS.minimum {
                chains = vfmaq_f32(chains, F::minima(head, group), self.scaled_sums);
            }
            chains
        }
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
