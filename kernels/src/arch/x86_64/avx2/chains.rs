//! How the exact sums of a unit become floats and join a chain: sixteen rows, a few tokens. The
//! chains lie in the cache, as the sums alone fill the registers.

use core::arch::asm;
use core::arch::x86_64::*;

/// Where the numbers of a unit lie.
pub(in crate::arch::x86_64) struct Unit {
    /// Of sixteen rows.
    pub scales: *const f32,
    pub minima: *const f32,
    /// Of the first token.
    pub token_scales: *const f32,
    /// With minima of units of 32 their factors, otherwise the sums of activations.
    pub token_sums: *const i32,
    /// Bytes from one token's scale to the next one's; twice as many for sums of activations.
    pub stride: usize,
    /// The bias is two to the power of it.
    pub shift: __m128i,
}

/// What there is besides the product of sums and scales: nothing; the codes' bias, to be taken out
/// of the sums; a minimum.
pub(in crate::arch::x86_64) const NOTHING: u8 = 0;
pub(in crate::arch::x86_64) const BIAS: u8 = 1;
pub(in crate::arch::x86_64) const MINIMUM: u8 = 2;

/// Adds the sums of one unit to its chain. `T` is 6 or 4.
///
/// # Safety
/// `unit` points to what it names, for every token.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::arch::x86_64) unsafe fn add<const T: usize, const UNIT: usize, const TERM: u8>(
    unit: &Unit,
    sums: &[[__m256i; 2]; T],
    chain: &mut [[__m256; 2]; T],
) {
    const { assert!(T == 6 || T == 4) };
    // SAFETY: the same promise.
    unsafe {
        if T == 6 {
            add_six::<UNIT, TERM>(unit, sums, chain);
        } else {
            add_four::<UNIT, TERM>(unit, sums, chain);
        }
    }
}

/// In assembly, because compilers load the numbers of all tokens first and spill the sums.
macro_rules! add {
    ($name:ident, $($times:ident = $n:literal),*:
     $($a:ident $b:ident $scale:literal $sum:literal $chain:literal),*) => {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $name<
            const UNIT: usize,
            const TERM: u8,
        >(
            unit: &Unit,
            sums: &[[__m256i; 2]],
            chain: &mut [[__m256; 2]],
        ) {
            let &[$([mut $a, mut $b]),*] = sums else { return };
            let (scale, factor): (__m256, __m256);
            // SAFETY: reads what `unit` points to, and changes the chain.
            unsafe {
                asm!(
                    $(
                        ".if {bias}",
                        concat!("vpbroadcastd {factor}, [{token_sums}", $sum, "]"),
                        ".if {unit_len} == 32",
                        concat!("vpbroadcastd {scale}, [{token_sums}", $sum, " + 4]"),
                        "vpaddd {factor}, {factor}, {scale}",
                        ".endif",
                        "vpslld {factor}, {factor}, {shift}",
                        concat!("vpsubd {", stringify!($a), "}, {", stringify!($a), "}, {factor}"),
                        concat!("vpsubd {", stringify!($b), "}, {", stringify!($b), "}, {factor}"),
                        ".endif",
                        concat!("vbroadcastss {scale}, [{token_scales}", $scale, "]"),
                        concat!("vcvtdq2ps {", stringify!($a), "}, {", stringify!($a), "}"),
                        "vmulps {factor}, {scale}, [{scales}]",
                        concat!("vfmadd213ps {", stringify!($a), "}, {factor}, [{chain} + ", $chain, "]"),
                        concat!("vcvtdq2ps {", stringify!($b), "}, {", stringify!($b), "}"),
                        "vmulps {factor}, {scale}, [{scales} + 32]",
                        concat!("vfmadd213ps {", stringify!($b), "}, {factor}, [{chain} + ", $chain, " + 32]"),
                        ".if {minimum}",
                        ".if {unit_len} == 32",
                        concat!("vbroadcastss {factor}, [{token_sums}", $scale, "]"),
                        ".else",
                        concat!("vpbroadcastd {factor}, [{token_sums}", $sum, "]"),
                        "vcvtdq2ps {factor}, {factor}",
                        "vmulps {factor}, {factor}, {scale}",
                        ".endif",
                        concat!("vfmadd231ps {", stringify!($a), "}, {factor}, [{minima}]"),
                        concat!("vfmadd231ps {", stringify!($b), "}, {factor}, [{minima} + 32]"),
                        ".endif",
                        concat!("vmovups [{chain} + ", $chain, "], {", stringify!($a), "}"),
                        concat!("vmovups [{chain} + ", $chain, " + 32], {", stringify!($b), "}"),
                    )*
                    unit_len = const UNIT,
                    minimum = const (TERM == MINIMUM) as usize,
                    bias = const (TERM == BIAS) as usize,
                    scales = in(reg) unit.scales,
                    minima = in(reg) unit.minima,
                    token_scales = in(reg) unit.token_scales,
                    token_sums = in(reg) unit.token_sums,
                    $($times = in(reg) $n * unit.stride,)*
                    chain = in(reg) chain.as_mut_ptr(),
                    shift = in(xmm_reg) unit.shift,
                    scale = out(ymm_reg) scale,
                    factor = out(ymm_reg) factor,
                    $($a = inout(ymm_reg) $a, $b = inout(ymm_reg) $b,)*
                    options(nostack),
                );
            }
            let _ = (scale, factor, $($a, $b),*);
        }
    };
}

add!(add_six, one = 1, three = 3, five = 5:
    a0 b0 "" "" "0",
    a1 b1 " + {one}" " + 2*{one}" "64",
    a2 b2 " + 2*{one}" " + 4*{one}" "128",
    a3 b3 " + {three}" " + 2*{three}" "192",
    a4 b4 " + 4*{one}" " + 8*{one}" "256",
    a5 b5 " + {five}" " + 2*{five}" "320");
add!(add_four, one = 1, three = 3:
    a0 b0 "" "" "0",
    a1 b1 " + {one}" " + 2*{one}" "64",
    a2 b2 " + 2*{one}" " + 4*{one}" "128",
    a3 b3 " + {three}" " + 2*{three}" "192");

/// `$name<UNIT>(codes, x, stride, sums)`: the products of one unit of 16 rows and some tokens,
/// `stride` bytes apart. `$multiply` adds the products of `{first}` or `{second}` and `{values}` to a
/// sum, `$end` ends a sum. In assembly, because compilers load activations ahead until the sums no
/// longer fit the registers.
macro_rules! unit_products {
    ($name:ident $multiply:ident $end:ident, $($times:ident = $n:literal),*:
     $($a:ident $b:ident $address:literal),*) => {
        /// # Safety
        /// The unit exists in the panel and in every token, and the CPU has the instructions.
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $name<const UNIT: usize>(
            codes: *const u8,
            x: *const i8,
            stride: usize,
            sums: &mut [[__m256i; 2]],
        ) {
            static ONES: [i16; 16] = [1; 16];
            let [$([$a, $b]),*] = sums else { return };
            // Named because the compiler gives registers of nothing the wrong width.
            let (first, second, values, product): (__m256i, __m256i, __m256i, __m256i);
            // SAFETY: reads UNIT columns of 16 codes and of each token, which the caller has.
            unsafe {
                asm!(
                    "2:",
                    ".rept 2",
                    "vmovdqu {first}, [{codes}]",
                    "vmovdqu {second}, [{codes} + 32]",
                    $(
                        concat!("vpbroadcastd {values}, [{x}", $address, "]"),
                        $multiply!($a "first"),
                        $multiply!($b "second"),
                    )*
                    "add {codes}, 64",
                    "add {x}, 4",
                    ".endr",
                    "dec {eights}",
                    "jnz 2b",
                    $($end!($a), $end!($b),)*
                    "/* {product} {ones} */",
                    eights = inout(reg) UNIT / 8 => _,
                    codes = inout(reg) codes => _,
                    x = inout(reg) x => _,
                    ones = in(reg) ONES.as_ptr(),
                    $($times = in(reg) $n * stride,)*
                    first = out(ymm_reg) first,
                    second = out(ymm_reg) second,
                    values = out(ymm_reg) values,
                    product = out(ymm_reg) product,
                    $($a = inout(ymm_reg) *$a, $b = inout(ymm_reg) *$b,)*
                    options(nostack, readonly),
                );
            }
            let _ = (first, second, values, product);
        }
    };
}
pub(in crate::arch::x86_64) use unit_products;

/// Both numbers of tokens, six and four.
macro_rules! products_of_tokens {
    ($six:ident $four:ident $multiply:ident $end:ident) => {
        $crate::arch::x86_64::avx2::chains::unit_products!($six $multiply $end,
            one = 1, three = 3, five = 5:
            a0 b0 "", a1 b1 " + {one}", a2 b2 " + 2*{one}", a3 b3 " + {three}",
            a4 b4 " + 4*{one}", a5 b5 " + {five}");
        $crate::arch::x86_64::avx2::chains::unit_products!($four $multiply $end, one = 1, three = 3:
            a0 b0 "", a1 b1 " + {one}", a2 b2 " + 2*{one}", a3 b3 " + {three}");
    };
}
pub(in crate::arch::x86_64) use products_of_tokens;
