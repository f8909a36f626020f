//! Texts as vectors.

use super::support::*;
use crate::Code;
use crate::embed::mote_session_embed;
use crate::state::mote_session_position;
use crate::tokens::mote_tokenize;

const AUTO: u32 = 0;
const MEAN: u32 = 1;
const LAST: u32 = 3;
const RAW_LENGTH: u32 = 1;

fn embed(session: &Text, ids: &[u32], pooling: u32, flags: u32) -> (i32, Vec<f32>) {
    let mut out = vec![7.0; 32];
    // SAFETY: a live session, and as much room as it says.
    let status = unsafe {
        let (ids, n) = (ids.as_ptr(), ids.len());
        mote_session_embed(session.0, ids, n, pooling, flags, out.as_mut_ptr(), out.len())
    };
    (status, out)
}

fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

#[test]
fn a_text_becomes_a_vector_and_the_context_is_forgotten() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    let ids = prompt(20);
    assert_eq!(session.feed(&ids), OK);
    let (status, auto) = embed(&session, &ids, AUTO, 0);
    assert_eq!(status, OK);
    assert!((length(&auto) - 1.0).abs() < 1e-6);
    let (mut position, mut capacity) = (9, 9);
    // SAFETY: a live session.
    unsafe { mote_session_position(session.0, &mut position, &mut capacity) };
    assert_eq!(position, 0);
    // A decoder's last token has seen the text.
    assert_eq!(embed(&session, &ids, LAST, 0), (OK, auto.clone()));
    let (_, mean) = embed(&session, &ids, MEAN, 0);
    assert_ne!(mean, auto);
    let (_, raw) = embed(&session, &ids, LAST, RAW_LENGTH);
    let scale = length(&raw);
    assert!(raw.iter().zip(&auto).all(|(x, y)| (f64::from(*x) / scale) as f32 == *y));
    // The session still writes.
    assert_eq!(session.feed(&ids), OK);
    session.next().unwrap();
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let session = model.session(&small());
    let refused = |ids: &[u32], pooling, flags| {
        let (status, out) = embed(&session, ids, pooling, flags);
        assert!(out.iter().all(|&x| x == 0.0) || out.iter().all(|&x| x == 7.0));
        status
    };
    assert_eq!(refused(&[3], 4, 0), code(Code::Invalid));
    assert_eq!(refused(&[3], AUTO, 2), code(Code::Invalid));
    assert_eq!(refused(&[], AUTO, 0), code(Code::Empty));
    assert_eq!(refused(&[3, 32], AUTO, 0), code(Code::Token));
    assert_eq!(refused(&[3; 65], AUTO, 0), code(Code::ContextFull));
    let mut out = [0.0; 31];
    // SAFETY: a live session, and as much room as it says.
    let status =
        unsafe { mote_session_embed(session.0, [3].as_ptr(), 1, 0, 0, out.as_mut_ptr(), 31) };
    assert_eq!(status, code(Code::Invalid));
}

/// `MOTE_ADD_EOS` is for models that expect one.
#[test]
fn an_end_is_added_where_it_belongs() {
    let bytes = Bytes::fixture(GEMMA);
    let model = bytes.model();
    let count = |flags| {
        let (mut ids, mut n) = ([0; 64], 0);
        // SAFETY: a text of one byte, and room.
        let status = unsafe {
            mote_tokenize(model.0, c"a".as_ptr(), 1, flags, ids.as_mut_ptr(), 64, &mut n)
        };
        assert_eq!(status, OK);
        n
    };
    assert_eq!(count(8), count(0));
}
