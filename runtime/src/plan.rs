//! How many bytes a session needs, exactly, before it starts; and the same bytes cut into buffers.

use mote_kernels::{
    self as kernels, ActivationsMut, CHUNK, CacheType, KEY_TILE, Kernels, attend_part_len,
    attend_scratch_len,
};

use crate::config::Config;
use crate::error::SessionError;
use crate::executor::Planes;
use crate::memory::{Carver, Measure, TooSmall};
use crate::precision::{Origins, Precision, origin_bytes};
use crate::states::{STATES, States};

/// Most tokens of a batch: sizes of buffers are products with it, and stay far from overflowing.
pub const MAX_BATCH: usize = 1 << 16;

/// What a session is asked to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Positions that the cache holds.
    pub n_ctx: usize,
    /// Most tokens that go through the layers together, at most [`MAX_BATCH`]. It changes speed and memory, never a bit.
    pub batch: usize,
    /// Most tokens whose logits are computed together (1 unless every position is scored).
    pub logit_rows: usize,
    /// Bits of an activation that meets integer weights.
    pub precision: Precision,
    /// How keys and values are stored.
    pub cache: CacheType,
    /// Workers of the executor that will run the session.
    pub threads: usize,
}

impl Default for Options {
    /// 2048 positions, batches of 512, 8-bit activations, an F16 cache, one thread.
    fn default() -> Self {
        Options {
            n_ctx: 2048,
            batch: 512,
            logit_rows: 1,
            precision: Precision::Bits8,
            cache: CacheType::F16,
            threads: 1,
        }
    }
}

/// The bytes of a session, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Keys and values of every layer that attends and every position, recurrent states, and every
    /// position's token and its origin.
    pub cache_bytes: usize,
    /// Everything that a batch of tokens passes through.
    pub activation_bytes: usize,
    /// Logits.
    pub logit_bytes: usize,
    /// Each worker's own.
    pub scratch_bytes: usize,
    /// What to lend: the sum, and room to align.
    pub total_bytes: usize,
}

/// Numbers of values; `measure` and `carve` name them in the same order.
struct Sizes {
    /// Batch tokens.
    t: usize,
    /// Padded length of the longest quantised row.
    stride: usize,
    two_planes: bool,
    /// Values in all layers' keys, and in their values.
    cache: usize,
    /// Values in all recurrent states.
    states: usize,
    cache_type: CacheType,
    n_ctx: usize,
    angles: usize,
    frequencies: usize,
    /// What the chunks of a long context contribute to one token's heads.
    parts: usize,
    slopes: usize,
    /// Tokens that may be members of an expert's batch.
    members: usize,
    logits: usize,
    scratch: usize,
}

impl Sizes {
    fn new(c: &Config, options: &Options) -> Result<Self, SessionError> {
        let Options { n_ctx, batch, logit_rows, threads, .. } = *options;
        if n_ctx == 0 || batch == 0 || logit_rows == 0 || threads == 0 {
            return Err(SessionError::Option("context, batch and threads are at least 1"));
        }
        if batch > MAX_BATCH {
            return Err(SessionError::Option("a batch is at most 65536 tokens"));
        }
        if !c.causal && n_ctx > MAX_BATCH {
            return Err(SessionError::Option("an encoder's text is at most 65536 tokens"));
        }
        if c.learned_positions > 0 && n_ctx > c.learned_positions {
            let (needed, capacity) = (n_ctx, c.learned_positions);
            return Err(SessionError::ContextFull { needed, capacity });
        }
        if !c.fits_cache(options.cache) {
            return Err(SessionError::Option(
                "a q8_0 cache needs heads of a multiple of 32 values",
            ));
        }
        // The tokens of an encoder's text see each other: all of them go through together.
        let t = if c.causal { batch.min(n_ctx) } else { n_ctx };
        let [low_rank, heads, by_head] = latent_widths(c);
        let longest = c.n_embd.max(c.q_dim()).max(c.widest_ff()).max(c.recurrence.inner());
        let longest = longest.max(low_rank / 2).max(heads).max(c.recurrence.rank());
        let longest = longest.max(c.layer_embd).max(c.embedding_width);
        // Heads' vectors are quantised one by one.
        let vector = by_head.checked_div(c.n_heads).unwrap_or(0);
        let by_head = c.n_heads * ActivationsMut::stride(vector);
        let kinds = 1 + usize::from(c.window.is_some());
        // A worker unpacks a panel or attends, never both at once. Multiples of 16 floats, so that
        // every worker's piece begins at a cache line.
        let worker = (Kernels::panel_bytes(longest) / 4)
            .max(attend_scratch_len(c.widest_head()))
            .max(c.q_dim().max(c.n_embd).max(2 * c.n_experts()))
            .max(c.embedding_width)
            .max(if c.value_norm { 2 * c.widest_head() } else { 0 })
            .max((c.n_layers + 1) * c.layer_embd)
            .max(c.recurrence.scratch_len())
            .next_multiple_of(16);
        // One thread attends to a context as a whole, and so do several to a single chunk.
        let chunks = if threads == 1 || n_ctx <= CHUNK { 0 } else { n_ctx.div_ceil(CHUNK) };
        let positions = n_ctx.checked_next_multiple_of(KEY_TILE).unwrap_or(usize::MAX);
        Ok(Sizes {
            t,
            stride: ActivationsMut::stride(longest).max(by_head),
            two_planes: options.precision != Precision::Bits8,
            cache: positions.saturating_mul(c.cached_dim()),
            states: (STATES * c.n_recurrent()).saturating_mul(c.recurrence.state_len()),
            cache_type: options.cache,
            n_ctx,
            angles: kinds * c.most_rope_pairs(),
            frequencies: kinds * c.most_rope_pairs(),
            parts: chunks.saturating_mul(c.n_heads * attend_part_len(c.widest_head())),
            slopes: if c.alibi_max_bias > 0.0 { c.n_heads } else { 0 },
            members: if c.experts.is_some() { t } else { 0 },
            logits: if c.causal { logit_rows.min(t).saturating_mul(c.n_vocab) } else { 0 },
            scratch: threads.saturating_mul(worker),
        })
    }
}

impl Plan {
    /// The plan for a model with this configuration.
    pub fn new(config: &Config, options: &Options) -> Result<Plan, SessionError> {
        let s = Sizes::new(config, options)?;
        let mut cache = Measure::default();
        cache.add::<u8>(s.cache_type.bytes(s.cache.saturating_mul(2)));
        cache.add::<f32>(s.states);
        cache.add::<u32>(s.n_ctx).add::<u8>(origin_bytes(s.n_ctx));
        let mut activations = Measure::default();
        for width in row_widths(config) {
            activations.add::<f32>(s.t.saturating_mul(width));
        }
        activations.add::<i8>(s.t.saturating_mul(s.stride));
        activations.add::<i8>(if s.two_planes { s.t.saturating_mul(s.stride) } else { 0 });
        activations.add::<f32>(s.t.saturating_mul(s.stride) / 32);
        activations.add::<i32>(s.t.saturating_mul(s.stride) / 16);
        activations.add::<f32>(s.t.saturating_mul(s.stride) / 32);
        activations
            .add::<f32>(s.t.saturating_mul(s.angles))
            .add::<f32>(s.t.saturating_mul(s.angles));
        activations.add::<f64>(s.frequencies).add::<f32>(s.parts);
        activations.add::<f32>(s.slopes).add::<u32>(s.members);
        let logits = *Measure::default().add::<f32>(s.logits);
        let scratch = *Measure::default().add::<f32>(s.scratch);
        let parts = [cache, activations, logits, scratch].map(|part| part.pieces());
        let [cache_bytes, activation_bytes, logit_bytes, scratch_bytes] = parts;
        let total_bytes =
            parts.iter().fold(Measure::default().bytes(), |a, &b| a.saturating_add(b));
        if total_bytes > isize::MAX as usize {
            return Err(SessionError::Option("the context does not fit the address space"));
        }
        Ok(Plan { cache_bytes, activation_bytes, logit_bytes, scratch_bytes, total_bytes })
    }
}

/// Widths of the f32 matrices (tokens × width) of [`Buffers`], in its order.
fn row_widths(c: &Config) -> [usize; 22] {
    let (q, kv, x) = (c.q_dim(), c.kv_dim(), c.n_embd.max(c.embedding_width));
    let ff = c.widest_ff().max(c.layer_embd);
    let when = |fact: bool, width| if fact { width } else { 0 };
    let two_branches = c.parallel_residual || c.experts.is_some_and(|experts| experts.beside);
    let (aside, gathered) = (when(two_branches, x), when(c.experts.is_some(), x));
    let gate = when(c.gated, ff);
    let mut recurrent = c.recurrence.widths();
    // Queries with their gates are projected to the first of these, too.
    recurrent[0] = recurrent[0].max(when(c.attention_gate, 2 * q));
    let usual = [x, x, x, aside, q, kv, kv, q, gate, ff, c.n_experts(), gathered];
    let others = latent_widths(c).into_iter().chain(recurrent);
    let others = others.chain([c.n_layers * c.layer_embd]);
    let mut widths = usual.into_iter().chain(others);
    core::array::from_fn(|_| widths.next().unwrap_or(0))
}

/// Those of what only [`Latent`](crate::config::Latent) needs.
fn latent_widths(c: &Config) -> [usize; 3] {
    let Some(latent) = &c.latent else { return [0; 3] };
    let vector = latent.still.max(latent.key_value);
    [2 * latent.query, latent.projected(c).max(c.attended_dim(0)), c.n_heads * vector]
}

/// Keys and values of all layers that have some.
pub(crate) enum Store<'s> {
    F32 { keys: &'s mut [f32], values: &'s mut [f32] },
    F16 { keys: &'s mut [u16], values: &'s mut [u16] },
    Q8_0 { keys: &'s mut [u8], values: &'s mut [u8] },
}

/// What a session remembers, besides keys and values.
pub(crate) struct Context<'s> {
    pub states: States<'s>,
    // What every position was.
    pub tokens: &'s mut [u32], // (n_ctx)
    pub origins: Origins<'s>,
}

/// What a batch of t tokens passes through.
pub(crate) struct Buffers<'s> {
    pub x: &'s mut [f32], // (t, n_embd), the residual stream; before it (t, embedding_width)
    pub normed: &'s mut [f32], // (t, n_embd)
    pub branch: &'s mut [f32], // (t, n_embd), what a branch adds to the stream
    pub aside: &'s mut [f32], // (t, n_embd), another branch of the same layer, or none
    pub q: &'s mut [f32], // (t, n_heads * head_dim)
    pub k: &'s mut [f32], // (t, n_kv_heads * head_dim)
    pub v: &'s mut [f32], // (t, n_kv_heads * head_dim)
    pub attention: &'s mut [f32], // (t, n_heads * head_dim)
    pub gate: &'s mut [f32], // (t, widest_ff or layer_embd), or none
    pub up: &'s mut [f32], // (t, widest_ff or layer_embd)
    pub routes: &'s mut [f32], // (t, n_experts), or none
    pub gathered: &'s mut [f32], // (t, n_embd), the tokens of one expert, or none
    pub low_rank: &'s mut [f32], // (t, 2 * latent query), or none
    pub heads: &'s mut [f32], // (t, n_heads * ...), queries or values of latent attention, or none
    pub by_head: &'s mut [f32], // (n_heads, t, ...), what meets each head's matrix, or none
    // (t, what a mixer projects its input to: a recurrent one, or queries with gates), or none
    pub mixed: &'s mut [f32],
    pub convolved: &'s mut [f32], // (t, channels), or none
    pub selected: &'s mut [f32],  // (t, what that is projected to), or none
    pub low: &'s mut [f32],       // (t, the low rank of steps), or none
    pub steps: &'s mut [f32],     // (t, channels or heads), or none
    pub inner: &'s mut [f32],     // (t, what enters the mixer's last projection), or none
    pub by_layer: &'s mut [f32],  // (t, n_layers, layer_embd), or none
    pub planes: PlaneBuffers<'s>,
    pub cos: &'s mut [f32],         // (kinds, t, most rope pairs)
    pub sin: &'s mut [f32],         // (kinds, t, most rope pairs)
    pub frequencies: &'s mut [f64], // (kinds, most rope pairs)
    pub parts: &'s mut [f32],       // (chunks, n_heads, head_dim + 2), or none
    pub slopes: &'s mut [f32],      // (n_heads), or none
    pub members: &'s mut [u32],     // (t), which tokens these are, or none
    pub logits: &'s mut [f32],      // (logit_rows, n_vocab)
    pub scratch: &'s mut [f32],     // (threads, ...)
}

/// Quantised activations of any width up to the longest.
pub(crate) struct PlaneBuffers<'s> {
    high: &'s mut [i8],
    low: &'s mut [i8],
    scales: &'s mut [f32],
    sums: &'s mut [i32],
    scaled_sums: &'s mut [f32],
}

impl PlaneBuffers<'_> {
    /// The planes of `t` rows of `k` values: the low one for 16 bits alone.
    pub fn of(&mut self, t: usize, k: usize, bits: kernels::Precision) -> Planes<'_> {
        let n = t * ActivationsMut::stride(k);
        Planes {
            high: &mut self.high[..n],
            low: (bits == kernels::Precision::Bits16).then(|| &mut self.low[..n]),
            scales: &mut self.scales[..n / 32],
            sums: &mut self.sums[..n / 16],
            scaled_sums: &mut self.scaled_sums[..n / 32],
        }
    }
}

/// Cuts lent memory as [`Plan::new`] counted it.
pub(crate) fn carve<'s>(
    c: &Config,
    options: &Options,
    memory: &'s mut [u8],
) -> Result<(Store<'s>, Context<'s>, Buffers<'s>), SessionError> {
    let s = Sizes::new(c, options)?;
    let plan = Plan::new(c, options)?;
    if memory.len() < plan.total_bytes {
        let (needed, given) = (plan.total_bytes, memory.len());
        return Err(TooSmall { needed, given }.into());
    }
    let mut carver = Carver::new(memory);
    let half = s.cache;
    let store = match s.cache_type {
        CacheType::F32 => {
            let (keys, values) = carver.take::<f32>(2 * half)?.split_at_mut(half);
            Store::F32 { keys, values }
        }
        CacheType::F16 => {
            let (keys, values) = carver.take::<u16>(2 * half)?.split_at_mut(half);
            Store::F16 { keys, values }
        }
        CacheType::Q8_0 => {
            let half = s.cache_type.bytes(half);
            let (keys, values) = carver.take::<u8>(2 * half)?.split_at_mut(half);
            Store::Q8_0 { keys, values }
        }
    };
    let states = States::new(carver.take(s.states)?, c.recurrence.state_len());
    let tokens = carver.take(s.n_ctx)?;
    let context = Context { states, tokens, origins: Origins(carver.take(origin_bytes(s.n_ctx))?) };
    let mut rows = row_widths(c).into_iter();
    let mut matrix = || carver.take::<f32>(s.t * rows.next().unwrap_or(0));
    let (x, normed, branch, aside) = (matrix()?, matrix()?, matrix()?, matrix()?);
    let (q, k, v, attention) = (matrix()?, matrix()?, matrix()?, matrix()?);
    let (gate, up, routes, gathered) = (matrix()?, matrix()?, matrix()?, matrix()?);
    let (low_rank, heads, by_head) = (matrix()?, matrix()?, matrix()?);
    let (mixed, convolved, selected) = (matrix()?, matrix()?, matrix()?);
    let (low, steps, inner, by_layer) = (matrix()?, matrix()?, matrix()?, matrix()?);
    let planes = PlaneBuffers {
        high: carver.take(s.t * s.stride)?,
        low: carver.take(if s.two_planes { s.t * s.stride } else { 0 })?,
        scales: carver.take(s.t * s.stride / 32)?,
        sums: carver.take(s.t * s.stride / 16)?,
        scaled_sums: carver.take(s.t * s.stride / 32)?,
    };
    let (cos, sin) = (carver.take(s.t * s.angles)?, carver.take(s.t * s.angles)?);
    let (frequencies, parts) = (carver.take(s.frequencies)?, carver.take(s.parts)?);
    let (slopes, members) = (carver.take(s.slopes)?, carver.take(s.members)?);
    let (logits, scratch) = (carver.take(s.logits)?, carver.take(s.scratch)?);
    let buffers = Buffers {
        x,
        normed,
        branch,
        aside,
        q,
        k,
        v,
        attention,
        gate,
        up,
        routes,
        gathered,
        low_rank,
        heads,
        by_head,
        mixed,
        convolved,
        selected,
        low,
        steps,
        inner,
        by_layer,
        planes,
        cos,
        sin,
        frequencies,
        parts,
        slopes,
        members,
        logits,
        scratch,
    };
    Ok((store, context, buffers))
}
