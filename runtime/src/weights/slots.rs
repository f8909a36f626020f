//! **The list of a layer's tensors**: their names and shapes, and which of them a decoder must have.

use crate::config::{Config, DeltaLayout, NormKind, QkNorm, Recurrence};

macro_rules! slots {
    ($($slot:ident = $name:literal, $cols:ident, $rows:ident;)*) => {
        /// A tensor of a layer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Slot { $(#[doc = concat!("`", $name, "`")] $slot),* }

        /// Every slot: its name in the file after `blk.N.`, inputs and outputs.
        pub(super) const LAYER: &[(Slot, &str, Width, Width)] =
            &[$((Slot::$slot, $name, Width::$cols, Width::$rows)),*];
    };
}

impl Slot {
    /// Its line in the list.
    #[expect(clippy::indexing_slicing, reason = "a slot's number is its place in the list")]
    fn line(self) -> &'static (Slot, &'static str, Width, Width) {
        &LAYER[self as usize]
    }

    /// Its name in the file after `blk.N.`.
    pub(super) fn name(self) -> &'static str {
        self.line().1
    }

    /// Its inputs and outputs.
    pub(super) fn shape(self) -> (Width, Width) {
        let (_, _, cols, rows) = *self.line();
        (cols, rows)
    }
}

// From `Q` to `Sinks` they are attention's, from `MixIn` to `TimeNormBias` other mixers' (`Slot::fits`).
slots! {
    AttentionNorm = "attn_norm.weight", Embd, One;
    AttentionNormBias = "attn_norm.bias", Embd, One;
    AttentionNorm2 = "attn_norm_2.weight", Embd, One;
    AttentionNorm2Bias = "attn_norm_2.bias", Embd, One;
    Q = "attn_q.weight", Embd, Projected;
    K = "attn_k.weight", Embd, KeyValue;
    V = "attn_v.weight", Embd, KeyValue;
    O = "attn_output.weight", Attended, Embd;
    LatentQuery = "attn_q_a.weight", Embd, LatentQuery;
    LatentQueryNorm = "attn_q_a_norm.weight", LatentQuery, One;
    LatentQueries = "attn_q_b.weight", LatentQuery, Projected;
    LatentKeyValue = "attn_kv_a_mqa.weight", Embd, KeyValue;
    LatentKeyValueNorm = "attn_kv_a_norm.weight", LatentKeyValue, One;
    LatentKeys = "attn_k_b.weight", LatentStill, LatentKeyValue;
    LatentValues = "attn_v_b.weight", LatentKeyValue, LatentValue;
    QBias = "attn_q.bias", Query, One;
    KBias = "attn_k.bias", KeyValue, One;
    VBias = "attn_v.bias", KeyValue, One;
    OBias = "attn_output.bias", Embd, One;
    QNorm = "attn_q_norm.weight", QueryNorm, One;
    KNorm = "attn_k_norm.weight", KeyNorm, One;
    Sinks = "attn_sinks.weight", Heads, One;
    MixIn = "ssm_in.weight", Mixed, MixIn;
    MixBack = "cell_back.weight", Inner, MixIn;
    MixBackBias = "cell_back.bias", MixIn, One;
    MixGate = "attn_gate.weight", Embd, Inner;
    Keep = "ssm_alpha.weight", Embd, Steps;
    Learn = "ssm_beta.weight", Embd, Steps;
    LearnKeep = "ssm_ba.weight", Embd, TwiceSteps;
    MixInBias = "ssm_in.bias", MixIn, One;
    Convolution = "ssm_conv1d.weight", Taps, One;
    ConvolutionBias = "ssm_conv1d.bias", Channels, One;
    Select = "ssm_x.weight", Inner, Selected;
    Step = "ssm_dt.weight", Rank, Steps;
    StepBias = "ssm_dt.bias", Steps, One;
    Rates = "ssm_a", Rates, One;
    Skip = "ssm_d", Skips, One;
    MixNorm = "ssm_norm.weight", MixGroup, One;
    MixOut = "ssm_out.weight", Inner, Embd;
    MixOutBias = "ssm_out.bias", Embd, One;
    TimeShiftKey = "time_mix_lerp_k.weight", Embd, One;
    TimeShiftValue = "time_mix_lerp_v.weight", Embd, One;
    TimeShiftGate = "time_mix_lerp_r.weight", Embd, One;
    TimeKey = "time_mix_key.weight", Embd, Inner;
    TimeValue = "time_mix_value.weight", Embd, Inner;
    TimeGate = "time_mix_receptance.weight", Embd, Inner;
    TimeFirst = "time_mix_first.weight", Inner, One;
    TimeDecay = "time_mix_decay.weight", Inner, One;
    TimeShifts = "time_mix_lerp_fused.weight", Embd, One;
    DecayBias = "time_mix_w0.weight", Inner, One;
    DecayDown = "time_mix_w1.weight", Embd, DecayRank;
    DecayUp = "time_mix_w2.weight", DecayRank, Inner;
    LearningBias = "time_mix_a0.weight", Inner, One;
    LearningDown = "time_mix_a1.weight", Embd, LearningRank;
    LearningUp = "time_mix_a2.weight", LearningRank, Inner;
    MixingBias = "time_mix_v0.weight", Inner, One;
    MixingDown = "time_mix_v1.weight", Embd, MixingRank;
    MixingUp = "time_mix_v2.weight", MixingRank, Inner;
    GateDown = "time_mix_g1.weight", Embd, GateRank;
    GateUp = "time_mix_g2.weight", GateRank, Inner;
    RemovedKey = "time_mix_k_k.weight", Inner, One;
    LearntKey = "time_mix_k_a.weight", Inner, One;
    Bonus = "time_mix_r_k.weight", Inner, One;
    TimeNorm = "time_mix_ln.weight", Inner, One;
    TimeNormBias = "time_mix_ln.bias", Inner, One;
    ChannelShiftKey = "channel_mix_lerp_k.weight", Embd, One;
    ChannelShiftGate = "channel_mix_lerp_r.weight", Embd, One;
    ChannelGate = "channel_mix_receptance.weight", Embd, Embd;
    PostAttentionNorm = "post_attention_norm.weight", Embd, One;
    AttentionOutputNorm = "attn_output_norm.weight", Embd, One;
    AttentionOutputNormBias = "attn_output_norm.bias", Embd, One;
    FfnNorm = "ffn_norm.weight", Embd, One;
    FfnNormBias = "ffn_norm.bias", Embd, One;
    Gate = "ffn_gate.weight", Embd, Ff;
    Up = "ffn_up.weight", Embd, Ff;
    Down = "ffn_down.weight", Ff, Embd;
    GateBias = "ffn_gate.bias", Ff, One;
    UpBias = "ffn_up.bias", Ff, One;
    DownBias = "ffn_down.bias", Embd, One;
    PostFfnNorm = "post_ffw_norm.weight", Embd, One;
    LayerGate = "inp_gate.weight", Embd, LayerEmbd;
    LayerOutput = "proj.weight", LayerEmbd, Embd;
    LayerEmbeddingNorm = "post_norm.weight", Embd, One;
    LayerScale = "layer_output_scale.weight", One, One;
    LayerOutputNorm = "layer_output_norm.weight", Embd, One;
    LayerOutputNormBias = "layer_output_norm.bias", Embd, One;
    FfnNorm2 = "pre_ffw_norm_2.weight", Embd, One;
    PostFfnNorm1 = "post_ffw_norm_1.weight", Embd, One;
    PostFfnNorm2 = "post_ffw_norm_2.weight", Embd, One;
    Router = "ffn_gate_inp.weight", Embd, Experts;
    RouterNorm = "ffn_gate_inp.scale", Embd, One;
    ExpertScales = "ffn_down_exps.scale", Experts, One;
    GateUpExperts = "ffn_gate_up_exps.weight", Embd, ExpertGateUp;
    RouterBias = "ffn_gate_inp.bias", Experts, One;
    RouterChoice = "exp_probs_b.bias", Experts, One;
    GateExperts = "ffn_gate_exps.weight", Embd, ExpertFf;
    UpExperts = "ffn_up_exps.weight", Embd, ExpertFf;
    DownExperts = "ffn_down_exps.weight", ExpertFf, Embd;
    GateExpertsBias = "ffn_gate_exps.bias", ExpertFf, One;
    UpExpertsBias = "ffn_up_exps.bias", ExpertFf, One;
    DownExpertsBias = "ffn_down_exps.bias", Embd, One;
    SharedGateScore = "ffn_gate_inp_shexp.weight", Embd, One;
    GateShared = "ffn_gate_shexp.weight", Embd, SharedFf;
    UpShared = "ffn_up_shexp.weight", Embd, SharedFf;
    DownShared = "ffn_down_shexp.weight", SharedFf, Embd;
}

impl Slot {
    /// Whether it can be in a layer: those of attention are in layers that attend alone, those of another
    /// mixer in the others.
    pub(super) fn fits(self, config: &Config, layer: usize) -> bool {
        let recurrent = config.recurrent.contains(layer);
        let within =
            |first: Slot, last: Slot| (first as usize..=last as usize).contains(&(self as usize));
        match (within(Slot::Q, Slot::Sinks), within(Slot::MixIn, Slot::TimeNormBias)) {
            (true, _) => !recurrent,
            (_, true) => recurrent,
            _ => true,
        }
    }

    /// Whether a layer that can have it must, where the architecture's layers must: those without keys of
    /// their own need no norm of keys.
    pub(super) fn is_needed(self, config: &Config, layer: usize) -> bool {
        self.fits(config, layer) && (self != Slot::KNorm || layer < config.n_own())
    }

    /// How many tensors of the slot's shape lie in it, one after the other.
    pub(super) fn stacked(self, config: &Config) -> usize {
        let heads = |n| if config.qk_norm == QkNorm::EachHead { n } else { 1 };
        match self {
            Slot::GateExperts | Slot::UpExperts | Slot::DownExperts => config.n_experts(),
            Slot::GateUpExperts => config.n_experts(),
            Slot::GateExpertsBias | Slot::UpExpertsBias | Slot::DownExpertsBias => {
                config.n_experts()
            }
            Slot::LatentKeys | Slot::LatentValues => config.n_heads,
            Slot::Convolution => config.recurrence.channels(),
            Slot::Rates | Slot::Skip => match config.recurrence {
                Recurrence::Selective { inner, .. } if self == Slot::Rates => inner,
                Recurrence::Heads { heads, .. } => heads,
                _ => 1,
            },
            Slot::MixNorm => config.recurrence.groups(),
            Slot::TimeShifts => SHIFTS,
            Slot::QNorm => heads(config.n_heads),
            Slot::KNorm => heads(config.n_kv_heads),
            _ => 1,
        }
    }
}

/// Attention's tensors where keys and values are made of a narrow vector.
const LATENT: &[Slot] = &[
    Slot::Q,
    Slot::LatentKeyValue,
    Slot::LatentKeyValueNorm,
    Slot::LatentKeys,
    Slot::LatentValues,
    Slot::O,
];

/// The same where queries are made of one, too.
const LATENT_QUERIES: &[Slot] = &[
    Slot::LatentQuery,
    Slot::LatentQueryNorm,
    Slot::LatentQueries,
    Slot::LatentKeyValue,
    Slot::LatentKeyValueNorm,
    Slot::LatentKeys,
    Slot::LatentValues,
    Slot::O,
];

/// What selective state spaces have.
const SELECTIVE: &[Slot] = &[
    Slot::MixIn,
    Slot::Convolution,
    Slot::Select,
    Slot::Step,
    Slot::StepBias,
    Slot::Rates,
    Slot::Skip,
    Slot::MixOut,
];

/// The same in heads.
const HEADS: &[Slot] = &[
    Slot::MixIn,
    Slot::Convolution,
    Slot::StepBias,
    Slot::Rates,
    Slot::Skip,
    Slot::MixNorm,
    Slot::MixOut,
];

/// What the gated delta rule has.
const DELTA: &[Slot] =
    &[Slot::MixIn, Slot::Convolution, Slot::StepBias, Slot::Rates, Slot::MixNorm, Slot::MixOut];

/// What a layer with experts has where these have a network beside them.
const BESIDE: &[Slot] = &[
    Slot::Up,
    Slot::Gate,
    Slot::Down,
    Slot::RouterNorm,
    Slot::FfnNorm2,
    Slot::PostFfnNorm1,
    Slot::PostFfnNorm2,
];

/// What takes the layer's part of a token's second embedding.
const LAYER_EMBEDDING: &[Slot] = &[Slot::LayerGate, Slot::LayerOutput, Slot::LayerEmbeddingNorm];

/// What averages of values have, and the network behind them.
const WEIGHTED: &[Slot] = &[
    Slot::TimeShiftKey,
    Slot::TimeShiftValue,
    Slot::TimeShiftGate,
    Slot::TimeKey,
    Slot::TimeValue,
    Slot::TimeGate,
    Slot::TimeFirst,
    Slot::TimeDecay,
    Slot::MixOut,
    Slot::ChannelShiftKey,
    Slot::ChannelShiftGate,
    Slot::ChannelGate,
];

/// Matrices that meet mixtures of their own of a token and the one before, where all weights are in one tensor.
const SHIFTS: usize = 6;

/// What a delta rule for each dimension has, and the network behind it.
const DIMENSIONS: &[Slot] = &[
    Slot::TimeShifts,
    Slot::TimeGate,
    Slot::TimeKey,
    Slot::TimeValue,
    Slot::DecayBias,
    Slot::DecayDown,
    Slot::DecayUp,
    Slot::LearningBias,
    Slot::LearningDown,
    Slot::LearningUp,
    Slot::GateDown,
    Slot::GateUp,
    Slot::RemovedKey,
    Slot::LearntKey,
    Slot::Bonus,
    Slot::TimeNorm,
    Slot::TimeNormBias,
    Slot::MixOut,
    Slot::ChannelShiftKey,
];

/// The same behind the first layer, whose values are mixed in.
pub(super) const MIXING: &[Slot] = &[Slot::MixingBias, Slot::MixingDown, Slot::MixingUp];

/// What a layer of a decoder with these facts has.
pub fn required(config: &Config, layer: usize) -> impl Iterator<Item = Slot> {
    let biased = config.norm == NormKind::Layer;
    let when = |fact: bool, slots: &'static [Slot]| if fact { slots } else { &[] };
    // Where both branches begin alike, one norm may serve both.
    let two_norms = config.pre_norm && !config.parallel_residual;
    let mixer_norm = config.pre_norm && !(config.first_norm_missing && layer == 0);
    let recurrent = config.recurrent.contains(layer);
    let attention: &[Slot] = match config.latent.map(|latent| latent.query) {
        None if layer >= config.n_own() => &[Slot::Q, Slot::O],
        None if config.keys_as_values => &[Slot::Q, Slot::K, Slot::O],
        None => &[Slot::Q, Slot::K, Slot::V, Slot::O],
        Some(0) => LATENT,
        Some(_) => LATENT_QUERIES,
    };
    let mixer: &[Slot] = match config.recurrence {
        _ if !recurrent => attention,
        Recurrence::None => &[],
        Recurrence::ShortConvolution { .. } => &[Slot::MixIn, Slot::Convolution, Slot::MixOut],
        Recurrence::Selective { .. } => SELECTIVE,
        Recurrence::Heads { .. } => HEADS,
        Recurrence::Delta { .. } => DELTA,
        Recurrence::Weighted { .. } => WEIGHTED,
        Recurrence::Dimensions { .. } => DIMENSIONS,
        Recurrence::Cells { .. } => &[Slot::MixIn, Slot::MixBack],
        Recurrence::Window { .. } => &[Slot::MixIn],
    };
    let beside: &[Slot] = match config.recurrence {
        Recurrence::Delta { layout, .. } if recurrent => match layout {
            DeltaLayout::Tiled => &[Slot::MixGate, Slot::Keep, Slot::Learn],
            DeltaLayout::Grouped => &[Slot::MixGate, Slot::LearnKeep],
            DeltaLayout::Joined => &[Slot::LearnKeep],
        },
        _ => &[],
    };
    let mixes = matches!(config.recurrence, Recurrence::Dimensions { .. }) && layer > 0;
    let experts = config.experts_of(layer);
    let ffn: &[Slot] = match (experts, config.gated) {
        _ if !config.has_ff() => &[],
        (Some(experts), _) if experts.fused => {
            &[Slot::Router, Slot::GateUpExperts, Slot::DownExperts]
        }
        (Some(_), _) => &[Slot::Router, Slot::GateExperts, Slot::UpExperts, Slot::DownExperts],
        (None, true) => &[Slot::Up, Slot::Gate, Slot::Down],
        (None, false) => &[Slot::Up, Slot::Down],
    };
    let shared = experts.filter(|experts| experts.shared_ff > 0);
    let all = [
        when(mixer_norm, &[Slot::AttentionNorm]),
        when(mixer_norm && biased, &[Slot::AttentionNormBias]),
        mixer,
        beside,
        when(mixes, MIXING),
        when(config.sinks && !recurrent, &[Slot::Sinks]),
        when(two_norms && config.has_ff(), &[Slot::FfnNorm]),
        when(two_norms && config.has_ff() && biased, &[Slot::FfnNormBias]),
        when(config.residual_norm, &[Slot::AttentionOutputNorm, Slot::LayerOutputNorm]),
        when(
            config.residual_norm && biased,
            &[Slot::AttentionOutputNormBias, Slot::LayerOutputNormBias],
        ),
        ffn,
        when(config.layer_embd > 0, LAYER_EMBEDDING),
        when(experts.is_some_and(|experts| experts.beside), BESIDE),
        when(shared.is_some(), &[Slot::GateShared, Slot::UpShared, Slot::DownShared]),
        when(shared.is_some_and(|it| it.shared_gate), &[Slot::SharedGateScore]),
    ];
    all.into_iter().flatten().copied()
}

/// A tensor that holds the rows of several slots, one after the other: its name in the file after
/// `blk.N.`, and the slots. Each is taken as if it were a tensor of its own.
#[derive(Debug)]
pub struct Fused {
    pub(super) name: &'static str,
    pub(super) slots: &'static [Slot],
}

impl Fused {
    /// Slots under another name than their own.
    pub const fn renamed(name: &'static str, slots: &'static [Slot]) -> Fused {
        Fused { name, slots }
    }
}

/// Queries, keys and values.
pub const QKV: Fused = Fused { name: "attn_qkv.weight", slots: &[Slot::Q, Slot::K, Slot::V] };
/// Their biases.
pub const QKV_BIAS: Fused =
    Fused { name: "attn_qkv.bias", slots: &[Slot::QBias, Slot::KBias, Slot::VBias] };
/// Gate and up, under the name of the latter.
pub const GATE_UP: Fused = Fused { name: "ffn_up.weight", slots: &[Slot::Gate, Slot::Up] };
/// Their biases.
pub const GATE_UP_BIAS: Fused =
    Fused { name: "ffn_up.bias", slots: &[Slot::GateBias, Slot::UpBias] };

/// The norm before the feed-forward network, under the name of one behind attention.
pub const FFN_NORM: Fused = Fused::renamed("post_attention_norm.weight", &[Slot::FfnNorm]);

/// A dimension, as the [`Config`] has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Width {
    One,
    Embd,
    Query,
    Projected,
    Attended,
    KeyValue,
    LatentQuery,
    LatentKeyValue,
    LatentStill,
    LatentValue,
    QueryNorm,
    KeyNorm,
    Heads,
    Ff,
    LayerEmbd,
    Experts,
    ExpertFf,
    ExpertGateUp,
    SharedFf,
    Mixed,
    MixIn,
    Taps,
    Channels,
    Inner,
    Selected,
    Rank,
    Steps,
    TwiceSteps,
    Rates,
    Skips,
    MixGroup,
    DecayRank,
    LearningRank,
    MixingRank,
    GateRank,
}

impl Width {
    pub(super) fn of(self, config: &Config, layer: usize) -> usize {
        match self {
            Width::One => 1,
            Width::Embd => config.n_embd,
            Width::Query => config.q_dim_of(layer),
            Width::Projected => config.projected_dim(layer),
            Width::Attended => config.attended_dim(layer),
            Width::LatentQuery => config.latent.map_or(0, |latent| latent.query),
            Width::LatentKeyValue => config.latent.map_or(0, |latent| latent.key_value),
            Width::LatentStill => config.latent.map_or(0, |latent| latent.still),
            Width::LatentValue => config.latent.map_or(0, |latent| latent.value),
            Width::KeyValue => config.kv_dim_of(layer),
            Width::QueryNorm if config.qk_norm == QkNorm::Whole => config.q_dim_of(layer),
            Width::KeyNorm if config.qk_norm == QkNorm::Whole => config.kv_dim_of(layer),
            Width::QueryNorm | Width::KeyNorm => config.heads(layer).head_dim,
            Width::Heads => config.n_heads,
            Width::Ff => config.n_ff_of(layer),
            Width::LayerEmbd => config.layer_embd,
            Width::Experts => config.n_experts(),
            Width::ExpertFf => config.experts.map_or(0, |experts| experts.n_ff),
            Width::ExpertGateUp => config.experts.map_or(0, |experts| 2 * experts.n_ff),
            Width::SharedFf => config.experts.map_or(0, |experts| experts.shared_ff),
            Width::Mixed => match config.recurrence {
                Recurrence::Window { .. } => config.recurrence.inner(),
                _ => config.input_width(layer),
            },
            Width::MixIn => config.recurrence.projected(),
            Width::Taps => config.recurrence.taps(),
            Width::Channels => config.recurrence.channels(),
            Width::Inner => config.recurrence.inner(),
            Width::Selected => config.recurrence.selected(),
            Width::Rank => config.recurrence.rank(),
            Width::Steps => config.recurrence.steps(),
            Width::TwiceSteps => 2 * config.recurrence.steps(),
            Width::Rates => match config.recurrence {
                Recurrence::Selective { state, .. } => state,
                Recurrence::Delta { values, .. } => values,
                _ => 1,
            },
            Width::Skips => match config.recurrence {
                Recurrence::Selective { inner, .. } => inner,
                _ => 1,
            },
            Width::MixGroup => config.recurrence.group_len(),
            Width::DecayRank | Width::LearningRank | Width::MixingRank | Width::GateRank => {
                let Recurrence::Dimensions { ranks, .. } = config.recurrence else { return 0 };
                match self {
                    Width::DecayRank => ranks.decay,
                    Width::LearningRank => ranks.learning,
                    Width::MixingRank => ranks.mixing,
                    _ => ranks.gate,
                }
            }
        }
    }
}
