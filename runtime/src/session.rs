//! A session: tokens in, logits out, over a cache that remembers the context.

use mote_kernels::{Kernels, inverse_frequencies};

use crate::config::Rope;
use crate::engine::Engine;
use crate::error::SessionError;
use crate::executor::Executor;
use crate::forward::Pass;
use crate::model::Model;
use crate::notes::note;
use crate::plan::{Buffers, Options, Plan, Store, carve};
use crate::precision::{Origin, Origins};

/// One text in the making. It belongs to one thread at a time; its memory is lent, and nothing is
/// allocated after [`Session::new`].
pub struct Session<'s> {
    model: &'s Model<'s>,
    kernels: &'static Kernels,
    executor: &'s dyn Executor,
    options: Options,
    store: Store<'s>,
    /// Of every token in the cache.
    origins: Origins<'s>,
    buffers: Buffers<'s>,
    /// Tokens in the cache.
    position: usize,
    /// Whether row 0 of the logits belongs to the last token.
    has_logits: bool,
}

impl core::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Session({} of {} tokens)", self.position, self.options.n_ctx)
    }
}

impl<'s> Session<'s> {
    /// Bytes that [`Session::new`] needs, and what for.
    pub fn plan(model: &Model<'_>, options: &Options) -> Result<Plan, SessionError> {
        Plan::new(model.config(), options)
    }

    /// A session in `memory` of at least [`Plan::total_bytes`]. The memory need not be cleared.
    pub fn new(
        model: &'s Model<'s>,
        options: &Options,
        kernels: &'static Kernels,
        executor: &'s dyn Executor,
        memory: &'s mut [u8],
    ) -> Result<Self, SessionError> {
        let config = model.config();
        if executor.threads() > options.threads {
            return Err(SessionError::Option("the executor has more threads than were planned"));
        }
        let (store, origins, mut buffers) = carve(config, options, memory)?;
        let pairs = config.rope.dims / 2;
        let divisors = model.weights().rope_divisors();
        // Stretched frequencies belong to the layers that see everything.
        fill(&config.rope, |i| divisors.get(i).copied().unwrap_or(1.0), &mut buffers, 0, pairs);
        if let Some(window) = &config.window {
            fill(&window.rope, |_| 1.0, &mut buffers, pairs, pairs);
        }
        note!(debug, "session: {} positions, {} kernels", options.n_ctx, kernels.name());
        Ok(Session {
            model,
            kernels,
            executor,
            options: *options,
            store,
            origins,
            buffers,
            position: 0,
            has_logits: false,
        })
    }

    /// The model.
    pub fn model(&self) -> &'s Model<'s> {
        self.model
    }

    /// The kernel table that computes.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Tokens in the context.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens that the context can hold.
    pub fn capacity(&self) -> usize {
        self.options.n_ctx
    }

    /// What the token at a position of the context was fed as; `None` behind its end. Whoever feeds
    /// the same tokens again, each as what it was, gets the same bits.
    pub fn origin(&self, position: usize) -> Option<Origin> {
        (position < self.position).then(|| self.origins.get(position))
    }

    /// Forgets every token from `position` on. Later positions stay as they are.
    pub fn rewind(&mut self, position: usize) {
        if position < self.position {
            self.position = position;
            self.has_logits = false;
        }
    }

    /// Appends tokens of the prompt to the context and computes the logits of what follows the last
    /// one.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), SessionError> {
        self.feed_with(tokens, Origin::Prompt, |_| true).map(|_| ())
    }

    /// As [`Session::feed`], for tokens that were drawn from the logits, or drafted.
    pub fn feed_generated(&mut self, tokens: &[u32]) -> Result<(), SessionError> {
        self.feed_with(tokens, Origin::Generated, |_| true).map(|_| ())
    }

    /// As [`Session::feed`]; before each batch `go_on` hears how many tokens are done, and may end
    /// the feeding there by `false`. Returns the number of tokens fed.
    pub fn feed_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        let mut done = 0;
        for batch in tokens.chunks(self.options.batch) {
            if !go_on(done) {
                return Ok(done);
            }
            done += batch.len();
            let wanted = if done == tokens.len() { batch.len() - 1 } else { batch.len() };
            self.layers(batch, wanted, origin);
        }
        let in_batch = (tokens.len() - 1) % self.options.batch;
        self.pass(origin, |pass, _, buffers| pass.head(in_batch, 1, buffers));
        self.has_logits = true;
        note!(trace, "{} tokens fed, {} in the context", done, self.position);
        Ok(done)
    }

    /// Logits of what follows the last token; `None` before anything was fed. They may be changed
    /// (penalties, a bias) until the next feeding.
    pub fn logits(&mut self) -> Option<&mut [f32]> {
        let n_vocab = self.model.config().n_vocab;
        self.has_logits.then(|| &mut self.buffers.logits[..n_vocab])
    }

    /// Appends tokens of the prompt and shows `visit` the logits after each of them: the index of the
    /// token, and n_vocab floats that it may change.
    pub fn score(
        &mut self,
        tokens: &[u32],
        visit: impl FnMut(usize, &mut [f32]),
    ) -> Result<(), SessionError> {
        self.score_from(tokens, Origin::Prompt, 0, visit)
    }

    /// As [`Session::score`], from the token of index `from` on; the logits of those before it are
    /// not computed.
    pub fn score_from(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        mut visit: impl FnMut(usize, &mut [f32]),
    ) -> Result<(), SessionError> {
        self.check(tokens)?;
        let n_vocab = self.model.config().n_vocab;
        let rows = self.options.logit_rows.min(self.options.batch).min(self.options.n_ctx);
        self.has_logits = false;
        let mut done = 0;
        for batch in tokens.chunks(self.options.batch) {
            let wanted = from.saturating_sub(done).min(batch.len());
            self.layers(batch, wanted, origin);
            for row in (wanted..batch.len()).step_by(rows) {
                let n = rows.min(batch.len() - row);
                self.pass(origin, |pass, _, buffers| pass.head(row, n, buffers));
                let logits = &mut self.buffers.logits[..n * n_vocab];
                if !self.kernels.is_finite(logits) {
                    return Err(SessionError::NotFinite);
                }
                for (i, logits) in logits.chunks_exact_mut(n_vocab).enumerate() {
                    visit(done + row + i, logits);
                }
            }
            done += batch.len();
        }
        Ok(())
    }

    fn check(&self, tokens: &[u32]) -> Result<(), SessionError> {
        if tokens.is_empty() {
            return Err(SessionError::Empty);
        }
        let n_vocab = self.model.config().n_vocab;
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= n_vocab) {
            return Err(SessionError::Token(id));
        }
        let (needed, capacity) = (self.position + tokens.len(), self.options.n_ctx);
        if needed > capacity {
            return Err(SessionError::ContextFull { needed, capacity });
        }
        Ok(())
    }

    /// `wanted`: the first token of the batch whose logits are to be computed.
    fn layers(&mut self, batch: &[u32], wanted: usize, origin: Origin) {
        self.origins.set(self.position, batch.len(), origin);
        self.pass(origin, |pass, store, buffers| pass.layers(batch, wanted, store, buffers));
        self.position += batch.len();
    }

    fn pass(
        &mut self,
        origin: Origin,
        run: impl FnOnce(&mut Pass<'_>, &mut Store<'_>, &mut Buffers<'_>),
    ) {
        let scratch = core::mem::take(&mut self.buffers.scratch);
        let config = self.model.config();
        let mut pass = Pass {
            config,
            weights: self.model.weights(),
            engine: Engine {
                kernels: self.kernels,
                executor: self.executor,
                scratch,
                norm_epsilon: config.norm_epsilon,
            },
            first: self.position,
            precision: self.options.precision.of(origin),
        };
        run(&mut pass, &mut self.store, &mut self.buffers);
        self.buffers.scratch = scratch;
    }
}

fn fill(
    rope: &Rope,
    divisors: impl Fn(usize) -> f32,
    buffers: &mut Buffers<'_>,
    from: usize,
    pairs: usize,
) {
    inverse_frequencies(rope.base, rope.scale, divisors, &mut buffers.frequencies[from..][..pairs]);
}
