//! ModernBERT without its heads.

use mote_formats::hf::config::{Layers, Scaling};
use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, GateUp, Query, QueryKeyValue, Vocab};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, EPSILONS, Keys, KvHeads, Norm};

pub static MODERN_BERT: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embeddings.tok_embeddings.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("embeddings.norm.weight", "token_embd_norm.weight", &[Embd]),
        tensor("embeddings.norm.bias", "token_embd_norm.bias", &[Embd]).optional(),
        tensor("final_norm.weight", "output_norm.weight", &[Embd]),
        tensor("final_norm.bias", "output_norm.bias", &[Embd]).optional(),
    ],
    // What predicted masked words in training.
    other_parts: &["head.", "decoder."],
    ..decoder(
        "modern-bert",
        &["ModernBertModel", "ModernBertForMaskedLM"],
        &["modernbert"],
        LAYER,
        describe,
    )
};

const LAYER: &[Rule] = &[
    tensor("attn_norm.weight", "attn_norm.weight", &[Embd]).later(),
    tensor("attn_norm.bias", "attn_norm.bias", &[Embd]).later().optional(),
    tensor("attn.Wqkv.weight", "attn_qkv.weight", &[QueryKeyValue, Embd]),
    tensor("attn.Wqkv.bias", "attn_qkv.bias", &[QueryKeyValue]).optional(),
    tensor("attn.Wo.weight", "attn_output.weight", &[Embd, Query]),
    tensor("attn.Wo.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("mlp_norm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp_norm.bias", "ffn_norm.bias", &[Embd]).optional(),
    tensor("mlp.Wi.weight", "ffn_up.weight", &[GateUp, Embd]),
    tensor("mlp.Wi.bias", "ffn_up.bias", &[GateUp]).optional(),
    tensor("mlp.Wo.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.Wo.bias", "ffn_down.bias", &[Embd]).optional(),
];

const DEFAULTS: Defaults =
    Defaults { kv_heads: KvHeads::Always, n_ctx: 8192, norm: Norm::Layer, ..Defaults::USUAL };
const EPSILON: f64 = 1e-5;
const THETA: f64 = 160_000.0;
const LOCAL_THETA: f64 = 10_000.0;
const WINDOW: u64 = 128;
/// Every third layer, the first among them, sees everything, where nothing else is said.
const PERIOD: u64 = 3;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    const ACTIVATION: &str = "hidden_activation";
    let activation = match config.text(ACTIVATION)? {
        None | Some("gelu") => "gelu",
        Some("silu" | "swish") => "silu",
        Some(_) => return Err(config.unsupported(ACTIVATION)),
    };
    let sizes = Keys::sizes(config, &DEFAULTS)?;
    // Published configurations have `layer_norm_eps` as well, which nobody reads.
    let epsilon = config.float("norm_eps", EPSILONS)?.unwrap_or(EPSILON);
    keys.encoder(&sizes, epsilon);
    keys.float("rope.freq_base", theta(config, Layers::Full, THETA)?);
    keys.float("rope.freq_base_swa", theta(config, Layers::Sliding, LOCAL_THETA)?);
    windows(config, keys, sizes.n_layers)?;
    keys.text(ACTIVATION, activation);
    Ok(sizes)
}

fn theta(config: &Config, layers: Layers, default: f64) -> Result<f64, ConfigError> {
    let rope = config.rope(layers, default)?;
    match rope.scaling {
        Scaling::None if rope.partial.is_none_or(|part| part == 1.0) => Ok(rope.theta),
        _ => Err(config.unsupported("rope_parameters")),
    }
}

/// Positions of a window: half of them to either side of a token.
fn window(config: &Config) -> Result<u64, ConfigError> {
    const KEY: &str = "local_attention";
    let window = config.count(KEY)?.unwrap_or(WINDOW);
    if window < 2 {
        return Err(config.out_of_range(KEY, "leaves a token nothing but itself"));
    }
    Ok(window)
}

/// Which layers have one: all but the first of so many, or, if that does not say it, a list.
fn windows(config: &Config, keys: &mut Keys, n_layers: u64) -> Result<(), ConfigError> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    const KEY: &str = "layer_types";
    let sorts: [&[&str]; 2] = [&["full_attention"], &["sliding_attention"]];
    let full = Keys::layers_of(config, KEY, n_layers, sorts)?.unwrap_or_default();
    let period = match full.iter().skip(1).position(|full| *full) {
        _ if full.is_empty() => config.count("global_attn_every_n_layers")?.unwrap_or(PERIOD),
        Some(index) => index as u64 + 1,
        None => n_layers,
    };
    // With a period of 1 every layer sees everything.
    let regular = full.iter().zip(0..).all(|(full, layer)| *full == (layer % period == 0));
    if regular && period == 1 {
        return Ok(());
    }
    keys.count("attention.sliding_window", window(config)?);
    if regular {
        keys.count(PATTERN, period);
    } else {
        keys.flags(PATTERN, full.iter().map(|full| !full).collect());
    }
    Ok(())
}
