//! A session: tokens in, logits out, over a cache that remembers the context.

mod drafted;
mod embed;

use mote_kernels::{Kernels, inverse_frequencies};

use crate::config::{Rope, Stretch};
use crate::engine::Engine;
use crate::error::{SessionError, check_file};
use crate::executor::{Crew, Executor};
use crate::forward::Pass;
use crate::language_model::{LanguageModel, check_tokens};
use crate::model::Model;
use crate::notes::note;
use crate::observe::Observer;
use crate::pace::Pace;
use crate::plan::{Buffers, Options, Plan, Store, carve};
use crate::precision::{Origin, Origins};
use crate::save::RestoreError;
use crate::speculate::MAX_DRAFTS;
use crate::states::States;
use crate::tokenizer::Tokenizer;

pub use embed::normalize;

/// One text in the making. It belongs to one thread at a time; its memory is lent, and nothing is
/// allocated after [`Session::new`].
pub struct Session<'s> {
    pub(crate) model: &'s Model<'s>,
    kernels: &'static Kernels,
    executor: &'s dyn Executor,
    /// How many of its threads decode.
    pace: Pace,
    /// How many of them compute what comes next.
    threads: usize,
    pub(crate) options: Options,
    pub(crate) store: Store<'s>,
    pub(crate) states: States<'s>,
    /// Every token in the cache, and what it was fed as; room for n_ctx of them.
    pub(crate) tokens: &'s mut [u32],
    pub(crate) origins: Origins<'s>,
    buffers: Buffers<'s>,
    /// Tokens in the cache.
    pub(crate) position: usize,
    /// Whether the logits in `row` belong to the last token.
    pub(crate) has_logits: bool,
    /// The row of the logits that belongs to the last token.
    row: usize,
    /// Tokens behind the end of the context that have been computed, with their rows of logits, and
    /// become part of it when they are fed (see [`Session::feed_drafted`]).
    pub(crate) drafted: usize,
    observer: Option<&'s mut (dyn Observer + Send + 's)>,
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
        let (store, context, buffers) = carve(config, options, memory)?;
        let (pairs, most) = (config.rope.dims / 2, config.most_rope_pairs());
        let (weights, n_ctx) = (model.weights(), options.n_ctx);
        let divisors = weights.rope_divisors(config.rope.stretch, n_ctx);
        fill(&config.rope, divisors, &mut buffers.frequencies[..pairs]);
        if let Some(window) = &config.window {
            let divisors = weights.rope_divisors(window.rope.stretch, n_ctx);
            let pairs = window.rope.dims / 2;
            fill(&window.rope, divisors, &mut buffers.frequencies[most..][..pairs]);
        }
        config.alibi_slopes(buffers.slopes);
        note!(debug, "session: {} positions, {} kernels", options.n_ctx, kernels.name());
        Ok(Session {
            model,
            kernels,
            executor,
            pace: Pace::new(executor.threads()),
            threads: executor.threads(),
            options: *options,
            store,
            states: context.states,
            tokens: context.tokens,
            origins: context.origins,
            buffers,
            position: 0,
            has_logits: false,
            row: 0,
            drafted: 0,
            observer: None,
        })
    }

    /// Lets `observer` hear what enters the matrices, from now on: of every token that is fed or scored,
    /// in the last layer and at the head of those alone whose logits are computed.
    pub fn observe(&mut self, observer: &'s mut (dyn Observer + Send + 's)) {
        self.observer = Some(observer);
    }

    /// The model.
    pub fn model(&self) -> &'s Model<'s> {
        self.model
    }

    /// The options that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The kernel table that computes.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Tokens in the context.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The tokens in the context.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens[..self.position]
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
            self.drafted = 0;
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

    /// As [`Session::feed`]; `go_on` is asked before every layer and before the logits, hears how many
    /// tokens are done, and may end the feeding there by `false`. Returns the number of tokens fed:
    /// of a batch that was not finished, none. They stay in the context, and the session goes on
    /// as if no more had been given.
    pub fn feed_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        if self.was_drafted(tokens, origin) {
            if !go_on(0) {
                return Ok(0);
            }
            self.take_draft();
            return Ok(1);
        }
        self.drafted = 0;
        if !self.catch_up(&mut || go_on(0)) {
            return Ok(0);
        }
        let start = self.start(tokens);
        let mut done = 0;
        for batch in tokens.chunks(self.options.batch) {
            let is_last = done + batch.len() == tokens.len();
            let wanted = batch.len() - usize::from(is_last);
            if !self.layers(batch, wanted, origin, &mut || go_on(done)) {
                return Ok(done);
            }
            if is_last {
                if !go_on(done) {
                    return Ok(done);
                }
                self.pass(origin, |pass, _, buffers| pass.head(wanted, 1, buffers));
            }
            check_file(self.model.gguf())?;
            self.advance(batch, origin);
            done += batch.len();
        }
        (self.has_logits, self.row) = (true, 0);
        self.stop(start);
        note!(trace, "{} tokens fed, {} in the context", done, self.position);
        Ok(done)
    }

    /// Computes the logits of what follows the last token again, where [`Session::logits`] has none:
    /// after a rewind, a restore, scoring, or a feeding that was ended. The same bits as when the
    /// token was fed. `go_on` as in [`Session::feed_with`]; returns whether the logits are there.
    pub fn recall(&mut self, mut go_on: impl FnMut() -> bool) -> Result<bool, SessionError> {
        if self.has_logits {
            return Ok(true);
        }
        let last = self.position.checked_sub(1).ok_or(SessionError::Empty)?;
        let (token, origin) = ([self.tokens[last]], self.origins.get(last));
        self.drafted = 0;
        self.position = last;
        let fed = self.feed_with(&token, origin, |_| go_on());
        // An unfinished pass wrote nothing but what the token had written there before.
        self.position = last + 1;
        Ok(fed? == 1)
    }

    /// Logits of what follows the last token; `None` before anything was fed. They may be changed
    /// (penalties, a bias) until the next feeding.
    pub fn logits(&mut self) -> Option<&mut [f32]> {
        self.logits_and_tokens().map(|(logits, _)| logits)
    }

    /// The logits, for good: [`Session::recall`] computes them again.
    pub fn take_logits(&mut self) -> Option<&mut [f32]> {
        let n_vocab = self.model.config().n_vocab;
        let row = self.row * n_vocab;
        core::mem::take(&mut self.has_logits).then(|| &mut self.buffers.logits[row..][..n_vocab])
    }

    /// The logits, as [`Session::logits`], and the tokens that they follow.
    pub fn logits_and_tokens(&mut self) -> Option<(&mut [f32], &[u32])> {
        let n_vocab = self.model.config().n_vocab;
        let (tokens, row) = (&self.tokens[..self.position], self.row * n_vocab);
        self.has_logits.then(|| (&mut self.buffers.logits[row..][..n_vocab], tokens))
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
        visit: impl FnMut(usize, &mut [f32]),
    ) -> Result<(), SessionError> {
        self.score_with(tokens, origin, from, |_| true, visit).map(|_| ())
    }

    /// As [`Session::score_from`], with `go_on` as in [`Session::feed_with`]. Returns the number of
    /// tokens that are in the context now, all of which were shown (from `from` on).
    pub fn score_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        mut go_on: impl FnMut(usize) -> bool,
        mut visit: impl FnMut(usize, &mut [f32]),
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        let n_vocab = self.model.config().n_vocab;
        let rows = self.rows();
        (self.has_logits, self.drafted) = (false, 0);
        if !self.catch_up(&mut || go_on(0)) {
            return Ok(0);
        }
        self.threads = self.executor.threads();
        let mut done = 0;
        for batch in tokens.chunks(self.options.batch) {
            let wanted = from.saturating_sub(done).min(batch.len());
            if !self.layers(batch, wanted, origin, &mut || go_on(done)) {
                return Ok(done);
            }
            check_file(self.model.gguf())?;
            self.advance(&batch[..wanted], origin);
            done += wanted;
            for row in (wanted..batch.len()).step_by(rows) {
                if !go_on(done) {
                    return Ok(done);
                }
                let n = rows.min(batch.len() - row);
                self.pass(origin, |pass, _, buffers| pass.head(row, n, buffers));
                check_file(self.model.gguf())?;
                let logits = &mut self.buffers.logits[..n * n_vocab];
                if !self.kernels.is_finite(logits) {
                    return Err(SessionError::NotFinite);
                }
                for (i, logits) in logits.chunks_exact_mut(n_vocab).enumerate() {
                    visit(done + i, logits);
                }
                self.advance(&batch[row..row + n], origin);
                done += n;
            }
        }
        Ok(done)
    }

    /// Chooses the threads for tokens that are to be fed: all of them, but for a step of decoding
    /// that can be timed. Returns the time if this is one.
    fn start(&mut self, tokens: &[u32]) -> Option<u64> {
        let start = if tokens.len() == 1 { self.executor.clock() } else { None };
        self.threads = match start {
            Some(_) => self.pace.threads(),
            None => self.executor.threads(),
        };
        start
    }

    /// The end of what began at `start`.
    fn stop(&mut self, start: Option<u64>) {
        let (Some(start), Some(end)) = (start, self.executor.clock()) else { return };
        let before = self.pace.choice();
        self.pace.took(end.saturating_sub(start));
        if self.pace.choice() != before {
            note!(
                debug,
                "decoding with {} of {} threads",
                self.pace.choice(),
                self.executor.threads()
            );
        }
    }

    /// Whether these tokens can be fed.
    pub fn check(&self, tokens: &[u32]) -> Result<(), SessionError> {
        LanguageModel::check(self, tokens)
    }

    /// Runs a batch behind the context through the layers; `wanted`: its first token whose logits are
    /// to be computed. `false` if `go_on` ended it: what it wrote lies behind the context's end, where
    /// nothing is read before it is written again.
    fn layers(
        &mut self,
        batch: &[u32],
        wanted: usize,
        origin: Origin,
        go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        self.states.begin(self.position, batch.len());
        let finished = self
            .pass(origin, |pass, store, buffers| pass.layers(batch, wanted, store, buffers, go_on));
        if finished {
            self.states.finish(self.position, batch.len());
        }
        finished
    }

    /// Where no recurrent state has seen the whole context, because it was rewound or a pass was ended:
    /// computes the tokens again that are missing. `false` if `go_on` ended it.
    pub(crate) fn catch_up(&mut self, go_on: &mut dyn FnMut() -> bool) -> bool {
        let (end, tokens) = (self.position, core::mem::take(&mut self.tokens));
        self.position = self.states.seen(end);
        self.threads = self.executor.threads();
        let mut goes_on = true;
        while goes_on && self.position < end {
            let (from, origin) = (self.position, self.origins.get(self.position));
            let alike = (from..end).take_while(|&at| self.origins.get(at) == origin);
            let n = alike.take(self.options.batch).count();
            goes_on = self.layers(&tokens[from..from + n], n, origin, go_on);
            self.position += n;
        }
        (self.position, self.tokens) = (end, tokens);
        goes_on
    }

    /// Tokens that went through the layers become part of the context.
    fn advance(&mut self, tokens: &[u32], origin: Origin) {
        self.tokens[self.position..][..tokens.len()].copy_from_slice(tokens);
        self.origins.set(self.position, tokens.len(), origin);
        self.position += tokens.len();
        self.has_logits = false;
    }

    fn pass<R>(
        &mut self,
        origin: Origin,
        run: impl FnOnce(&mut Pass<'_>, &mut Store<'_>, &mut Buffers<'_>) -> R,
    ) -> R {
        let scratch = core::mem::take(&mut self.buffers.scratch);
        let config = self.model.config();
        let mut pass = Pass {
            config,
            weights: self.model.weights(),
            engine: Engine {
                kernels: self.kernels,
                crew: Crew::new(self.executor, self.threads),
                scratch,
                norm_epsilon: config.norm_epsilon,
            },
            first: self.position,
            states: self.states.running(),
            precision: self.options.precision.of(origin),
            observer: self.observer.as_deref_mut().map(|observer| observer as &mut dyn Observer),
        };
        let result = run(&mut pass, &mut self.store, &mut self.buffers);
        self.buffers.scratch = scratch;
        result
    }
}

impl<'m, 's: 'm> LanguageModel<'m> for Session<'s> {
    fn tokenizer(&self) -> &'m Tokenizer<'m> {
        self.model.tokenizer()
    }

    fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    fn capacity(&self) -> usize {
        self.options.n_ctx
    }

    fn tokens(&self) -> &[u32] {
        self.tokens()
    }

    fn check(&self, tokens: &[u32]) -> Result<(), SessionError> {
        if !self.model.config().causal {
            return Err(SessionError::Encoder);
        }
        check_tokens(tokens, self.n_vocab(), (self.position, self.capacity()))
    }

    fn origin(&self, position: usize) -> Option<Origin> {
        self.origin(position)
    }

    fn rewind(&mut self, position: usize) {
        self.rewind(position);
    }

    fn feed_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.feed_with(tokens, origin, go_on)
    }

    fn feed_drafted(
        &mut self,
        token: u32,
        drafts: &[u32],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.feed_drafted(token, drafts, go_on)
    }

    fn most_drafts(&self) -> usize {
        MAX_DRAFTS.min(self.rows() - 1)
    }

    fn recall(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, SessionError> {
        self.recall(go_on)
    }

    fn logits_and_tokens(&mut self) -> Option<(&mut [f32], &[u32])> {
        self.logits_and_tokens()
    }

    fn take_logits(&mut self) -> Option<&mut [f32]> {
        self.take_logits()
    }

    fn score_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<usize, SessionError> {
        self.score_with(tokens, origin, from, go_on, visit)
    }

    fn saved_bytes(&self) -> Option<usize> {
        Some(self.saved_bytes())
    }

    fn save(&mut self, out: &mut [u8]) -> Result<usize, SessionError> {
        self.save(out)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        self.restore(bytes)
    }
}

/// The frequencies of a position embedding.
fn fill(rope: &Rope, divisors: &[f32], frequencies: &mut [f64]) {
    let divisor = |i: usize| divisors.get(i).copied().unwrap_or(1.0);
    inverse_frequencies(rope.base, rope.scale, divisor, frequencies);
    if let Stretch::Yarn { factor, low, high } = rope.stretch {
        for (i, frequency) in frequencies.iter_mut().enumerate() {
            let slow = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
            *frequency = *frequency / factor * slow + *frequency * (1.0 - slow);
        }
    }
}
