//! NULL, paths, lengths.

use std::ffi::{CString, c_char};
use std::ptr::{null, null_mut};

use super::support::*;
use crate::embed::*;
use crate::fallback::*;
use crate::model::*;
use crate::options::*;
use crate::session::*;
use crate::state::*;
use crate::tokens::*;
use crate::write::*;
use crate::{Code, mote_abi_version, mote_status_text, mote_version};

#[test]
#[allow(clippy::cognitive_complexity)]
fn case_352_every_pointer_null_in_every_function() {
    let bytes = Bytes::fixture(GEMMA);
    let (model, path) = (bytes.model(), c_path(GEMMA));
    let session = model.session(&small());
    let (m, s) = (model.0, session.0);
    let (mo, so, wo) =
        (ModelOptions::default(), SessionOptions::default(), WritingOptions::default());
    let (mut out_model, mut out_session) = (null_mut(), null_mut());
    let (mut info, mut plan, mut piece) = (Info::default(), PlanInfo::default(), Piece::default());
    let (mut n, mut n2, mut id, mut ids) = (0_usize, 0_usize, 0_u32, [0_u32; 64]);
    let (mut out, mut scratch, mut scores) = ([0_u8; 64], [0_u8; 64], [0.0_f64; 64]);
    let (mut logits, mut states, mut why) = (null(), [0.0_f32; 32], 0);
    let text: *const c_char = c"ab".as_ptr();
    let o: *mut c_char = out.as_mut_ptr().cast();
    let (p, i) = (scratch.as_mut_ptr(), ids.as_mut_ptr());
    // SAFETY: every pointer is NULL or points to what mote.h asks for.
    let statuses = unsafe {
        [
            ("open 1", mote_model_open(null(), &mo, &mut out_model)),
            ("open 2", mote_model_open(path.as_ptr(), null(), &mut out_model)),
            ("open 3", mote_model_open(path.as_ptr(), &mo, null_mut())),
            ("from_memory 1", mote_model_from_memory(null(), 9, &mo, &mut out_model)),
            ("from_memory 3", mote_model_from_memory(bytes.as_ptr(), 9, null(), &mut out_model)),
            ("from_memory 4", mote_model_from_memory(bytes.as_ptr(), 9, &mo, null_mut())),
            ("memory 1", mote_model_memory(null(), 9, &mut n)),
            ("memory 3", mote_model_memory(bytes.as_ptr(), 9, null_mut())),
            ("retain", mote_model_retain(null_mut())),
            ("get_info 1", mote_model_get_info(null(), &mut info)),
            ("get_info 2", mote_model_get_info(m, null_mut())),
            ("tokenize 1", mote_tokenize(null(), text, 2, 0, i, 64, &mut n)),
            ("tokenize 2", mote_tokenize(m, null(), 2, 0, i, 64, &mut n)),
            ("tokenize 2, empty", mote_tokenize(m, null(), 0, 0, i, 64, &mut n)),
            ("tokenize 5", mote_tokenize(m, text, 2, 0, null_mut(), 64, &mut n)),
            ("tokenize 7", mote_tokenize(m, text, 2, 0, i, 64, null_mut())),
            ("tokenize_in 1", mote_tokenize_in(null(), text, 2, 0, p, 64, i, 64, &mut n)),
            ("tokenize_in 2", mote_tokenize_in(m, null(), 2, 0, p, 64, i, 64, &mut n)),
            ("tokenize_in 5", mote_tokenize_in(m, text, 2, 0, null_mut(), 64, i, 64, &mut n)),
            ("tokenize_in 7", mote_tokenize_in(m, text, 2, 0, p, 64, null_mut(), 64, &mut n)),
            ("tokenize_in 9", mote_tokenize_in(m, text, 2, 0, p, 64, i, 64, null_mut())),
            ("tokenize_scratch 1", mote_tokenize_scratch(null(), 2, &mut n)),
            ("tokenize_scratch 3", mote_tokenize_scratch(m, 2, null_mut())),
            ("detokenize 1", mote_detokenize(null(), i, 2, 0, o, 64, &mut n)),
            ("detokenize 2", mote_detokenize(m, null(), 2, 0, o, 64, &mut n)),
            ("detokenize 5", mote_detokenize(m, i, 2, 0, null_mut(), 64, &mut n)),
            ("detokenize 7", mote_detokenize(m, i, 2, 0, o, 64, null_mut())),
            ("token_bytes 1", mote_token_bytes(null(), 2, o, 64, &mut n)),
            ("token_bytes 3", mote_token_bytes(m, 2, null_mut(), 64, &mut n)),
            ("token_bytes 5", mote_token_bytes(m, 2, o, 64, null_mut())),
            ("token_ends 1", mote_token_ends(null(), 2, &mut id)),
            ("token_ends 3", mote_token_ends(m, 2, null_mut())),
            ("plan 1", mote_session_plan(null(), &so, &mut plan)),
            ("plan 2", mote_session_plan(m, null(), &mut plan)),
            ("plan 3", mote_session_plan(m, &so, null_mut())),
            ("new 1", mote_session_new(null(), &so, &mut out_session)),
            ("new 2", mote_session_new(m, null(), &mut out_session)),
            ("new 3", mote_session_new(m, &so, null_mut())),
            ("begin 1", mote_session_begin(null_mut(), &wo)),
            ("begin 2", mote_session_begin(s, null())),
            ("feed 1", mote_session_feed(null_mut(), i, 2, 0)),
            ("feed 2", mote_session_feed(s, null(), 2, 0)),
            ("feed_text 1", mote_session_feed_text(null_mut(), text, 2, 0)),
            ("feed_text 2", mote_session_feed_text(s, null(), 2, 0)),
            ("next 1", mote_session_next(null_mut(), &mut piece)),
            ("next 2", mote_session_next(s, null_mut())),
            ("sample 1", mote_session_sample(null_mut(), &mut id)),
            ("sample 2", mote_session_sample(s, null_mut())),
            ("logits 1", mote_session_logits(null_mut(), &mut logits, &mut n)),
            ("logits 2", mote_session_logits(s, null_mut(), &mut n)),
            ("logits 3", mote_session_logits(s, &mut logits, null_mut())),
            ("score 1", mote_session_score(null_mut(), i, 2, scores.as_mut_ptr())),
            ("score 2", mote_session_score(s, null(), 2, scores.as_mut_ptr())),
            ("embed 1", mote_session_embed(null_mut(), i, 2, 0, 0, states.as_mut_ptr(), 32)),
            ("embed 2", mote_session_embed(s, null(), 2, 0, 0, states.as_mut_ptr(), 32)),
            ("embed 6", mote_session_embed(s, i, 2, 0, 0, null_mut(), 32)),
            ("score 4", mote_session_score(s, i, 2, null_mut())),
            ("position 1", mote_session_position(null_mut(), &mut n, &mut n2)),
            ("position 2", mote_session_position(s, null_mut(), &mut n2)),
            ("position 3", mote_session_position(s, &mut n, null_mut())),
            ("tokens 1", mote_session_tokens(null_mut(), i, 64, &mut n)),
            ("tokens 2", mote_session_tokens(s, null_mut(), 64, &mut n)),
            ("tokens 4", mote_session_tokens(s, i, 64, null_mut())),
            ("rewind", mote_session_rewind(null_mut(), 0)),
            ("saved_size 1", mote_session_saved_size(null_mut(), &mut n)),
            ("saved_size 2", mote_session_saved_size(s, null_mut())),
            ("save 1", mote_session_save(null_mut(), p, 64, &mut n)),
            ("save 2", mote_session_save(s, null_mut(), 64, &mut n)),
            ("save 4", mote_session_save(s, p, 64, null_mut())),
            ("restore 1", mote_session_restore(null_mut(), p, 64)),
            ("restore 2", mote_session_restore(s, null(), 64)),
            ("set_deadline", mote_session_set_deadline(null_mut(), 1)),
            ("set_fallback", mote_session_set_fallback(null_mut(), m, null_mut(), 0)),
            ("degraded 1", mote_session_degraded(null_mut(), &mut why)),
            ("degraded 2", mote_session_degraded(s, null_mut())),
            ("cancel", mote_session_cancel(null())),
        ]
    };
    for (call, status) in statuses {
        assert_eq!(status, code(Code::Null), "{call}");
    }
    assert!(out_model.is_null() && out_session.is_null());
    // Free functions and the session's sentence below; four functions take no pointer.
    let elsewhere = ["model_free", "session_free", "session_error"];
    let without = ["abi_version", "version", "status_text", "guard_files"];
    let mut named: Vec<&str> =
        statuses.iter().filter_map(|(call, _)| call.split(' ').next()).collect();
    named.iter_mut().for_each(|name| *name = name.trim_end_matches(','));
    named.sort();
    named.dedup();
    let exported = include_str!("../../symbols.txt").lines().count();
    assert_eq!(named.len() + elsewhere.len() + without.len(), exported, "{named:?}");
    // SAFETY: NULL is no error where something is freed, and texts are always there.
    unsafe {
        assert_eq!(mote_model_free(null_mut()), OK);
        assert_eq!(mote_session_free(null_mut()), OK);
        assert!(!mote_session_error(null()).is_null());
    }
    assert_eq!(mote_abi_version(), 0);
    assert!(!mote_version().is_null());
    for status in [-1, 0, 1, 19, 20, i32::MIN, i32::MAX] {
        assert!(!mote_status_text(status).is_null());
    }
}

fn open(path: &CString) -> i32 {
    let mut model = null_mut();
    let mut error = [0x55_u8; 256];
    let options = ModelOptions {
        error: error.as_mut_ptr().cast(),
        error_size: error.len(),
        ..ModelOptions::default()
    };
    // SAFETY: a path, sound options, a place for the handle.
    let status = unsafe { mote_model_open(path.as_ptr(), &options, &mut model) };
    if status == OK {
        // SAFETY: made above.
        unsafe { mote_model_free(model) };
    } else {
        assert!(model.is_null());
        let end = error.iter().position(|&byte| byte == 0).unwrap();
        assert!(end > 10 && std::str::from_utf8(&error[..end]).is_ok());
    }
    status
}

#[test]
fn case_354_paths_that_are_no_model() {
    assert_eq!(open(&c_path(GEMMA)), OK);
    let io = code(Code::Io);
    assert_eq!(open(&CString::new("no/such\u{1}/\u{fffd}").unwrap()), io);
    assert_eq!(open(&CString::new(*b"\xff\xfe\x80").unwrap()), io);
    assert_eq!(open(&CString::new("").unwrap()), io);
    assert_eq!(open(&CString::new(vec![b'a'; 1 << 20]).unwrap()), code(Code::Invalid));
    assert_eq!(open(&c_path("models")), io);
    assert_eq!(open(&c_path("models/README.md")), code(Code::Format));
    #[cfg(unix)]
    for device in ["/dev/null", "/dev/zero"] {
        assert_eq!(open(&CString::new(device).unwrap()), io);
    }
    #[cfg(unix)]
    {
        let name = std::env::temp_dir().join(format!("mote-capi-pipe-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&name).status();
        assert!(made.is_ok_and(|status| status.success()));
        let status = open(&CString::new(name.to_str().unwrap()).unwrap());
        std::fs::remove_file(&name).unwrap();
        assert_eq!(status, io, "a pipe must not block");
    }
}

#[test]
fn case_355_lengths_that_no_memory_has() {
    let bytes = Bytes::fixture(GEMMA);
    let (model, session) = (bytes.model(), bytes.model().session(&small()));
    let (options, mut made) = (ModelOptions::default(), null_mut());
    let (mut n, mut ids, mut out) = (7_usize, [0_u32; 8], [0_u8; 8]);
    let o: *mut c_char = out.as_mut_ptr().cast();
    let text: *const c_char = c"ab".as_ptr();
    let i = ids.as_mut_ptr();
    for len in [usize::MAX, isize::MAX as usize + 1, usize::MAX - 7] {
        // SAFETY: such lengths are refused before anything is touched.
        let statuses = unsafe {
            [
                mote_model_from_memory(bytes.as_ptr(), len, &options, &mut made),
                mote_model_memory(bytes.as_ptr(), len, &mut n),
                mote_tokenize(model.0, text, len, 0, i, 8, &mut n),
                mote_tokenize(model.0, text, 2, 0, i, len, &mut n),
                mote_detokenize(model.0, i, len, 0, o, 8, &mut n),
                mote_detokenize(model.0, i, 8, 0, o, len, &mut n),
                mote_token_bytes(model.0, 2, o, len, &mut n),
                mote_session_feed(session.0, i, len, 0),
                mote_session_feed_text(session.0, text, len, 0),
                mote_session_tokens(session.0, i, len, &mut n),
                mote_session_save(session.0, out.as_mut_ptr(), len, &mut n),
                mote_session_restore(session.0, out.as_ptr(), len),
                mote_session_rewind(session.0, len),
            ]
        };
        assert_eq!(statuses, [code(Code::Invalid); 13], "{len}");
        // SAFETY: as above.
        unsafe {
            assert_eq!(mote_tokenize_scratch(model.0, len, &mut n), code(Code::Text));
        }
    }
    // SAFETY: lengths of 0.
    unsafe {
        assert_eq!(mote_model_from_memory(bytes.as_ptr(), 0, &options, &mut made), 8);
        assert_eq!(mote_tokenize(model.0, text, 0, 0, i, 0, &mut n), OK);
        assert_eq!(n, 0);
        assert_eq!(mote_tokenize(model.0, text, 2, 0, i, 0, &mut n), code(Code::TooSmall));
        assert!(n > 0);
        assert_eq!(mote_detokenize(model.0, i, 0, 0, o, 0, &mut n), OK);
        assert_eq!(mote_session_feed(session.0, i, 0, 0), code(Code::Empty));
        assert_eq!(mote_session_restore(session.0, out.as_ptr(), 0), code(Code::State));
    }
}

/// Room for nothing, for one, for one too few, for all and for one more: the number that is needed, and not
/// a byte written behind the room.
#[test]
fn case_293_no_more_is_written_than_there_is_room_for() {
    const CANARY: u8 = 0x5a;
    let bytes = Bytes::fixture("models/llama-f32.gguf");
    let model = bytes.model();
    let text = "two tests, and \u{e9}";
    let from: *const c_char = text.as_ptr().cast();
    let (mut ids, mut n, mut m) = ([0_u32; 64], 0, 0);
    // SAFETY: a live model, buffers at least of the sizes given.
    unsafe {
        assert_eq!(mote_tokenize(model.0, from, text.len(), 1, ids.as_mut_ptr(), 64, &mut n), OK);
        for room in [0, 1, n - 1, n, n + 1] {
            let mut out = [u32::from_ne_bytes([CANARY; 4]); 64];
            let status =
                mote_tokenize(model.0, from, text.len(), 1, out.as_mut_ptr(), room, &mut m);
            let enough = if room < n { code(Code::TooSmall) } else { OK };
            assert_eq!((status, m), (enough, n), "{room}");
            assert!(out[room..].iter().all(|&id| id == u32::from_ne_bytes([CANARY; 4])), "{room}");
        }
        let mut size = 0;
        let whole = &mut [0_u8; 64];
        let o: *mut c_char = whole.as_mut_ptr().cast();
        assert_eq!(mote_detokenize(model.0, ids.as_ptr(), n, 0, o, 64, &mut size), OK);
        for room in [0, 1, size - 1, size, size + 1] {
            let mut out = [CANARY; 64];
            let o: *mut c_char = out.as_mut_ptr().cast();
            let status = mote_detokenize(model.0, ids.as_ptr(), n, 0, o, room, &mut m);
            let enough = if room < size { code(Code::TooSmall) } else { OK };
            assert_eq!((status, m), (enough, size), "{room}");
            assert!(out[room..].iter().all(|&byte| byte == CANARY), "{room}");
        }
    }
}

#[test]
fn texts_and_tokens() {
    let bytes = Bytes::fixture("tokenizer/spm_llama.gguf");
    let mut needed = 0;
    // A vocabulary without a model is no model.
    // SAFETY: bytes of a file.
    let status = unsafe { mote_model_memory(bytes.as_ptr(), bytes.len(), &mut needed) };
    assert!(status != OK);
    let bytes = Bytes::fixture("models/llama-f32.gguf");
    let model = bytes.model();
    let text = "a b\u{e9} c";
    let (mut ids, mut n) = ([0_u32; 32], 0);
    let (mut same, mut m) = ([0_u32; 32], 0);
    let mut out = [0_u8; 64];
    // SAFETY: a live model and buffers of the sizes given.
    unsafe {
        let from: *const c_char = text.as_ptr().cast();
        assert_eq!(mote_tokenize(model.0, from, text.len(), 1, ids.as_mut_ptr(), 32, &mut n), OK);
        let mut size = 0;
        assert_eq!(mote_tokenize_scratch(model.0, text.len(), &mut size), OK);
        let mut scratch = vec![0; size];
        let (s, i) = (scratch.as_mut_ptr(), same.as_mut_ptr());
        let count = allocations(|| {
            assert_eq!(mote_tokenize_in(model.0, from, text.len(), 1, s, size, i, 32, &mut m), OK);
        });
        assert_eq!((&ids[..n], count), (&same[..m], 0));
        let o: *mut c_char = out.as_mut_ptr().cast();
        assert_eq!(mote_detokenize(model.0, ids.as_ptr(), n, 0, o, 64, &mut m), OK);
        assert_eq!(&out[..m], text.as_bytes());
        let short = mote_detokenize(model.0, ids.as_ptr(), n, 0, o, m - 1, &mut n);
        assert_eq!((short, n), (code(Code::TooSmall), m));
        assert_eq!(mote_token_bytes(model.0, 999_999, o, 64, &mut m), code(Code::Token));
        let mut ends = 7;
        assert_eq!(mote_token_ends(model.0, u32::MAX, &mut ends), code(Code::Token));
        let mut info = Info::default();
        assert_eq!(mote_model_get_info(model.0, &mut info), OK);
        assert_eq!((info.n_layers, info.n_embd, info.n_vocab), (3, 64, 800));
        assert_eq!(mote_token_ends(model.0, info.eos, &mut ends), OK);
        assert_eq!(ends, 1);
        for flags in [4, 16, u32::MAX] {
            let status = mote_tokenize(model.0, from, 1, flags, ids.as_mut_ptr(), 32, &mut n);
            assert_eq!(status, code(Code::Invalid));
        }
    }
}
