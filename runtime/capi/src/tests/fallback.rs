//! n-gram models, alone and behind a Transformer.

use std::ptr::{null, null_mut};

use mote_formats::Gguf;

use super::ngrams::ngram;
use super::support::*;
use crate::Code;
use crate::fallback::*;
use crate::model::*;
use crate::options::*;
use crate::session::*;
use crate::state::*;
use crate::write::*;

/// A token whose embedding is NaN in [`poisoned`].
const POISON: u32 = 20;

fn gemma() -> Vec<u8> {
    std::fs::read(path(GEMMA)).unwrap()
}

/// An n-gram model of gemma's vocabulary.
fn n_grams() -> Bytes {
    Bytes::of(&ngram(&gemma(), &prompt(300), 3))
}

fn poisoned() -> Bytes {
    let mut file = gemma();
    let gguf = Gguf::parse(&file).unwrap();
    let tensor = gguf.tensors().find(|tensor| tensor.name() == "token_embd.weight").unwrap();
    let row = tensor.data().len() / 32;
    let start = tensor.data().as_ptr() as usize - file.as_ptr() as usize + POISON as usize * row;
    // NaN as f16.
    file[start..start + row].fill(0x7f);
    Bytes::of(&file)
}

fn attach(session: &Text, fallback: &Owned) -> i32 {
    // SAFETY: live handles, no memory lent.
    unsafe { mote_session_set_fallback(session.0, fallback.0, null_mut(), 0) }
}

fn deadline(session: &Text, microseconds: u64) {
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_set_deadline(session.0, microseconds), OK) };
}

/// The next token, and why it is not the model's.
fn next(session: &Text) -> Result<(u32, u32), i32> {
    let mut piece = Piece::default();
    // SAFETY: a live session.
    match unsafe { mote_session_next(session.0, &mut piece) } {
        OK => {
            let mut why = -1;
            // SAFETY: as above.
            unsafe { assert_eq!(mote_session_degraded(session.0, &mut why), OK) };
            assert_eq!(why, piece.degraded as i32);
            Ok((piece.id, piece.degraded))
        }
        status => Err(status),
    }
}

fn score(session: &Text, ids: &[u32]) -> Vec<f64> {
    let mut ln = vec![0.0; ids.len()];
    // SAFETY: a live session, and room for every id.
    let status = unsafe { mote_session_score(session.0, ids.as_ptr(), ids.len(), ln.as_mut_ptr()) };
    assert_eq!(status, OK, "{}", session.error());
    ln
}

#[test]
fn an_n_gram_model_is_a_model() {
    let bytes = n_grams();
    let model = bytes.model();
    let mut info = Info::default();
    let mut plan = PlanInfo::default();
    // SAFETY: a live model, and structs that say their size.
    unsafe {
        assert_eq!(mote_model_get_info(model.0, &mut info), OK);
        assert_eq!(mote_session_plan(model.0, &small(), &mut plan), OK);
    }
    assert_eq!((info.order, info.n_layers, info.n_embd, info.n_vocab), (3, 0, 0, 32));
    assert!(info.n_parameters > 60 && info.n_ctx_train == u32::MAX);
    assert_eq!((plan.n_ctx, plan.activation_bytes, plan.logit_bytes), (64, 0, 128));
    let session = model.session(&small());
    let ids = prompt(20);
    let scored = score(&session, &ids);
    assert_eq!(scored[0], 0.0);
    assert!(scored[1..].iter().all(|ln| (-20.0..0.0).contains(ln)));
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_rewind(session.0, 0), OK) };
    let sampled = WritingOptions { seed: 3, top_k: 0, ignore_eos: 1, ..Default::default() };
    assert_eq!((session.begin(&sampled), session.feed(&ids)), (OK, OK));
    let (expected, _) = session.write(20);
    assert_eq!(expected.len(), 20);
    // Within a budget, in a session of another context that does not fit.
    let budget = SessionOptions { n_ctx: 10_000, memory_budget: 20_000, ..small() };
    let mut plan = PlanInfo::default();
    // SAFETY: as above.
    unsafe { assert_eq!(mote_session_plan(model.0, &budget, &mut plan), OK) };
    assert!(plan.n_ctx < 5000 && plan.total_bytes <= 20_000, "{plan:?}");
}

#[test]
fn an_n_gram_session_is_saved_and_restored() {
    let bytes = n_grams();
    let model = bytes.model();
    let session = model.session(&small());
    assert_eq!((session.begin(&greedy()), session.feed(&prompt(9))), (OK, OK));
    session.write(2);
    let mut state = vec![0; 4096];
    let mut size = 0;
    // SAFETY: a live session, and room for the size given.
    unsafe {
        let status = mote_session_save(session.0, state.as_mut_ptr(), state.len(), &mut size);
        assert_eq!(status, OK);
    }
    state.truncate(size);
    let expected = session.write(5);
    let other = model.session(&small());
    let restore = |bytes: &[u8]| {
        // SAFETY: a live session.
        unsafe { mote_session_restore(other.0, bytes.as_ptr(), bytes.len()) }
    };
    assert_eq!(other.begin(&greedy()), OK);
    for at in 0..size {
        let mut broken = state.clone();
        broken[at] ^= 0x10;
        assert_eq!(restore(&broken), code(Code::State), "byte {at}");
        assert_eq!(restore(&state[..at]), code(Code::State), "cut at {at}");
    }
    assert_eq!(restore(&state), OK);
    assert_eq!(other.write(5), expected);
    let gemma = Bytes::fixture(GEMMA);
    let gemma = gemma.model();
    let foreign = gemma.session(&small());
    // SAFETY: a live session.
    let status = unsafe { mote_session_restore(foreign.0, state.as_ptr(), size) };
    assert_eq!(status, code(Code::State));
}

/// Case 424: late, and in time again.
#[test]
fn case_424_the_fallback_writes_after_the_deadline() {
    let (gemma, n_grams) = (Bytes::fixture(GEMMA), n_grams());
    let (model, fallback) = (gemma.model(), n_grams.model());
    let alone = model.session(&small());
    assert_eq!((alone.begin(&greedy()), alone.feed(&prompt(9))), (OK, OK));
    let session = model.session(&small());
    assert_eq!((session.begin(&greedy()), session.feed(&prompt(9))), (OK, OK));
    assert_eq!(attach(&session, &fallback), OK, "in the middle of a text");
    drop(fallback);
    for _ in 0..4 {
        assert_eq!(next(&session).unwrap(), (alone.next().unwrap().0, 0));
    }
    deadline(&session, 0);
    let mut late = Vec::new();
    for _ in 0..6 {
        let (id, why) = next(&session).unwrap();
        late.push(id);
        assert_eq!(why, Code::Deadline as u32);
    }
    let mut logits = null();
    let (mut n, mut size) = (0, 0);
    // SAFETY: a live session.
    unsafe {
        assert_eq!(mote_session_logits(session.0, &mut logits, &mut n), OK);
        assert_eq!(n, 32);
        let status = mote_session_saved_size(session.0, &mut size);
        assert_eq!(status, code(Code::Deadline), "the model has not taken it in");
        let status = mote_session_set_fallback(session.0, null(), null_mut(), 0);
        assert_eq!(status, code(Code::Invalid), "nor can it go on alone");
    }
    deadline(&session, u64::MAX);
    let (id, why) = next(&session).unwrap();
    assert_eq!(why, 0);
    // The model alone, fed the same text, comes to the same.
    assert_eq!(alone.feed(&late[..0]), code(Code::Empty));
    // SAFETY: a live session.
    let status = unsafe { mote_session_feed(alone.0, late.as_ptr(), late.len(), 1) };
    assert_eq!(status, OK);
    assert_eq!(alone.next().unwrap().0, id);
    // SAFETY: live sessions.
    unsafe {
        assert_eq!(mote_session_saved_size(session.0, &mut size), OK);
        assert_eq!(mote_session_set_fallback(session.0, null(), null_mut(), 0), OK);
    }
    deadline(&session, 0);
    assert_eq!(next(&session), Err(code(Code::Deadline)), "without a fallback");
}

/// Case 424: logits that are not finite.
#[test]
fn case_424_the_fallback_writes_where_logits_are_not_finite() {
    let (broken, n_grams) = (poisoned(), n_grams());
    let (model, fallback) = (broken.model(), n_grams.model());
    let session = model.session(&small());
    assert_eq!((session.begin(&greedy()), session.feed(&[3, 4, POISON])), (OK, OK));
    assert_eq!(next(&session), Err(code(Code::NotFinite)));
    // SAFETY: a live session.
    unsafe { assert_eq!(mote_session_rewind(session.0, 0), OK) };
    assert_eq!(attach(&session, &fallback), OK);
    assert_eq!(session.feed(&[3, 4, POISON]), OK);
    let spare = fallback.session(&small());
    assert_eq!((spare.begin(&greedy()), spare.feed(&[3, 4, POISON])), (OK, OK));
    for _ in 0..5 {
        let expected = spare.next().unwrap().0;
        assert_eq!(next(&session), Ok((expected, Code::NotFinite as u32)));
    }
    let after: Vec<f64> = score(&session, &[5, 6]);
    assert!(after.iter().all(|ln| ln.is_finite()));
}

/// Cases 423 and 424: there is no model at all.
#[test]
fn a_fallback_alone_says_why() {
    let n_grams = n_grams();
    let fallback = n_grams.model();
    let options = SessionOptions { degraded: Code::Io as u32, ..small() };
    let session = fallback.session(&options);
    assert_eq!((session.begin(&greedy()), session.feed(&prompt(9))), (OK, OK));
    deadline(&session, 0);
    assert_eq!(next(&session).unwrap().1, Code::Io as u32);
    let new = |options: &SessionOptions| {
        let mut session = null_mut();
        // SAFETY: a live model and sound options.
        unsafe { mote_session_new(fallback.0, options, &mut session) }
    };
    assert_eq!(new(&SessionOptions { degraded: 99, ..small() }), code(Code::Invalid));
    assert_eq!(new(&SessionOptions { reserved_2: 1, ..small() }), code(Code::Invalid));
    let plain = fallback.session(&small());
    assert_eq!((plain.begin(&greedy()), plain.feed(&prompt(9))), (OK, OK));
    assert_eq!(next(&plain).unwrap().1, 0);
    deadline(&plain, 0);
    assert_eq!(next(&plain), Err(code(Code::Deadline)), "nobody said that it is a fallback");
}

#[test]
fn fallbacks_that_cannot_be() {
    let (gemma, n_grams) = (Bytes::fixture(GEMMA), n_grams());
    let (model, fallback) = (gemma.model(), n_grams.model());
    let session = model.session(&small());
    assert_eq!(attach(&session, &model), code(Code::Invalid));
    assert!(session.error().contains("no n-gram model"));
    let other = std::fs::read(path("models/llama-f32.gguf")).unwrap();
    let other = Bytes::of(&ngram(&other, &prompt(50), 2));
    let other = other.model();
    assert_eq!(attach(&session, &other), code(Code::Invalid));
    assert!(session.error().contains("vocabulary"), "{}", session.error());
    let mut plan = PlanInfo::default();
    // SAFETY: as mote.h demands; memory is lent longer than it is used.
    unsafe {
        let set = mote_session_set_fallback;
        assert_eq!(set(null_mut(), fallback.0, null_mut(), 0), code(Code::Null));
        assert_eq!(set(session.0, session.0.cast(), null_mut(), 0), code(Code::BadHandle));
        assert_eq!(mote_session_degraded(session.0, null_mut()), code(Code::Null));
        assert_eq!(mote_session_plan(fallback.0, &small(), &mut plan), OK);
        let enough = plan.total_bytes as usize;
        let mut memory = lent(enough + 8);
        let start = memory.as_mut_ptr().cast::<u8>();
        assert_eq!(set(session.0, fallback.0, start.cast(), 8), code(Code::TooSmall));
        assert_eq!(set(session.0, fallback.0, start.add(1).cast(), enough), code(Code::Invalid));
        assert_eq!(set(session.0, fallback.0, null_mut(), 9), code(Code::Invalid));
        assert_eq!(set(session.0, fallback.0, start.cast(), enough), OK);
        let ids = prompt(9);
        let again = allocations(|| {
            assert_eq!(set(session.0, fallback.0, start.cast(), enough), OK);
            deadline(&session, 0);
            assert_eq!((session.begin(&greedy()), session.feed(&ids)), (OK, OK));
            assert_eq!(next(&session).unwrap().1, Code::Deadline as u32);
        });
        assert_eq!(again, 0, "all memory is lent");
    }
}

/// Case 364 for a fallback: no memory is an error, and nothing is lost.
#[test]
fn case_364_no_memory_for_a_fallback() {
    let (gemma, n_grams) = (Bytes::fixture(GEMMA), n_grams());
    let (model, fallback) = (gemma.model(), n_grams.model());
    let session = model.session(&small());
    for k in 0.. {
        let (status, left, failed) = failing(k, || attach(&session, &fallback));
        if !failed {
            assert_eq!((status, left), (OK, 1), "allocation {k}");
            break;
        }
        assert_eq!((status, left), (code(Code::NoMemory), 0), "allocation {k}");
    }
    assert_eq!((session.begin(&greedy()), session.feed(&prompt(9))), (OK, OK));
    assert_eq!(next(&session).unwrap().1, 0);
}
