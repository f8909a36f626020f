//! The facts that a forward pass may depend on. No architecture is named here: what a new one needs
//! and these do not say becomes another fact.

mod recurrence;

use mote_kernels::{CacheType, Gate, RopeLayout};

pub(crate) use recurrence::{CHANNELS, DIMENSION_PARTS, ROWS};
pub use recurrence::{DeltaLayout, LayerSet, MAX_STATE, MAX_TAPS, Ranks, Recurrence};

/// Largest width and layer count that are believed of a file.
pub const MAX_WIDTH: usize = 1 << 17;
/// See [`MAX_WIDTH`].
pub const MAX_LAYERS: usize = 1024;
/// Most experts that are believed of a file.
pub const MAX_EXPERTS: usize = 4096;
/// Most positions with a learned embedding.
pub const MAX_POSITIONS: usize = 1 << 24;
/// Most tokens of a vocabulary.
pub const MAX_VOCABULARY: usize = 1 << 20;

/// A stack of layers: a decoder, of a Transformer or something else, or an encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Decoder layers.
    pub n_layers: usize,
    /// Width of the residual stream, and of what enters the head.
    pub n_embd: usize,
    /// Width of a token's embedding: the same, but where layers do not add to it.
    pub embedding_width: usize,
    /// Whether what a layer's branches give is added to what it begins with; else what its mixer gives
    /// takes that place.
    pub residual: bool,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; divides `n_heads` (grouped-query attention, Ainslie et al. 2023).
    pub n_kv_heads: usize,
    /// Dimensions of a head, of queries, keys and values alike.
    pub head_dim: usize,
    /// The last layers, where they have no keys and values of their own.
    pub borrowing: Option<Borrowing>,
    /// Whether a layer without a matrix for values takes its keys, as they are projected.
    pub keys_as_values: bool,
    /// Whether each head's values are normed (RMSNorm without weights).
    pub value_norm: bool,
    /// Whether queries, keys and values are made of narrow vectors, and how. There is one key-value head
    /// then, of as many dimensions as turn and then the vector's.
    pub latent: Option<Latent>,
    /// Layers that do not attend: they have [`Config::recurrence`] in the place of attention.
    pub recurrent: LayerSet,
    /// How these layers remember what came before.
    pub recurrence: Recurrence,
    /// Width of the feed-forward network; 0: layers have none, unless they have experts.
    pub n_ff: usize,
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// Positions that the model was trained with.
    pub n_ctx_train: usize,
    /// Whether a token sees those before it alone, so that what follows it can be predicted: a decoder.
    /// Else all tokens of a text see each other: an encoder, which gives states and no logits.
    pub causal: bool,
    /// How the states of a text become one vector, where the file says.
    pub pooling: Option<Pooling>,
    /// What the norms of the residual stream do.
    pub norm: NormKind,
    /// Whether a branch begins with a norm; else it begins with the residual stream as it is.
    pub pre_norm: bool,
    /// Whether the first layer's mixer begins without one, as the embedding's norm comes just before.
    pub first_norm_missing: bool,
    /// Whether the stream itself is normed behind each branch, as in the first Transformer (Vaswani et al.
    /// 2017); then none is left for the end.
    pub residual_norm: bool,
    /// Whether the embedding is normed before the first layer.
    pub embedding_norm: bool,
    /// Whether the norm before the head may bear the name of one behind the embedding.
    pub output_norm_misnamed: bool,
    /// Whether both branches of a layer begin with the same state; else the second one sees what the
    /// first one added. A layer without a norm for its second branch has one for both then.
    pub parallel_residual: bool,
    /// Norms of queries and keys, before the rotation, if there are any.
    pub qk_norm: QkNorm,
    /// Queries, keys and values are kept within this, before everything else; 0: they are not.
    pub qkv_clamp: f32,
    /// Added to the mean square, or the variance, in every norm but the last.
    pub norm_epsilon: f32,
    /// The same in the norm before the head.
    pub output_epsilon: f32,
    /// Every so many layers the residual stream counts half, so that it fits half precision. Norms undo that,
    /// so it is not done, but their epsilons are four times as large; `usize::MAX`: nowhere.
    pub halving_period: usize,
    /// Multiplies the embedding.
    pub embedding_scale: f32,
    /// Width of the embedding that a token has for each layer, beside the one for all; 0: there is none.
    pub layer_embd: usize,
    /// Multiplies what a branch adds to the residual stream.
    pub residual_scale: f32,
    /// Multiplies the logits.
    pub logit_scale: f32,
    /// Bounds the logits smoothly, `cap * tanh(logit / cap)`; 0: they stay as they are.
    pub logit_softcap: f32,
    /// Multiplies the dot products of queries and keys.
    pub attention_scale: f32,
    /// Bounds them smoothly afterwards, as [`Config::logit_softcap`] does the logits.
    pub attention_softcap: f32,
    /// Where positions are slopes (ALiBi, Press et al. 2022): of each head's geometric series of slopes,
    /// 2 to the power of minus this is the last; 0: there are none.
    pub alibi_max_bias: f32,
    /// Multiplies these slopes.
    pub alibi_scale: f32,
    /// Whether queries come with a gate for each of their dimensions, the sigmoid of which multiplies what
    /// attention finds.
    pub attention_gate: bool,
    /// Whether every head has a sink: a score of its own that takes part in the softmax.
    pub sinks: bool,
    /// The feed-forward network's activation.
    pub gate: Gate,
    /// The experts of the feed-forward network, where it is a choice among several.
    pub experts: Option<Experts>,
    /// Whether the activation is of a projection of its own (the gate) and multiplies the other one;
    /// else there is one projection, and the activation is of that.
    pub gated: bool,
    /// Positions that have a learned embedding, which is added to the token's; 0: none, and the
    /// context may be of any length.
    pub learned_positions: usize,
    /// Kinds of segments that have a learned embedding, of which that of the first is added to every
    /// token's; 0: none.
    pub token_types: usize,
    /// Position embedding of the layers that see everything.
    pub rope: Rope,
    /// Every so many layers the last one has no position embedding; `usize::MAX`: all have it.
    pub no_rope_period: usize,
    /// Layers that see only the last positions, with a position embedding of their own.
    pub window: Option<Window>,
}

/// How the final states of a text's tokens become one vector, its embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's.
    First,
    /// The last token's.
    Last,
}

/// A norm of the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// RMSNorm (Zhang and Sennrich 2019): a weight.
    Rms,
    /// LayerNorm (Ba et al. 2016): a weight and a bias.
    Layer,
    /// LayerNorm with a weight alone.
    LayerUnbiased,
    /// There are none, not even before the head.
    None,
}

/// Norms of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// RMSNorm of each head, with weights for one head.
    Head,
    /// RMSNorm of all heads as one vector.
    Whole,
    /// A norm of the residual stream's kind for each head, each with weights of its own.
    EachHead,
}

/// Multi-head latent attention (DeepSeek-AI 2024).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latent {
    /// Width of the vector that queries are made of; 0: they are made of the state.
    pub query: usize,
    /// Width of the vector that keys and values are made of.
    pub key_value: usize,
    /// Dimensions of each head's queries and keys that do not turn.
    pub still: usize,
    /// Dimensions of each head's values.
    pub value: usize,
    /// Added to the mean square in the norms of these vectors.
    pub epsilon: f32,
}

impl Latent {
    /// Floats of all heads' queries as they are projected: in each what does not turn, then what turns.
    pub fn projected(&self, config: &Config) -> usize {
        config.n_heads * (self.still + config.head_dim - self.key_value)
    }
}

/// A mixture of experts (Shazeer et al. 2017): each token goes through the few feed-forward networks that
/// a matrix chooses for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub n: usize,
    /// How many a token goes through.
    pub used: usize,
    /// The width of one; [`Config::n_ff`] is that of layers without experts.
    pub n_ff: usize,
    /// What the matrix's scores become: the weights of those used.
    pub gating: Gating,
    /// Whether the weights of those used are divided by their sum.
    pub normalized: bool,
    /// Multiplies the weights afterwards.
    pub scale: f32,
    /// Experts are in so many groups of equal size, one after the other.
    pub groups: usize,
    /// Those used are of the best so many groups.
    pub groups_used: usize,
    /// So many of a group's best experts, summed, say how good it is: 1 or 2.
    pub group_best: usize,
    /// Width of a network that every token goes through besides; 0: there is none.
    pub shared_ff: usize,
    /// Whether what that one adds is multiplied by the sigmoid of a score of its own.
    pub shared_gate: bool,
    /// The layers that have one network, without a choice.
    pub dense: LayerSet,
    /// Whether layers with experts have such a network besides. Then it and the experts begin and end with
    /// norms of their own, and the state itself, normed, says who is chosen.
    pub beside: bool,
    /// Whether an expert's gate and up are one matrix.
    pub fused: bool,
}

/// What scores of experts become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gating {
    /// Their softmax.
    Softmax,
    /// The sigmoid of each (DeepSeek-AI 2024).
    Sigmoid,
}

/// Rotary position embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Which dimensions form a pair.
    pub layout: RopeLayout,
    /// Dimensions that turn: the first of each head; even. 0: there is no such embedding.
    pub dims: usize,
    /// Pair i turns by `base^(-2i / dims)` for each position.
    pub base: f64,
    /// Positions are divided by this (linear scaling).
    pub scale: f64,
    /// What else long texts change.
    pub stretch: Stretch,
    /// Multiplies sines and cosines, and so queries and keys.
    pub magnitude: f64,
}

/// Frequencies for texts longer than those of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stretch {
    /// As they are.
    None,
    /// Divided by the tensor `rope_freqs.weight`, where the file has one.
    Divided,
    /// YaRN (Peng et al. 2023): pairs up to `low` turn as they were trained to, from `high` on they turn
    /// `factor` times as slowly, and in between a mixture does.
    Yarn {
        /// How much longer.
        factor: f64,
        /// Index of a pair; it need not be whole.
        low: f64,
        /// As `low`.
        high: f64,
    },
    /// LongRoPE (Ding et al. 2024): frequencies are divided by one tensor in sessions of at most this
    /// many positions, by another one in longer ones.
    Long {
        /// Positions of the original training.
        original: usize,
    },
}

impl Rope {
    /// The same dimensions with another base, and nothing that long texts change.
    pub fn unstretched(self, base: f64) -> Rope {
        Rope { base, scale: 1.0, stretch: Stretch::None, magnitude: 1.0, ..self }
    }

    /// Nothing turns.
    pub const NONE: Rope = Rope {
        layout: RopeLayout::Halves,
        dims: 0,
        base: 1.0,
        scale: 1.0,
        stretch: Stretch::None,
        magnitude: 1.0,
    };
}

/// Sliding-window layers (Beltagy et al. 2020; Gemma 2; in encoders ModernBERT, Warner et al. 2024).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Positions that a query sees, itself included.
    pub size: usize,
    /// How many of them come behind its own: 0 but in an encoder.
    pub ahead: usize,
    /// The layers with a window; all of them attend.
    pub layers: LayerSet,
    /// Their position embedding.
    pub rope: Rope,
    /// Their heads, unless these are as in the other layers.
    pub heads: Option<HeadSizes>,
}

/// Sizes of a layer's heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSizes {
    /// Key-value heads; divides the number of query heads.
    pub n_kv_heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
}

/// Layers that attend to what an earlier one remembers: the last before them all that is of the same
/// kind, with a window or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Borrowing {
    /// The first of them; all behind it do so, too. Before it there is a layer of each of their kinds.
    pub first: usize,
    /// Width of their feed-forward network.
    pub n_ff: usize,
}

/// Four times as large, so many times.
fn quadrupled(epsilon: f32, times: usize) -> f32 {
    libm::ldexpf(epsilon, 2 * times.min(MAX_LAYERS) as i32)
}

impl Config {
    /// Whether layers have a feed-forward network.
    pub fn has_ff(&self) -> bool {
        self.widest_ff() > 0
    }

    /// Experts in each layer that has some; 0 where there is no choice.
    pub fn n_experts(&self) -> usize {
        self.experts.map_or(0, |experts| experts.n)
    }

    /// A layer's experts, if it has any.
    pub fn experts_of(&self, layer: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| !experts.dense.contains(layer))
    }

    /// Width of a layer's feed-forward network, where it has one without experts.
    pub fn n_ff_of(&self, layer: usize) -> usize {
        let borrowing = self.borrowing.filter(|borrowing| layer >= borrowing.first);
        borrowing.map_or(self.n_ff, |borrowing| borrowing.n_ff)
    }

    /// The widest of the feed-forward networks.
    pub fn widest_ff(&self) -> usize {
        let borrowing = self.borrowing.map_or(0, |borrowing| borrowing.n_ff);
        let Some(experts) = &self.experts else { return self.n_ff.max(borrowing) };
        let has_dense = experts.beside || !experts.dense.is_empty();
        let dense = if has_dense { self.n_ff.max(borrowing) } else { 0 };
        experts.n_ff.max(experts.shared_ff).max(dense)
    }

    /// Width of what a layer begins with.
    pub fn input_width(&self, layer: usize) -> usize {
        if layer == 0 { self.embedding_width } else { self.n_embd }
    }

    /// Layers that are not [`Config::borrowing`].
    pub fn n_own(&self) -> usize {
        self.borrowing.map_or(self.n_layers, |borrowing| borrowing.first)
    }

    /// The layer whose keys and values a layer sees, which attends.
    pub fn source(&self, layer: usize) -> usize {
        let own = self.n_own();
        let kind = |layer: usize| self.window(layer).is_some();
        if layer < own {
            return layer;
        }
        (0..own).rev().find(|&other| kind(other) == kind(layer)).unwrap_or(0)
    }

    /// Floats of the keys of a token, and of its values, in the cache of all layers before one that has
    /// its own.
    pub fn cached_before(&self, layer: usize) -> usize {
        let windowed = self.window.as_ref().map_or(0, |window| window.layers.below(layer));
        let others = layer - self.recurrent.below(layer) - windowed;
        others * self.n_kv_heads * self.head_dim + windowed * self.windowed_dim()
    }

    /// The same of all layers.
    pub fn cached_dim(&self) -> usize {
        self.cached_before(self.n_own())
    }

    /// Floats of all key heads of a layer with a window.
    fn windowed_dim(&self) -> usize {
        let heads = self.windowed_heads();
        heads.n_kv_heads * heads.head_dim
    }

    fn windowed_heads(&self) -> HeadSizes {
        let usual = HeadSizes { n_kv_heads: self.n_kv_heads, head_dim: self.head_dim };
        self.window.as_ref().and_then(|window| window.heads).unwrap_or(usual)
    }

    /// Layers with a recurrent state.
    pub fn n_recurrent(&self) -> usize {
        self.recurrent.below(self.n_layers)
    }

    /// The heads of a layer that attends.
    pub fn heads(&self, layer: usize) -> HeadSizes {
        match self.window(layer) {
            Some(_) => self.windowed_heads(),
            None => HeadSizes { n_kv_heads: self.n_kv_heads, head_dim: self.head_dim },
        }
    }

    /// Dimensions of the widest layer's heads.
    pub fn widest_head(&self) -> usize {
        self.head_dim.max(self.windowed_heads().head_dim)
    }

    /// Whether all heads are whole blocks of a cache.
    pub fn fits_cache(&self, cache: CacheType) -> bool {
        let dims = [self.head_dim, self.windowed_heads().head_dim];
        dims.iter().all(|dim| dim.is_multiple_of(cache.block()))
    }

    /// Floats of all query heads of the widest layer.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.widest_head()
    }

    /// Floats of all query heads of a layer.
    pub fn q_dim_of(&self, layer: usize) -> usize {
        self.n_heads * self.heads(layer).head_dim
    }

    /// Outputs of the matrix that makes a layer's queries.
    pub fn projected_dim(&self, layer: usize) -> usize {
        let queries = self.q_dim_of(layer) * if self.attention_gate { 2 } else { 1 };
        self.latent.map_or(queries, |latent| latent.projected(self))
    }

    /// Inputs of the matrix behind a layer's attention.
    pub fn attended_dim(&self, layer: usize) -> usize {
        self.latent.map_or(self.q_dim_of(layer), |latent| self.n_heads * latent.value)
    }

    /// Floats of all key heads, and of all value heads, of the widest layer.
    pub fn kv_dim(&self) -> usize {
        (self.n_kv_heads * self.head_dim).max(self.windowed_dim())
    }

    /// The same of a layer.
    pub fn kv_dim_of(&self, layer: usize) -> usize {
        let heads = self.heads(layer);
        heads.n_kv_heads * heads.head_dim
    }

    /// What norms of a layer add to the variance.
    pub fn epsilon_of(&self, layer: usize) -> f32 {
        quadrupled(self.norm_epsilon, layer.checked_div(self.halving_period).unwrap_or(0))
    }

    /// What the norm before the head does.
    pub fn last_epsilon(&self) -> f32 {
        let halvings = self.n_layers.checked_div(self.halving_period).unwrap_or(0);
        quadrupled(self.output_epsilon, halvings)
    }

    /// The pairs of dimensions of a head that turn in a layer.
    pub fn rope_pairs(&self, layer: usize) -> usize {
        if (layer + 1).is_multiple_of(self.no_rope_period) {
            return 0;
        }
        self.window(layer).map_or(self.rope.dims, |window| window.rope.dims) / 2
    }

    /// The most pairs that turn in any layer.
    pub fn most_rope_pairs(&self) -> usize {
        self.rope.dims.max(self.window.as_ref().map_or(0, |window| window.rope.dims)) / 2
    }

    /// The slopes of the heads (n_heads), where [`Config::alibi_max_bias`] asks for them: a geometric
    /// series for the largest power of two of heads, and for the rest every other one of the series
    /// for twice as many.
    pub fn alibi_slopes(&self, slopes: &mut [f32]) {
        let whole = 1 << self.n_heads.checked_ilog2().unwrap_or(0);
        let ratio = |heads: usize| libm::exp2(-f64::from(self.alibi_max_bias) / heads as f64);
        let (mut step, mut product) = (ratio(whole), 1.0f64);
        for (head, slope) in slopes.iter_mut().enumerate() {
            if head == whole {
                (step, product) = (ratio(2 * whole), 1.0);
            } else if head > whole {
                product *= step;
            }
            product *= step;
            *slope = product as f32 * self.alibi_scale;
        }
    }

    /// How the states of a text become one vector: as the file says, or as suits who sees what.
    pub fn default_pooling(&self) -> Pooling {
        self.pooling.unwrap_or(if self.causal { Pooling::Last } else { Pooling::Mean })
    }

    /// The window of a layer, if it has one.
    pub fn window(&self, layer: usize) -> Option<&Window> {
        self.window.as_ref().filter(|window| window.layers.contains(layer))
    }
}
