//! Ending a feeding in the middle: it is asked for before every layer, and the session stays sound.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mote_kernels::{CacheType, QuantType};
use mote_runtime::{Origin, Precision, Session};
use mote_tests::models::{encoded, fixture};
use mote_tests::random::Random;
use mote_tests::speak::Run;

fn run() -> Run {
    Run { batch: 8, precision: Precision::Mixed, cache: CacheType::F16, ..Run::default() }
}

fn model() -> Vec<u8> {
    encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0)
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

fn logits(session: &mut Session<'_>) -> Vec<f32> {
    session.logits().unwrap().to_vec()
}

#[test]
fn feeding_is_asked_before_every_layer_and_before_the_logits() {
    run().session(&model(), 40, |session| {
        let n_layers = session.model().config().n_layers;
        let mut calls = Vec::new();
        let fed = session.feed_with(&text(20), Origin::Prompt, |done| {
            calls.push(done);
            true
        });
        assert_eq!(fed, Ok(20));
        let mut expected: Vec<_> = [0, 8, 16].iter().flat_map(|&d| vec![d; n_layers]).collect();
        expected.push(16);
        assert_eq!(calls, expected);
    });
}

/// Wherever it is ended, feeding the rest gives the same bits as feeding all at once.
#[test]
fn a_feeding_that_was_ended_goes_on_with_the_same_bits() {
    let (model, ids) = (model(), text(30));
    run().session(&model, 40, |session| {
        session.feed(&ids[..5]).unwrap();
        session.feed(&ids[5..]).unwrap();
        let expected = logits(session);
        for limit in 0.. {
            session.rewind(0);
            session.feed(&ids[..5]).unwrap();
            let before = logits(session);
            let mut calls = 0;
            let fed = session.feed_with(&ids[5..], Origin::Prompt, |_| {
                calls += 1;
                calls <= limit
            });
            let fed = fed.unwrap();
            assert_eq!(session.position(), 5 + fed);
            assert_eq!(session.tokens(), &ids[..5 + fed]);
            if fed == 0 {
                assert_eq!(logits(session), before, "nothing happened");
            } else if fed < 25 {
                assert!(fed.is_multiple_of(8) && session.logits().is_none());
            }
            if calls <= limit {
                assert_eq!(logits(session), expected);
                assert_eq!(calls, 4 * session.model().config().n_layers + 1);
                break;
            }
            // The cache holds other tokens' leavings behind the position, which must not matter.
            session.feed(&ids[5 + fed..]).unwrap();
            assert_eq!(logits(session), expected, "ended at call {limit}");
        }
    });
}

#[test]
fn scoring_that_was_ended_has_shown_what_it_counts() {
    let (model, ids) = (model(), text(30));
    let mut expected = Vec::new();
    run().session(&model, 30, |session| {
        session.score(&ids, |_, logits| expected.push(logits.to_vec())).unwrap();
        for limit in [0, 1, 3, 4, 5, 9, 13] {
            session.rewind(0);
            let (mut calls, mut shown) = (0, Vec::new());
            let go_on = |_| {
                calls += 1;
                calls <= limit
            };
            let visit = |_, logits: &mut [f32]| shown.push(logits.to_vec());
            let done = session.score_with(&ids, Origin::Prompt, 0, go_on, visit).unwrap();
            assert_eq!((done, session.position()), (shown.len(), shown.len()));
            session.score(&ids[done..], |_, logits| shown.push(logits.to_vec())).unwrap();
            assert!(shown == expected, "ended at call {limit}");
        }
    });
}

#[test]
fn logits_are_recalled_with_the_same_bits() {
    let (model, ids) = (model(), text(20));
    run().session(&model, 40, |session| {
        assert!(session.recall(|| true).is_err(), "nothing was fed");
        session.feed(&ids[..9]).unwrap();
        session.feed_generated(&ids[9..10]).unwrap();
        let tenth = logits(session);
        session.feed(&ids[10..]).unwrap();
        let last = logits(session);
        session.rewind(10);
        assert_eq!(session.recall(|| false), Ok(false));
        assert!(session.logits().is_none());
        assert_eq!((session.recall(|| true), session.position()), (Ok(true), 10));
        assert_eq!(logits(session), tenth);
        assert_eq!(session.origin(9), Some(Origin::Generated));
        session.score(&ids[10..], |_, _| ()).unwrap();
        assert_eq!(session.recall(|| true), Ok(true));
        assert_eq!(logits(session), last);
    });
}

/// Feeds until `is_asked` says that it should end: no layer is begun after that, and the session is as if it
/// had been given no more.
fn feed_until(session: &mut Session<'_>, ids: &[u32], is_asked: impl Fn() -> bool) {
    session.rewind(0);
    let mut late = 0;
    let go_on = |_| {
        late += usize::from(is_asked());
        late == 0
    };
    let fed = session.feed_with(ids, Origin::Prompt, go_on).unwrap();
    assert!(late <= 1, "a layer was begun after the end");
    assert_eq!((session.position(), session.tokens()), (fed, &ids[..fed]));
}

/// What the logits are when the rest has been fed, too.
fn finished(session: &mut Session<'_>, ids: &[u32]) -> Vec<f32> {
    match &ids[session.position()..] {
        [] => assert!(session.recall(|| true).unwrap()),
        rest => session.feed(rest).unwrap(),
    }
    logits(session)
}

#[test]
fn case_368_ended_at_ten_thousand_random_moments() {
    let (model, ids) = (model(), text(40));
    run().session(&model, 40, |session| {
        let start = Instant::now();
        session.feed(&ids).unwrap();
        let (expected, whole) = (logits(session), start.elapsed());
        let mut random = Random::new(3);
        let mut waits: Vec<Duration> = Vec::new();
        for round in 0..10_000 {
            let moment = Instant::now() + whole.mul_f32(random.uniform().abs());
            feed_until(session, &ids, || Instant::now() >= moment);
            waits.push(moment.elapsed());
            if round % 100 == 0 {
                assert_eq!(finished(session, &ids), expected);
            }
        }
        waits.sort_unstable();
        // The system may give the processor to others for longer; mostly it does not.
        assert!(waits[9900] < Duration::from_millis(50), "{:?}", waits[9900]);
        println!(
            "ended within {:?}, 99.9 % within {:?}, all within {:?}",
            waits[5000], waits[9990], waits[9999]
        );
    });
}

#[test]
fn case_368_ended_by_another_thread() {
    let (model, ids) = (model(), text(40));
    let (asked, rounds, start) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while rounds.load(Ordering::SeqCst) < 300 && start.elapsed() < Duration::from_secs(100)
            {
                asked.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        run().session(&model, 40, |session| {
            session.feed(&ids).unwrap();
            let expected = logits(session);
            while rounds.fetch_add(1, Ordering::SeqCst) < 300 {
                feed_until(session, &ids, || asked.load(Ordering::SeqCst));
                asked.store(false, Ordering::SeqCst);
                assert_eq!(finished(session, &ids), expected);
            }
        });
    });
}
