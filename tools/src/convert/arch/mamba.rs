//! Mamba, Falcon Mamba and Mamba 2: selective state spaces, and nothing else.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{
    Channels, Embd, Inner, MixGroup, MixIn, One, Rank, Selected, State, Steps, Taps, Vocab,
};
use super::mixers::{StateHeads, no_limit};
use super::{HEAD, Mapping, MixerSizes, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{EPSILONS, Keys, Norm};

pub static MAMBA: Mapping = Mapping {
    tied: true,
    globals: GLOBALS,
    ..decoder("mamba", CLASSES, &["mamba", FALCON], LAYER, describe)
};

const CLASSES: &[&str] = &["MambaForCausalLM", "MambaLMHeadModel", FALCON_CLASS];

/// What norms the selected.
const FALCON: &str = "falcon_mamba";
const FALCON_CLASS: &str = "FalconMambaForCausalLM";

pub static MAMBA2: Mapping = Mapping {
    globals: GLOBALS,
    ..decoder("mamba2", &["Mamba2ForCausalLM"], &["mamba2"], LAYER2, describe2)
};

const GLOBALS: &[Rule] = &[
    tensor("embeddings.weight", "token_embd.weight", &[Vocab, Embd]),
    // As it was called at first.
    tensor("embedding.weight", "token_embd.weight", &[Vocab, Embd]).optional(),
    tensor("norm_f.weight", "output_norm.weight", &[Embd]),
    HEAD,
];

const LAYER: &[Rule] = &[
    tensor("norm.weight", "attn_norm.weight", &[Embd]),
    tensor("mixer.in_proj.weight", "ssm_in.weight", &[MixIn, Embd]),
    tensor("mixer.conv1d.weight", "ssm_conv1d.weight", &[Channels, One, Taps]),
    tensor("mixer.conv1d.bias", "ssm_conv1d.bias", &[Channels]).optional(),
    tensor("mixer.x_proj.weight", "ssm_x.weight", &[Selected, Inner]),
    tensor("mixer.dt_proj.weight", "ssm_dt.weight", &[Inner, Rank]),
    tensor("mixer.dt_proj.bias", "ssm_dt.bias", &[Inner]),
    tensor("mixer.A_log", "ssm_a", &[Inner, State]).transform(Transform::Rate),
    tensor("mixer.D", "ssm_d", &[Inner]),
    tensor("mixer.out_proj.weight", "ssm_out.weight", &[Embd, Inner]),
    // Beyond the GGUF architecture as llama.cpp knows it.
    tensor("mixer.in_proj.bias", "ssm_in.bias", &[MixIn]).optional(),
    tensor("mixer.out_proj.bias", "ssm_out.bias", &[Embd]).optional(),
];

const LAYER2: &[Rule] = &[
    tensor("norm.weight", "attn_norm.weight", &[Embd]),
    tensor("mixer.in_proj.weight", "ssm_in.weight", &[MixIn, Embd]),
    tensor("mixer.conv1d.weight", "ssm_conv1d.weight", &[Channels, One, Taps]),
    tensor("mixer.conv1d.bias", "ssm_conv1d.bias", &[Channels]).optional(),
    tensor("mixer.dt_bias", "ssm_dt.bias", &[Steps]),
    tensor("mixer.A_log", "ssm_a", &[Steps]).transform(Transform::Rate).in_rows_of(One),
    tensor("mixer.D", "ssm_d", &[Steps]).in_rows_of(One),
    tensor("mixer.norm.weight", "ssm_norm.weight", &[Inner]).in_rows_of(MixGroup),
    tensor("mixer.out_proj.weight", "ssm_out.weight", &[Embd, Inner]),
    // Beyond the GGUF architecture as llama.cpp knows it.
    tensor("mixer.in_proj.bias", "ssm_in.bias", &[MixIn]).optional(),
    tensor("mixer.out_proj.bias", "ssm_out.bias", &[Embd]).optional(),
];

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let mut sizes = keys.recurrent_stack(config, (Norm::Rms, 1e-5), Some(50_280))?;
    let inner = inner(config, &sizes, &["intermediate_size", "d_inner"])?;
    let state = config.count_of(&["state_size", "d_state"])?.unwrap_or(16);
    let taps = config.count_of(&["conv_kernel", "d_conv"])?.unwrap_or(4);
    let rank = match config.get("time_step_rank").and_then(|rank| rank.as_str()) {
        Some("auto") => None,
        _ => config.count_of(&["time_step_rank", "dt_rank"])?,
    };
    let rank = rank.unwrap_or(sizes.n_embd.div_ceil(16));
    let selected = state.saturating_mul(2).saturating_add(rank);
    let projected = inner.saturating_mul(2);
    let widths = [("intermediate_size", projected), ("state_size", selected)];
    Keys::check_widths(config, &widths)?;
    keys.count("ssm.conv_kernel", taps);
    keys.count("ssm.inner_size", inner);
    keys.count("ssm.state_size", state);
    keys.count("ssm.time_step_rank", rank);
    // As the mapping was chosen.
    let falcon = match config.class() {
        Some(class) if CLASSES.contains(&class) => class == FALCON_CLASS,
        _ => config.text("model_type")? == Some(FALCON),
    };
    keys.flag("ssm.dt_b_c_rms", falcon);
    if falcon {
        let epsilon = config.float("mixer_rms_eps", EPSILONS)?.unwrap_or(1e-6);
        // Beyond the GGUF architecture as llama.cpp knows it.
        if epsilon as f32 != 1e-6 {
            keys.float("ssm.dt_b_c_rms_epsilon", epsilon);
        }
    }
    let (channels, steps) = (inner, inner);
    sizes.mixer = MixerSizes {
        projected,
        channels,
        taps,
        inner,
        selected,
        rank,
        steps,
        state,
        ..sizes.mixer
    };
    Ok(sizes)
}

fn describe2(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    no_limit(config)?;
    let mut sizes = keys.recurrent_stack(config, (Norm::Rms, 1e-5), Some(32_768))?;
    let inner = inner(config, &sizes, &[])?;
    let state = config.count_of(&["state_size", "d_state"])?.unwrap_or(128);
    let taps = config.count_of(&["conv_kernel", "d_conv"])?.unwrap_or(4);
    let head_dim = config.count("head_dim")?.unwrap_or(64);
    let groups = config.count("n_groups")?.unwrap_or(8);
    if !inner.is_multiple_of(head_dim) {
        return Err(config.out_of_range("head_dim", "must divide expand times hidden_size"));
    }
    let heads = inner / head_dim;
    if config.count("num_heads")?.is_some_and(|given| given != heads) {
        let why = "times head_dim must be expand times hidden_size";
        return Err(config.out_of_range("num_heads", why));
    }
    let (groups_key, state_key) = ("n_groups", "state_size");
    let mixer = StateHeads { inner, heads, groups, groups_key, state, state_key, taps };
    sizes.mixer = mixer.describe(config, keys, &sizes)?;
    Ok(sizes)
}

/// The width of the mixer: as it is given under one of these names, or a multiple of the residual stream's.
fn inner(config: &Config, sizes: &Sizes, names: &[&str]) -> Result<u64, ConfigError> {
    let expand = config.float("expand", 1e-3..=1e3)?.unwrap_or(2.0);
    let inner = (expand * sizes.n_embd as f64) as u64;
    Ok(config.count_of(names)?.unwrap_or(inner).max(1))
}
