//! Mixtures beside direct arithmetic in f64.

use std::vec::Vec;

use mote_kernels::arch;

use super::*;

/// Logits that look random, of a spread.
fn logits(n: usize, seed: u32, spread: f32) -> Vec<f32> {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..n).map(|_| (random() + random() + random() - 1.5) * spread + 3.0).collect()
}

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f64> =
        logits.iter().map(|&logit| (f64::from(logit) - f64::from(largest)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// The mixture by its definition.
fn expected(mixing: Mixing, weight: f64, main: &[f32], other: &[f32]) -> Vec<f64> {
    let pairs = probabilities(main).into_iter().zip(probabilities(other));
    let mixed: Vec<f64> = pairs
        .map(|(p1, p2)| match mixing {
            Mixing::Linear => weight * p1 + (1.0 - weight) * p2,
            Mixing::LogLinear => p1.powf(weight) * p2.powf(1.0 - weight),
        })
        .collect();
    let sum: f64 = mixed.iter().sum();
    mixed.iter().map(|p| p / sum).collect()
}

const KINDS: [Mixing; 2] = [Mixing::Linear, Mixing::LogLinear];

#[test]
fn mixtures_are_what_their_definitions_say() {
    for mixing in KINDS {
        for (n, spread) in [(1, 1.0), (2, 30.0), (255, 10.0), (256, 1.0), (1000, 20.0), (5000, 8.0)]
        {
            let (main, other) = (logits(n, 1, spread), logits(n, 2, 10.0));
            for weight in [0.0, 1e-6, 0.1, 0.5, 0.9, 1.0] {
                let mut all = arch::available().map(|kernels| {
                    let mut mixed = main.clone();
                    mix(kernels, (mixing, weight), &mut mixed, &other);
                    mixed
                });
                let mixed = all.next().unwrap();
                assert!(all.all(|other| other == mixed), "the same bits on every target");
                let found = probabilities(&mixed);
                for (p, q) in found.iter().zip(expected(mixing, weight, &main, &other)) {
                    let error = (p.ln() - q.ln()).abs();
                    assert!(error < 1e-5, "{mixing:?}, {n}, {weight}: ln {p} instead of {q}");
                }
            }
        }
    }
}

#[test]
fn all_of_one_model_is_that_model() {
    let (main, other) = (logits(300, 1, 9.0), logits(300, 2, 9.0));
    for mixing in KINDS {
        for (weight, alone) in [(1.0, &main), (0.0, &other)] {
            let mut mixed = main.clone();
            mix(arch::best(), (mixing, weight), &mut mixed, &other);
            assert_eq!(&mixed, alone);
        }
    }
}

/// A broken model makes a broken mixture, which is found out before a token is drawn.
#[test]
fn what_is_not_finite_stays_so() {
    for mixing in KINDS {
        for bad in [f32::NAN, f32::INFINITY] {
            let (mut main, other) = (logits(300, 1, 9.0), logits(300, 2, 9.0));
            main[77] = bad;
            mix(arch::best(), (mixing, 0.5), &mut main, &other);
            assert!(!arch::best().is_finite(&main));
        }
    }
}

#[test]
fn a_curve_has_the_likelihoods_of_all_weights() {
    let texts: Vec<(Vec<f32>, Vec<f32>, u32)> =
        (0..40).map(|i| (logits(500, i, 8.0), logits(500, i + 99, 8.0), i * 7)).collect();
    let nll = |mixing, weight| -> f64 {
        let token = |(main, other, id): &(Vec<f32>, Vec<f32>, u32)| {
            -expected(mixing, weight, main, other)[*id as usize].ln()
        };
        texts.iter().map(token).sum()
    };
    for mixing in KINDS {
        let mut curve = Curve::new(mixing);
        for (main, other, id) in &texts {
            curve.add(arch::best(), main, other, *id);
        }
        assert_eq!(curve.tokens(), texts.len());
        for (weight, found) in curve.points() {
            let expected = nll(mixing, weight);
            assert!((found - expected).abs() < 1e-3, "{mixing:?}, {weight}: {found}, {expected}");
        }
        let (best, least) = curve.best();
        assert!((0.0..=1.0).contains(&best));
        assert!((nll(mixing, best) - least).abs() < 0.001 * least);
        for step in 0..=200 {
            assert!(nll(mixing, step as f64 / 200.0) > nll(mixing, best) - 0.01, "{mixing:?}");
        }
    }
}

#[test]
fn logarithm_of_one_and_more() {
    for i in 0..=1000 {
        let x = f64::from(i) / 1000.0;
        assert!((ln_1p(x) - x.ln_1p()).abs() < 1e-10, "{x}");
    }
}
