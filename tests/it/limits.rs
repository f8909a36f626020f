//! What a session does not take: prompts that are too long, ids that are no tokens, logits that are no
//! numbers.

use mote_kernels::{Candidate, arch};
use mote_runtime::{LanguageModel, Origin, SessionError, sample};
use mote_tests::models::fixture;
use mote_tests::speak::{Run, caches};

const N_CTX: usize = 20;

fn ids(len: u32) -> Vec<u32> {
    (0..len).map(|i| i * 7 % 29 + 3).collect()
}

/// Models with attention, with recurrent layers, and with both.
fn in_sessions(test: impl Fn(&mut dyn LanguageModel<'_>)) {
    for name in ["gemma3", "mamba", "lfm2", "lstm"] {
        let file = fixture(&format!("models/{name}.gguf"));
        for cache in caches(&file) {
            Run { cache, batch: 8, ..Run::default() }
                .session(&file, N_CTX, |session| test(session));
        }
    }
}

/// Nothing of a prompt that is too long is taken, and what was there goes on. (Behind a session's memory
/// nothing is written: case 363.)
#[test]
fn case_294_a_prompt_longer_than_the_context() {
    in_sessions(|session| {
        let mut feed = |len: u32| session.feed_with(&ids(len), Origin::Prompt, &mut |_| true);
        for len in [N_CTX as u32 + 1, 1000, 100_000] {
            let full = SessionError::ContextFull { needed: len as usize, capacity: N_CTX };
            assert_eq!(feed(len), Err(full));
        }
        assert_eq!(feed(5), Ok(5));
        let full = SessionError::ContextFull { needed: N_CTX + 1, capacity: N_CTX };
        assert_eq!(feed(N_CTX as u32 - 4), Err(full));
        assert_eq!(session.tokens(), ids(5));
        let logits = session.logits().unwrap().to_vec();
        session.rewind(0);
        session.feed_with(&ids(5), Origin::Prompt, &mut |_| true).unwrap();
        assert_eq!(session.logits().unwrap(), logits);
        let rest = ids(N_CTX as u32)[5..].to_vec();
        assert_eq!(session.feed_with(&rest, Origin::Prompt, &mut |_| true), Ok(N_CTX - 5));
        let full = Err(SessionError::ContextFull { needed: N_CTX + 1, capacity: N_CTX });
        assert_eq!(session.feed_with(&[3], Origin::Generated, &mut |_| true), full);
    });
}

#[test]
fn case_295_an_id_that_is_no_token_is_not_fed() {
    in_sessions(|session| {
        session.feed_with(&ids(3), Origin::Prompt, &mut |_| true).unwrap();
        let n_vocab = session.n_vocab() as u32;
        for id in [n_vocab, i32::MAX as u32, u32::MAX] {
            for prompt in [&[id][..], &[3, id], &[id, 3]] {
                let fed = session.feed_with(prompt, Origin::Prompt, &mut |_| true);
                assert!(matches!(fed, Err(SessionError::Token(_))), "{fed:?}");
                assert_eq!(session.tokens(), ids(3));
            }
        }
        assert!(session.logits().is_some());
    });
}

/// Infinite and missing numbers are an error, be it one of them; what is equal is drawn from.
#[test]
fn case_360_logits_of_which_none_is_a_number() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let base = sample::Options { repetition_penalty: 1.0, ..sample::Options::default() };
    for options in [
        sample::Options { temperature: 0.0, ..base },
        base,
        sample::Options { top_k: 0, top_p: 1.0, min_p: 0.0, temperature: 1.0, ..base },
        sample::Options { top_k: 5, temperature: f32::INFINITY, ..base },
    ] {
        let pick = |logits: &[f32]| {
            let mut logits = logits.to_vec();
            let mut candidates = vec![Candidate::default(); options.candidates(logits.len())];
            sample::pick(arch::best(), &options, &mut logits, &[], &mut candidates)
        };
        for n in [1, 7, 40, 1000] {
            for all in [-inf, nan, inf] {
                assert_eq!(pick(&vec![all; n]), Err(SessionError::NotFinite), "{n} of {all}");
            }
            for equal in [0.0, -0.0, 1e30, -1e30, 1e-45] {
                assert!(pick(&vec![equal; n]).is_ok_and(|id| (id as usize) < n), "{n} of {equal}");
            }
            for one in [inf, -inf, nan] {
                let mut logits = vec![0.5; n];
                logits[n / 2] = one;
                assert_eq!(pick(&logits), Err(SessionError::NotFinite), "{one} among {n}");
            }
        }
    }
}
