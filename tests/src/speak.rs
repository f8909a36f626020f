//! Running a model in a test: the few lines between a file and logits.

use mote_formats::gguf::Gguf;
use mote_kernels::{CacheType, Kernels, Precision};
use mote_runtime::executor::{Executor, Serial};
use mote_runtime::threads::ThreadPool;
use mote_runtime::{Model, Options, Session, score};

/// How a test runs a model.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The kernel table.
    pub kernels: &'static Kernels,
    /// Threads.
    pub threads: usize,
    /// Tokens of a batch.
    pub batch: usize,
    /// Activation precision.
    pub precision: Precision,
    /// Type of the cache.
    pub cache: CacheType,
}

impl Default for Run {
    fn default() -> Self {
        Run {
            kernels: mote_kernels::arch::best(),
            threads: 1,
            batch: 64,
            precision: Precision::Bits8,
            cache: CacheType::F32,
        }
    }
}

impl Run {
    /// A session over `file` with room for `n_ctx` positions.
    pub fn session<R>(
        &self,
        file: &[u8],
        n_ctx: usize,
        work: impl FnOnce(&mut Session<'_>) -> R,
    ) -> R {
        let gguf = Gguf::parse(file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
        let model = Model::new(&gguf, &mut tables).unwrap();
        let options = Options {
            n_ctx,
            batch: self.batch,
            logit_rows: 16,
            precision: self.precision,
            cache: self.cache,
            threads: self.threads,
        };
        let mut memory = vec![0xff; Session::plan(&model, &options).unwrap().total_bytes];
        let pool = ThreadPool::new(self.threads);
        let executor: &dyn Executor = if self.threads == 1 { &Serial } else { &pool };
        work(&mut Session::new(&model, &options, self.kernels, executor, &mut memory).unwrap())
    }

    /// ln p of every id after the first.
    pub fn logprobs(&self, file: &[u8], ids: &[u32]) -> Vec<f64> {
        let mut logprobs = Vec::new();
        self.session(file, ids.len(), |session| {
            let visit = |i: usize, logits: &mut [f32]| {
                let next = ids.get(i + 1);
                logprobs.extend(
                    next.and_then(|&next| score::log_probability(self.kernels, logits, next)),
                );
            };
            session.score(ids, visit).unwrap();
        });
        logprobs
    }

    /// The `n` tokens of largest logit that follow `ids`, one after the other.
    pub fn greedy(&self, file: &[u8], ids: &[u32], n: usize) -> Vec<u32> {
        self.session(file, ids.len() + n, |session| {
            session.feed(ids).unwrap();
            let mut text = Vec::new();
            for _ in 0..n {
                let id = mote_kernels::argmax(session.logits().unwrap()).unwrap() as u32;
                text.push(id);
                session.feed(&[id]).unwrap();
            }
            text
        })
    }

    /// The bits of the logits of every position, -0 as +0.
    pub fn bits(&self, file: &[u8], ids: &[u32]) -> Vec<u32> {
        let mut bits = Vec::new();
        self.session(file, ids.len(), |session| {
            let visit =
                |_, logits: &mut [f32]| bits.extend(logits.iter().map(|v| (v + 0.0).to_bits()));
            session.score(ids, visit).unwrap();
        });
        bits
    }
}
