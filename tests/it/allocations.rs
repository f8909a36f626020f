//! After a session has started, nothing is allocated.

use std::hint::black_box;

use mote_formats::Gguf;
use mote_kernels::{CacheType, QuantType};
use mote_runtime::executor::Serial;
use mote_runtime::threads::ThreadPool;
use mote_runtime::{
    Completion, CompletionOptions, Deadline, Fallback, Model, NgramModel, NgramSession, Options,
    Precision, Session, StopReason, sample,
};
use mote_tests::allocations::{Counting, Watching, allocations};
use mote_tests::models;
use mote_tests::speak::caches;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations from the first token fed to the last one written.
fn completing(file: &[u8], precision: Precision, cache: CacheType) -> usize {
    let gguf = Gguf::parse(file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    let options =
        Options { n_ctx: 100, batch: 7, precision, cache, threads: 2, ..Options::default() };
    let mut memory = vec![0; Session::plan(&model, &options).unwrap().total_bytes];
    let pool = ThreadPool::adaptive(2);
    let watching = Watching(&pool);
    let kernels = mote_kernels::arch::best();
    let mut session = Session::new(&model, &options, kernels, &watching, &mut memory).unwrap();
    let sampling = sample::Options { repetition_penalty: 1.1, ..sample::Options::default() };
    let stops = ["a text that does not come", "nor this"];
    let options = CompletionOptions {
        sampling,
        max_tokens: 50,
        stops: &stops,
        ignore_eos: true,
        ..CompletionOptions::default()
    };
    let mut lent = vec![0; Completion::bytes_needed(model.tokenizer(), &options)];
    let mut completion = Completion::new(&mut session, options, &mut lent).unwrap();
    let prompt: Vec<u32> = (0..40).map(|i| 1 + i % 30).collect();
    let (mut steps, mut bytes) = (0, 0);
    let count = allocations(|| {
        completion.feed(&prompt, |_| true).unwrap();
        while let Some(step) = completion.step().unwrap() {
            steps += 1;
            bytes += step.text.len();
        }
    });
    assert_eq!((steps, completion.stopped()), (50, Some(StopReason::Length)));
    assert!(bytes > 0);
    count
}

/// The same with an n-gram model at hand, which answers from some layer on. Returns how many of the
/// tokens are the n-gram model's, too.
fn answering(late_after: u64) -> (usize, usize) {
    let file = models::llama();
    let text: Vec<u32> = (0..300).map(|i| 3 + i * i % 29).collect();
    let lm = mote_tests::ngrams::ngram(&file, &text, 3);
    let (gguf, lm) = (Gguf::parse(&file).unwrap(), Gguf::parse(&lm).unwrap());
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&lm).unwrap()];
    let lm = NgramModel::new(&lm, &mut tables).unwrap();
    let options = Options { n_ctx: 100, batch: 7, ..Options::default() };
    let mut memory = vec![0; Session::plan(&model, &options).unwrap().total_bytes];
    let kernels = mote_kernels::arch::best();
    let mut main = Session::new(&model, &options, kernels, &Serial, &mut memory).unwrap();
    let mut memory = vec![0; NgramSession::plan(&lm, 100).unwrap().total_bytes];
    let mut spare = NgramSession::new(&lm, 100, kernels, &mut memory).unwrap();
    let now = std::cell::Cell::new(0);
    let clock = || now.replace(now.get() + 1);
    let mut both = Fallback::new(&mut main, &mut spare).unwrap();
    both.set_deadline(Some(Deadline { clock: &clock, each: u64::MAX, moment: late_after }));
    let options = CompletionOptions { ignore_eos: true, max_tokens: 50, ..Default::default() };
    let mut lent = vec![0; Completion::bytes_needed(model.tokenizer(), &options)];
    let mut completion = Completion::new(&mut both, options, &mut lent).unwrap();
    let mut degraded = 0;
    let count = allocations(|| {
        completion.feed(&text[..40], |_| true).unwrap();
        while let Some(step) = completion.step().unwrap() {
            degraded += usize::from(step.degraded.is_some());
        }
    });
    (count, degraded)
}

#[test]
fn nothing_is_allocated_by_a_fallback() {
    assert_eq!(answering(u64::MAX), (0, 0));
    assert_eq!(answering(0), (0, 50));
    let (count, degraded) = answering(60);
    assert_eq!(count, 0);
    assert!((1..50).contains(&degraded), "{degraded}");
}

#[test]
fn nothing_is_allocated_after_the_start() {
    assert_eq!(allocations(|| drop(black_box(vec![1, 2, 3]))), 1, "the counter counts");
    let floats = models::llama();
    let integers = models::encoded(&floats, QuantType::Q8_0);
    let dense = ["gpt2", "phi3", "gemma4", "lfm2", "mamba", "mamba2", "rwkv4", "lstm", "nplm"];
    let experts = ["qwen2moe", "qwen3next", "gemma4-experts", "deepseek3"];
    let names: Vec<&str> = dense.into_iter().chain(experts).collect();
    let others = names.iter().map(|name| models::fixture(&format!("models/{name}.gguf")));
    let others: Vec<_> = others.collect();
    for file in [&floats, &integers].into_iter().chain(&others) {
        for precision in [Precision::Bits8, Precision::Bits16, Precision::Mixed] {
            for cache in caches(file) {
                assert_eq!(completing(file, precision, cache), 0, "{precision:?}, {cache:?}");
            }
        }
    }
}
