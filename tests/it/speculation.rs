//! Lossless speculation: with any drafts a text is what it is without, token by token and bit by bit,
//! and so is the session that it leaves behind.

use mote_formats::Mapping;
use mote_kernels::{CacheType, QuantType, arch};
use mote_runtime::speculate::{Draft, Drafted, Drafter, KINDS, Lookup, MAX_DRAFTS, Speculator};
use mote_runtime::{
    Completion, CompletionOptions, LanguageModel, Origin, Precision, SessionError, StopReason,
    sample,
};
use mote_tests::models::{encoded, fixture};
use mote_tests::shared::{real_model, root};
use mote_tests::speak::Run;

use crate::same_bits::models;

/// Some text without meaning: ids below 200, which every vocabulary has.
fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

/// Numbers that look random.
struct Random(u32);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % n
    }
}

/// Knows the text, and errs now and then on purpose.
#[derive(Debug)]
struct Oracle<'t> {
    text: &'t [u32],
    /// One guess in so many is wrong.
    errs: u32,
    seed: u32,
}

impl Drafter for Oracle<'_> {
    fn prior(&self) -> [f32; KINDS] {
        [1.0; KINDS]
    }

    fn draft(&mut self, context: &[u32], _: u32, drafts: &mut [Draft]) -> usize {
        let following = &self.text[(context.len() + 1).min(self.text.len())..];
        self.seed += 1;
        let mut random = Random(self.seed);
        for (draft, &id) in drafts.iter_mut().zip(following) {
            let errs = random.below(self.errs) == 0;
            // Sometimes there is no such token.
            let wrong = if random.below(8) == 0 { u32::MAX } else { id + 1 };
            // Of many kinds, so that errors do not end the drafting.
            *draft = Draft { id: if errs { wrong } else { id }, kind: random.below(16) as u8 };
        }
        following.len().min(drafts.len())
    }
}

/// All that can be seen of a text that was written.
#[derive(Debug, PartialEq)]
struct Written {
    ids: Vec<u32>,
    text: String,
    stopped: Option<StopReason>,
    tokens: Vec<u32>,
    generated: Vec<bool>,
    /// The bits of what would come next.
    logits: Vec<u32>,
}

/// Writes on from `prompt`; ends after `steps` at the latest.
fn write(
    session: &mut dyn LanguageModel<'_>,
    prompt: &[u32],
    options: CompletionOptions<'_>,
    steps: usize,
    drafters: [Option<&mut dyn Drafter>; 2],
) -> (Written, Drafted) {
    session.rewind(0);
    let mut memory = vec![0; Completion::bytes_needed(session.tokenizer(), &options)];
    let mut completion = Completion::new(session, options, &mut memory).unwrap();
    let [drafter, other] = drafters;
    if let Some(drafter) = drafter {
        let other = other.map(|other| other as &mut dyn Drafter);
        completion.speculate(Speculator::new(drafter, other, None));
    }
    completion.feed(prompt, |_| true).unwrap();
    let (mut ids, mut text) = (Vec::new(), String::new());
    while ids.len() < steps
        && let Some(step) = completion.step().unwrap()
    {
        ids.push(step.id);
        text += step.text;
    }
    let (stopped, drafted) = (completion.stopped(), completion.drafted().unwrap_or_default());
    let tokens = session.tokens().to_vec();
    let generated = (0..tokens.len()).map(|i| session.origin(i) == Some(Origin::Generated));
    let generated = generated.collect();
    session.take_logits();
    session.recall(&mut || true).unwrap();
    let logits = session.logits().unwrap().iter().map(|v| (v + 0.0).to_bits()).collect();
    (Written { ids, text, stopped, tokens, generated, logits }, drafted)
}

/// Without drafts, then with good, mixed, bad ones and with prompt lookup. Returns what was drafted.
pub fn assert_lossless(
    name: &str,
    session: &mut dyn LanguageModel<'_>,
    prompt: &[u32],
    options: CompletionOptions<'_>,
    steps: usize,
) -> [Drafted; 4] {
    let (expected, nothing) = write(session, prompt, options, steps, [None, None]);
    assert_eq!(nothing, Drafted::default());
    let all = [prompt, &expected.ids].concat();
    let oracles = [1000, 4, 1].map(|errs| {
        let mut oracle = Oracle { text: &all, errs, seed: errs };
        let drafters = [Some(&mut oracle as &mut dyn Drafter), None];
        let (written, drafted) = write(session, prompt, options, steps, drafters);
        assert!(written == expected, "{name}, {errs}: {written:?} instead of {expected:?}");
        drafted
    });
    let mut memory = vec![0xff; Lookup::bytes_needed(session.capacity())];
    let mut lookup = Lookup::new(session.capacity(), &mut memory).unwrap();
    // Beside one that is nearly always wrong.
    let mut oracle = Oracle { text: &all, errs: 2, seed: 0 };
    let drafters = [Some(&mut lookup as &mut dyn Drafter), Some(&mut oracle)];
    let (written, drafted) = write(session, prompt, options, steps, drafters);
    assert!(written == expected, "{name}, lookup: {written:?} instead of {expected:?}");
    let [good, mixed, bad] = oracles;
    [good, mixed, bad, drafted]
}

/// The ways to choose a token.
pub fn samplings() -> [sample::Options; 3] {
    let default = sample::Options::default();
    [
        sample::Options { temperature: 0.0, repetition_penalty: 1.2, ..default },
        sample::Options { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 3, ..default },
        sample::Options { frequency_penalty: 0.5, penalty_window: 5, ..default },
    ]
}

/// As many tokens as are asked for, whatever they are.
pub fn endless(sampling: sample::Options, max_tokens: usize) -> CompletionOptions<'static> {
    CompletionOptions { sampling, max_tokens, ignore_eos: true, ..CompletionOptions::default() }
}

/// Each way to choose a token meets each precision, target and split, but not each of their combinations:
/// all of them would take emulated CPUs minutes.
#[test]
fn drafts_change_nothing_for_any_model_target_and_split() {
    let files = models(root().join("tests/fixtures/models"));
    assert!(files.len() >= 2);
    for path in files {
        let file = Mapping::open(&path).unwrap();
        let mut turns = (0..samplings().len()).cycle();
        for precision in [Precision::Bits8, Precision::Bits16, Precision::Mixed] {
            for (kernels, cache) in
                arch::available().zip([CacheType::F16, CacheType::F32].into_iter().cycle())
            {
                for (threads, batch) in [(1, 64), (2, 5), (3, 2), (1, 1)] {
                    let run = Run { kernels, threads, batch, precision, cache };
                    let name = format!("{}: {run:?}", path.display());
                    let options = endless(samplings()[turns.next().unwrap_or(0)], 40);
                    run.session(&file, 80, |session| {
                        let drafted = assert_lossless(&name, session, &text(30), options, 40);
                        let [good, _, bad, _] = drafted;
                        assert_eq!(bad.accepted, 0);
                        if batch == 1 {
                            assert_eq!(good.drafts, 0);
                        } else {
                            assert!(good.drafts > 15 && good.accepted > 15, "{good:?}");
                        }
                    });
                }
            }
        }
    }
}

/// Longer than the windows of the models that have some, and than a chunk of attention.
#[test]
fn drafts_change_nothing_in_long_contexts() {
    for path in models(root().join("tests/fixtures/models")) {
        let file = Mapping::open(&path).unwrap();
        for threads in [1, 2] {
            let run = Run { threads, ..Run::default() };
            run.session(&file, 700, |session| {
                let options = endless(samplings()[1], 150);
                assert_lossless(&path.to_string_lossy(), session, &text(500), options, 150);
            });
        }
    }
}

#[test]
fn a_text_ends_where_it_ends_without_drafts() {
    let file = encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0);
    Run::default().session(&file, 60, |session| {
        let sampling = samplings()[1];
        let (whole, _) = write(session, &text(20), endless(sampling, 100), 100, [None, None]);
        assert_eq!((whole.stopped, whole.ids.len()), (Some(StopReason::Length), 40), "no room");
        // Stop strings from each place of the text, and every number of tokens.
        let places: Vec<usize> = whole.text.char_indices().map(|(at, _)| at).collect();
        for &at in places.iter().filter(|at| *at + 4 < whole.text.len()) {
            let Some(stop) = whole.text.get(at..at + 3) else { continue };
            let options = CompletionOptions { stops: &[stop], ..endless(sampling, 100) };
            assert_lossless("a stop string", session, &text(20), options, 100);
        }
        for n in 0..=40 {
            assert_lossless("n tokens", session, &text(20), endless(sampling, n), 100);
            assert_lossless("left alone", session, &text(20), endless(sampling, 100), n);
        }
        for seed in 0..30 {
            let sampling = sample::Options { seed, ..sampling };
            let options = CompletionOptions { ignore_eos: false, ..endless(sampling, 100) };
            assert_lossless("the model's end", session, &text(20), options, 100);
        }
    });
}

/// Whatever is drafted, and whatever comes then: drafts accepted in part, other tokens, rewinds,
/// scoring, saving, a feeding that is ended.
#[test]
fn a_session_with_drafts_is_one_without() {
    same_with_drafts(&encoded(&fixture("models/llama-f32.gguf"), QuantType::Q4_0));
}

/// Layers that see what others remember go through with drafts, too.
#[test]
fn a_session_of_borrowing_layers_with_drafts_is_one_without() {
    same_with_drafts(&encoded(&fixture("models/gemma4.gguf"), QuantType::Q8_0));
}

/// Recurrent states are those of the tokens that are in the context, whatever was in it before.
#[test]
fn a_recurrent_session_with_drafts_is_one_without() {
    for name in [
        "lfm2",
        "mamba",
        "mamba2",
        "qwen35",
        "granite-hybrid-experts",
        "qwen3next",
        "rwkv4",
        "lstm",
        "nplm",
    ] {
        same_with_drafts(&encoded(&fixture(&format!("models/{name}.gguf")), QuantType::Q8_0));
    }
}

fn same_with_drafts(file: &[u8]) {
    let run =
        Run { precision: Precision::Mixed, cache: CacheType::F16, batch: 6, ..Run::default() };
    run.session(file, 50, |session| {
        run.session(file, 50, |plain| {
            /// The same to both.
            macro_rules! both {
                (|$s:ident| $what:expr) => {{
                    let $s = &mut *session;
                    $what;
                    let $s = &mut *plain;
                    $what;
                }};
            }
            let mut random = Random(1);
            session.feed(&text(3)).unwrap();
            plain.feed(&text(3)).unwrap();
            for step in 0..600 {
                if session.position() > 40 {
                    session.rewind(5);
                    plain.rewind(5);
                }
                let ids: Vec<u32> = (0..8).map(|_| random.below(30)).collect();
                let n = random.below(9) as usize;
                session.feed_drafted(ids[0], &ids[1..n.max(1)], |_| true).unwrap();
                plain.feed_generated(&ids[..1]).unwrap();
                assert_eq!(session.logits(), plain.logits(), "{step}");
                for &id in &ids[1..1 + random.below(7) as usize] {
                    match random.below(12) {
                        0 => both!(|s| s.feed(&[id]).unwrap()),
                        1 => both!(|s| s.feed_generated(&[id, 3]).unwrap()),
                        2 => both!(|s| s.rewind(s.position() - 1)),
                        3 => both!(|s| s.score(&[id], |_, _| ()).unwrap()),
                        4 => both!(|s| {
                            let go_on = |_| false;
                            assert_eq!(s.feed_with(&[id], Origin::Generated, go_on), Ok(0));
                        }),
                        5 => both!(|s| {
                            let mut bytes = vec![0; s.saved_bytes()];
                            s.save(&mut bytes).unwrap();
                            s.restore(&bytes).unwrap();
                        }),
                        6 => both!(|s| _ = s.take_logits()),
                        7 => both!(|s| {
                            let id = u32::MAX;
                            assert_eq!(s.feed_generated(&[id]), Err(SessionError::Token(id)));
                        }),
                        _ => both!(|s| s.feed_generated(&[id]).unwrap()),
                    };
                    assert_eq!(session.tokens(), plain.tokens());
                    assert_eq!(session.logits(), plain.logits(), "{step}");
                    if session.logits().is_none() {
                        both!(|s| s.recall(|| true).unwrap());
                        assert_eq!(session.logits(), plain.logits(), "{step}");
                    }
                }
            }
        });
    });
}

/// Drafting is asked before every layer like feeding, and is as if it had not begun if it is ended.
#[test]
fn drafting_can_be_ended() {
    let file = encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0);
    Run::default().session(&file, 30, |session| {
        let n_layers = session.model().config().n_layers;
        session.feed(&text(5)).unwrap();
        let before = session.logits().unwrap().to_vec();
        for limit in 0..=n_layers {
            let mut calls = 0;
            let go_on = |_| {
                calls += 1;
                calls <= limit
            };
            assert_eq!(session.feed_drafted(7, &[8, 9], go_on), Ok(0));
            assert_eq!((session.position(), session.logits()), (5, Some(&mut before.clone()[..])));
        }
        assert_eq!(session.feed_drafted(7, &[8, 9], |_| true), Ok(1));
        assert_eq!(session.feed_with(&[8], Origin::Generated, |_| false), Ok(0));
        assert_eq!((session.feed_generated(&[8]), session.position()), (Ok(()), 7));
        let full = Err(SessionError::ContextFull { needed: 31, capacity: 30 });
        session.feed(&text(23)).unwrap();
        assert_eq!(session.feed_drafted(7, &[8], |_| true), full);
    });
}

#[test]
fn drafts_change_nothing_for_real_models() {
    let prompts = [
        "The list: one, two, three, four. Once more: one, two, three, four. Once more: one, two,",
        "Once upon a time, in a small village by the sea, there lived",
    ];
    let greedy = sample::Options { temperature: 0.0, ..sample::Options::default() };
    for name in ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-Q4_K_M.gguf"] {
        // Unoptimised code takes minutes.
        let Some(path) = real_model(name).filter(|_| !cfg!(debug_assertions)) else { return };
        let file = Mapping::open(&path).unwrap();
        for precision in [Precision::Bits8, Precision::Mixed] {
            let run = Run { precision, threads: 2, cache: CacheType::F16, ..Run::default() };
            run.session(&file, 120, |session| {
                let tokenizer = session.model().tokenizer();
                let bos = tokenizer.default_options();
                let prompts =
                    prompts.map(|text| tokenizer.encode_to_vec(text.as_bytes(), bos).unwrap());
                for sampling in [greedy, sample::Options::default()] {
                    let options = endless(sampling, 40);
                    let drafted = assert_lossless(name, session, &prompts[0], options, 40);
                    assert!(drafted[3].accepted > 10, "{name}: {drafted:?}");
                    assert_lossless(name, session, &prompts[1], options, 40);
                }
            });
        }
    }
}

/// Good drafts, of which each pass takes as many as can be, save passes; bad ones are given up.
#[test]
fn drafts_that_fail_are_given_up() {
    let file = encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0);
    Run::default().session(&file, 300, |session| {
        let options = endless(samplings()[1], 200);
        let drafted = assert_lossless("many", session, &text(20), options, 200);
        let passes = |drafted: Drafted| drafted.plain_passes + drafted.drafted_passes;
        let [good, mixed, bad, _] = drafted;
        assert!(passes(good) <= 200 / (MAX_DRAFTS + 1) + 5, "{good:?}");
        assert!(passes(mixed) < 150, "{mixed:?}");
        assert_eq!(bad.accepted, 0);
    });
}
