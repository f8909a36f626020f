//! Texts: pieces, stop strings, scores, and logits that are no numbers.

use std::ffi::c_char;

use super::support::*;
use crate::Code;
use crate::options::*;
use crate::state::*;
use crate::write::*;

fn with_stops(stops: &[*const c_char], base: WritingOptions) -> WritingOptions {
    WritingOptions { stops: stops.as_ptr(), n_stops: stops.len(), ..base }
}

#[test]
fn the_text_of_a_seed_is_the_runtimes() {
    let bytes = Bytes::fixture("models/llama-f32.gguf");
    let model = bytes.model();
    let session = model.session(&small());
    let options = WritingOptions { seed: 3, ignore_eos: 1, ..WritingOptions::default() };
    assert_eq!((session.begin(&options), session.feed(&prompt(7))), (OK, OK));
    let (ids, text) = session.write(30);
    // The same by a loop of one's own.
    let other = model.session(&SessionOptions { threads: 2, batch: 64, ..small() });
    assert_eq!((other.begin(&options), other.feed(&prompt(7))), (OK, OK));
    for &expected in &ids {
        let (mut id, mut again) = (0, 0);
        // SAFETY: a live session.
        unsafe {
            assert_eq!(mote_session_sample(other.0, &mut id), OK);
            assert_eq!(mote_session_sample(other.0, &mut again), OK);
            assert_eq!((id, again), (expected, expected));
            assert_eq!(mote_session_feed(other.0, &id, 1, 1), OK);
        }
    }
    assert!(!text.is_empty());
}

#[test]
fn drafts_change_nothing() {
    for name in ["models/llama-f32.gguf", "models/gemma3.gguf"] {
        let bytes = Bytes::fixture(name);
        let model = bytes.model();
        let plain = model.session(&small());
        // The text repeats itself, so that there is something to draft.
        let ids = [prompt(5), prompt(5), prompt(5)].concat();
        for drafts in [1, 4, 7] {
            let drafted = model.session(&SessionOptions { drafts, batch: 8, ..small() });
            for seed in 0..8 {
                let temperature = seed as f32 / 8.0;
                let base = WritingOptions { seed, temperature, ignore_eos: 1, ..greedy() };
                let texts = [&plain, &drafted].map(|session| {
                    // SAFETY: a live session.
                    unsafe { assert_eq!(mote_session_rewind(session.0, 0), OK) };
                    assert_eq!((session.begin(&base), session.feed(&ids)), (OK, OK));
                    session.write(15)
                });
                assert_eq!(texts[0], texts[1], "{name}, {drafts}, {seed}");
            }
        }
    }
}

#[test]
fn a_text_ends_before_a_stop_string() {
    let bytes = Bytes::fixture("models/llama-f32.gguf");
    let model = bytes.model();
    let session = model.session(&small());
    assert_eq!((session.begin(&greedy()), session.feed(&prompt(7))), (OK, OK));
    let (_, text) = session.write(30);
    // Some characters from the middle of it.
    let from = text.char_indices().nth(text.chars().count() / 2).unwrap().0;
    let stop: String = text[from..].chars().take(3).collect();
    let expected = &text[..text.find(&stop).unwrap()];
    let stop = std::ffi::CString::new(stop).unwrap();
    let stops = [c"never comes".as_ptr(), stop.as_ptr()];
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_rewind(session.0, 7), OK) };
    assert_eq!(session.begin(&with_stops(&stops, greedy())), OK);
    // All options are taken, or none: those before stay as they are.
    let one_is_empty = [c"another".as_ptr(), c"".as_ptr()];
    assert_eq!(session.begin(&with_stops(&one_is_empty, greedy())), code(Code::Invalid));
    let mut written = String::new();
    let reason = loop {
        let (_, piece, stop) = session.next().unwrap();
        written += &piece;
        assert!(expected.starts_with(&written), "nothing is shown that is taken back");
        if stop != 0 {
            break stop;
        }
    };
    assert_eq!((written.as_str(), reason), (expected, 2));
    for _ in 0..2 {
        assert_eq!(session.next(), Ok((u32::MAX, String::new(), 2)), "it has ended");
    }
    assert_eq!(session.feed(&[5]), OK);
    assert_eq!(session.next().unwrap().2, 0, "another text");
    // What cannot be a stop string.
    for stop in [c"", c"\xff", c"too long for the room"] {
        let narrow = model.session(&SessionOptions { max_stop_bytes: 10, ..small() });
        let stops = [stop.as_ptr()];
        assert_eq!(narrow.begin(&with_stops(&stops, greedy())), code(Code::Invalid));
    }
}

#[test]
fn a_text_ends_at_its_length() {
    let bytes = Bytes::fixture(GEMMA);
    let session = bytes.model().session(&small());
    assert_eq!(session.next(), Err(code(Code::Empty)));
    assert_eq!(session.error(), "there is no token to continue from");
    let options = WritingOptions { max_tokens: 3, ..greedy() };
    assert_eq!((session.begin(&options), session.feed(&prompt(5))), (OK, OK));
    let stops: Vec<u32> = (0..4).map(|_| session.next().unwrap().2).collect();
    assert_eq!(stops, [0, 0, 3, 3]);
    assert_eq!(session.begin(&greedy()), OK);
    let (ids, _) = session.write(1000);
    assert_eq!(ids.len(), 64 - 8, "to the end of the context");
    let (mut position, mut capacity) = (0, 0);
    // SAFETY: a live session.
    unsafe { mote_session_position(session.0, &mut position, &mut capacity) };
    assert_eq!((position, capacity), (64, 64));
    assert_eq!(session.feed(&[3]), code(Code::ContextFull));
}

#[test]
fn scores_are_log_probabilities() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    let ids = prompt(20);
    let mut at_once = [7.0; 20];
    let mut in_parts = [7.0; 20];
    // SAFETY: a live session.
    unsafe {
        assert_eq!(mote_session_score(session.0, ids.as_ptr(), 20, at_once.as_mut_ptr()), OK);
        assert_eq!(mote_session_rewind(session.0, 0), OK);
        for (i, part) in in_parts.chunks_mut(7).enumerate() {
            let ids = &ids[i * 7..];
            let status = mote_session_score(session.0, ids.as_ptr(), part.len(), part.as_mut_ptr());
            assert_eq!(status, OK);
        }
        assert_eq!(at_once, in_parts);
        assert!(at_once[0] == 0.0 && at_once[1..].iter().all(|&p| p < 0.0 && p > -50.0));
        // From the logits themselves.
        let (mut logits, mut n) = (core::ptr::null(), 0);
        assert_eq!(mote_session_rewind(session.0, 10), OK);
        assert_eq!(mote_session_logits(session.0, &mut logits, &mut n), OK);
        let logits: Vec<f64> =
            core::slice::from_raw_parts(logits, n).iter().map(|&v| v.into()).collect();
        let sum: f64 = logits.iter().map(|v| v.exp()).sum();
        let expected = logits[ids[10] as usize] - sum.ln();
        assert!((at_once[10] - expected).abs() < 1e-5);
        let status = mote_session_score(session.0, ids.as_ptr(), 0, at_once.as_mut_ptr());
        assert_eq!(status, code(Code::Empty));
        let unknown = [3, 32];
        let status = mote_session_score(session.0, unknown.as_ptr(), 2, at_once.as_mut_ptr());
        assert_eq!(status, code(Code::Token));
        // The last failure changed nothing.
        session.next().unwrap();
    }
}

/// Weights that are NaN or infinite, and weights that are all the same.
#[test]
fn case_360_logits_that_are_no_numbers() {
    let file = std::fs::read(path("malformed/ok_baseline.gguf")).unwrap();
    let gguf = mote_formats::Gguf::parse(&file).unwrap();
    let norm = gguf.tensor("output_norm.weight").unwrap();
    let (offset, len) = (norm.offset(), norm.data().len());
    for (value, status) in [
        (f32::NAN, code(Code::NotFinite)),
        (f32::INFINITY, code(Code::NotFinite)),
        (f32::NEG_INFINITY, code(Code::NotFinite)),
        (0.0, OK),
    ] {
        let mut broken = file.clone();
        let value = value.to_le_bytes();
        broken[offset..offset + len].chunks_exact_mut(4).for_each(|v| v.copy_from_slice(&value));
        let bytes = Bytes::of(&broken);
        let session = bytes.model().session(&small());
        assert_eq!(session.feed(&prompt(3)), OK);
        for temperature in [0.0, 1.0] {
            let options = WritingOptions { temperature, ..WritingOptions::default() };
            assert_eq!(session.begin(&options), OK);
            match session.next() {
                Ok((id, ..)) => assert!(status == OK && id < 32),
                Err(found) => assert_eq!(found, status),
            }
        }
        let mut scores = [0.0; 3];
        // SAFETY: a live session.
        let found =
            unsafe { mote_session_score(session.0, prompt(3).as_ptr(), 3, scores.as_mut_ptr()) };
        assert_eq!(found, status);
    }
}
