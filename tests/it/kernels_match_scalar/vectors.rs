//! Everything that takes a vector: quantisation, norms, softmax, gates, RoPE, conversions.

use mote_kernels::{Gate, Kernels, Precision, RopeLayout, arch};
use mote_tests::equal::assert_same_bits;
use mote_tests::guard::Guarded;
use mote_tests::random::Random;

use super::inputs::{Planes, activations};
use super::scalar;

/// All lengths around one to eight vectors of 4 to 16 lanes, then rows as models have them.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=130).chain([255, 256, 257, 576, 640, 1536, 2048])
}

/// Values of every size, signs, zeros; every eighth vector also has NaN and infinity.
fn values(n: usize, random: &mut Random) -> Vec<f32> {
    let special = random.below(8) == 0;
    let value = |_| match random.below(16) {
        0 => 0.0,
        1 => -0.0,
        2 => random.normal() * 100.0,
        3 => random.normal() * 1e-30,
        4 if special => f32::from_bits(random.bits() as u32),
        5 if special => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3)],
        _ => random.normal() * 3.0,
    };
    (0..n).map(value).collect()
}

fn assert_same_planes(got: &Planes, want: &Planes, what: impl Fn() -> String) {
    assert_eq!(got.high.as_slice(), want.high.as_slice(), "high, {}", what());
    let low = |planes: &Planes| planes.low.as_ref().map(|low| low.as_slice().to_vec());
    assert_eq!(low(got), low(want), "low, {}", what());
    assert_eq!(got.sums.as_slice(), want.sums.as_slice(), "sums, {}", what());
    assert_same_bits(got.scales.as_slice(), want.scales.as_slice(), || {
        format!("scales, {}", what())
    });
    assert_same_bits(got.scaled_sums.as_slice(), want.scaled_sums.as_slice(), || {
        format!("scaled sums, {}", what())
    });
}

fn check_quantize(x: &[f32], shape: (usize, usize)) {
    let x = Guarded::new(x);
    for precision in [Precision::Bits8, Precision::Bits16] {
        let want = Planes::quantized(x.as_slice(), shape, scalar(), precision);
        for by in arch::available() {
            let got = Planes::quantized(x.as_slice(), shape, by, precision);
            assert_same_planes(&got, &want, || format!("{} {shape:?} {precision:?}", by.name()));
        }
    }
}

/// Lengths with every number of blocks beyond a multiple of 128, where the padding begins.
#[test]
fn quantize_equals_scalar() {
    let mut random = Random::new(1);
    for k in (32..=640).step_by(32).chain([1536]) {
        check_quantize(&activations(9, k, &mut random), (9, k));
        check_quantize(&values(3 * k, &mut random), (3, k));
    }
    // Any bits, and every exponent of the largest value with the ends of its fraction.
    for seed in 0..64 {
        let mut random = Random::new(seed);
        let x: Vec<_> = (0..256).map(|_| f32::from_bits(random.bits() as u32)).collect();
        check_quantize(&x, (1, 256));
    }
    // 2^-100, below which a block counts as zero, lies at the fraction 0 of its exponent.
    for bits in
        (0..255u32).flat_map(|e| [e << 23, e << 23 | 1, e << 23 | 0x2a_aaaa, e << 23 | 0x7f_ffff])
    {
        let scale = f32::from_bits(bits);
        let x: Vec<_> = (0..32).map(|i| scale * (i as f32 / 31.0) * [1.0, -1.0][i % 2]).collect();
        check_quantize(&x, (1, 32));
    }
}

/// With amax = 32512 the value is its own code: every code of both precisions, and every tie.
#[test]
fn quantize_equals_scalar_for_every_code() {
    for (largest, half) in [(32512, 0.0), (32512, 0.5), (127, 0.0), (127, 0.5)] {
        let codes: Vec<_> = (-largest..=largest).map(|v| v as f32 + half).collect();
        let blocks = codes.chunks(31).map(|part| {
            let mut block = vec![largest as f32];
            block.extend(part.iter().map(|v| v.clamp(-largest as f32, largest as f32)));
            block.resize(32, 0.0);
            block
        });
        let x: Vec<_> = blocks.flatten().collect();
        check_quantize(&x, (1, x.len()));
    }
}

/// The planes keep to -127..=127 and give the value back: the promise that kernels rely on.
#[test]
fn sixteen_bit_planes_give_the_value_back() {
    let x: Vec<_> = (-32512..=32512).step_by(7).map(|v| v as f32).collect();
    for x in x.chunks(31) {
        let mut block = vec![32512.0];
        block.extend(x);
        block.resize(32, 0.0);
        for by in arch::available() {
            let planes = Planes::quantized(&block, (1, 32), by, Precision::Bits16);
            let low = planes.low.as_ref().expect("two planes").as_slice();
            for ((&v, &high), &low) in block.iter().zip(planes.high.as_slice()).zip(low) {
                assert!(high != -128 && low != -128);
                assert_eq!(high as i32 * 255 + low as i32, v as i32);
            }
        }
    }
}

/// Runs `f` by each target on a fresh copy of `x` before a guard page and compares what it wrote.
fn check(what: &str, x: &[f32], f: impl Fn(&Kernels, &mut [f32])) {
    let mut want = x.to_vec();
    f(scalar(), &mut want);
    for by in arch::available() {
        let mut got = Guarded::new(x);
        f(by, got.as_mut_slice());
        assert_same_bits(got.as_slice(), &want, || format!("{what}, {} n {}", by.name(), x.len()));
    }
}

#[test]
fn norms_equal_scalar() {
    let mut random = Random::new(2);
    for n in lengths() {
        for _ in 0..4 {
            let [x, weight, bias] = [(); 3].map(|_| Guarded::new(&values(n, &mut random)));
            let (x, weight, bias) = (x.as_slice(), weight.as_slice(), bias.as_slice());
            let out = vec![7.0; n];
            check("rms_norm", &out, |by, out| by.rms_norm(x, weight, 1e-5, out));
            check("layer_norm", &out, |by, out| by.layer_norm(x, weight, bias, 1e-5, out));
            check("no bias", &out, |by, out| by.layer_norm(x, weight, &[], 1e-5, out));
            check("softcap", x, |by, x| by.softcap(30.0, x));
        }
    }
}

const GATES: [Gate; 8] = [
    Gate::Silu,
    Gate::GeluTanh,
    Gate::GeluErf,
    Gate::Relu,
    Gate::ReluSquared,
    Gate::ClampedSwish,
    Gate::Exp,
    Gate::Sigmoid,
];

#[test]
fn exp_sum_and_softmax_equal_scalar() {
    let mut random = Random::new(3);
    for n in lengths() {
        for _ in 0..4 {
            let x = values(n, &mut random);
            check("softmax", &x, |by, x| by.softmax(x));
            let mut copy = x.clone();
            let want = scalar().exp_sum(&mut copy);
            for by in arch::available() {
                let got = by.exp_sum(Guarded::new(&x).as_mut_slice());
                assert_same_bits(&[got], &[want], || format!("exp_sum, {} n {n}", by.name()));
            }
        }
        check("exp_sum of nothing finite", &vec![f32::NEG_INFINITY; n], |by, x| {
            by.exp_sum(x);
        });
    }
}

/// Every length, every place, limits that are there and that are not.
#[test]
fn searches_equal_scalar() {
    let mut random = Random::new(7);
    for n in lengths() {
        for round in 0..8 {
            let mut x = values(n, &mut random);
            if n > 0 && round < 3 {
                x[random.below(n)] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][round];
            }
            let some = x.get(random.below(n.max(1))).copied().unwrap_or(0.0);
            let x = Guarded::new(&x);
            let x = x.as_slice();
            for by in arch::available() {
                let name = by.name();
                assert_eq!(by.is_finite(x), scalar().is_finite(x), "{name} n {n}");
                assert_eq!(by.argmax(x), scalar().argmax(x), "{name} n {n}");
                for limit in [some, 0.0, -0.0, 5.0, 200.0, f32::NEG_INFINITY, f32::NAN] {
                    let want = scalar().first_above(x, limit);
                    assert_eq!(by.first_above(x, limit), want, "{name} n {n} limit {limit}");
                }
            }
        }
    }
}

/// One value in each 64 consecutive floats: every exponent, both signs, both ends of exp's range.
#[test]
fn gates_equal_scalar() {
    let mut random = Random::new(4);
    for kind in GATES {
        for n in lengths() {
            let (x, up) = (values(n, &mut random), Guarded::new(&values(n, &mut random)));
            check("gate", &x, |by, x| by.gate(kind, x, up.as_slice()));
            check("activate", &x, |by, x| by.activate(kind, x));
        }
        let up = vec![1.0; 1 << 16];
        for low in [0, 0x5bd1u32] {
            let all: Vec<_> = (0..1 << 16).map(|i| f32::from_bits(i << 16 | low)).collect();
            check("gate of every exponent", &all, |by, x| by.gate(kind, x, &up));
            check("activation of every exponent", &all, |by, x| by.activate(kind, x));
        }
        let near: Vec<_> = (0..1 << 16).map(|i| -104.0 + i as f32 / 300.0).collect();
        check("gate in exp's range", &near, |by, x| by.gate(kind, x, &up));
    }
}

/// Heads that turn wholly or in part, with every number of pairs up to four vectors.
#[test]
fn rope_equals_scalar() {
    let mut random = Random::new(5);
    for layout in [RopeLayout::Interleaved, RopeLayout::Halves] {
        for pairs in (0..=33).chain([40, 64, 128]) {
            for rest in [0, 1, 2, 15, 16, 32] {
                let head = values(2 * pairs + rest, &mut random);
                let [cos, sin] = [(); 2].map(|_| Guarded::new(&random.normals(pairs)));
                check("rope", &head, |by, head| {
                    by.rope(layout, head, cos.as_slice(), sin.as_slice());
                });
            }
        }
    }
}

fn check_narrow(x: &[f32]) {
    let mut want = vec![0; x.len()];
    scalar().narrow(x, &mut want);
    let x = Guarded::new(x);
    for by in arch::available() {
        let mut got = Guarded::new(&vec![7u16; want.len()]);
        by.narrow(x.as_slice(), got.as_mut_slice());
        for ((&got, &want), &x) in got.as_slice().iter().zip(&want).zip(x.as_slice()) {
            // A NaN stays a NaN; its bits may differ.
            let nan = |bits: u16| bits & 0x7fff > 0x7c00;
            assert!(got == want || nan(got) && nan(want), "narrow, {} {x:e}", by.name());
        }
    }
}

/// Every half, both neighbours of every half and of every midpoint, every length, any bits.
#[test]
fn narrow_equals_scalar() {
    let wide: Vec<f32> = (0..=u16::MAX).map(widened).collect();
    check_narrow(&wide);
    for offset in [1i32, -1, 0xfff, 0x1000, 0x1001] {
        let moved = |x: &f32| f32::from_bits(x.to_bits().wrapping_add_signed(offset));
        check_narrow(&wide.iter().map(moved).collect::<Vec<_>>());
    }
    let mut random = Random::new(6);
    for n in lengths() {
        check_narrow(&values(n, &mut random));
    }
    let any: Vec<_> = (0..100_000).map(|_| f32::from_bits(random.bits() as u32)).collect();
    check_narrow(&any);
}

/// The value of a half's bits, by its definition.
fn widened(bits: u16) -> f32 {
    let (exponent, fraction) = (bits >> 10 & 31, (bits & 0x3ff) as f32 / 1024.0);
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        e => (1.0 + fraction) * 2f32.powi(e as i32 - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Halves survive the way out and back.
#[test]
fn narrow_inverts_widening() {
    for by in arch::available() {
        for bits in 0..=u16::MAX {
            let mut out = [0];
            by.narrow(&[widened(bits)], &mut out);
            assert!(out[0] == bits || widened(bits).is_nan(), "{} {bits:#x}", by.name());
        }
    }
}

/// What the peaks compute is of no interest, but that it can be computed, and how much is.
#[test]
fn peaks_grow_with_the_rounds() {
    for by in arch::available() {
        for peak in [Kernels::peak_integer, Kernels::peak_float] {
            assert!(peak(by, 1) > 0, "{}", by.name());
            assert_eq!(peak(by, 7), 7 * peak(by, 1), "{}", by.name());
        }
    }
}
