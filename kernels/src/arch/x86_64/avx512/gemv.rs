//! Integer rows as the file has them × 1 to 8 tokens.
//!
//! Four rows go together, in groups of four units. A row's dots with a group fill one register
//! whose 128-bit quarter `q` belongs to unit `q`; adding up inside the quarters and transposing
//! turns the registers of four rows into one, with unit `q` of row `r` in lane `4q + r`. Its
//! quarters are the four chains, so that everything after that is one instruction for 16 units.

use core::arch::x86_64::*;

use crate::activation::{Activations, Rows};
use crate::arch::x86_64::ahead::ahead;
use crate::cast::Tile;
use crate::quant::{IntegerFacts, QuantType};

/// An encoding in registers.
///
/// The methods are unsafe because they read memory: `bytes` (a step of the encoding, or all the
/// whole blocks that are left of a row) from a pointer must be readable. `WHOLE` says that it is a
/// whole step; otherwise what is missing reads as zero.
pub(super) trait Format {
    /// What it is.
    const KIND: QuantType;
    /// Four rows' step.
    type Step;

    unsafe fn open<const WHOLE: bool>(rows: Four, bytes: usize) -> Self::Step;
    /// Codes of one row's group: the first 16 of each unit, and the second 16 if a unit has 32.
    unsafe fn codes(step: &Self::Step, row: usize, group: usize) -> [__m512i; 2];
    /// Scales and minima of a group: unit `q` of row `r` in lane `4q + r`.
    unsafe fn factors(step: &Self::Step, group: usize) -> (__m512, __m512);
}

/// What follows from a format.
pub(super) struct Facts<F>(F);

impl<F: Format> Facts<F> {
    pub const FACTS: IntegerFacts = match F::KIND.integer() {
        Some(facts) => facts,
        None => panic!("an integer encoding"),
    };
    /// Weights in a step: a large block, or four small ones.
    pub const STEP: usize = if F::KIND.block_len() == 256 { 256 } else { 128 };
    pub const STEP_BYTES: usize = Self::STEP / F::KIND.block_len() * F::KIND.block_bytes();
    /// Whether rows may end within a step.
    pub const RESTS: bool = Self::STEP > F::KIND.block_len();
    /// Weights in a group.
    const GROUP: usize = 4 * Self::FACTS.unit;
    pub const GROUPS: usize = Self::STEP / Self::GROUP;
}

/// Pointers to the same place in four rows.
#[derive(Clone, Copy)]
pub(super) struct Four(pub [*const u8; 4]);

impl Four {
    /// The same rows, `bytes` further.
    #[inline(always)]
    pub fn step(self, bytes: usize) -> Self {
        Four(self.0.map(|p| p.wrapping_add(bytes)))
    }
}

/// See [`crate::scalar::integer::gemv`].
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn gemv<F: Format>(w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
    let Some(x) = x.quantized else { return };
    // SAFETY: what the caller promises of a `Gemv`.
    unsafe {
        match (x.tokens, x.low.is_some()) {
            (1, false) => one_token::<F, false>(w, &x, out),
            (1, true) => one_token::<F, true>(w, &x, out),
            (_, false) => some_tokens::<F, false>(w, &x, out),
            (_, true) => some_tokens::<F, true>(w, &x, out),
        }
    }
}

/// Two times four rows at once.
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn one_token<F: Format, const WIDE: bool>(
    w: &[u8],
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let out = out.token(0);
    let stride = w.len() / out.len();
    let mut r = 0;
    while r < out.len() {
        let packs = [pack(r, out.len()), pack(r + 4, out.len())];
        let rows = packs.map(|first| four(w, first, stride, out.len()));
        let mut chains = [_mm512_setzero_ps(); 2];
        let steps = x.k / Facts::<F>::STEP;
        for s in 0..steps {
            let at = s * Facts::<F>::STEP_BYTES;
            ahead(rows[0].0[0].wrapping_add(8 * at), 8 * Facts::<F>::STEP_BYTES);
            // SAFETY: step `s` lies inside the rows; the activations are as long as these.
            unsafe {
                let steps =
                    [F::open::<true>(rows[0].step(at), 0), F::open::<true>(rows[1].step(at), 0)];
                pair_step::<F, WIDE>(&steps, x, s, &mut chains);
            }
        }
        if Facts::<F>::RESTS && steps * Facts::<F>::STEP < x.k {
            for (rows, chains) in rows.into_iter().zip(&mut chains) {
                // SAFETY: as above.
                unsafe {
                    four_rows::<F, WIDE>(rows, stride, x, steps, core::slice::from_mut(chains))
                };
            }
        }
        for (chains, first) in chains.into_iter().zip(packs) {
            store(out, first, chains);
        }
        r += 8;
    }
}

/// One step of two times four rows for one token.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn pair_step<F: Format, const WIDE: bool>(
    steps: &[F::Step; 2],
    x: &Activations<'_>,
    s: usize,
    chains: &mut [__m512; 2],
) {
    for group in 0..Facts::<F>::GROUPS {
        // SAFETY: the step's activations exist.
        unsafe {
            let x = Group::load::<F, WIDE>(x, 0, s * Facts::<F>::GROUPS + group);
            for (step, chains) in steps.iter().zip(chains.iter_mut()) {
                let row = |r| dots::<F, WIDE>(&F::codes(step, r, group), &x);
                let rows = [row(0), row(1), row(2), row(3)];
                *chains = add::<F>(rows, F::factors(step, group), &x, *chains);
            }
        }
    }
}

/// Four rows at once; their codes stay in registers for all tokens.
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn some_tokens<F: Format, const WIDE: bool>(
    w: &[u8],
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let n = out.rows();
    let stride = w.len() / n;
    let mut r = 0;
    while r < n {
        let first = pack(r, n);
        let rows = four(w, first, stride, n);
        let mut chains = [_mm512_setzero_ps(); 8];
        // SAFETY: the caller's promises.
        unsafe { four_rows::<F, WIDE>(rows, stride, x, 0, &mut chains) };
        for (t, &chains) in chains.iter().enumerate().take(x.tokens) {
            store(out.token(t), first, chains);
        }
        r += 4;
    }
}

/// Adds four rows, from a step on, to the chains of every token. Not inlined: one token uses it, too, for
/// rows that end within a step.
///
/// # Safety
/// The rows are `stride` bytes long; the activations are as long as these.
#[inline(never)]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn four_rows<F: Format, const WIDE: bool>(
    rows: Four,
    stride: usize,
    x: &Activations<'_>,
    from: usize,
    chains: &mut [__m512],
) {
    for s in from..x.k.div_ceil(Facts::<F>::STEP) {
        let at = s * Facts::<F>::STEP_BYTES;
        ahead(rows.0[0].wrapping_add(4 * at), 4 * Facts::<F>::STEP_BYTES);
        let (rows, left) = (rows.step(at), stride - at);
        // SAFETY: `left` bytes are left in every row; activations are padded to whole steps.
        unsafe {
            let step = if Facts::<F>::RESTS && left < Facts::<F>::STEP_BYTES {
                F::open::<false>(rows, left)
            } else {
                F::open::<true>(rows, 0)
            };
            token_step::<F, WIDE>(&step, x, s, chains);
        }
    }
}

/// One step of four rows for every token.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn token_step<F: Format, const WIDE: bool>(
    step: &F::Step,
    x: &Activations<'_>,
    s: usize,
    chains: &mut [__m512],
) {
    for group in 0..Facts::<F>::GROUPS {
        // SAFETY: the step's activations exist for every token.
        unsafe {
            // Named one by one: what `map` calls is not inlined, and its registers go by memory.
            let codes = |r| F::codes(step, r, group);
            let [a, b, c, d] = [codes(0), codes(1), codes(2), codes(3)];
            let factors = F::factors(step, group);
            for (t, chains) in chains.iter_mut().enumerate().take(x.tokens) {
                let x = Group::load::<F, WIDE>(x, t, s * Facts::<F>::GROUPS + group);
                let row = |codes| dots::<F, WIDE>(codes, &x);
                *chains = add::<F>([row(&a), row(&b), row(&c), row(&d)], factors, &x, *chains);
            }
        }
    }
}

/// The first of four rows that begin at `r`, or of the last four. Rows done twice get the same
/// result twice.
#[inline(always)]
fn pack(r: usize, rows: usize) -> usize {
    r.min(rows.saturating_sub(4))
}

/// Four rows from `first`; where the matrix has fewer than four, the last again.
#[inline(always)]
fn four(w: &[u8], first: usize, stride: usize, rows: usize) -> Four {
    let rest = &w[first * stride..];
    let row = |r: usize| rest.as_ptr().wrapping_add(r.min(rows - 1) * stride);
    Four([row(0), row(1), row(2), row(3)])
}

/// The results of four rows, or of all where the matrix has fewer.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn store(out: &mut [f32], first: usize, chains: __m512) {
    let c01 = _mm_add_ps(_mm512_castps512_ps128(chains), _mm512_extractf32x4_ps::<1>(chains));
    let c23 = _mm_add_ps(_mm512_extractf32x4_ps::<2>(chains), _mm512_extractf32x4_ps::<3>(chains));
    let mut sums = [0.0; 4];
    // SAFETY: four floats.
    unsafe { _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(c01, c23)) };
    for (out, sum) in out[first..].iter_mut().zip(sums) {
        *out = sum;
    }
}

/// One token's activations beside a group.
struct Group {
    /// Both planes, in the order of [`Format::codes`].
    high: [__m512i; 2],
    low: [__m512i; 2],
    /// What the bias adds to the dots of every row, partial sums in the lanes of the dots.
    start: __m512i,
    /// Lane `4q + r` has what belongs to unit `q`.
    scales: __m512,
    scaled_sums: __m512,
}

impl Group {
    /// Group `group` of token `t`.
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn load<F: Format, const WIDE: bool>(
        x: &Activations<'_>,
        t: usize,
        group: usize,
    ) -> Self {
        let facts = Facts::<F>::FACTS;
        let at = t * x.stride + group * Facts::<F>::GROUP;
        // SAFETY: the caller's group lies inside the planes.
        let plane = |plane: &[i8]| unsafe {
            let first = _mm512_loadu_si512(plane.as_ptr().add(at).cast());
            if facts.unit == 16 {
                return [first, _mm512_setzero_si512()];
            }
            let second = _mm512_loadu_si512(plane.as_ptr().add(at + 64).cast());
            [
                _mm512_shuffle_i64x2::<0b10_00_10_00>(first, second),
                _mm512_shuffle_i64x2::<0b11_01_11_01>(first, second),
            ]
        };
        let zero = _mm512_setzero_si512();
        let bias = _mm512_set1_epi8(facts.bias as u8 as i8);
        let sums = |plane: &[__m512i; 2]| dot::<F>(zero, &[bias, bias], plane);
        let high = plane(x.high);
        let low = if WIDE { plane(x.low.unwrap_or(x.high)) } else { [zero; 2] };
        let start = if facts.bias == 0 {
            zero
        } else if WIDE {
            _mm512_sub_epi32(zero, join(sums(&high), sums(&low)))
        } else {
            _mm512_sub_epi32(zero, sums(&high))
        };
        // SAFETY: as above; units of 16 share a scale in pairs.
        let scales = unsafe {
            if facts.unit == 16 {
                let two = _mm_loadl_epi64(x.scales.as_ptr().add(at / 32).cast());
                let lanes = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
                _mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(_mm_castsi128_ps(two)))
            } else {
                quarters(x.scales.as_ptr().add(at / 32))
            }
        };
        // SAFETY: as above. Only encodings with a minimum read it.
        let scaled_sums = unsafe {
            match (facts.minimum, facts.unit) {
                (false, _) => scales,
                (true, 32) => quarters(x.scaled_sums.as_ptr().add(at / 32)),
                (true, _) => {
                    let sums = _mm_loadu_si128(x.sums.as_ptr().add(at / 16).cast());
                    _mm512_mul_ps(scales, spread_quarters(_mm_cvtepi32_ps(sums)))
                }
            }
        };
        Group { high, low, start, scales, scaled_sums }
    }
}

/// Float `q` of four in every lane of quarter `q`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn quarters(p: *const f32) -> __m512 {
    // SAFETY: the caller has four floats there.
    spread_quarters(unsafe { _mm_loadu_ps(p) })
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn spread_quarters(four: __m128) -> __m512 {
    let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    _mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(four))
}

/// 255 * high + low.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn join(high: __m512i, low: __m512i) -> __m512i {
    _mm512_add_epi32(low, _mm512_sub_epi32(_mm512_slli_epi32::<8>(high), high))
}

/// `start` plus unsigned codes times signed values, in fours.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn dot<F: Format>(start: __m512i, codes: &[__m512i; 2], x: &[__m512i; 2]) -> __m512i {
    let first = _mm512_dpbusd_epi32(start, codes[0], x[0]);
    if Facts::<F>::FACTS.unit == 16 {
        return first;
    }
    _mm512_dpbusd_epi32(first, codes[1], x[1])
}

/// A row's dots with a group, in four parts for each unit.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn dots<F: Format, const WIDE: bool>(codes: &[__m512i; 2], x: &Group) -> __m512i {
    if WIDE {
        let high = dot::<F>(_mm512_setzero_si512(), codes, &x.high);
        return join(high, dot::<F>(x.start, codes, &x.low));
    }
    dot::<F>(x.start, codes, &x.high)
}

/// Adds the 16 units of four rows to their chains.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn add<F: Format>(
    rows: [__m512i; 4],
    (scales, minima): (__m512, __m512),
    x: &Group,
    chains: __m512,
) -> __m512 {
    let sums = _mm512_cvtepi32_ps(transposed_sums(rows));
    let chains = _mm512_fmadd_ps(sums, _mm512_mul_ps(scales, x.scales), chains);
    if Facts::<F>::FACTS.minimum {
        return _mm512_fmadd_ps(minima, x.scaled_sums, chains);
    }
    chains
}

/// Lane `4q + r` of the result is the sum of quarter `q` of operand `r`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn transposed_sums([a, b, c, d]: [__m512i; 4]) -> __m512i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
}
