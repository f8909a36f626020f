//! Structs that grow, and values out of range.

use std::ptr::null_mut;

use super::support::*;
use crate::Code;
use crate::model::mote_model_from_memory;
use crate::options::*;
use crate::session::*;
use crate::write::*;

#[test]
fn case_356_sizes_of_structs() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let full = size_of::<SessionOptions>();
    let mut plan = PlanInfo::default();
    // A newer caller's struct: fields behind those that are known.
    let mut bigger = vec![0_u64; 4096 / 8 + 1];
    // SAFETY: as many bytes as the size says.
    let mut plan_with = |size: usize, extra: u64| unsafe {
        bigger.fill(0);
        let options: *mut SessionOptions = bigger.as_mut_ptr().cast();
        options.write(SessionOptions { n_ctx: 32, ..SessionOptions::default() });
        (*options).size = size;
        bigger[4096 / 8 - 1] = extra;
        mote_session_plan(model.0, bigger.as_ptr().cast(), &mut plan)
    };
    let invalid = code(Code::Invalid);
    assert_eq!(plan_with(full, 0), OK);
    assert_eq!(plan_with(8, 0), OK, "an older caller that knows the size alone");
    assert_eq!(plan_with(12, 0), OK, "an older caller");
    assert_eq!(plan_with(full + 8, 0), OK, "a newer caller that uses nothing new");
    assert_eq!(plan_with(4096, 0), OK);
    assert_eq!(plan_with(4096, 1), invalid, "a newer caller that uses something new");
    for size in [0, 1, 7, 9, 11, full - 1, 4097, usize::MAX] {
        assert_eq!(plan_with(size, 0), invalid, "{size}");
    }
    // Results are written as far as the caller knows them.
    let mut plan = PlanInfo { size: 16, cache_bytes: 7, ..PlanInfo::default() };
    // SAFETY: sound pointers.
    unsafe {
        assert_eq!(mote_session_plan(model.0, &small(), &mut plan), OK);
        assert!(plan.size == 16 && plan.total_bytes > 0 && plan.cache_bytes == 7);
        plan.size = 15;
        assert_eq!(mote_session_plan(model.0, &small(), &mut plan), invalid);
    }
}

#[test]
fn case_357_values_that_are_none_of_the_list() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let invalid = code(Code::Invalid);
    let base = small();
    let mut made = null_mut();
    for value in [1, 2, 3, 255, 256, u32::MAX] {
        let refused = [
            SessionOptions { cache: value.max(3), ..base },
            SessionOptions { activations: value.max(3), ..base },
            SessionOptions { drafts: value.max(8), ..base },
        ];
        for options in refused {
            // SAFETY: sound pointers.
            let status = unsafe { mote_session_new(model.0, &options, &mut made) };
            assert_eq!(status, invalid, "{options:?}");
        }
    }
    for value in [2, 255, u32::MAX] {
        let options = ModelOptions { copy: value, ..ModelOptions::default() };
        let mut made = null_mut();
        // SAFETY: sound pointers.
        let status =
            unsafe { mote_model_from_memory(bytes.as_ptr(), bytes.len(), &options, &mut made) };
        assert_eq!(status, invalid);
        let session = model.session(&base);
        for options in [
            WritingOptions { ignore_eos: value, ..greedy() },
            WritingOptions { show_special: value, ..greedy() },
            WritingOptions { reserved: value, ..greedy() },
        ] {
            assert_eq!(session.begin(&options), invalid);
        }
        // SAFETY: a live session.
        assert_eq!(unsafe { mote_session_feed(session.0, [1].as_ptr(), 1, value) }, invalid);
    }
}

#[test]
fn case_358_numbers_of_threads_and_tokens() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let new = |options: &SessionOptions| {
        let mut session = null_mut();
        // SAFETY: sound pointers.
        let status = unsafe { mote_session_new(model.0, options, &mut session) };
        if status == OK {
            let session = Text(session);
            assert_eq!(session.feed(&[3]), OK);
            session.next().unwrap();
        }
        status
    };
    for threads in [0, 1, 10_000, u32::MAX] {
        assert_eq!(new(&SessionOptions { threads, ..small() }), OK, "{threads} threads");
    }
    let invalid = code(Code::Invalid);
    for (n_ctx, status) in [(0, OK), (1, OK), (1 << 31, invalid), (u32::MAX, invalid)] {
        assert_eq!(new(&SessionOptions { n_ctx, ..small() }), status, "{n_ctx} tokens");
    }
    for (batch, status) in [(0, OK), (1, OK), (65_536, OK), (65_537, invalid)] {
        assert_eq!(new(&SessionOptions { batch, ..small() }), status, "batches of {batch}");
    }
    let most = SessionOptions { n_ctx: 1 << 24, memory_size: 0, ..small() };
    let mut plan = PlanInfo::default();
    // SAFETY: sound pointers.
    unsafe { assert_eq!(mote_session_plan(model.0, &most, &mut plan), OK) };
    assert!(plan.total_bytes > 1 << 24);
    for seed in [0, 1, u64::MAX] {
        let session = model.session(&small());
        assert_eq!(session.begin(&WritingOptions { seed, ..WritingOptions::default() }), OK);
        assert_eq!(session.feed(&[3, 4]), OK);
        assert!(session.next().unwrap().0 < 32);
    }
}

#[test]
fn a_budget_chooses_or_refuses() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let wanted = SessionOptions { n_ctx: 4000, n_ctx_least: 64, cache: 0, ..small() };
    let plan_of = |memory_budget| {
        let mut plan = PlanInfo::default();
        let mut error = [0_u8; 256];
        let (room, error_size) = (error.as_mut_ptr().cast(), error.len());
        let options = SessionOptions { memory_budget, error: room, error_size, ..wanted };
        // SAFETY: sound pointers.
        let status = unsafe { mote_session_plan(model.0, &options, &mut plan) };
        (status, plan, String::from_utf8_lossy(&error).into_owned())
    };
    let (_, all, _) = plan_of(0);
    assert_eq!((all.n_ctx, all.threads), (4000, 1));
    let (status, half, _) = plan_of(all.total_bytes / 2);
    assert!(status == OK && half.total_bytes <= all.total_bytes / 2);
    assert!((64..4000).contains(&half.n_ctx));
    let (status, _, error) = plan_of(1000);
    assert_eq!(status, code(Code::Budget));
    // The sentence has the caller's number, and one that is enough.
    assert!(error.contains("the budget is 1000"), "{error}");
    let needed = error.split(' ').find_map(|word| word.parse::<u64>().ok().filter(|&n| n > 1000));
    let (status, least, _) = plan_of(needed.unwrap());
    assert!(status == OK && least.total_bytes <= needed.unwrap(), "{error}");
    assert_eq!(plan_of(needed.unwrap() - 1).0, code(Code::Budget));
    let session = model.session(&SessionOptions { memory_budget: half.total_bytes, ..wanted });
    assert_eq!(session.feed(&prompt(20)), OK);
}

#[test]
fn case_359_sampling_options() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    assert_eq!(session.feed(&prompt(5)), OK);
    let base = WritingOptions::default();
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let accepted =
        [0.0, 1e-45, 1e38, inf].map(|temperature| WritingOptions { temperature, ..base });
    let accepted = accepted.into_iter().chain([
        WritingOptions { top_p: 0.0, ..base },
        WritingOptions { top_k: 0, ..base },
        WritingOptions { top_k: 1 << 31, ..base },
        WritingOptions { top_k: u32::MAX, ..base },
        WritingOptions { min_p: 1.0, ..base },
        WritingOptions { repetition_penalty: 1e-30, ..base },
        WritingOptions { penalty_window: u32::MAX, frequency_penalty: 3.0, ..base },
    ]);
    for options in accepted {
        assert_eq!(session.begin(&options), OK, "{options:?}");
        let mut id = u32::MAX;
        // SAFETY: a live session.
        let status = unsafe { mote_session_sample(session.0, &mut id) };
        let overflows = options.repetition_penalty < 1e-20 && status == code(Code::NotFinite);
        assert!((status == OK && id < 32) || overflows, "{options:?}: {status}");
    }
    let refused = [nan, -1.0, -inf].map(|temperature| WritingOptions { temperature, ..base });
    let refused = refused.into_iter().chain([
        WritingOptions { top_p: nan, ..base },
        WritingOptions { top_p: -1.0, ..base },
        WritingOptions { top_p: 2.0, ..base },
        WritingOptions { min_p: nan, ..base },
        WritingOptions { repetition_penalty: 0.0, ..base },
        WritingOptions { repetition_penalty: nan, ..base },
        WritingOptions { repetition_penalty: inf, ..base },
        WritingOptions { frequency_penalty: nan, ..base },
        WritingOptions { presence_penalty: inf, ..base },
    ]);
    for options in refused {
        assert_eq!(session.begin(&options), code(Code::Invalid), "{options:?}");
    }
    let narrow = model.session(&SessionOptions { max_top_k: 5, ..small() });
    assert_eq!(narrow.feed(&[3]), OK);
    narrow.next().expect("the default top-k is a wish");
    assert_eq!(narrow.begin(&base), code(Code::Invalid));
    assert_eq!(narrow.begin(&WritingOptions { top_k: 5, ..base }), OK);
}

#[test]
fn case_361_logit_biases() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&SessionOptions { max_biases: 3, ..small() });
    assert_eq!(session.begin(&greedy()), OK);
    assert_eq!(session.feed(&prompt(5)), OK);
    let bias = |id, value| LogitBias { id, value };
    let begin = |biases: &[LogitBias]| {
        let (biases, n_biases) = (biases.as_ptr(), biases.len());
        session.begin(&WritingOptions { biases, n_biases, ..greedy() })
    };
    let sample = || {
        let mut id = 0;
        // SAFETY: a live session.
        assert_eq!(unsafe { mote_session_sample(session.0, &mut id) }, OK);
        id
    };
    let first = sample();
    for refused in [
        &[bias(1, f32::NAN)][..],
        &[bias(1, f32::INFINITY)],
        &[bias(1, 1.0), bias(1, 2.0)],
        &[bias(1, 1.0), bias(2, 1.0), bias(3, 1.0), bias(4, 1.0)],
    ] {
        assert_eq!(begin(refused), code(Code::Invalid));
    }
    assert_eq!(begin(&[bias(32, 1.0)]), code(Code::Token));
    assert_eq!(begin(&[bias(u32::MAX, 1.0)]), code(Code::Token));
    // SAFETY: biases that are not there.
    unsafe {
        let options = WritingOptions { n_biases: 1, ..greedy() };
        assert_eq!(mote_session_begin(session.0, &options), code(Code::Null));
        let options = WritingOptions { n_stops: 1, ..greedy() };
        assert_eq!(mote_session_begin(session.0, &options), code(Code::Null));
    }
    assert_eq!(sample(), first, "the options are what they were");
    assert_eq!(begin(&[bias(first, -1e9)]), OK);
    let second = sample();
    assert_ne!(second, first);
    assert_eq!(sample(), second, "the logits are what they were");
    assert_eq!(begin(&[bias(7, 1e9)]), OK);
    assert_eq!(sample(), 7);
    assert_eq!(begin(&[]), OK);
    assert_eq!(sample(), first);
}
