//! Two models as one: the logits are those of the mixture, however the tokens were fed, and drafts
//! change nothing.

use mote_formats::Gguf;
use mote_kernels::{CacheType, QuantType, arch};
use mote_runtime::mix::{Curve, Mix, Mixing};
use mote_runtime::speculate::{Draft, Drafter, Ngrams};
use mote_runtime::{
    Degraded, Fallback, LanguageModel, NgramModel, NgramSession, Origin, Precision, Session,
    SessionError,
};
use mote_tests::models::{encoded, fixture, llama};
use mote_tests::ngrams::ngram;
use mote_tests::speak::Run;

use crate::speculation::{assert_lossless, endless, samplings};

const N_CTX: usize = 90;
const KINDS: [Mixing; 2] = [Mixing::Linear, Mixing::LogLinear];

fn model() -> Vec<u8> {
    encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0)
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 290 + 3).collect()
}

/// A session, and one of n-grams with the same vocabulary.
fn with_both<R>(main: &[u8], work: impl FnOnce(&mut Session<'_>, &mut NgramSession<'_>) -> R) -> R {
    let (precision, cache) = (Precision::Mixed, CacheType::F16);
    let run = Run { batch: 8, threads: 2, precision, cache, ..Run::default() };
    let file = ngram(main, &text(500), 3);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let other = NgramModel::new(&gguf, &mut tables).unwrap();
    let mut memory = vec![0xff; NgramSession::plan(&other, N_CTX).unwrap().total_bytes];
    let mut other = NgramSession::new(&other, N_CTX, arch::best(), &mut memory).unwrap();
    run.session(main, N_CTX, |session| work(session, &mut other))
}

/// The logits after every token; the first ten are given, the others generated one by one.
fn step_by_step(model: &mut dyn LanguageModel<'_>, ids: &[u32]) -> Vec<Vec<f32>> {
    model.rewind(0);
    let mut all = Vec::new();
    for (i, &id) in ids.iter().enumerate() {
        match i {
            0..10 => model.feed(&[id]).unwrap(),
            _ => model.feed_generated(&[id]).unwrap(),
        }
        all.push(model.logits().unwrap().to_vec());
    }
    all
}

fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights = logits.iter().map(|&logit| f64::from(logit - largest).exp());
    let sum: f64 = weights.clone().sum();
    weights.map(|weight| weight / sum).collect()
}

#[test]
fn the_logits_are_the_mixtures() {
    let ids = text(30);
    with_both(&model(), |main, other| {
        let (ours, theirs) = (step_by_step(main, &ids), step_by_step(other, &ids));
        for mixing in KINDS {
            for weight in [0.0, 0.3, 0.9, 1.0] {
                main.rewind(0);
                other.rewind(0);
                let mut mix = Mix::new(main, other, mixing, weight).unwrap();
                let mixed = step_by_step(&mut mix, &ids);
                for (at, mixed) in mixed.iter().enumerate() {
                    let pairs = probabilities(&ours[at]).into_iter();
                    let powers = |(p, q): (f64, f64)| p.powf(weight) * q.powf(1.0 - weight);
                    let means = |(p, q): (f64, f64)| p * weight + q * (1.0 - weight);
                    let pairs = pairs.zip(probabilities(&theirs[at]));
                    let expected: Vec<f64> = match mixing {
                        Mixing::Linear => pairs.map(means).collect(),
                        Mixing::LogLinear => pairs.map(powers).collect(),
                    };
                    let sum: f64 = expected.iter().sum();
                    for (p, q) in probabilities(mixed).iter().zip(expected) {
                        let error = (p.ln() - (q / sum).ln()).abs();
                        assert!(error < 2e-5, "{mixing:?} {weight} {at}: {p}, {}", q / sum);
                    }
                }
                if weight == 1.0 {
                    assert!(mixed == ours);
                }
                if weight == 0.0 {
                    assert!(mixed == theirs);
                }
            }
        }
    });
}

/// Scored in batches, fed with drafts, recalled, ended and rewound: the same bits.
#[test]
fn however_tokens_are_fed_the_logits_are_the_same() {
    let ids = text(40);
    with_both(&model(), |main, other| {
        for mixing in KINDS {
            main.rewind(0);
            other.rewind(0);
            let mut mix = Mix::new(main, other, mixing, 0.6).unwrap();
            let expected = step_by_step(&mut mix, &ids);
            for from in [0, 3, 9] {
                mix.rewind(0);
                let mut scored = Vec::new();
                let mut visit = |i: usize, logits: &mut [f32]| scored.push((i, logits.to_vec()));
                mix.score_from(&ids[..10], Origin::Prompt, from, &mut visit).unwrap();
                let wanted = (from..10).map(|i| (i, expected[i].clone()));
                assert!(scored.into_iter().eq(wanted));
                assert!(mix.logits().is_none());
                assert_eq!(mix.recall(&mut || true), Ok(true));
                assert!(mix.logits().unwrap() == expected[9]);
            }
            // Drafts: two come, then another token, then none.
            let (drafts, wrong) = (&ids[11..13], [ids[13], 5, 6]);
            assert_eq!(
                mix.feed_drafted(ids[10], &[drafts, &wrong[..2]].concat(), &mut |_| true),
                Ok(1)
            );
            for at in 10..20 {
                if at > 10 {
                    mix.feed_generated(&[ids[at]]).unwrap();
                }
                assert!(mix.logits().unwrap() == expected[at], "{at}");
            }
            let mut calls = 0;
            let ended = mix.feed_with(&ids[20..21], Origin::Generated, &mut |_| {
                calls += 1;
                calls < 2
            });
            assert_eq!((ended, mix.position()), (Ok(0), 20));
            assert!(mix.logits().unwrap() == expected[19]);
            mix.take_logits();
            assert_eq!(mix.recall(&mut || false), Ok(false));
            assert_eq!(mix.recall(&mut || true), Ok(true));
            assert!(mix.logits().unwrap() == expected[19]);
            let full = Err(SessionError::ContextFull { needed: 120, capacity: N_CTX });
            assert_eq!(mix.feed_with(&text(100), Origin::Prompt, &mut |_| true), full);
            mix.feed_generated(&ids[20..30]).unwrap();
            assert!(mix.logits().unwrap() == expected[29]);
            mix.rewind(15);
            mix.feed_generated(&ids[15..18]).unwrap();
            assert!(mix.logits().unwrap() == expected[17]);
        }
    });
}

#[test]
fn a_curve_is_what_scoring_with_each_weight_gives() {
    let ids = text(30);
    with_both(&model(), |main, other| {
        for mixing in KINDS {
            main.rewind(0);
            other.rewind(0);
            let mut curve = Curve::new(mixing);
            Mix::new(main, other, mixing, 0.5)
                .unwrap()
                .tune(&ids, Origin::Prompt, &mut curve)
                .unwrap();
            assert_eq!(curve.tokens(), ids.len() - 1);
            for (weight, expected) in curve.points() {
                main.rewind(0);
                other.rewind(0);
                let (mut nll, mut mix) = (0.0, Mix::new(main, other, mixing, weight).unwrap());
                let mut add = |_, logprob: f64| nll -= logprob;
                mix.score_tokens(&ids, Origin::Prompt, &mut |_| true, &mut add).unwrap();
                assert!((nll - expected).abs() < 1e-3, "{mixing:?} {weight}: {nll}, {expected}");
            }
        }
    });
}

#[test]
fn what_cannot_be_mixed_is_refused() {
    with_both(&model(), |main, other| {
        for weight in [-0.1, 1.1, f64::NAN] {
            assert!(Mix::new(main, other, Mixing::Linear, weight).is_err());
        }
        main.feed(&[5]).unwrap();
        assert!(Mix::new(main, other, Mixing::Linear, 0.5).is_err(), "not empty");
        Run::default().session(&llama(), N_CTX, |small| {
            assert!(Mix::new(small, other, Mixing::Linear, 0.5).is_err(), "another vocabulary");
        });
    });
}

/// Drafts for a mixture, and for a model with a fallback.
#[test]
fn drafts_change_nothing_for_models_of_two() {
    with_both(&model(), |main, other| {
        for sampling in samplings() {
            for mixing in KINDS {
                main.rewind(0);
                other.rewind(0);
                let mut mix = Mix::new(main, other, mixing, 0.7).unwrap();
                let [good, ..] =
                    assert_lossless("mixture", &mut mix, &text(30), endless(sampling, 50), 50);
                assert!(good.accepted > 20, "{good:?}");
            }
            main.rewind(0);
            other.rewind(0);
            let mut both = Fallback::new(main, other).unwrap();
            let [good, ..] =
                assert_lossless("fallback", &mut both, &text(30), endless(sampling, 50), 50);
            assert!(good.accepted > 20, "{good:?}");
        }
        let mut alone = Fallback::alone(other, Degraded::Missing);
        let options = endless(samplings()[1], 50);
        let [good, ..] = assert_lossless("alone", &mut alone, &text(30), options, 50);
        assert_eq!(good.drafts, 0);
    });
}

/// Its guesses are what the n-gram model holds most probable.
#[test]
fn n_grams_draft_what_followed() {
    let ids = text(500);
    let file = ngram(&model(), &ids, 3);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let model = NgramModel::new(&gguf, &mut tables).unwrap();
    let mut ngrams = Ngrams::new(model.trie());
    let mut found = 0;
    for end in 10..100 {
        let mut drafts = [Draft::default(); 3];
        let n = ngrams.draft(&ids[..end - 1], ids[end - 1], &mut drafts);
        let right = drafts[..n].iter().zip(&ids[end..]).take_while(|(draft, id)| draft.id == **id);
        found += right.count();
    }
    assert!(found > 180, "{found} of 270");
    let mut drafts = [Draft::default(); 3];
    assert_eq!(ngrams.draft(&[], u32::MAX, &mut drafts), 0, "no such token");
}
