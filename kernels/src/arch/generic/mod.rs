//! The float operations once, over [`Lanes`]: sixteen f32 lanes, in as many registers as a target
//! needs for them. The numeric contract is written in sixteen lanes, so an operation here has the
//! order of the scalar definition whatever the registers' width.
//!
//! Every function is `inline(always)` and without target features: it takes those of the entry that
//! it is inlined into (`arch/<cpu>/<isa>/`), where the intrinsics then become instructions. Closures
//! are avoided in loops, because they are not inlined by force.
#![allow(unsafe_code)]
// In register tiles one counter indexes several arrays.
#![allow(clippy::needless_range_loop)]

pub(crate) mod attend;
mod entries;
pub(crate) mod exp;
pub(crate) mod float;
pub(crate) mod norm;
pub(crate) mod peak;
pub(crate) mod rope;
pub(crate) mod top;

pub(crate) use entries::float_entries;

/// Sixteen f32 lanes.
///
/// # Safety
/// Of every method: the CPU has the target's features, and pointers are valid for what the method
/// says it reads or writes. No alignment is needed.
pub(crate) trait Lanes: Copy {
    /// Whether 16 accumulators and their operands fit the registers; else 4 to 6 do.
    const WIDE: bool;

    unsafe fn splat(x: f32) -> Self;
    /// Reads 16 floats.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads `n <= 16` floats; the other lanes are zero.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    /// Writes 16 floats.
    unsafe fn store(self, to: *mut f32);
    /// Writes `n <= 16` floats.
    unsafe fn store_first(self, to: *mut f32, n: usize);
    /// Reads 16 halves.
    unsafe fn load_f16(from: *const u16) -> Self;
    /// Reads `n <= 16` halves; the other lanes are zero.
    unsafe fn load_first_f16(from: *const u16, n: usize) -> Self;
    /// The half at `from`, in every lane.
    unsafe fn splat_f16(from: *const u16) -> Self;
    /// Reads 16 whole numbers.
    unsafe fn load_i8(from: *const i8) -> Self;
    /// Reads the upper halves of 16 floats.
    unsafe fn load_bf16(from: *const u16) -> Self;
    /// Reads the upper halves of `n <= 16` floats; the other lanes are zero.
    unsafe fn load_first_bf16(from: *const u16, n: usize) -> Self;
    /// Writes the nearest 16 halves, ties to even.
    unsafe fn store_f16(self, to: *mut u16);
    /// Writes the nearest `n <= 16` halves.
    unsafe fn store_first_f16(self, to: *mut u16, n: usize);

    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// `c - self * b`, rounded once.
    unsafe fn fnma(self, b: Self, c: Self) -> Self;
    unsafe fn neg(self) -> Self;
    /// `if self > m { self } else { m }`: a NaN in `self` gives `m`.
    unsafe fn max(self, m: Self) -> Self;
    /// Lane i is `self`'s where bit i of `mask` is set, else `rest`'s.
    unsafe fn select(self, mask: u16, rest: Self) -> Self;
    /// `if self > limit { yes } else { no }`.
    unsafe fn if_greater(self, limit: Self, yes: Self, no: Self) -> Self;
    /// The end of exp for x <= 0 or NaN: `p * 2^n`, 0 where `x < low`, NaN where x is. `shifted` is
    /// `n + 1.5 * 2^23`.
    unsafe fn exp_scale(p: Self, n: Self, shifted: Self, x: Self, low: Self) -> Self;
    /// The sum by the tree + 8, + 4, + 2, + 1.
    unsafe fn tree(self) -> f32;
    /// The largest lane; none is NaN.
    unsafe fn largest(self) -> f32;
    /// `[a0, b0, a1, b1, ...]` in two parts becomes `(a, b)`.
    unsafe fn unzip(low: Self, high: Self) -> (Self, Self);
    /// The inverse of `unzip`.
    unsafe fn zip(a: Self, b: Self) -> (Self, Self);
    /// Asks for a cache line, into all levels (`near`) or all but the first. Any address will do.
    unsafe fn prefetch(address: *const u8, near: bool);
}

/// The bits of lanes `..n`.
#[inline(always)]
pub(crate) fn first_lanes(n: usize) -> u16 {
    ((1u32 << n) - 1) as u16
}

/// Where each chain's units begin in a panel that has them chain by chain, and where the last one's
/// end, in units.
#[inline(always)]
pub(crate) fn chain_starts(units: usize) -> [usize; 5] {
    let (each, rest) = (units / 4, units % 4);
    core::array::from_fn(|chain| chain * each + chain.min(rest))
}

/// How floats are stored in weights and caches.
pub(crate) trait Element {
    /// One value. Pointers to it may be unaligned.
    type Stored: Copy;
    /// Reads 16 values.
    unsafe fn load<V: Lanes>(from: *const Self::Stored) -> V;
    /// Reads `n <= 16` values; the other lanes are zero.
    unsafe fn load_first<V: Lanes>(from: *const Self::Stored, n: usize) -> V;
}

macro_rules! element {
    ($name:ident, $stored:ty, $load:ident, $load_first:ident) => {
        pub(crate) struct $name;

        impl Element for $name {
            type Stored = $stored;
            #[inline(always)]
            unsafe fn load<V: Lanes>(from: *const $stored) -> V {
                // SAFETY: the caller's promises.
                unsafe { V::$load(from) }
            }
            #[inline(always)]
            unsafe fn load_first<V: Lanes>(from: *const $stored, n: usize) -> V {
                // SAFETY: the caller's promises.
                unsafe { V::$load_first(from, n) }
            }
        }
    };
}

element!(F32, f32, load, load_first);
element!(F16, u16, load_f16, load_first_f16);
element!(BF16, u16, load_bf16, load_first_bf16);
