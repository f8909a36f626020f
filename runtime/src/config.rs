//! The facts that a forward pass may depend on. No architecture is named here: what a new one needs
//! and these do not say becomes another fact.

use mote_kernels::{Gate, RopeLayout};

/// Largest width and layer count that are believed of a file.
pub const MAX_WIDTH: usize = 1 << 17;
/// See [`MAX_WIDTH`].
pub const MAX_LAYERS: usize = 1024;
/// Most tokens of a vocabulary.
pub const MAX_VOCABULARY: usize = 1 << 20;

/// A decoder-only Transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Decoder layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; divides `n_heads` (grouped-query attention, Ainslie et al. 2023).
    pub n_kv_heads: usize,
    /// Dimensions of a head, of queries, keys and values alike.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub n_ff: usize,
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// Positions that the model was trained with.
    pub n_ctx_train: usize,
    /// What the norms of the residual stream do.
    pub norm: NormKind,
    /// Added to the mean square, or the variance, in every norm.
    pub norm_epsilon: f32,
    /// Multiplies the embedding.
    pub embedding_scale: f32,
    /// Multiplies the dot products of queries and keys.
    pub attention_scale: f32,
    /// The feed-forward network's activation.
    pub gate: Gate,
    /// Whether the activation is of a projection of its own (the gate) and multiplies the other one;
    /// else there is one projection, and the activation is of that.
    pub gated: bool,
    /// Positions that have a learned embedding, which is added to the token's; 0: none, and the
    /// context may be of any length.
    pub learned_positions: usize,
    /// Position embedding of the layers that see everything.
    pub rope: Rope,
    /// Layers that see only the last positions, with a position embedding of their own.
    pub window: Option<Window>,
}

/// A norm of the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// RMSNorm (Zhang and Sennrich 2019): a weight.
    Rms,
    /// LayerNorm (Ba et al. 2016): a weight and a bias.
    Layer,
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
}

impl Rope {
    /// Nothing turns.
    pub const NONE: Rope = Rope { layout: RopeLayout::Halves, dims: 0, base: 1.0, scale: 1.0 };
}

/// Sliding-window layers (Beltagy et al. 2020; Gemma 2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Positions that a query sees, itself included.
    pub size: usize,
    /// Every so many layers the last one sees everything; `usize::MAX`: none does.
    pub period: usize,
    /// The position embedding of the layers with a window.
    pub rope: Rope,
}

impl Config {
    /// Floats of all query heads.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Floats of all key heads, and of all value heads.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// The window of a layer, if it has one.
    pub fn window(&self, layer: usize) -> Option<&Window> {
        self.window.as_ref().filter(|window| !(layer + 1).is_multiple_of(window.period))
    }
}
