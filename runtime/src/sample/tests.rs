use super::*;

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
    top_k(&logits, &mut candidates);
    let left = |top_p, min_p| filter(&Options { top_p, min_p, ..Options::default() }, &candidates);
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
