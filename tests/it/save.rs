//! Sessions saved and restored.

use mote_kernels::{CacheType, QuantType};
use mote_runtime::{Precision, RestoreError, Session, SessionError};
use mote_tests::models::{RECURRENT, encoded, fixture, with_strings};
use mote_tests::speak::{Run, caches};

fn run() -> Run {
    Run { precision: Precision::Mixed, cache: CacheType::F16, ..Run::default() }
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

fn saved(session: &mut Session<'_>) -> Vec<u8> {
    let mut bytes = vec![0xee; session.saved_bytes()];
    assert_eq!(session.save(&mut bytes), Ok(bytes.len()));
    bytes
}

/// The logits after some more tokens.
fn go_on(session: &mut Session<'_>) -> Vec<f32> {
    session.feed(&text(3)).unwrap();
    session.logits().unwrap().to_vec()
}

/// Bytes of a session of `len` tokens, the last half of them generated.
fn bytes_of(run: Run, file: &[u8], n_ctx: usize, len: u32) -> Vec<u8> {
    run.session(file, n_ctx, |session| {
        let ids = text(len);
        let (prompt, generated) = ids.split_at(ids.len() / 2 + 1);
        session.feed(prompt).unwrap();
        generated.iter().for_each(|&id| session.feed_generated(&[id]).unwrap());
        saved(session)
    })
}

#[test]
fn a_restored_session_goes_on_with_the_same_bits() {
    let others = RECURRENT.into_iter().chain(["deepseek3", "gemma4"]);
    let dense = ["llama-f32", "gemma3-bf16", "gemma3", "gpt2", "phi3", "qwen3"];
    for file in dense.into_iter().chain(others) {
        let file = fixture(&format!("models/{file}.gguf"));
        for cache in caches(&file) {
            let run = Run { cache, ..run() };
            for len in [1, 15, 16, 17, 33] {
                let mut expected = Vec::new();
                let bytes = run.session(&file, 40, |session| {
                    session.feed(&text(len)).unwrap();
                    let bytes = saved(session);
                    expected = go_on(session);
                    bytes
                });
                // On another number of threads, with other batches, over other leavings.
                let other = Run { threads: 2, batch: 3, ..run };
                other.session(&file, 40, |session| {
                    session.feed(&text(21)).unwrap();
                    session.restore(&bytes).unwrap();
                    assert_eq!(session.tokens(), text(len));
                    assert!(session.logits().is_none());
                    assert!(saved(session) == bytes, "the same context, the same bytes");
                    assert_eq!(go_on(session), expected, "{len} tokens");
                });
            }
        }
    }
}

/// A recurrent state is computed anew where a rewind has left none: the same bytes as of a session
/// that never held more.
#[test]
fn a_rewound_session_saves_the_same_bytes() {
    for name in RECURRENT.into_iter().chain(["qwen3", "gemma4"]) {
        let file = fixture(&format!("models/{name}.gguf"));
        for len in [1, 2, 9, 16] {
            let expected = run().session(&file, 40, |session| {
                session.feed(&text(len)).unwrap();
                saved(session)
            });
            run().session(&file, 40, |session| {
                session.feed(&text(30)).unwrap();
                session.feed_generated(&[3]).unwrap();
                session.rewind(len as usize);
                assert!(saved(session) == expected, "{name}: {len} tokens");
                assert_eq!(session.recall(|| true), Ok(true));
                assert!(saved(session) == expected, "{name}: {len} tokens");
            });
        }
    }
}

/// So it is where the state before everything is no longer kept.
#[test]
fn a_session_rewound_to_its_first_token_saves_the_same_bytes() {
    for name in RECURRENT {
        let file = fixture(&format!("models/{name}.gguf"));
        let expected = run().session(&file, 300, |session| {
            session.feed(&text(1)).unwrap();
            saved(session)
        });
        Run { batch: 64, ..run() }.session(&file, 300, |session| {
            session.feed(&text(300)).unwrap();
            session.rewind(1);
            assert!(saved(session) == expected, "{name}");
        });
    }
}

#[test]
fn logits_of_a_restored_session_are_recalled() {
    let file = encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0);
    run().session(&file, 40, |session| {
        session.feed(&text(20)).unwrap();
        session.feed_generated(&[7]).unwrap();
        let (bytes, logits) = (saved(session), session.logits().unwrap().to_vec());
        session.rewind(0);
        session.restore(&bytes).unwrap();
        assert_eq!(session.recall(|| true), Ok(true));
        assert_eq!(session.logits().unwrap(), logits);
    });
}

#[test]
fn an_empty_session_can_be_saved() {
    let file = fixture("models/gemma3.gguf");
    run().session(&file, 40, |session| {
        let empty = saved(session);
        session.feed(&text(5)).unwrap();
        session.restore(&empty).unwrap();
        assert_eq!((session.position(), session.saved_bytes()), (0, empty.len()));
    });
}

#[test]
fn too_little_room_is_an_error() {
    let file = fixture("models/gemma3.gguf");
    run().session(&file, 40, |session| {
        session.feed(&text(5)).unwrap();
        let needed = session.saved_bytes();
        let mut bytes = vec![0; needed - 1];
        let error = session.save(&mut bytes).unwrap_err();
        assert!(matches!(error, SessionError::Memory(error) if error.needed == needed));
    });
}

#[test]
fn case_380_damaged_bytes_are_refused_and_change_nothing() {
    let file = fixture("models/gemma3.gguf");
    let bytes = bytes_of(run(), &file, 40, 19);
    run().session(&file, 40, |session| {
        session.feed(&text(9)).unwrap();
        let before = saved(session);
        for len in 0..bytes.len() {
            assert!(session.restore(&bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(session.restore(&longer).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(session.restore(&damaged).is_err(), "byte {at}");
            damaged[at] = !bytes[at];
            assert!(session.restore(&damaged).is_err(), "byte {at}");
        }
        assert!(session.logits().is_some() && saved(session) == before, "as it was");
        session.restore(&bytes).unwrap();
    });
}

/// The checksum that save.rs describes, so that other numbers can be put in.
fn sealed(mut bytes: Vec<u8>, at: usize, field: &[u8]) -> Vec<u8> {
    bytes[at..at + field.len()].copy_from_slice(field);
    resealed(bytes)
}

pub(super) fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 8;
    let mix = |sum: u64, word: [u8; 8]| {
        (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    };
    let words = bytes[..end].chunks_exact(8);
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    let sum = words.fold(end as u64, |sum, word| mix(sum, word.try_into().unwrap()));
    let sum = mix(sum, last);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn case_380_numbers_that_do_not_fit_are_refused() {
    let file = fixture("models/gemma3.gguf");
    let bytes = bytes_of(run(), &file, 40, 19);
    run().session(&file, 40, |session| {
        let mut refuse = |at, field: &[u8]| {
            session.restore(&sealed(bytes.clone(), at, field)).expect_err("refused")
        };
        assert_eq!(refuse(8, &[0, 0]), RestoreError::Version(0));
        assert_eq!(refuse(8, &[2]), RestoreError::Version(2));
        assert_eq!(refuse(12, &[0]), RestoreError::Options);
        assert_eq!(refuse(32, &[41]), RestoreError::Context(41));
        assert_eq!(refuse(40, &(1_u64 << 31).to_le_bytes()), RestoreError::Tokens(1 << 31));
        assert_eq!(refuse(40, &u64::MAX.to_le_bytes()), RestoreError::Tokens(u64::MAX));
        assert!(matches!(refuse(40, &[18]), RestoreError::Length { .. }));
        assert_eq!(refuse(48, &[0]), RestoreError::Options);
        assert_eq!(refuse(52, &[1]), RestoreError::Options, "reserved");
        assert_eq!(refuse(56, &[32]), RestoreError::Token(32));
        session.restore(&sealed(bytes.clone(), 56, &[31])).expect("a token that there is");
    });
}

#[test]
fn case_380_another_model_and_other_options_are_refused() {
    let file = fixture("models/gemma3.gguf");
    let bytes = bytes_of(run(), &file, 40, 19);
    let refused = |run: Run, file: &[u8], n_ctx| {
        run.session(file, n_ctx, |session| session.restore(&bytes).expect_err("refused"))
    };
    let renamed = with_strings(&file, &[("general.name", "another")]);
    let gguf = mote_formats::Gguf::parse(&file).unwrap();
    let mut other_weights = file.clone();
    other_weights[gguf.tensors().last().unwrap().offset()] ^= 1;
    for other in [&renamed, &other_weights, &fixture("models/gemma3-bf16.gguf")] {
        assert_eq!(refused(run(), other, 40), RestoreError::Model);
    }
    assert_eq!(refused(run(), &file, 41), RestoreError::Context(40));
    assert_eq!(refused(Run { cache: CacheType::F32, ..run() }, &file, 40), RestoreError::Options);
    let precision = Run { precision: Precision::Bits8, ..run() };
    assert_eq!(refused(precision, &file, 40), RestoreError::Options);
}
