//! A main model and a spare one as one: who answers when, with which bits, and what is said of it.

use std::cell::Cell;
use std::time::Instant;

use mote_formats::Gguf;
use mote_kernels::{CacheType, QuantType, arch};
use mote_runtime::{
    Completion, CompletionOptions, Deadline, Degraded, Fallback, LanguageModel, NgramModel,
    NgramSession, Origin, Precision, Session, SessionError, sample,
};
use mote_tests::models::{encoded, fixture, llama};
use mote_tests::ngrams::ngram;
use mote_tests::speak::Run;

const N_CTX: usize = 64;
/// A token whose embedding is NaN in [`poisoned`].
const POISON: u32 = 700;

fn model() -> Vec<u8> {
    encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0)
}

/// The same with an embedding that is not finite.
fn poisoned() -> Vec<u8> {
    let mut file = fixture("models/llama-f32.gguf");
    let gguf = Gguf::parse(&file).unwrap();
    let tensor = gguf.tensors().find(|tensor| tensor.name() == "token_embd.weight").unwrap();
    let row = tensor.dims()[0] as usize * 4;
    let start = tensor.data().as_ptr() as usize - file.as_ptr() as usize + POISON as usize * row;
    file[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    file
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 290 + 3).collect()
}

/// A main session and an n-gram session of the same vocabulary.
fn with_both<R>(main: &[u8], work: impl FnOnce(&mut Session<'_>, &mut NgramSession<'_>) -> R) -> R {
    let (precision, cache) = (Precision::Mixed, CacheType::F16);
    let run = Run { batch: 8, precision, cache, ..Run::default() };
    let file = ngram(main, &text(500), 3);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let spare = NgramModel::new(&gguf, &mut tables).unwrap();
    let mut memory = vec![0xff; NgramSession::plan(&spare, N_CTX).unwrap().total_bytes];
    let mut spare = NgramSession::new(&spare, N_CTX, arch::best(), &mut memory).unwrap();
    run.session(main, N_CTX, |session| work(session, &mut spare))
}

/// A clock that goes on by one with every look at it.
fn ticking(now: &Cell<u64>) -> impl Fn() -> u64 + '_ {
    || now.replace(now.get() + 1)
}

fn logits(model: &mut dyn LanguageModel<'_>) -> Vec<f32> {
    model.logits().unwrap().to_vec()
}

/// What the n-gram model says after these tokens.
fn of_spare(spare: &mut NgramSession<'_>, tokens: &[u32]) -> Vec<f32> {
    spare.rewind(0);
    spare.feed(tokens).unwrap();
    logits(spare)
}

/// What the main model says after these tokens, of which those from 10 on were generated.
fn of_main(main: &[u8], tokens: &[u32]) -> Vec<f32> {
    with_both(main, |session, _| {
        session.feed(&tokens[..tokens.len().min(10)]).unwrap();
        for token in tokens.iter().skip(10) {
            session.feed_generated(&[*token]).unwrap();
        }
        logits(session)
    })
}

#[test]
fn a_main_model_in_time_answers_as_if_alone() {
    let (model, ids) = (model(), text(30));
    let expected = of_main(&model, &ids);
    with_both(&model, |main, spare| {
        main.feed(&ids[..10]).unwrap();
        let mut both = Fallback::new(main, spare).unwrap();
        assert_eq!((both.tokens(), both.capacity()), (&ids[..10], N_CTX));
        for id in &ids[10..] {
            both.feed_generated(&[*id]).unwrap();
        }
        assert_eq!((both.degraded(), both.position()), (None, 30));
        assert_eq!(logits(&mut both), expected);
        both.rewind(29);
        assert!(both.logits().is_none());
        assert_eq!(both.recall(&mut || true), Ok(true));
        both.feed_generated(&ids[29..]).unwrap();
        assert_eq!(logits(&mut both), expected);
    });
}

/// Wherever the deadline strikes, the n-gram model answers; with time, the main one comes back, with
/// the bits that it would have had.
#[test]
fn a_late_model_is_answered_for_and_comes_back() {
    let (model, ids) = (model(), text(30));
    let expected = of_main(&model, &ids);
    with_both(&model, |main, spare| {
        let after_29 = of_spare(spare, &ids[..29]);
        let mut late = 0;
        for each in [0, 1, 2, 4, 5, 9, 1000] {
            main.rewind(0);
            let now = Cell::new(0);
            let clock = ticking(&now);
            let mut both = Fallback::new(&mut *main, &mut *spare).unwrap();
            both.set_deadline(Some(Deadline { clock: &clock, each, moment: u64::MAX }));
            both.feed(&ids[..10]).unwrap();
            for id in &ids[10..29] {
                both.feed_generated(&[*id]).unwrap();
            }
            assert_eq!((both.position(), both.tokens()), (29, &ids[..29]));
            let is_late = both.degraded().is_some();
            if is_late {
                late += 1;
                assert_eq!(both.degraded(), Some(Degraded::Deadline), "{each}");
                assert_eq!(logits(&mut both), after_29, "{each}");
                assert_eq!(both.recall(&mut || true), Ok(true));
                assert_eq!(logits(&mut both), after_29, "{each}");
            }
            both.set_deadline(None);
            both.feed_generated(&ids[29..]).unwrap();
            assert_eq!(both.degraded(), None);
            assert!(logits(&mut both) == expected, "late after {each}");
        }
        assert!((3..7).contains(&late), "{late}");
    });
}

/// Less time than a feeding takes is enough to catch up piece by piece.
#[test]
fn a_late_model_catches_up_while_others_wait_for_it() {
    let (model, ids) = (model(), text(60));
    with_both(&model, |main, spare| {
        let n_layers = main.model().config().n_layers as u64;
        let now = Cell::new(0);
        let clock = ticking(&now);
        let mut both = Fallback::new(main, spare).unwrap();
        // The first feeding needs seven batches, which is too much; a piece and its logits fit.
        let each = 2 * (n_layers + 1) + 2;
        both.set_deadline(Some(Deadline { clock: &clock, each, moment: u64::MAX }));
        both.feed(&ids[..50]).unwrap();
        assert_eq!(both.degraded(), Some(Degraded::Deadline));
        let mut feedings = 0;
        while both.degraded().is_some() {
            both.feed_generated(&[ids[50 + feedings]]).unwrap();
            feedings += 1;
        }
        assert!((2..9).contains(&feedings), "{feedings}");
    });
}

#[test]
fn after_the_moment_nothing_is_tried() {
    let (model, ids) = (model(), text(30));
    with_both(&model, |main, spare| {
        let now = Cell::new(0);
        let clock = || now.get();
        let mut both = Fallback::new(main, spare).unwrap();
        both.set_deadline(Some(Deadline { clock: &clock, each: u64::MAX, moment: 5 }));
        both.feed(&ids[..10]).unwrap();
        assert_eq!(both.degraded(), None);
        now.set(5);
        let mut asked = 0;
        let mut go_on = |_| {
            asked += 1;
            true
        };
        both.feed_with(&ids[10..20], Origin::Prompt, &mut go_on).unwrap();
        assert_eq!((both.degraded(), asked), (Some(Degraded::Deadline), 0));
        both.rewind(12);
        assert_eq!(both.recall(&mut || true), Ok(true));
        assert_eq!(both.degraded(), Some(Degraded::Deadline));
        now.set(0);
        both.rewind(11);
        assert_eq!(both.recall(&mut || true), Ok(true));
        assert_eq!((both.degraded(), both.position()), (None, 11));
    });
}

/// NaN in the weights of one token: the n-gram model answers until the token is gone.
#[test]
fn logits_that_are_not_finite_are_answered_for_until_the_text_goes_back() {
    let (model, mut ids) = (poisoned(), text(20));
    ids[12] = POISON;
    with_both(&model, |main, spare| {
        let expected = of_spare(spare, &ids);
        let mut both = Fallback::new(main, spare).unwrap();
        both.feed(&ids[..10]).unwrap();
        let after_10 = logits(&mut both);
        assert_eq!(both.degraded(), None);
        both.feed(&ids[10..13]).unwrap();
        for id in &ids[13..] {
            assert_eq!(both.degraded(), Some(Degraded::NotFinite));
            both.feed_generated(&[*id]).unwrap();
        }
        assert_eq!(logits(&mut both), expected);
        let state = both.state();
        both.rewind(12);
        assert_eq!(both.degraded(), Some(Degraded::NotFinite), "of a part of what was fed with it");
        assert_ne!(both.state(), Default::default());
        assert_eq!(state, both.state());
        both.rewind(10);
        assert_eq!((both.degraded(), both.recall(&mut || true)), (None, Ok(true)));
        assert_eq!(logits(&mut both), after_10);
        both.feed(&[5]).unwrap();
        assert_eq!(both.degraded(), None);
    });
}

#[test]
fn what_is_scored_is_the_main_models_as_far_as_it_came() {
    let (model, mut ids) = (poisoned(), text(30));
    ids[17] = POISON;
    let mut expected = Vec::new();
    with_both(&model, |main, spare| {
        main.score(&ids[..17], |_, logits| expected.push(logits.to_vec())).unwrap();
        spare.feed(&ids[..expected.len()]).unwrap();
        let rows = &mut expected;
        spare
            .score_from(&ids[17..], Origin::Prompt, 0, &mut |_, logits| rows.push(logits.to_vec()))
            .unwrap();
    });
    with_both(&model, |main, spare| {
        let mut both = Fallback::new(main, spare).unwrap();
        let mut rows = Vec::new();
        both.feed(&ids[..3]).unwrap();
        let mut show = |i, logits: &mut [f32]| rows.push((i, logits.to_vec()));
        let done = both.score_with(&ids[3..], Origin::Prompt, 1, &mut |_| true, &mut show);
        assert_eq!((done, both.position()), (Ok(27), 30));
        assert_eq!(both.degraded(), Some(Degraded::NotFinite));
        assert_eq!(rows.len(), 26);
        let main_rows = rows.iter().take_while(|(i, row)| *row == expected[3 + i]).count();
        // The batch before the one with the poison, of which the first row was not asked for.
        assert_eq!(main_rows, 7);
        for (n, (i, row)) in rows.iter().enumerate() {
            assert_eq!((*i, row.iter().all(|v| v.is_finite())), (n + 1, true));
        }
        assert_eq!(rows[25].1, expected[29]);
    });
}

/// The caller's own word ends a call: that is no reason to degrade.
#[test]
fn a_call_that_is_ended_can_go_on() {
    let (model, ids) = (model(), text(30));
    let expected = of_main(&model, &ids);
    with_both(&model, |main, spare| {
        for limit in [0, 1, 4, 5, 8, 100] {
            main.rewind(0);
            let mut both = Fallback::new(&mut *main, &mut *spare).unwrap();
            both.feed(&ids[..4]).unwrap();
            let mut calls = 0;
            let mut go_on = |_| {
                calls += 1;
                calls <= limit
            };
            let fed = both.feed_with(&ids[4..10], Origin::Prompt, &mut go_on).unwrap();
            assert_eq!((both.position(), both.degraded()), (4 + fed, None), "{limit}");
            if fed < 6 {
                both.feed(&ids[4 + fed..10]).unwrap();
            }
            for id in &ids[10..] {
                both.feed_generated(&[*id]).unwrap();
            }
            assert!(logits(&mut both) == expected, "ended at call {limit}");
        }
    });
}

#[test]
fn without_a_main_model_the_reason_is_told() {
    let ids = text(12);
    with_both(&model(), |_, spare| {
        let expected = of_spare(spare, &ids);
        spare.rewind(0);
        let mut alone = Fallback::alone(spare, Degraded::Missing);
        let sampling = sample::Options { temperature: 0.0, ..Default::default() };
        let options = CompletionOptions { sampling, max_tokens: 9, ..Default::default() };
        let mut lent = vec![0; Completion::bytes_needed(alone.tokenizer(), &options)];
        let mut completion = Completion::new(&mut alone, options, &mut lent).unwrap();
        completion.feed(&ids, |_| true).unwrap();
        let first = completion.step().unwrap().unwrap();
        assert_eq!(first.degraded, Some(Degraded::Missing));
        let best = mote_kernels::argmax(&expected).unwrap();
        assert_eq!(first.id as usize, best);
        alone.rewind(0);
        assert_eq!(alone.degraded(), Some(Degraded::Missing));
    });
}

#[test]
fn vocabularies_must_be_the_same() {
    let file =
        ngram(&llama(), &text(0).iter().map(|id| id % 32).chain(0..32).collect::<Vec<_>>(), 2);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let spare = NgramModel::new(&gguf, &mut tables).unwrap();
    let mut memory = vec![0; NgramSession::plan(&spare, 9).unwrap().total_bytes];
    let mut spare = NgramSession::new(&spare, 9, arch::best(), &mut memory).unwrap();
    Run::default().session(&model(), 9, |main| {
        let refused = Fallback::new(main, &mut spare).map(|_| ());
        assert!(matches!(refused, Err(SessionError::Option(_))), "{refused:?}");
    });
    with_both(&model(), |main, spare| {
        main.feed(&text(5)).unwrap();
        spare.feed(&text(9)).unwrap();
        let both = Fallback::new(main, spare).unwrap();
        assert_eq!(both.tokens(), text(5), "the main model's context counts");
    });
}

/// Case 424: at every possible moment, a valid token.
#[test]
fn at_every_moment_there_is_a_valid_token() {
    let (model, ids) = (model(), text(40));
    with_both(&model, |main, spare| {
        for strike in 0..60 {
            main.rewind(0);
            let now = Cell::new(0);
            let clock = ticking(&now);
            let mut both = Fallback::new(&mut *main, &mut *spare).unwrap();
            let deadline = Deadline { clock: &clock, each: u64::MAX, moment: strike };
            both.set_deadline(Some(deadline));
            for (step, id) in ids.iter().enumerate() {
                both.feed_generated(&[*id]).unwrap();
                let (logits, recent) = both.logits_and_tokens().unwrap();
                assert_eq!(recent.len(), step + 1);
                let id = sample::pick(arch::best(), &greedy(), logits, recent, &mut []).unwrap();
                assert!(id < 800);
            }
            assert_eq!(both.degraded(), Some(Degraded::Deadline), "{strike}");
        }
    });
}

fn greedy() -> sample::Options {
    sample::Options { temperature: 0.0, ..Default::default() }
}

/// Nanoseconds for which the system may give the processor to others.
const BUSY: u64 = 250_000_000;

/// By a real clock: none at all, a millisecond, half of what the model needs.
#[test]
fn case_423_deadlines_are_kept_and_the_spare_model_answers() {
    let (model, ids) = (model(), text(60));
    with_both(&model, |main, spare| {
        let expected = of_spare(spare, &ids);
        let start = Instant::now();
        main.feed(&ids).unwrap();
        let whole = start.elapsed().as_nanos() as u64;
        let clock = || start.elapsed().as_nanos() as u64;
        let mut late = 0;
        for each in [0, 1_000_000, whole / 2, whole / 8] {
            main.rewind(0);
            let mut both = Fallback::new(&mut *main, &mut *spare).unwrap();
            both.set_deadline(Some(Deadline { clock: &clock, each, moment: u64::MAX }));
            let begun = clock();
            both.feed(&ids).unwrap();
            // A layer's time behind it.
            let over = (clock() - begun).saturating_sub(each);
            assert!(over < whole.max(BUSY), "{over} ns over {each}");
            assert_eq!(both.tokens(), &ids);
            if both.degraded().is_some() {
                late += 1;
                assert_eq!(both.degraded(), Some(Degraded::Deadline));
                let begun = clock();
                assert_eq!(logits(&mut both), expected);
                assert!(clock() - begun < BUSY, "{} ns", clock() - begun);
            }
        }
        assert!(late >= 2, "{late}");
    });
}
