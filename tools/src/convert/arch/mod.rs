//! **The list of checkpoints** that are converted. To add an architecture, write its file, add its
//! `mod` line and its line in [`MAPPINGS`]. A file says which classes of checkpoints it takes, which
//! GGUF keys their `config.json` becomes, and where each tensor goes; no other file of the
//! converter may name an architecture (`tests/it/tidy.rs`).

use mote_formats::hf::{Config, ConfigError};

use super::keys::Keys;

mod bert;
mod bloom;
mod cohere;
mod deepseek2;
mod distilbert;
mod exaone4;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma4;
mod glm4;
mod gpt2;
mod gpt_oss;
mod gptneox;
mod granite;
mod granitehybrid;
mod granitemoe;
mod lfm2;
mod llama;
mod lstm;
mod mamba;
mod mixers;
mod mixtral;
mod modern_bert;
mod mpt;
mod nemotron;
mod nplm;
mod olmo2;
mod olmoe;
mod opt;
mod phi3;
mod qwen2;
mod qwen2moe;
mod qwen3;
mod qwen35;
mod qwen3moe;
mod qwen3next;
mod rwkv4;
mod rwkv7;
mod smollm3;
mod stablelm;
mod starcoder2;

/// Every mapping.
pub static MAPPINGS: &[&Mapping] = &[
    &llama::LLAMA,
    &mixtral::MIXTRAL,
    &gemma::GEMMA,
    &gemma2::GEMMA2,
    &gemma3::GEMMA3,
    &gemma4::GEMMA4,
    &qwen2::QWEN2,
    &qwen3::QWEN3,
    &qwen2moe::QWEN2MOE,
    &qwen3moe::QWEN3MOE,
    &gpt2::GPT2,
    &phi3::PHI3,
    &smollm3::SMOLLM3,
    &granite::GRANITE,
    &granitemoe::GRANITEMOE,
    &olmo2::OLMO2,
    &olmoe::OLMOE,
    &gpt_oss::GPT_OSS,
    &starcoder2::STARCODER2,
    &stablelm::STABLELM,
    &gptneox::GPTNEOX,
    &falcon::FALCON,
    &bloom::BLOOM,
    &mpt::MPT,
    &opt::OPT,
    &cohere::COMMAND_R,
    &cohere::COHERE2,
    &exaone4::EXAONE4,
    &deepseek2::DEEPSEEK2,
    &glm4::GLM4,
    &nemotron::NEMOTRON,
    &lfm2::LFM2,
    &mamba::MAMBA,
    &mamba::MAMBA2,
    &qwen3next::QWEN3NEXT,
    &qwen35::QWEN35,
    &qwen35::QWEN35MOE,
    &granitehybrid::GRANITE_HYBRID,
    &rwkv4::RWKV4,
    &rwkv7::RWKV7,
    &bert::BERT,
    &bert::ROBERTA,
    &distilbert::DISTILBERT,
    &modern_bert::MODERN_BERT,
    &nplm::NPLM,
    &lstm::LSTM,
];

/// What a file under this folder says.
#[derive(Debug)]
pub struct Mapping {
    /// As in `general.architecture`.
    pub name: &'static str,
    /// Classes of checkpoints (`architectures` of config.json).
    pub classes: &'static [&'static str],
    /// `model_type`s of config.json, where it names no class.
    pub models: &'static [&'static str],
    /// Whether the head has the embedding's weights if the configuration does not say.
    pub tied: bool,
    /// Writes the keys; gives the sizes that the tensors must have.
    pub describe: fn(&Config, &mut Keys) -> Result<Sizes, ConfigError>,
    /// Tensors that belong to no layer.
    pub globals: &'static [Rule],
    /// What a layer's tensors begin with, before a dot and the layer's number; or else the number is at their
    /// end, as in torch.nn.LSTM: `weight_ih_l0`.
    pub layers: &'static str,
    /// Tensors of a layer.
    pub layer: &'static [Rule],
    /// What may be said in front of all tensors' names, beside what any model may have there.
    pub prefixes: &'static [&'static str],
    /// Ends of the names of tensors that are left out: tables that can be computed.
    pub ignored: &'static [&'static str],
    /// Starts of the names of tensors that are left out: parts that are not about text.
    pub other_parts: &'static [&'static str],
}

/// What nearly every decoder is, given its name, the classes and `model_type`s of its checkpoints, its
/// layers' tensors and its keys.
const fn decoder(
    name: &'static str,
    classes: &'static [&'static str],
    models: &'static [&'static str],
    layer: &'static [Rule],
    describe: fn(&Config, &mut Keys) -> Result<Sizes, ConfigError>,
) -> Mapping {
    Mapping {
        name,
        classes,
        models,
        tied: false,
        describe,
        globals: GLOBALS,
        layers: "layers",
        layer,
        prefixes: &[],
        ignored: IGNORED,
        other_parts: &[],
    }
}

/// The sizes of a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Layers.
    pub n_layers: u64,
    /// Width of the residual stream.
    pub n_embd: u64,
    /// Query heads.
    pub n_heads: u64,
    /// Key-value heads.
    pub n_kv_heads: u64,
    /// Dimensions of a head.
    pub head_dim: u64,
    /// Width of the feed-forward network.
    pub n_ff: u64,
    /// Experts of a layer; 0: there is no choice.
    pub n_experts: u64,
    /// Width of one of them.
    pub expert_ff: u64,
    /// Width of the network besides them that every token goes through; 0: there is none.
    pub shared_ff: u64,
    /// So many of the first layers have no experts.
    pub dense_layers: u64,
    /// So many layers behind the others are left out: what guesses further tokens.
    pub extra_layers: u64,
    /// So many of the last layers have no keys and values of their own.
    pub borrowing: u64,
    /// Whether there are no values but the keys.
    pub keys_as_values: bool,
    /// Width of the embedding that a token has for each layer; 0: there is none.
    pub layer_embd: u64,
    /// What queries, keys and values are made of, where they go through narrower vectors.
    pub latent: Latent,
    /// Tokens in the vocabulary.
    pub n_vocab: u64,
    /// Positions.
    pub n_ctx: u64,
    /// Kinds of segments that have an embedding.
    pub token_types: u64,
    /// Of a recurrent mixer.
    pub mixer: MixerSizes,
}

/// The sizes of a recurrent mixer; all 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct MixerSizes {
    /// What the first projection gives.
    pub projected: u64,
    /// Channels of the convolution.
    pub channels: u64,
    /// Tokens that it sees.
    pub taps: u64,
    /// What enters the last projection.
    pub inner: u64,
    /// What the convolved is projected to.
    pub selected: u64,
    /// The low rank of steps.
    pub rank: u64,
    /// Steps: channels, or heads.
    pub steps: u64,
    /// Numbers of each channel.
    pub state: u64,
    /// The low ranks of what is learnt, of values that are mixed in, and of gates.
    pub ranks: [u64; 3],
    /// Values that are normed together.
    pub group: u64,
    /// Heads of keys.
    pub key_heads: u64,
}

/// The sizes of multi-head latent attention; all 0: there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latent {
    /// The vector that queries are made of; 0: they are made of the state.
    pub query: u64,
    /// The vector that keys and values are made of.
    pub key_value: u64,
    /// Dimensions of a query's and a key's head that do not turn.
    pub still: u64,
    /// Those that turn.
    pub turning: u64,
    /// Dimensions of a value's head.
    pub value: u64,
}

/// A dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1: a dimension that the output has, too.
    Single,
    /// The residual stream's.
    Embd,
    /// All query heads.
    Query,
    /// All key heads, and all value heads.
    KeyValue,
    /// All value heads, unless these are the keys'.
    Value,
    /// Queries, keys and values in one.
    QueryKeyValue,
    /// One head.
    Head,
    /// The number of query heads.
    Heads,
    /// The number of key-value heads.
    KvHeads,
    /// See [`Sizes`].
    LayerEmbd,
    /// That of all layers together.
    LayerEmbds,
    /// The feed-forward network's.
    Ff,
    /// Gate and up in one.
    GateUp,
    /// The number of experts.
    Experts,
    /// One expert's.
    ExpertFf,
    /// Gate and up of one expert in one.
    ExpertGateUp,
    /// That of the network besides the experts.
    SharedFf,
    /// Its gate and up in one.
    SharedGateUp,
    /// See [`Latent`].
    LatentQuery,
    /// As above.
    LatentKeyValue,
    /// The same, and the dimensions of a key that turn.
    LatentKeyTurning,
    /// All heads' queries, what turns and what does not.
    LatentQueries,
    /// The same, if they are made of the state, or else 0.
    LatentDirect,
    /// All heads' keys, without what turns, and values.
    LatentKeysValues,
    /// Of one head: the key without what turns.
    LatentStill,
    /// Of one head: the value.
    LatentValue,
    /// All heads' values.
    LatentValues,
    /// The vocabulary.
    Vocab,
    /// Positions.
    Context,
    /// Kinds of segments.
    TokenTypes,
    /// 1: a dimension that the output does not have.
    One,
    /// See [`MixerSizes`].
    MixIn,
    /// See [`MixerSizes`].
    Channels,
    /// See [`MixerSizes`].
    Taps,
    /// See [`MixerSizes`].
    Inner,
    /// See [`MixerSizes`].
    Selected,
    /// See [`MixerSizes`].
    Rank,
    /// See [`MixerSizes`].
    Steps,
    /// See [`MixerSizes`].
    State,
    /// See [`MixerSizes`].
    MixGroup,
    /// Mixtures with the token before.
    Shifts,
    /// See [`MixerSizes`].
    LearningRank,
    /// See [`MixerSizes`].
    MixingRank,
    /// See [`MixerSizes`].
    GateRank,
    /// Queries with their gates.
    GatedQuery,
    /// The first projection of a recurrent mixer, and its gates.
    MixInGates,
    /// Two numbers for each step.
    TwiceSteps,
}

impl Width {
    /// As a number. One that is too large for any tensor is `u64::MAX`.
    pub fn of(self, sizes: &Sizes) -> u64 {
        let query = sizes.n_heads.saturating_mul(sizes.head_dim);
        let key_value = sizes.n_kv_heads.saturating_mul(sizes.head_dim);
        let Latent { query: latent_query, key_value: latent, still, turning, value } = sizes.latent;
        let all = |head: u64| sizes.n_heads.saturating_mul(head);
        match self {
            Width::Single => 1,
            Width::Embd => sizes.n_embd,
            Width::Query => query,
            Width::KeyValue => key_value,
            Width::Value if sizes.keys_as_values => 0,
            Width::Value => key_value,
            Width::LayerEmbd => sizes.layer_embd,
            Width::LayerEmbds => sizes.layer_embd.saturating_mul(sizes.n_layers),
            Width::QueryKeyValue => query.saturating_add(key_value.saturating_mul(2)),
            Width::Head => sizes.head_dim,
            Width::Heads => sizes.n_heads,
            Width::KvHeads => sizes.n_kv_heads,
            Width::Ff => sizes.n_ff,
            Width::GateUp => sizes.n_ff.saturating_mul(2),
            Width::Experts => sizes.n_experts,
            Width::ExpertFf => sizes.expert_ff,
            Width::ExpertGateUp => sizes.expert_ff.saturating_mul(2),
            Width::SharedFf => sizes.shared_ff,
            Width::SharedGateUp => sizes.shared_ff.saturating_mul(2),
            Width::LatentQuery => latent_query,
            Width::LatentKeyValue => latent,
            Width::LatentKeyTurning => latent.saturating_add(turning),
            Width::LatentQueries => all(still.saturating_add(turning)),
            Width::LatentDirect if latent_query > 0 => 0,
            Width::LatentDirect => all(still.saturating_add(turning)),
            Width::LatentKeysValues => all(still.saturating_add(value)),
            Width::LatentStill => still,
            Width::LatentValue => value,
            Width::LatentValues => all(value),
            Width::Vocab => sizes.n_vocab,
            Width::Context => sizes.n_ctx,
            Width::TokenTypes => sizes.token_types,
            Width::One => 1,
            Width::MixIn => sizes.mixer.projected,
            Width::Channels => sizes.mixer.channels,
            Width::Taps => sizes.mixer.taps,
            Width::Inner => sizes.mixer.inner,
            Width::Selected => sizes.mixer.selected,
            Width::Rank => sizes.mixer.rank,
            Width::Steps => sizes.mixer.steps,
            Width::State => sizes.mixer.state,
            Width::MixGroup => sizes.mixer.group,
            Width::Shifts => 6,
            Width::LearningRank => sizes.mixer.ranks[0],
            Width::MixingRank => sizes.mixer.ranks[1],
            Width::GateRank => sizes.mixer.ranks[2],
            Width::GatedQuery => query.saturating_mul(2),
            Width::MixInGates => sizes.mixer.projected.saturating_add(sizes.mixer.inner),
            Width::TwiceSteps => sizes.mixer.steps.saturating_mul(2),
        }
    }
}

/// What happens to a tensor's elements on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    None,
    /// In each head, the rows of the second half go between those of the first: checkpoints turn
    /// dimension i with i + d/2, the GGUF architecture neighbours.
    Interleave,
    /// Stored [inputs, outputs], of which every `step`-th from `first` on is taken; several of such
    /// matrices may lie one after the other.
    Transpose {
        /// How many outputs of different tensors alternate.
        step: u8,
        /// Which of them this is.
        first: u8,
    },
    /// Of each row every second element, from this one on.
    Half(u8),
    /// For each key-value head its queries, its key and its value, which become all queries, all keys and
    /// all values.
    Ungroup,
    /// The first rows are left out.
    Skip(u8),
    /// All of it is one vector.
    Flat,
    /// The rows are the fourth dimension.
    Apart,
    /// The rows are so many blocks of equal size, of each of which some are taken.
    Blocks {
        /// How many blocks.
        count: Width,
        /// Rows of a block before those that are taken, if there are any.
        before: Option<Width>,
        /// Rows that are taken.
        rows: Width,
        /// Whether they become columns.
        transposed: bool,
    },
    /// Two tensors of bytes, NAME_blocks and NAME_scales: MXFP4, of which every `step`-th row from `first` on
    /// is taken. The shape is that of the numbers they stand for.
    Packed {
        /// How many outputs of different tensors alternate.
        step: u8,
        /// Which of them this is.
        first: u8,
    },
    /// The model multiplies by 1 + w, the GGUF architecture by w.
    PlusOne,
    /// Of a rate its logarithm is stored, without the sign: the GGUF architecture has -exp(w).
    Rate,
    /// What the model multiplies by w, the GGUF architecture multiplies by 1 - w.
    Complement,
    /// Heads of values come in the order of their key heads, in the GGUF architecture first one of each
    /// key head.
    Tile(Tile),
    /// Rows of queries, keys, values and gates, which are together for each head of keys, become those of all
    /// queries, all keys and all values, or those of all gates.
    OfKeyHeads {
        /// Whether it is those of gates.
        gates: bool,
    },
}

/// What changes its place with heads of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// Rows, one for each dimension of a value.
    Values,
    /// The same behind the rows of queries and keys.
    Channels,
    /// Rows, or elements of a vector, one for each head.
    Heads,
    /// The same, which are also [`Transform::Rate`].
    Rates,
    /// Columns, one for each dimension of a value.
    Columns,
}

impl Transform {
    /// Whether elements change, and not only their places.
    pub fn is_arithmetic(self) -> bool {
        matches!(
            self,
            Transform::PlusOne
                | Transform::Rate
                | Transform::Complement
                | Transform::Tile(Tile::Rates)
        )
    }
}

/// Where a tensor goes.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in the checkpoint, without the parts' names before (`model.`). Where several tensors become
    /// one, `{}` stands for their numbers, or `{a|b}` for the names that they have instead.
    pub from: &'static str,
    /// Its name in the GGUF file; for a layer's tensor what follows `blk.N.`.
    pub to: &'static str,
    /// Its shape in the checkpoint.
    pub shape: Shape,
    /// How many tensors become one.
    pub stack: Option<Width>,
    /// What happens to it.
    pub transform: Transform,
    /// Whether a model may be without it.
    pub optional: bool,
    /// Which layers have it.
    pub layers: Layers,
    /// Into rows of which length a vector is cut.
    pub rows_of: Option<Width>,
}

/// Some of a model's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// All of them.
    All,
    /// The first.
    First,
    /// All but the first.
    Later,
    /// Those that attend.
    Attending,
    /// Those that have a recurrent mixer instead.
    Recurrent,
    /// Those with keys and values of their own; what others have of these is left out.
    Own,
    /// Those without experts, where others have some.
    Dense,
    /// Those with experts, where others have none.
    Sparse,
}

/// A shape in the checkpoint: few bytes, as there are many rules.
#[derive(Clone, Copy, Debug)]
pub struct Shape([Option<Width>; 3]);

impl Shape {
    const fn new(of: &[Width]) -> Shape {
        let mut widths = [None; 3];
        let mut i = 0;
        while i < of.len() {
            widths[i] = Some(of[i]);
            i += 1;
        }
        Shape(widths)
    }

    /// The widths, rows last but one.
    pub fn widths(self) -> impl Iterator<Item = Width> {
        self.0.into_iter().flatten()
    }
}

/// A tensor that every model has.
const fn tensor(from: &'static str, to: &'static str, shape: &'static [Width]) -> Rule {
    let (transform, layers) = (Transform::None, Layers::All);
    let shape = Shape::new(shape);
    Rule { from, to, shape, stack: None, transform, optional: false, layers, rows_of: None }
}

/// Both lists in one, of `N` rules.
const fn joined<const N: usize>(first: &[Rule], second: &[Rule]) -> [Rule; N] {
    assert!(N == first.len() + second.len());
    let mut all = [tensor("", "", &[]); N];
    let mut i = 0;
    while i < N {
        all[i] = if i < first.len() { first[i] } else { second[i - first.len()] };
        i += 1;
    }
    all
}

impl Rule {
    /// A model may be without it.
    const fn optional(mut self) -> Rule {
        self.optional = true;
        self
    }

    const fn attending(mut self) -> Rule {
        self.layers = Layers::Attending;
        self
    }

    const fn own(mut self) -> Rule {
        self.layers = Layers::Own;
        self
    }

    const fn in_rows_of(mut self, width: Width) -> Rule {
        self.rows_of = Some(width);
        self
    }

    const fn recurrent(mut self) -> Rule {
        self.layers = Layers::Recurrent;
        self
    }

    const fn first(mut self) -> Rule {
        self.layers = Layers::First;
        self
    }

    const fn later(mut self) -> Rule {
        self.layers = Layers::Later;
        self
    }

    const fn sparse(mut self) -> Rule {
        self.layers = Layers::Sparse;
        self
    }

    const fn dense(mut self) -> Rule {
        self.layers = Layers::Dense;
        self
    }

    /// Whether a model of these sizes cannot be without it.
    pub fn is_needed(&self, sizes: &Sizes) -> bool {
        !self.optional && self.shape.widths().all(|width| width.of(sizes) > 0)
    }

    const fn interleaved(mut self) -> Rule {
        self.transform = Transform::Interleave;
        self
    }

    const fn transposed(self) -> Rule {
        self.transform(Transform::Transpose { step: 1, first: 0 })
    }

    const fn transform(mut self, transform: Transform) -> Rule {
        self.transform = transform;
        self
    }

    /// That many tensors become one, each of the rule's shape.
    const fn stacked(mut self, count: Width) -> Rule {
        self.stack = Some(count);
        self
    }

    /// The number of a name that is the rule's (0 where there is but one).
    pub fn number(&self, name: &str) -> Option<u64> {
        if let Transform::Packed { .. } = self.transform {
            let end = name.strip_prefix(self.from)?;
            return ["_blocks", "_scales"].iter().position(|it| *it == end).map(|at| at as u64);
        }
        let Some((start, rest)) = self.from.split_once('{') else {
            return (self.from == name).then_some(0);
        };
        let (names, end) = rest.split_once('}')?;
        let text = name.strip_prefix(start)?.strip_suffix(end)?;
        if !names.is_empty() {
            return names.split('|').position(|name| name == text).map(|at| at as u64);
        }
        text.parse().ok().filter(|number: &u64| number.to_string() == text)
    }

    const fn plus_one(mut self) -> Rule {
        self.transform = Transform::PlusOne;
        self
    }
}

/// What nearly every decoder has beside its layers.
const GLOBALS: &[Rule] = &[
    tensor("embed_tokens.weight", "token_embd.weight", &[Width::Vocab, Width::Embd]),
    tensor("norm.weight", "output_norm.weight", &[Width::Embd]),
    HEAD,
];

/// The head; a model without it has tied weights.
const HEAD: Rule =
    tensor("lm_head.weight", "output.weight", &[Width::Vocab, Width::Embd]).optional();

/// The name of the head in a GGUF file.
pub const HEAD_NAME: &str = HEAD.to;

/// Tables of rotary positions that old checkpoints have.
const IGNORED: &[&str] = &[".rotary_emb.inv_freq"];
