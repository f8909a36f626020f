//! LFM2: short convolutions in the place of attention in most layers.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Channels, Embd, Ff, Head, Inner, KeyValue, MixIn, One, Query, Taps, Vocab};
use super::{HEAD, Mapping, MixerSizes, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static LFM2: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("embedding_norm.weight", "token_embd_norm.weight", &[Embd]),
        HEAD,
    ],
    ..decoder("lfm2", &["Lfm2ForCausalLM", "LFM2ForCausalLM"], &["lfm2"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("operator_norm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]).attending(),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).attending(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]).attending(),
    tensor("self_attn.out_proj.weight", "attn_output.weight", &[Embd, Query]).attending(),
    tensor("self_attn.q_layernorm.weight", "attn_q_norm.weight", &[Head]).attending(),
    tensor("self_attn.k_layernorm.weight", "attn_k_norm.weight", &[Head]).attending(),
    tensor("conv.in_proj.weight", "shortconv.in_proj.weight", &[MixIn, Embd]).recurrent(),
    tensor("conv.conv.weight", "shortconv.conv.weight", &[Channels, One, Taps]).recurrent(),
    tensor("conv.out_proj.weight", "shortconv.out_proj.weight", &[Embd, Inner]).recurrent(),
    // Beyond the GGUF architecture as llama.cpp knows it.
    tensor("conv.in_proj.bias", "shortconv.in_proj.bias", &[MixIn]).recurrent().optional(),
    tensor("conv.conv.bias", "shortconv.conv.bias", &[Channels]).recurrent().optional(),
    tensor("conv.out_proj.bias", "shortconv.out_proj.bias", &[Embd]).recurrent().optional(),
    tensor("ffn_norm.weight", "ffn_norm.weight", &[Embd]),
    tensor("feed_forward.w1.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("feed_forward.w3.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("feed_forward.w2.weight", "ffn_down.weight", &[Embd, Ff]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(8),
    n_ctx: 128_000,
    epsilon: 1e-5,
    theta: 1_000_000.0,
    n_vocab: Some(65_536),
    n_heads: Some(32),
    heads_by_layer: true,
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    keys.set_recurrent(recurrent(config)?);
    let ff = Some(feed_forward(config)?);
    let mut sizes = keys.decoder(config, &Defaults { ff, ..DEFAULTS })?;
    let taps = config.count("conv_L_cache")?.unwrap_or(3);
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("shortconv.l_cache", taps);
    let (channels, projected) = (sizes.n_embd, sizes.n_embd.saturating_mul(3));
    sizes.mixer = MixerSizes { projected, channels, taps, inner: channels, ..sizes.mixer };
    Ok(sizes)
}

/// Of each layer whether it has a convolution.
fn recurrent(config: &Config) -> Result<Vec<bool>, ConfigError> {
    let n_layers = Keys::layers(config, config.required("num_hidden_layers")?)?;
    let kinds: [&[&str]; 2] = [&["conv"], &["full_attention"]];
    if let Some(layers) = Keys::layers_of(config, "layer_types", n_layers, kinds)? {
        return Ok(layers);
    }
    // Without a list all of them attend.
    let attending = Keys::listed(config, "full_attn_idxs", n_layers)?;
    let attending = attending.unwrap_or_else(|| vec![true; n_layers as usize]);
    Ok(attending.into_iter().map(|attends| !attends).collect())
}

/// The width of the feed-forward network: two thirds of what the configuration says, in whole multiples,
/// unless it says that it is as it is.
fn feed_forward(config: &Config) -> Result<u64, ConfigError> {
    let given = config.count_of(&["block_ff_dim", "intermediate_size"])?.unwrap_or(12_288);
    if !config.flag("block_auto_adjust_ff_dim")?.unwrap_or(true) {
        return Ok(given);
    }
    let part = given.saturating_mul(2) / 3;
    const FACTOR: &str = "block_ffn_dim_multiplier";
    if config.names(FACTOR) && config.get(FACTOR).is_none() {
        return Ok(part);
    }
    let factor = config.float(FACTOR, 1e-3..=1e3)?.unwrap_or(1.0);
    let multiple = config.count("block_multiple_of")?.unwrap_or(256);
    let part = (factor * part as f64) as u64;
    Ok(part.checked_next_multiple_of(multiple).unwrap_or(u64::MAX))
}
