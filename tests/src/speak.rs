//! Running a model in a test: the few lines between a file and logits.

use mote_formats::gguf::Gguf;
use mote_kernels::{CacheType, Kernels};
use mote_runtime::executor::{Executor, Serial};
use mote_runtime::threads::ThreadPool;
use mote_runtime::{Model, Options, Origin, Precision, Session, score};

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

/// The types of cache that the heads of a model fit; one, where no layer attends.
pub fn caches(file: &[u8]) -> Vec<CacheType> {
    let gguf = Gguf::parse(file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    let config = model.config();
    if (0..config.n_layers).all(|layer| config.recurrent.contains(layer)) {
        return vec![CacheType::F32];
    }
    let mut all = vec![CacheType::F32, CacheType::F16, CacheType::Q8_0];
    all.retain(|&cache| config.fits_cache(cache));
    all
}

impl Run {
    /// A session over `file` with room for `n_ctx` positions.
    pub fn session<R>(
        &self,
        file: &[u8],
        n_ctx: usize,
        work: impl FnOnce(&mut Session<'_>) -> R,
    ) -> R {
        let pool = ThreadPool::new(self.threads);
        let executor: &dyn Executor = if self.threads == 1 { &Serial } else { &pool };
        self.session_with(executor, file, n_ctx, work)
    }

    /// As [`Run::session`], with an executor of the test's own.
    pub fn session_with<R>(
        &self,
        executor: &dyn Executor,
        file: &[u8],
        n_ctx: usize,
        work: impl FnOnce(&mut Session<'_>) -> R,
    ) -> R {
        self.session_of(executor, &Gguf::parse(file).unwrap(), n_ctx, work)
    }

    /// The same of a file that was opened in some way of the test's own.
    pub fn session_of<R>(
        &self,
        executor: &dyn Executor,
        gguf: &Gguf<'_>,
        n_ctx: usize,
        work: impl FnOnce(&mut Session<'_>) -> R,
    ) -> R {
        let mut tables = vec![0; Model::bytes_needed(gguf).unwrap()];
        let model = Model::new(gguf, &mut tables).unwrap();
        let options = Options {
            n_ctx,
            batch: self.batch,
            logit_rows: 16,
            precision: self.precision,
            cache: self.cache,
            threads: executor.threads(),
        };
        let mut memory = vec![0xff; Session::plan(&model, &options).unwrap().total_bytes];
        work(&mut Session::new(&model, &options, self.kernels, executor, &mut memory).unwrap())
    }

    /// ln p of every id after the first.
    pub fn logprobs(&self, file: &[u8], ids: &[u32]) -> Vec<f64> {
        self.logprobs_generated(file, ids, ids.len())
    }

    /// As [`Run::logprobs`], where ids from `from` on count as generated.
    pub fn logprobs_generated(&self, file: &[u8], ids: &[u32], from: usize) -> Vec<f64> {
        let (mut logprobs, mut following) = (Vec::new(), ids.iter().skip(1));
        self.score(file, ids, from, |logits| {
            let next = following.next();
            logprobs
                .extend(next.and_then(|&next| score::log_probability(self.kernels, logits, next)));
        });
        logprobs
    }

    /// As [`Run::bits`] of a prompt, with an executor of the test's own.
    pub fn bits_with(&self, executor: &dyn Executor, file: &[u8], ids: &[u32]) -> Vec<u32> {
        let mut bits = Vec::new();
        self.session_with(executor, file, ids.len(), |session| {
            let visit = |_, logits: &mut [f32]| append_bits(&mut bits, logits);
            session.score(ids, visit).unwrap();
        });
        bits
    }

    /// Shows the logits after each id; ids from `from` on count as generated.
    fn score(&self, file: &[u8], ids: &[u32], from: usize, mut visit: impl FnMut(&mut [f32])) {
        let (prompt, generated) = ids.split_at(from);
        self.session(file, ids.len(), |session| {
            for (ids, origin) in [(prompt, Origin::Prompt), (generated, Origin::Generated)] {
                if !ids.is_empty() {
                    session.score_from(ids, origin, 0, |_, logits| visit(logits)).unwrap();
                }
            }
        });
    }

    /// The `n` tokens of largest logit that follow `ids`, one after the other.
    pub fn greedy(&self, file: &[u8], ids: &[u32], n: usize) -> Vec<u32> {
        self.session(file, ids.len() + n, |session| {
            session.feed(ids).unwrap();
            let mut text = Vec::new();
            for _ in 0..n {
                let id = mote_kernels::argmax(session.logits().unwrap()).unwrap() as u32;
                text.push(id);
                session.feed_generated(&[id]).unwrap();
            }
            text
        })
    }

    /// The bits of the logits of every position, -0 as +0; ids from `from` on count as generated.
    pub fn bits(&self, file: &[u8], ids: &[u32], from: usize) -> Vec<u32> {
        let mut bits = Vec::new();
        self.score(file, ids, from, |logits| append_bits(&mut bits, logits));
        bits
    }
}

fn append_bits(bits: &mut Vec<u32>, logits: &[f32]) {
    bits.extend(logits.iter().map(|v| (v + 0.0).to_bits()));
}
