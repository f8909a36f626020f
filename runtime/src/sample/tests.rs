use std::vec::Vec;

use mote_kernels::arch;

use super::*;

fn pick(
    options: &Options,
    logits: &mut [f32],
    recent: &[u32],
    candidates: &mut [Candidate],
) -> Result<u32, SessionError> {
    super::pick(arch::best(), options, logits, recent, candidates)
}

fn probabilities(temperature: f32, p: &[f32]) -> [f64; 4] {
    let logits: [f32; 4] = core::array::from_fn(|i| p.get(i).map_or(-80.0, |p| libm::logf(*p)));
    let options = Options { temperature, top_k: 0, top_p: 1.0, min_p: 0.0, ..Options::default() };
    let mut counts = [0.0; 4];
    let (n, text) = (40_000, [0; 40_000]);
    for position in 0..n {
        let mut candidates = [Candidate::default(); 4];
        let mut logits = logits;
        let id = pick(&options, &mut logits[..p.len()], &text[..position], &mut candidates);
        counts[id.unwrap() as usize] += 1.0 / n as f64;
    }
    counts
}

#[test]
fn temperature_is_the_textbook_table() {
    // p = 0.4, 0.6 at T = 0.5, 0.2 and 0; sampling error of 40,000 draws is below 0.01.
    for (t, first) in [(1.0, 0.4), (0.5, 0.31), (0.2, 0.12), (0.0, 0.0), (1e-45, 0.0)] {
        let got = probabilities(t, &[0.4, 0.6]);
        assert!(
            (got[0] - first).abs() < 0.01 && (got[1] - 1.0 + first).abs() < 0.01,
            "{t}: {got:?}"
        );
    }
    for p in probabilities(f32::INFINITY, &[0.1, 0.2, 0.3, 0.4]) {
        assert!((p - 0.25).abs() < 0.01);
    }
}

#[test]
fn philox_gives_the_published_numbers() {
    // Known answer of Random123 for counter 0 and key 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
    let expected = (0xe169_c58d_6627_e8d5u64 >> 11) as f64 / (1u64 << 53) as f64;
    assert_eq!(uniform(0, 0), expected);
}

#[test]
fn filters_cut_where_they_say() {
    let logits: [f32; 5] = core::array::from_fn(|i| libm::logf([0.4, 0.3, 0.2, 0.06, 0.04][i]));
    let mut candidates = [Candidate::default(); 5];
    mote_kernels::top_k(&logits, &mut candidates);
    let left = |top_p, min_p| {
        let options = Options { top_p, min_p, ..Options::default() };
        filter(&options, &candidates, Bounds { low: 1.0 / 0.4, high: 1.0 / 0.4 }).unwrap_or(5)
    };
    assert_eq!(left(1.0, 0.0), 5);
    assert_eq!(left(0.65, 0.0), 2);
    assert_eq!(left(0.71, 0.0), 3);
    assert_eq!(left(0.0, 0.0), 1);
    assert_eq!(left(1.0, 0.4), 3);
    assert_eq!(left(1.0, 1.0), 1);
}

#[test]
fn penalties_lower_recent_tokens() {
    let options = Options {
        repetition_penalty: 2.0,
        frequency_penalty: 0.5,
        presence_penalty: 0.25,
        penalty_window: 3,
        ..Options::default()
    };
    let mut logits = [4.0, 4.0, -1.0, 1.0];
    penalize(&options, &mut logits, &[3, 1, 1, 2]);
    // Token 1 occurs twice: (4 - 0.5 - 0.25) / 2 - 0.5; token 3 lies before the window.
    assert_eq!(logits, [4.0, 1.125, -3.5, 1.0]);
}

#[test]
fn ties_go_to_the_lowest_id_and_nonsense_is_refused() {
    let greedy = Options { temperature: 0.0, ..Options::default() };
    assert_eq!(pick(&greedy, &mut [1.0, 3.0, 3.0], &[], &mut []), Ok(1));
    for bad in [f32::NAN, f32::INFINITY] {
        assert_eq!(pick(&greedy, &mut [1.0, bad], &[], &mut []), Err(SessionError::NotFinite));
    }
    let defaults = Options::default();
    for options in [
        Options { temperature: -1.0, ..defaults },
        Options { temperature: f32::NAN, ..defaults },
        Options { top_p: f32::NAN, ..defaults },
        Options { top_p: 2.0, ..defaults },
        Options { min_p: -0.1, ..defaults },
        Options { repetition_penalty: 0.0, ..defaults },
        Options { presence_penalty: f32::INFINITY, ..defaults },
    ] {
        assert!(matches!(options.check(), Err(SessionError::Option(_))));
    }
}

/// What the module's documentation says, in as many words: everything is sorted, summed and cut.
fn pick_by_definition(options: &Options, logits: &[f32], uniform: f64) -> u32 {
    let mut all: Vec<_> = logits.iter().zip(0..).map(|(&value, id)| (value, id)).collect();
    // The sort is stable.
    all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
    all.truncate(if options.top_k == 0 { all.len() } else { options.top_k });
    let best = all[0].0;
    let weight = |value: f32| f64::from(exp(value - best));
    let mut left = all.len();
    if options.top_p < 1.0 {
        let total: f64 = all.iter().map(|&(value, _)| weight(value)).sum();
        let sums = all.iter().scan(0.0, |sum, &(value, _)| {
            *sum += weight(value);
            Some(*sum)
        });
        left = 1 + sums.take_while(|&sum| sum < total * f64::from(options.top_p)).count();
    }
    all.truncate(left);
    let stay = all.iter().take_while(|&&(value, _)| weight(value) >= f64::from(options.min_p));
    all.truncate(stay.count().max(1));
    let at_temperature = |value: f32| match value - best {
        0.0 => 1.0,
        distance => f64::from(exp(distance / options.temperature)),
    };
    let total: f64 = all.iter().map(|&(value, _)| at_temperature(value)).sum();
    let mut rest = uniform * total;
    for &(value, id) in &all {
        rest -= at_temperature(value);
        if rest < 0.0 {
            return id;
        }
    }
    all[0].1
}

/// Logits of many kinds: peaked, flat, with ties, zeros of both signs, rising (so that every one is
/// the best so far), and far apart.
fn logits(kind: usize, n: usize, seed: u64) -> Vec<f32> {
    let uniform = |i: usize| uniform(seed, i) as f32;
    let logit = |i| match kind {
        0 => 20.0 * uniform(i) * uniform(i + n) * uniform(i + 2 * n),
        1 => uniform(i),
        2 => (uniform(i) * 5.0) as i32 as f32,
        3 => [0.0, -0.0, -1.0][(uniform(i) * 3.0) as usize],
        4 => i as f32 * 0.01,
        5 => (uniform(i) - 0.5) * 1e30,
        _ => 12.0 - 3.0 * libm::logf(1.0 + uniform(i) * n as f32),
    };
    (0..n).map(logit).collect()
}

/// The lazy way is not an approximation: it finds the same token for every draw, those included
/// that fall on the border between two tokens.
#[test]
fn the_same_token_as_by_definition() {
    let options = |temperature, top_k, top_p, min_p| Options {
        temperature,
        top_k,
        top_p,
        min_p,
        ..Options::default()
    };
    let all = [(0.95, 0.05), (0.95, 0.0), (1.0, 0.05), (1.0, 0.0), (0.3, 0.0), (0.999, 1e-6)];
    let mut cases: Vec<_> = [0.8, 1.0, 1e-45, 1.7, f32::INFINITY]
        .into_iter()
        .flat_map(|t| all.map(|(top_p, min_p)| options(t, 0, top_p, min_p)))
        .collect();
    cases.extend([options(0.8, 40, 0.95, 0.05), options(1.0, 1000, 1.0, 0.0)]);
    for n in [1, 2, 40, 64, 65, 513, 3000] {
        let mut candidates = std::vec![Candidate::default(); n];
        for (kind, seed) in (0..7).flat_map(|kind| [(kind, 1), (kind, 2)]) {
            let logits = logits(kind, n, seed);
            for options in &cases {
                let options = Options { seed, ..*options };
                let recent = std::vec![0; n % 7 + kind];
                let want = pick_by_definition(&options, &logits, uniform(seed, recent.len()));
                let got = pick(&options, &mut logits.clone(), &recent, &mut candidates);
                assert_eq!(got, Ok(want), "n {n}, kind {kind}, {options:?}");
            }
        }
    }
}

/// Draws that fall exactly where the definition's sums end, and beside it.
#[test]
fn the_same_token_on_every_border() {
    let n = 700;
    for kind in [0, 1, 2, 6] {
        let logits = logits(kind, n, 3);
        let mut sorted = std::vec![Candidate::default(); n];
        mote_kernels::top_k(&logits, &mut sorted);
        let best = sorted[0];
        let total: f64 = sorted.iter().map(|candidate| weight(candidate, best)).sum();
        let (mut sum, mut certain) = (0.0, 0);
        for candidate in &sorted[..200] {
            sum += weight(candidate, best);
            let border = sum / total;
            for draw in [border.next_down(), border, border.next_up(), border - 1e-9] {
                let free = Options {
                    temperature: 1.0,
                    top_p: 1.0,
                    min_p: 0.0,
                    top_k: 0,
                    ..Options::default()
                };
                let want = pick_by_definition(&free, &logits, draw);
                let mut candidates = std::vec![Candidate::default(); n];
                let got = lazy::choose(arch::best(), &free, &logits, &mut candidates, draw);
                assert!(got.is_none_or(|got| got == want), "kind {kind}, draw {draw}");
                certain += usize::from(got.is_some());
                let nucleus = Options { top_p: border as f32, ..free };
                let want = pick_by_definition(&nucleus, &logits, 0.999_999);
                let got = lazy::choose(arch::best(), &nucleus, &logits, &mut candidates, 0.999_999);
                assert!(got.is_none_or(|got| got == want), "kind {kind}, top-p {border}");
            }
        }
        assert!(certain >= 200, "kind {kind}: {certain} of 800 draws");
    }
}

#[test]
fn only_what_a_mask_has_is_drawn() {
    let start: [f32; 70] = core::array::from_fn(|i| (i * 37 % 11) as f32 - 3.0);
    let options = |temperature, top_k| Options {
        temperature,
        top_k,
        repetition_penalty: 1.3,
        ..Options::default()
    };
    for options in [options(0.0, 40), options(1.0, 5), options(1.0, 0), options(f32::INFINITY, 0)] {
        let mut candidates = [Candidate::default(); 70];
        let mut draw = |mask: &[u32], recent: &[u32]| {
            let mut logits = start;
            let kernels = arch::best();
            pick_allowed(kernels, &options, &mut logits, recent, &mut candidates, mask)
        };
        for position in 0..200 {
            let recent = [7; 200];
            let id = draw(&[1 << 3 | 1 << 30, 1 << 2], &recent[..position]).unwrap();
            assert!([3, 30, 34].contains(&id), "{id}");
            assert_eq!(draw(&[0, 0, 1 << 5], &recent[..position]), Ok(69));
        }
        assert_eq!(draw(&[0, 0, 0], &[]), Err(SessionError::Constraint));
        assert_eq!(draw(&[], &[]), Err(SessionError::Constraint));
        // Bits behind the vocabulary mean nothing.
        assert_eq!(draw(&[0, 0, 1 << 9], &[]), Err(SessionError::Constraint));
    }
    // However unlikely a penalty makes what may come.
    for temperature in [0.0, 1.0, f32::INFINITY] {
        let options = Options { frequency_penalty: 3e38, ..options(temperature, 40) };
        let (mut logits, mut candidates) = (start, [Candidate::default(); 70]);
        let (kernels, recent) = (arch::best(), [30; 4]);
        let id = pick_allowed(kernels, &options, &mut logits, &recent, &mut candidates, &[1 << 30]);
        assert_eq!(id, Ok(30));
    }
    // Everything allowed is nothing ruled out.
    for seed in 0..100 {
        for top_k in [0, 7] {
            let options = Options { seed, temperature: 0.9, top_k, ..Options::default() };
            let mut candidates = [Candidate::default(); 70];
            let (mut a, mut b) = (start, start);
            let free = pick(&options, &mut a, &[1], &mut candidates);
            let mask = [u32::MAX; 3];
            let all = pick_allowed(arch::best(), &options, &mut b, &[1], &mut candidates, &mask);
            assert_eq!(free, all);
        }
    }
}
