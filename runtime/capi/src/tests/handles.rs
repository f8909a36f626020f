//! Handles freed, mixed up, used twice; panics.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::*;
use crate::call::tests_only::PANICS;
use crate::embed::*;
use crate::fallback::*;
use crate::model::*;
use crate::options::*;
use crate::session::*;
use crate::state::*;
use crate::tokens::*;
use crate::write::*;
use crate::{Code, ModelHandle, SessionHandle};

/// Lent memory stays mapped, so that what happens to freed handles can be seen.
#[test]
fn case_353_handles_freed_and_mixed_up() {
    let bytes = Bytes::fixture(GEMMA);
    let bad = code(Code::BadHandle);
    // SAFETY: as mote.h demands, except where it says BAD_HANDLE.
    unsafe {
        let mut needed = 0;
        assert_eq!(mote_model_memory(bytes.as_ptr(), bytes.len(), &mut needed), OK);
        let mut model_memory = lent(needed);
        let options = ModelOptions {
            memory: model_memory.as_mut_ptr().cast(),
            memory_size: needed,
            ..ModelOptions::default()
        };
        let mut model = null_mut();
        let status = mote_model_from_memory(bytes.as_ptr(), bytes.len(), &options, &mut model);
        assert_eq!(status, OK);
        let mut plan = PlanInfo::default();
        assert_eq!(mote_session_plan(model, &small(), &mut plan), OK);
        let mut session_memory = lent(plan.total_bytes as usize);
        let options = SessionOptions {
            memory: session_memory.as_mut_ptr().cast(),
            memory_size: plan.total_bytes as usize,
            ..small()
        };
        let mut session: *mut SessionHandle = null_mut();
        assert_eq!(mote_session_new(model, &options, &mut session), OK);

        // Of another kind, or nothing at all.
        let mut info = Info::default();
        assert_eq!(mote_model_get_info(session.cast(), &mut info), bad);
        assert_eq!(mote_session_rewind(model.cast(), 0), bad);
        assert_eq!(mote_session_free(model.cast()), bad);
        assert_eq!(mote_model_free(session.cast()), bad);
        let on_the_stack = [0_u64; 4096];
        assert_eq!(mote_session_rewind(on_the_stack.as_ptr().cast_mut().cast(), 0), bad);
        assert_eq!(mote_model_free(on_the_stack.as_ptr().cast_mut().cast()), bad);
        assert_eq!(mote_session_cancel(session.cast::<u8>().add(1).cast()), bad);

        // Freed, while a session keeps the model alive.
        assert_eq!(mote_model_retain(model), OK);
        assert_eq!(mote_model_free(model), OK);
        assert_eq!(mote_model_free(model), OK);
        assert_eq!(mote_model_free(model), bad);
        assert_eq!(mote_model_retain(model), bad);
        assert_eq!(mote_model_get_info(model, &mut info), bad);
        assert_eq!(mote_session_feed(session, [3].as_ptr(), 1, 0), OK);

        assert_eq!(mote_session_free(session), OK);
        assert_eq!(mote_session_free(session), bad);
        assert_eq!(mote_session_feed(session, [3].as_ptr(), 1, 0), bad);
        assert_eq!(mote_session_cancel(session), bad);
        assert!(!mote_session_error(session).is_null());
        assert_eq!(mote_model_free(model), bad);
    }
}

#[test]
fn case_371_a_model_lives_as_long_as_its_sessions() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let (first, second) = (model.session(&small()), model.session(&small()));
    drop(model);
    assert_eq!(first.feed(&prompt(9)), OK);
    let text = first.write(5);
    drop(first);
    assert_eq!(second.feed(&prompt(9)), OK);
    assert_eq!(second.write(5), text);
}

/// A panic in the body of each exported function becomes a status.
#[test]
fn case_366_no_panic_crosses() {
    PANICS.set(true);
    assert_eq!(mote_guard_files(), code(Code::Internal));
    PANICS.set(false);
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    type Call<'a> = (&'a str, &'a dyn Fn(*mut ModelHandle, *mut SessionHandle) -> i32);
    let (path, mo) = (c_path(GEMMA), ModelOptions::default());
    // SAFETY: as mote.h demands.
    let calls: &[Call<'_>] = unsafe {
        &[
            ("open", &|_, _| mote_model_open(path.as_ptr(), &mo, &mut null_mut())),
            ("from_memory", &|_, _| {
                mote_model_from_memory(bytes.as_ptr(), bytes.len(), &mo, &mut null_mut())
            }),
            ("memory", &|_, _| mote_model_memory(bytes.as_ptr(), bytes.len(), &mut 0)),
            ("retain", &|m, _| mote_model_retain(m)),
            ("model_free", &|m, _| mote_model_free(m)),
            ("get_info", &|m, _| mote_model_get_info(m, &mut Info::default())),
            ("tokenize", &|m, _| {
                mote_tokenize(m, c"a".as_ptr(), 1, 0, [0; 8].as_mut_ptr(), 8, &mut 0)
            }),
            ("tokenize_in", &|m, _| {
                let (mut scratch, mut ids) = ([0; 64], [0; 8]);
                let (s, i) = (scratch.as_mut_ptr(), ids.as_mut_ptr());
                mote_tokenize_in(m, c"a".as_ptr(), 1, 0, s, 64, i, 8, &mut 0)
            }),
            ("scratch", &|m, _| mote_tokenize_scratch(m, 1, &mut 0)),
            ("detokenize", &|m, _| {
                mote_detokenize(m, [3].as_ptr(), 1, 0, [0; 64].as_mut_ptr(), 64, &mut 0)
            }),
            ("token_bytes", &|m, _| mote_token_bytes(m, 3, [0; 64].as_mut_ptr(), 64, &mut 0)),
            ("token_ends", &|m, _| mote_token_ends(m, 3, &mut 0)),
            ("plan", &|m, _| mote_session_plan(m, &small(), &mut PlanInfo::default())),
            ("new", &|m, _| mote_session_new(m, &small(), &mut null_mut())),
            ("cancel", &|_, s| mote_session_cancel(s)),
            ("session_free", &|_, s| mote_session_free(s)),
            ("begin", &|_, s| mote_session_begin(s, &greedy())),
            ("feed", &|_, s| mote_session_feed(s, [3].as_ptr(), 1, 0)),
            ("feed_text", &|_, s| mote_session_feed_text(s, c"a".as_ptr(), 1, 0)),
            ("next", &|_, s| mote_session_next(s, &mut Piece::default())),
            ("sample", &|_, s| mote_session_sample(s, &mut 0)),
            ("logits", &|_, s| mote_session_logits(s, &mut core::ptr::null(), &mut 0)),
            ("score", &|_, s| mote_session_score(s, [3].as_ptr(), 1, [0.0].as_mut_ptr())),
            ("embed", &|_, s| {
                mote_session_embed(s, [3].as_ptr(), 1, 0, 0, [0.0; 32].as_mut_ptr(), 32)
            }),
            ("position", &|_, s| mote_session_position(s, &mut 0, &mut 0)),
            ("tokens", &|_, s| mote_session_tokens(s, [0; 64].as_mut_ptr(), 64, &mut 0)),
            ("rewind", &|_, s| mote_session_rewind(s, 0)),
            ("saved_size", &|_, s| mote_session_saved_size(s, &mut 0)),
            ("save", &|_, s| mote_session_save(s, [0; 8].as_mut_ptr(), 8, &mut 0)),
            ("restore", &|_, s| mote_session_restore(s, [0; 8].as_ptr(), 8)),
            ("set_deadline", &|_, s| mote_session_set_deadline(s, 1)),
            ("set_fallback", &|m, s| mote_session_set_fallback(s, m, null_mut(), 0)),
            ("degraded", &|_, s| mote_session_degraded(s, &mut 0)),
        ]
    };
    let first_of_sessions = calls.iter().position(|(name, _)| *name == "begin").unwrap();
    // Those that only return a text or a number have no status; that which guards files has no handle.
    let others = ["abi_version", "version", "status_text", "session_error", "guard_files"];
    let exported = include_str!("../../symbols.txt").lines().count();
    assert_eq!(calls.len() + others.len(), exported, "is a function missing here?");
    for (name, call) in calls {
        let session = model.session(&small());
        assert_eq!(session.feed(&[3]), OK);
        PANICS.set(true);
        let status = call(model.0, session.0);
        PANICS.set(false);
        assert_eq!(status, code(Code::Internal), "{name}");
        // A session whose call panicked is of no use any more, but freed as any other.
        let after = session.feed(&[3]);
        let place = calls.iter().position(|(other, _)| other == name).unwrap();
        let in_session = place >= first_of_sessions;
        assert_eq!(after, if in_session { code(Code::Internal) } else { OK }, "{name}");
    }
}

struct Caller {
    session: *mut SessionHandle,
    model: *mut ModelHandle,
    calls: usize,
    stop_at: usize,
    statuses: Vec<i32>,
}

/// Calls everything that takes a session, on the session that is calling.
unsafe extern "C" fn reenters(user: *mut c_void, _: usize, _: usize) -> c_int {
    // SAFETY: the test's own struct, used by nobody else meanwhile; as mote.h demands.
    unsafe {
        let caller = &mut *user.cast::<Caller>();
        let s = caller.session;
        if s.is_null() {
            return 0;
        }
        caller.statuses.extend([
            mote_session_begin(s, &greedy()),
            mote_session_feed(s, [3].as_ptr(), 1, 0),
            mote_session_feed_text(s, c"a".as_ptr(), 1, 0),
            mote_session_next(s, &mut Piece::default()),
            mote_session_sample(s, &mut 0),
            mote_session_logits(s, &mut core::ptr::null(), &mut 0),
            mote_session_score(s, [3].as_ptr(), 1, [0.0].as_mut_ptr()),
            mote_session_embed(s, [3].as_ptr(), 1, 0, 0, [0.0; 32].as_mut_ptr(), 32),
            mote_session_position(s, &mut 0, &mut 0),
            mote_session_tokens(s, [0; 64].as_mut_ptr(), 64, &mut 0),
            mote_session_rewind(s, 0),
            mote_session_saved_size(s, &mut 0),
            mote_session_save(s, [0; 8].as_mut_ptr(), 8, &mut 0),
            mote_session_restore(s, [0; 8].as_ptr(), 8),
            mote_session_set_deadline(s, 0),
            mote_session_free(s),
        ]);
        assert!(!mote_session_error(s).is_null());
        assert_eq!(mote_token_ends(caller.model, 3, &mut 0), OK, "models may be used");
        0
    }
}

#[test]
fn case_367_a_callback_that_calls_its_session() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let mut caller =
        Caller { session: null_mut(), model: model.0, calls: 0, stop_at: 0, statuses: Vec::new() };
    let user: *mut Caller = &raw mut caller;
    let options =
        SessionOptions { progress: Some(reenters), progress_user: user.cast(), ..small() };
    let session = model.session(&options);
    // SAFETY: no call is at work.
    unsafe { (*user).session = session.0 };
    assert_eq!(session.feed(&prompt(9)), OK);
    session.next().unwrap();
    // SAFETY: as above.
    let statuses = unsafe { &(*user).statuses };
    assert!(statuses.len() > 15 * 9);
    assert!(statuses.iter().all(|&status| status == code(Code::Busy)));
}

/// What a callback waits for: another thread that uses the model and a session of its own.
unsafe extern "C" fn waits(user: *mut c_void, _: usize, _: usize) -> c_int {
    struct Sent(*mut ModelHandle);
    // SAFETY: a model is for any number of threads.
    unsafe impl Send for Sent {}
    // SAFETY: the test's own struct, used by nobody else meanwhile.
    let caller = unsafe { &mut *user.cast::<Caller>() };
    let (sent, (done, result)) = (Sent(caller.model), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let sent = sent;
        let (mut session, mut n, mut ids) = (null_mut(), 0, [0; 8]);
        // SAFETY: the model outlives the call that this callback is part of.
        let statuses = unsafe {
            [
                mote_model_retain(sent.0),
                mote_tokenize(sent.0, c"ab".as_ptr(), 2, 0, ids.as_mut_ptr(), 8, &mut n),
                mote_session_plan(sent.0, &small(), &mut PlanInfo::default()),
                mote_session_new(sent.0, &SessionOptions { threads: 2, ..small() }, &mut session),
                mote_session_feed(session, [3, 4].as_ptr(), 2, 0),
                mote_session_next(session, &mut Piece::default()),
                mote_session_free(session),
                mote_model_free(sent.0),
            ]
        };
        let _ = done.send(statuses);
    });
    // Whoever holds a lock meanwhile holds it for ever.
    let statuses = result.recv_timeout(std::time::Duration::from_secs(60));
    caller.statuses.extend(statuses.unwrap_or([code(Code::Busy); 8]));
    0
}

/// That a callback must return (no C++ exception, no longjmp) is for mote.h to say. That the library holds no
/// lock meanwhile is shown by a thread that does everything, while the callback waits for it.
#[test]
fn case_369_no_lock_is_held_while_a_callback_runs() {
    let header = include_str!("../../include/mote.h");
    assert!(header.contains("a C++ exception or a longjmp through the library is undefined"));
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    for threads in [1, 2] {
        let mut caller = Caller {
            session: null_mut(),
            model: model.0,
            calls: 0,
            stop_at: 0,
            statuses: Vec::new(),
        };
        let user: *mut Caller = &raw mut caller;
        let options = SessionOptions {
            progress: Some(waits),
            progress_user: user.cast(),
            threads,
            ..small()
        };
        let session = model.session(&options);
        assert_eq!(session.feed(&prompt(9)), OK);
        session.next().unwrap();
        // SAFETY: no call is at work.
        let statuses = unsafe { &(*user).statuses };
        assert!(statuses.len() >= 8 * 2 && statuses.iter().all(|&status| status == OK));
    }
}

unsafe extern "C" fn stops(user: *mut c_void, _: usize, _: usize) -> c_int {
    // SAFETY: the test's own struct.
    let caller = unsafe { &mut *user.cast::<Caller>() };
    caller.calls += 1;
    c_int::from(caller.calls > caller.stop_at) * -7
}

#[test]
fn case_368_stopped_at_every_possible_call() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let mut caller =
        Caller { session: null_mut(), model: model.0, calls: 0, stop_at: 0, statuses: vec![] };
    let user: *mut Caller = &raw mut caller;
    let options = SessionOptions { progress: Some(stops), progress_user: user.cast(), ..small() };
    let session = model.session(&options);
    assert_eq!(session.begin(&greedy()), OK);
    // SAFETY: no call is at work.
    let set = |stop_at| unsafe { ((*user).calls, (*user).stop_at) = (0, stop_at) };
    set(usize::MAX);
    assert_eq!(session.feed(&prompt(11)), OK);
    let expected = session.write(6);
    // SAFETY: as above.
    let total = unsafe { (*user).calls };
    for stop_at in 0..total {
        // SAFETY: a live session.
        unsafe { assert_eq!(mote_session_rewind(session.0, 0), OK) };
        set(stop_at);
        let ids = prompt(11);
        let mut position = 0;
        let mut stopped = false;
        while position < ids.len() {
            let status = session.feed(&ids[position..]);
            if status != OK {
                assert_eq!(status, code(Code::Cancelled));
                // One call said stop, and none came after it.
                // SAFETY: as above.
                assert_eq!(unsafe { (*user).calls }, stop_at + 1);
                stopped = true;
                set(usize::MAX);
            }
            // SAFETY: a live session.
            unsafe { mote_session_position(session.0, &mut position, &mut 0) };
        }
        let (mut ids, mut text) = (vec![], String::new());
        while ids.len() < 6 {
            match session.next() {
                Ok((id, piece, _)) => {
                    ids.push(id);
                    text += &piece;
                }
                Err(status) => {
                    assert_eq!(status, code(Code::Cancelled));
                    stopped = true;
                    set(usize::MAX);
                }
            }
        }
        assert!(stopped, "{stop_at} of {total}");
        assert_eq!((ids, text), expected, "stopped at call {stop_at} of {total}");
    }
}

#[test]
fn cancelled_before_and_while_it_computes() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_cancel(session.0), OK) };
    assert_eq!(session.feed(&prompt(5)), code(Code::Cancelled));
    assert_eq!(session.error(), "cancelled");
    assert_eq!(session.feed(&prompt(5)), OK, "once");
    struct Sent(*mut SessionHandle);
    // SAFETY: cancelling is what other threads may do.
    unsafe impl Send for Sent {}
    let (sent, done) = (Sent(session.0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let sent = sent;
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the session outlives the scope.
                unsafe { assert_eq!(mote_session_cancel(sent.0), OK) };
            }
        });
        let mut cancelled = 0;
        for _ in 0..1000 {
            // SAFETY: a live session.
            unsafe { mote_session_rewind(session.0, 0) };
            match session.feed(&prompt(20)) {
                OK => {}
                status => {
                    assert_eq!(status, code(Code::Cancelled));
                    cancelled += 1;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(cancelled > 0);
    });
}

#[test]
fn deadlines() {
    let bytes = Bytes::fixture(GEMMA);
    let session = bytes.model().session(&small());
    let deadline = |microseconds| {
        // SAFETY: a live session.
        unsafe { assert_eq!(mote_session_set_deadline(session.0, microseconds), OK) };
    };
    deadline(0);
    for _ in 0..3 {
        assert_eq!(session.feed(&prompt(5)), code(Code::Deadline));
    }
    deadline(600_000_000);
    assert_eq!(session.feed(&prompt(5)), OK);
    deadline(0);
    assert_eq!(session.next(), Err(code(Code::Deadline)));
    for never in [u64::MAX, u64::MAX - 1] {
        deadline(never);
        session.next().unwrap();
    }
}

/// Two threads on one session: one works, the other is told so.
#[test]
fn case_370_two_threads_on_one_session() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    struct Sent(*mut SessionHandle);
    // SAFETY: what happens then is what is tested.
    unsafe impl Sync for Sent {}
    let shared = &Sent(session.0);
    let (ids, busy) = (prompt(40), &std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let ids = &ids;
            scope.spawn(move || {
                for _ in 0..50 {
                    // SAFETY: a live session.
                    let status = unsafe {
                        mote_session_rewind(shared.0, 0);
                        mote_session_feed(shared.0, ids.as_ptr(), ids.len(), 0)
                    };
                    match status {
                        OK => {}
                        status if status == code(Code::Busy) => {
                            busy.fetch_add(1, Ordering::Relaxed);
                        }
                        // Nobody rewound it in between.
                        status => assert_eq!(status, code(Code::ContextFull)),
                    }
                }
            });
        }
    });
    assert!(busy.load(Ordering::Relaxed) > 0);
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_rewind(session.0, 0), OK) };
    assert_eq!(session.feed(&ids), OK);
    let text = session.write(5);
    let alone = model.session(&small());
    assert_eq!(alone.feed(&ids), OK);
    assert_eq!(alone.write(5), text);
}
