//! Lent memory, failing allocations, and none at all.

use std::ptr::null_mut;

use super::ngrams::ngram;
use super::support::*;
use crate::Code;
use crate::fallback::*;
use crate::model::*;
use crate::options::*;
use crate::session::*;
use crate::state::*;
use crate::tokens::*;
use crate::write::*;

#[test]
fn case_362_lent_memory() {
    let bytes = Bytes::fixture(GEMMA);
    let (start, len) = (bytes.as_ptr(), bytes.len());
    // SAFETY: as mote.h demands; memory is lent longer than it is used.
    unsafe {
        let mut needed = 0;
        assert_eq!(mote_model_memory(start, len, &mut needed), OK);
        let mut memory = lent(needed + 8);
        let model = |skip: usize, memory_size| {
            let mut model = null_mut();
            let memory = memory.as_mut_ptr().cast::<u8>().add(skip).cast();
            let options = ModelOptions { memory, memory_size, ..ModelOptions::default() };
            (mote_model_from_memory(start, len, &options, &mut model), model)
        };
        let mut model = model;
        assert_eq!(model(0, needed - 1).0, code(Code::TooSmall));
        assert_eq!(model(0, 0).0, code(Code::TooSmall));
        assert_eq!(model(1, needed).0, code(Code::Invalid));
        let (status, model) = model(0, needed);
        assert_eq!(status, OK);

        let mut plan = PlanInfo::default();
        assert_eq!(mote_session_plan(model, &small(), &mut plan), OK);
        let needed = plan.total_bytes as usize;
        let mut memory = lent(needed + 8);
        let mut session = |skip: usize, memory_size| {
            let mut session = null_mut();
            let memory = memory.as_mut_ptr().cast::<u8>().add(skip).cast();
            let options = SessionOptions { memory, memory_size, ..small() };
            (mote_session_new(model, &options, &mut session), session)
        };
        assert_eq!(session(0, needed - 1).0, code(Code::TooSmall));
        assert_eq!(session(1, needed).0, code(Code::Invalid));
        assert_eq!(session(8, needed).0, OK);
        let (status, session) = session(0, needed);
        assert_eq!(status, OK);
        let session = Text(session);
        assert_eq!(session.feed(&prompt(9)), OK);
        session.write(5);
        drop(session);
        assert_eq!(mote_model_free(model), OK);
        let null = SessionOptions { memory_size: 9, ..small() };
        let model = bytes.model();
        assert_eq!(mote_session_new(model.0, &null, &mut null_mut()), code(Code::Invalid));
    }
}

/// Bytes on both sides of the lent memory stay what they were.
#[test]
fn case_363_exactly_the_memory_that_was_asked_for() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    const FENCE: usize = 64;
    for _ in 0..1000 {
        let options = SessionOptions {
            n_ctx: 1 + random(200) as u32,
            batch: 1 + random(40) as u32,
            threads: 1 + random(2) as u32,
            cache: random(3) as u32,
            activations: random(3) as u32,
            max_top_k: random(50) as u32,
            max_biases: random(9) as u32,
            max_stop_bytes: random(300) as u32,
            ..SessionOptions::default()
        };
        // SAFETY: as mote.h demands.
        unsafe {
            let mut plan = PlanInfo::default();
            assert_eq!(mote_session_plan(model.0, &options, &mut plan), OK);
            let needed = plan.total_bytes as usize;
            let mut memory = vec![0xa5_u8; needed + 2 * FENCE + 8];
            let from = FENCE + memory.as_ptr().add(FENCE).align_offset(8);
            let options = SessionOptions {
                memory: memory.as_mut_ptr().add(from).cast(),
                memory_size: needed,
                ..options
            };
            let session = model.session(&options);
            let n = (options.n_ctx - 1).min(20);
            if n > 0 {
                assert_eq!(session.feed(&prompt(n)), OK);
                session.next().unwrap();
            }
            drop(session);
            let fences = [&memory[..from], &memory[from + needed..]];
            assert!(fences.iter().all(|fence| fence.iter().all(|&byte| byte == 0xa5)));
        }
    }
}

/// Little of what is asked for is never used: a session that does everything that its options
/// allow leaves less than a twentieth untouched. (Of small contexts more is left: a thread's scratch
/// is for 16 queries over 256 positions, and every token can be a candidate.)
#[test]
fn case_363_no_more_than_is_used() {
    let bytes = Bytes::fixture("models/llama-q4_0.gguf");
    let model = bytes.model();
    for (n_ctx, batch, cache, activations) in
        [(300, 300, 1, 0), (512, 64, 2, 2), (512, 300, 1, 1), (1000, 16, 2, 0)]
    {
        let options = SessionOptions {
            n_ctx,
            batch,
            threads: 1,
            cache,
            activations,
            max_biases: 8,
            max_stop_bytes: 24,
            ..SessionOptions::default()
        };
        let mut plan = PlanInfo::default();
        // SAFETY: as mote.h demands.
        assert_eq!(unsafe { mote_session_plan(model.0, &options, &mut plan) }, OK);
        let needed = plan.total_bytes as usize;
        // What lies there with both paints may be what was there before.
        let touched = [0xa5_u8, 0x5a].map(|paint| touched(&model, &options, needed, paint));
        let either = touched[0].iter().zip(&touched[1]).filter(|(a, b)| **a || **b).count();
        let untouched = needed - either;
        assert!(untouched * 20 < needed, "{n_ctx}, {batch}: {untouched} of {needed} bytes");
    }
}

/// Which of the `needed` bytes of a session's memory, lent with `paint` in them, are something else
/// after it did all that it can.
fn touched(model: &Owned, options: &SessionOptions, needed: usize, paint: u8) -> Vec<bool> {
    let mut memory = lent(needed);
    memory.fill(u64::from_ne_bytes([paint; 8]));
    let options =
        SessionOptions { memory: memory.as_mut_ptr().cast(), memory_size: needed, ..*options };
    let session = model.session(&options);
    let stop = c"a stop string: 23 bytes";
    let stops = [stop.as_ptr()];
    let biases: Vec<LogitBias> = (0..8).map(|id| LogitBias { id, value: -1.0 }).collect();
    let writing = WritingOptions {
        stops: stops.as_ptr(),
        n_stops: 1,
        biases: biases.as_ptr(),
        n_biases: biases.len(),
        temperature: 2.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        penalty_window: u32::MAX,
        presence_penalty: 0.1,
        ignore_eos: 1,
        show_special: 1,
        ..WritingOptions::default()
    };
    assert_eq!(session.begin(&writing), OK);
    assert_eq!(session.feed(&prompt(options.n_ctx - 10)), OK);
    session.write(20);
    drop(session);
    let bytes = memory.iter().flat_map(|word| word.to_ne_bytes());
    bytes.take(needed).map(|byte| byte != paint).collect()
}

/// Every allocation in turn fails, of those that are made with one thread.
#[test]
fn case_364_allocations_that_fail() {
    let bytes = Bytes::fixture(GEMMA);
    let path = c_path(GEMMA);
    let load_and_run = |mapped: bool| -> i32 {
        let (options, mut model) = (ModelOptions::default(), null_mut());
        // SAFETY: as mote.h demands.
        unsafe {
            let status = match mapped {
                true => mote_model_open(path.as_ptr(), &options, &mut model),
                false => mote_model_from_memory(bytes.as_ptr(), bytes.len(), &options, &mut model),
            };
            if status != OK {
                return status;
            }
            let mut session = null_mut();
            let mut status = mote_session_new(model, &small(), &mut session);
            if status == OK {
                status = mote_session_feed_text(session, c"ab".as_ptr(), 2, 1);
            }
            if status == OK {
                status = mote_session_next(session, &mut Piece::default());
            }
            mote_session_free(session);
            mote_model_free(model);
            status
        }
    };
    for mapped in [false, true] {
        // Whatever is made once and for all.
        assert_eq!(load_and_run(mapped), OK);
        let mut failures = 0;
        for k in 0.. {
            let (status, left, failed) = failing(k, || load_and_run(mapped));
            assert_eq!(left, 0, "allocation {k} failed");
            if !failed {
                assert_eq!(status, OK);
                break;
            }
            assert_eq!(status, code(Code::NoMemory), "allocation {k} failed");
            failures += 1;
            assert_eq!(load_and_run(mapped), OK, "a later try");
        }
        assert!(failures >= 3, "{failures}");
    }
}

/// The same of all that is done with a session: saved and restored, texts that become tokens and back, a
/// fallback, whose tables are large.
#[test]
fn case_419_every_other_allocation() {
    let (bytes, mut saved, mut ids) = (Bytes::fixture(GEMMA), vec![0; 1 << 20], vec![0; 4096]);
    let gemma = std::fs::read(path(GEMMA)).unwrap();
    let lm = Bytes::of(&ngram(&gemma, &prompt(300), 3));
    let (model, lm) = (bytes.model(), lm.model());
    let (long, first) = ("ab".repeat(1000), prompt(9));
    let mut work = || -> i32 {
        let (mut session, mut n, mut text) = (null_mut(), 0, [0; 64]);
        // SAFETY: as mote.h demands.
        unsafe {
            let mut status = mote_session_new(model.0, &small(), &mut session);
            let mut then = |call: &mut dyn FnMut() -> i32| {
                if status == OK {
                    status = call();
                }
            };
            then(&mut || mote_session_set_fallback(session, lm.0, null_mut(), 0));
            then(&mut || mote_session_feed(session, first.as_ptr(), first.len(), 0));
            then(&mut || mote_session_save(session, saved.as_mut_ptr(), saved.len(), &mut n));
            then(&mut || mote_session_restore(session, saved.as_ptr(), n));
            then(&mut || {
                let (start, len) = (long.as_ptr().cast(), long.len());
                mote_tokenize(model.0, start, len, 0, ids.as_mut_ptr(), ids.len(), &mut n)
            });
            then(&mut || {
                mote_detokenize(model.0, ids.as_ptr(), 9, 0, text.as_mut_ptr(), 64, &mut n)
            });
            mote_session_free(session);
            status
        }
    };
    assert_eq!(work(), OK);
    let mut failures = 0;
    loop {
        let (status, left, failed) = failing(failures, &mut work);
        assert_eq!(left, 0, "allocation {failures} failed");
        if !failed {
            assert_eq!(status, OK);
            break;
        }
        assert_eq!(status, code(Code::NoMemory), "allocation {failures} failed");
        assert_eq!(work(), OK, "a later try");
        failures += 1;
    }
    assert!(failures >= 5, "{failures}");
}

#[test]
fn case_365_nothing_is_allocated_after_the_start() {
    let bytes = Bytes::fixture("models/llama-f32.gguf");
    let model = bytes.model();
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1, 2, 3]))), 1, "the counter counts");
    let stop = [c"a text that does not come".as_ptr(), c"nor this".as_ptr()];
    let biases = [LogitBias { id: 3, value: 1.0 }];
    let options = WritingOptions {
        repetition_penalty: 1.1,
        ignore_eos: 1,
        stops: stop.as_ptr(),
        n_stops: 2,
        biases: biases.as_ptr(),
        n_biases: 1,
        ..WritingOptions::default()
    };
    for threads in [1, 2] {
        let session = model.session(&SessionOptions { n_ctx: 100, threads, ..small() });
        let mut saved = vec![0; 1 << 20];
        let (mut scores, ids) = ([0.0; 8], prompt(40));
        let (mut n, mut id, mut logits) = (0, 0, core::ptr::null());
        let mut piece = Piece::default();
        let s = session.0;
        // SAFETY: as mote.h demands.
        let count = allocations(|| unsafe {
            assert_eq!(mote_session_begin(s, &options), OK);
            assert_eq!(mote_session_feed(s, ids.as_ptr(), ids.len(), 0), OK);
            for _ in 0..30 {
                assert_eq!(mote_session_next(s, &mut piece), OK);
            }
            assert_eq!(mote_session_sample(s, &mut id), OK);
            assert_eq!(mote_session_logits(s, &mut logits, &mut n), OK);
            assert_eq!(mote_session_score(s, ids.as_ptr(), 8, scores.as_mut_ptr()), OK);
            assert_eq!(mote_session_save(s, saved.as_mut_ptr(), saved.len(), &mut n), OK);
            assert_eq!(mote_session_rewind(s, 5), OK);
            assert_eq!(mote_session_restore(s, saved.as_ptr(), n), OK);
            assert_eq!(mote_session_restore(s, saved.as_ptr(), n - 1), code(Code::State));
            assert_eq!(mote_session_set_deadline(s, 1 << 40), OK);
            assert_eq!(mote_session_next(s, &mut piece), OK);
        });
        assert_eq!(count, 0, "{threads} threads");
    }
}
