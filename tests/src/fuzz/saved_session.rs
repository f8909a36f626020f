//! Damaged bytes as a saved session.

use std::sync::OnceLock;

use mote_formats::gguf::checksum::checksum;
use mote_runtime::RestoreError;
use mote_runtime::executor::Serial;

use super::input::Input;
use crate::equal::canonical;
use crate::models::fixture;
use crate::speak::Run;

/// Models with each kind of state: a cache, a recurrent state, both.
const MODELS: [&str; 3] = ["qwen2", "mamba", "lfm2"];
const N_CTX: usize = 16;
const TEXT: [u32; 7] = [3, 9, 4, 21, 7, 12, 5];

/// A model's file, and a session of it as bytes.
fn saved() -> &'static [(Vec<u8>, Vec<u8>)] {
    static SAVED: OnceLock<Vec<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    SAVED.get_or_init(|| {
        let of = |name| {
            let file = fixture(&format!("models/{name}.gguf"));
            let bytes = Run::default().session_with(&Serial, &file, N_CTX, |session| {
                session.feed(&TEXT).expect("tokens");
                let mut bytes = vec![0; session.saved_bytes()];
                session.save(&mut bytes).expect("room");
                bytes
            });
            (file, bytes)
        };
        MODELS.map(of).to_vec()
    })
}

/// Bytes that are refused leave a session as it is; with what is accepted it goes on.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (file, whole) = &saved()[input.below(MODELS.len())];
    let damaged = damaged(whole, &mut input);
    Run::default().session_with(&Serial, file, N_CTX, |session| {
        session.feed(&TEXT[..4]).expect("tokens");
        let before = (session.tokens().to_vec(), bits(session.logits()));
        let restored = session.restore(&damaged);
        match restored {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                let after = (session.tokens().to_vec(), bits(session.logits()));
                assert_eq!(before, after, "{error}");
                assert!(damaged != *whole, "{error}");
            }
            Ok(()) => {
                assert!(session.tokens().len() <= N_CTX);
                let mut again = vec![0; session.saved_bytes()];
                let n = session.save(&mut again).expect("room");
                assert!(again[..n] == damaged, "saved again, with other bytes");
            }
        }
        let last = session.tokens().len();
        if last < N_CTX {
            session.feed_generated(&[2]).expect("room for a token");
        }
        session.rewind(last / 2);
        session.feed(&[1]).expect("room for a token");
        assert!(session.logits().is_some_and(|logits| !logits.is_empty()));
        // What was not damaged still fits.
        assert_eq!(session.restore(whole), Ok::<(), RestoreError>(()));
    });
}

fn bits(logits: Option<&mut [f32]>) -> Vec<u32> {
    logits.map(|logits| logits.iter().map(|&x| canonical(x)).collect()).unwrap_or_default()
}

/// The saved bytes with some changed, cut or longer; and mostly with a checksum that says it is right.
fn damaged(whole: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let flags = input.byte();
    if flags & 1 == 1 {
        bytes.resize(input.below(2 * whole.len()), 0);
    }
    while !input.is_empty() && !bytes.is_empty() {
        // The header is where most is decided.
        let at = if input.byte() & 1 == 0 { input.below(128) } else { input.below(bytes.len()) };
        for (place, &byte) in bytes.iter_mut().skip(at).zip(input.take(4)) {
            *place = byte;
        }
    }
    if flags & 2 == 2 && bytes.len() > 24 {
        let len = bytes.len() as u64;
        bytes[16..24].copy_from_slice(&len.to_le_bytes());
    }
    if flags & 4 == 0 && bytes.len() > 8 {
        let end = bytes.len() - 8;
        let sum = checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}
