//! An n-gram model as a language model: logits, contexts, going back, completions.

use mote_formats::Gguf;
use mote_kernels::arch;
use mote_runtime::executor::Serial;
use mote_runtime::ngram::{State, distribution, score};
use mote_runtime::{
    AnyModel, AnySession, Completion, CompletionOptions, LanguageModel, NgramModel, NgramSession,
    Options, Origin, SessionError, StopReason, sample,
};
use mote_tests::models::llama;
use mote_tests::ngrams::ngram;

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * i / 3 + i * 7 % 11) % 29 + 3).collect()
}

/// A session over an n-gram model of the tiny llama's vocabulary.
fn with_session<R>(order: usize, n_ctx: usize, work: impl FnOnce(&mut NgramSession<'_>) -> R) -> R {
    let file = ngram(&llama(), &text(400), order);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let model = NgramModel::new(&gguf, &mut tables).unwrap();
    let bytes = NgramSession::plan(&model, n_ctx).unwrap().total_bytes;
    let mut memory = vec![0xff; bytes];
    assert!(matches!(
        NgramSession::new(&model, n_ctx, arch::best(), &mut memory[1..]).map(|_| ()),
        Err(SessionError::Memory(_))
    ));
    work(&mut NgramSession::new(&model, n_ctx, arch::best(), &mut memory).unwrap())
}

fn logits(session: &mut dyn LanguageModel<'_>) -> Vec<f32> {
    session.logits().unwrap().to_vec()
}

#[test]
fn logits_are_log_probabilities_and_sum_to_one() {
    for order in 1..=5 {
        with_session(order, 100, |session| {
            assert!(session.logits().is_none());
            assert_eq!(session.recall(&mut || true), Err(SessionError::Empty));
            for &token in &text(60) {
                session.feed(&[token]).unwrap();
                let sum: f64 = logits(session).iter().map(|&v| f64::from(v).exp()).sum();
                assert!((sum - 1.0).abs() < 1e-5, "order {order}: {sum}");
                let mut log10 = vec![0.0; session.n_vocab()];
                distribution(session.model().trie(), session.state(), &mut log10);
                let ln = |v: &f32| (f64::from(*v) * core::f64::consts::LN_10) as f32;
                assert_eq!(logits(session), log10.iter().map(ln).collect::<Vec<_>>());
            }
        });
    }
}

/// However it got there, the same context has the same state and the same bits.
#[test]
fn a_context_gives_the_same_bits_however_it_was_fed() {
    let ids = text(50);
    with_session(4, 50, |session| {
        let mut expected = Vec::new();
        let mut state = State::EMPTY;
        for &id in &ids {
            session.feed(&[id]).unwrap();
            state = score(session.model().trie(), &state, id).1;
            assert_eq!(*session.state(), state);
            expected.push(logits(session));
        }
        for (from, to) in [(50, 49), (49, 3), (3, 1), (1, 0)] {
            assert_eq!(session.position(), from);
            session.rewind(to);
            assert_eq!(session.tokens(), &ids[..to]);
            assert_eq!(
                session.logits().map(|found| found.to_vec()),
                to.checked_sub(1).map(|i| expected[i].clone())
            );
        }
        session.feed(&ids[..20]).unwrap();
        session.feed_generated(&ids[20..30]).unwrap();
        assert_eq!(logits(session), expected[29]);
        assert_eq!(session.origin(19), Some(Origin::Prompt));
        assert_eq!(session.origin(20), Some(Origin::Generated));
        assert_eq!(session.origin(30), None);
        let mut shown = Vec::new();
        session
            .score_from(&ids[30..], Origin::Prompt, 5, &mut |i, logits| {
                shown.push((i, logits.to_vec()))
            })
            .unwrap();
        let later: Vec<_> = (5..20).map(|i| (i, expected[30 + i].clone())).collect();
        assert_eq!(shown, later);
        assert_eq!(logits(session), expected[49]);
    });
}

#[test]
fn changed_logits_stay_until_the_next_feeding() {
    with_session(3, 9, |session| {
        session.feed(&[5, 6]).unwrap();
        let before = logits(session);
        session.logits().unwrap()[3] = 7.0;
        assert_eq!(session.logits().unwrap()[3], 7.0);
        session.take_logits().unwrap();
        assert_eq!(session.recall(&mut || true), Ok(true));
        assert_eq!(logits(session), before);
    });
}

#[test]
fn scoring_tokens_gives_what_the_logits_say() {
    let ids = text(40);
    with_session(4, 40, |session| {
        let mut direct = Vec::new();
        session.feed(&ids[..4]).unwrap();
        let n = session.score_tokens(&ids[4..], Origin::Prompt, &mut |_| true, &mut |i, ln| {
            direct.push((i, ln))
        });
        assert_eq!(n, Ok(36));
        let after = logits(session);
        session.rewind(4);
        for (&id, (i, ln)) in ids[4..].iter().zip(&direct) {
            assert!((f64::from(logits(session)[id as usize]) - ln).abs() < 1e-6, "{i}");
            session.feed(&[id]).unwrap();
        }
        assert_eq!((direct.len(), logits(session)), (36, after));
        session.rewind(0);
        let (mut seen, mut calls) = (Vec::new(), 0);
        let mut go_on = |_| {
            calls += 1;
            calls <= 7
        };
        let n = session.score_tokens(&ids, Origin::Prompt, &mut go_on, &mut |i, _| seen.push(i));
        assert_eq!((n, session.position()), (Ok(7), 7));
        assert_eq!(seen, (1..7).collect::<Vec<_>>(), "nothing predicts the first token");
    });
}

#[test]
fn what_cannot_be_fed_is_refused() {
    with_session(2, 3, |session| {
        assert_eq!(session.feed(&[]), Err(SessionError::Empty));
        assert_eq!(session.feed(&[1, 32]), Err(SessionError::Token(32)));
        session.feed(&[1, 2]).unwrap();
        let full = Err(SessionError::ContextFull { needed: 4, capacity: 3 });
        assert_eq!(session.feed(&[1, 2]), full);
        assert_eq!(session.feed_with(&[3], Origin::Prompt, &mut |_| false), Ok(0));
        assert_eq!(session.tokens(), [1, 2]);
    });
    let file = ngram(&llama(), &text(50), 2);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let model = NgramModel::new(&gguf, &mut tables).unwrap();
    assert!(NgramSession::plan(&model, 0).is_err());
    assert!(NgramSession::plan(&model, usize::MAX / 2).is_err());
}

/// A completion is the text that the distributions give, drawn step by step.
#[test]
fn a_completion_goes_on_from_an_n_gram_model() {
    let file = ngram(&llama(), &text(400), 3);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; AnyModel::bytes_needed(&gguf).unwrap()];
    let model = AnyModel::new(&gguf, &mut tables).unwrap();
    let options = Options { n_ctx: 40, ..Options::default() };
    let mut memory = vec![0xff; AnySession::plan(&model, &options).unwrap().total_bytes];
    let kernels = arch::best();
    let mut session = AnySession::new(&model, &options, kernels, &Serial, &mut memory).unwrap();
    let sampling = sample::Options { seed: 3, temperature: 1.0, top_k: 0, ..Default::default() };
    let options =
        CompletionOptions { sampling, max_tokens: 30, ignore_eos: true, ..Default::default() };
    let mut lent = vec![0; Completion::bytes_needed(model.tokenizer(), &options)];
    let mut ids = Vec::new();
    let mut completion = Completion::new(session.as_model_mut(), options, &mut lent).unwrap();
    completion.feed(&[1, 8], |_| true).unwrap();
    while let Some(step) = completion.step().unwrap() {
        assert_eq!(step.degraded, None);
        ids.push(step.id);
    }
    assert_eq!(completion.stopped(), Some(StopReason::Length));
    let session = session.as_model_mut();
    session.rewind(0);
    session.feed(&[1, 8]).unwrap();
    let mut candidates = vec![mote_kernels::Candidate::default(); 32];
    for &id in &ids {
        let (logits, recent) = session.logits_and_tokens().unwrap();
        let picked = sample::pick(kernels, &sampling, logits, recent, &mut candidates);
        assert_eq!(picked, Ok(id));
        session.feed_generated(&[id]).unwrap();
    }
    assert_eq!(ids.len(), 30);
}

#[test]
fn an_n_gram_file_is_no_transformer() {
    let file = ngram(&llama(), &text(50), 2);
    let gguf = Gguf::parse(&file).unwrap();
    assert!(mote_runtime::Model::bytes_needed(&gguf).is_err());
    let mut tables = vec![0; AnyModel::bytes_needed(&gguf).unwrap()];
    let model = AnyModel::new(&gguf, &mut tables).unwrap();
    assert!(matches!(model, AnyModel::Ngram(_)));
    assert_eq!(model.tokenizer().len(), 32);
    let other = llama();
    let gguf = Gguf::parse(&other).unwrap();
    let mut tables = vec![0; AnyModel::bytes_needed(&gguf).unwrap()];
    assert!(matches!(AnyModel::new(&gguf, &mut tables), Ok(AnyModel::Transformer(_))));
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    assert!(NgramModel::new(&gguf, &mut tables).is_err());
}
