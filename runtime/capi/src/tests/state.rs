//! Saved sessions, and calls in every order.

use std::ptr::null_mut;

use super::support::*;
use crate::options::*;
use crate::session::*;
use crate::state::*;
use crate::tokens::mote_tokenize;
use crate::write::*;
use crate::{Code, SessionHandle};

fn saved(session: &Text) -> Vec<u8> {
    let mut size = 0;
    // SAFETY: a live session, and room as it asks for.
    unsafe {
        assert_eq!(mote_session_saved_size(session.0, &mut size), OK);
        let mut bytes = vec![0; size];
        let short = mote_session_save(session.0, bytes.as_mut_ptr(), size - 1, &mut size);
        assert_eq!(short, code(Code::TooSmall));
        assert_eq!(mote_session_save(session.0, bytes.as_mut_ptr(), size, &mut size), OK);
        bytes
    }
}

fn restore(session: &Text, bytes: &[u8]) -> i32 {
    // SAFETY: a live session.
    unsafe { mote_session_restore(session.0, bytes.as_ptr(), bytes.len()) }
}

fn tokens(session: &Text) -> Vec<u32> {
    let (mut n, mut ids) = (0, [0; 64]);
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_tokens(session.0, ids.as_mut_ptr(), 64, &mut n), OK) };
    ids[..n].to_vec()
}

#[test]
fn a_text_goes_on_where_it_was_saved() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let sampled = WritingOptions { ignore_eos: 1, seed: 5, ..WritingOptions::default() };
    let session = model.session(&small());
    assert_eq!((session.begin(&sampled), session.feed(&prompt(9))), (OK, OK));
    session.write(4);
    let state = saved(&session);
    let at = tokens(&session);
    assert_eq!(at.len(), 13);
    let expected = session.write(10).0;
    let other = model.session(&SessionOptions { batch: 64, threads: 2, ..small() });
    assert_eq!((other.begin(&sampled), other.feed(&prompt(2))), (OK, OK));
    assert_eq!(restore(&other, &state), OK);
    assert_eq!(tokens(&other), at);
    assert_eq!(other.write(10).0, expected);
}

#[test]
fn case_380_a_state_that_does_not_fit_changes_nothing() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    assert_eq!(session.feed(&prompt(9)), OK);
    let state = saved(&session);
    let other_model = Bytes::fixture("models/gemma3-bf16.gguf");
    let target = model.session(&small());
    assert_eq!((target.begin(&greedy()), target.feed(&prompt(4))), (OK, OK));
    let expected = target.write(3);
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_rewind(target.0, 4), OK) };
    for len in 0..state.len() {
        assert_eq!(restore(&target, &state[..len]), code(Code::State));
    }
    let mut damaged = state.clone();
    for at in 0..state.len() {
        damaged[at] ^= 0x10;
        assert_eq!(restore(&target, &damaged), code(Code::State), "byte {at}");
        damaged[at] = state[at];
    }
    assert_eq!(tokens(&target), prompt(4));
    assert_eq!(target.write(3), expected);
    assert!(target.error().contains("saved session"), "{}", target.error());
    let longer = model.session(&SessionOptions { n_ctx: 65, ..small() });
    assert_eq!(restore(&longer, &state), code(Code::State));
    let stranger = other_model.model().session(&small());
    assert_eq!(restore(&stranger, &state), code(Code::State));
    assert!(stranger.error().contains("another model"), "{}", stranger.error());
    assert_eq!(restore(&target, &state), OK);
}

/// {create, load, tokenize, eval, sample, reset, save, restore, free} in every order of length 4, with
/// handles that are there and with NULL.
#[test]
fn case_379_calls_in_every_order() {
    let bytes = Bytes::fixture(GEMMA);
    let mut buffer = vec![0_u8; 1 << 16];
    for order in 0..9_usize.pow(4) {
        let mut model = None;
        let mut session: *mut SessionHandle = null_mut();
        for place in 0..4 {
            let handle = model.as_ref().map_or(null_mut(), |model: &Owned| model.0);
            let (mut n, mut ids) = (0, [0; 8]);
            // SAFETY: handles are alive or NULL.
            let status = unsafe {
                match order / 9_usize.pow(place) % 9 {
                    0 if session.is_null() => mote_session_new(handle, &small(), &mut session),
                    0 => OK,
                    1 => {
                        model = Some(bytes.model());
                        OK
                    }
                    2 => mote_tokenize(handle, c"ab".as_ptr(), 2, 1, ids.as_mut_ptr(), 8, &mut n),
                    3 => mote_session_feed(session, [3, 4].as_ptr(), 2, 0),
                    4 => mote_session_next(session, &mut Piece::default()),
                    5 => mote_session_rewind(session, 0),
                    6 => mote_session_save(session, buffer.as_mut_ptr(), 1 << 16, &mut n),
                    7 => mote_session_restore(session, buffer.as_ptr(), n),
                    _ => {
                        let status = mote_session_free(session);
                        session = null_mut();
                        status
                    }
                }
            };
            let allowed = [Code::Null, Code::Empty, Code::State].map(code);
            assert!(status == OK || allowed.contains(&status), "order {order}: {status}");
        }
        // SAFETY: alive or NULL.
        unsafe { assert_eq!(mote_session_free(session), OK) };
    }
}

#[test]
fn a_cancel_that_came_too_late_is_forgotten() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    assert_eq!(session.feed(&prompt(5)), OK);
    // SAFETY: sound handles.
    unsafe {
        assert_eq!(mote_session_cancel(session.0), OK);
        assert_eq!(session.feed(&prompt(2)), code(Code::Cancelled));
        assert_eq!(mote_session_cancel(session.0), OK);
        assert_eq!(mote_session_rewind(session.0, 5), OK);
        assert_eq!(session.feed(&prompt(2)), OK);
        assert_eq!(mote_session_cancel(session.0), OK);
        assert_eq!(mote_session_begin(session.0, &WritingOptions::default()), OK);
    }
    assert!(session.next().is_ok());
}

#[test]
fn bos_begins_a_context_and_nothing_else() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    let position = || {
        let mut position = 0;
        // SAFETY: sound pointers.
        unsafe { assert_eq!(mote_session_position(session.0, &mut position, &mut 0), OK) };
        position
    };
    let feed = || {
        // SAFETY: a text of one byte; flag 1 is MOTE_ADD_BOS.
        unsafe { assert_eq!(mote_session_feed_text(session.0, c"a".as_ptr(), 1, 1), OK) };
        position()
    };
    let first = feed();
    assert_eq!(feed(), 2 * first - 1);
}
