//! MPT: ALiBi, norms without biases, queries, keys and values in one matrix.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Query, QueryKeyValue, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads, Norm};

pub static MPT: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("wte.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm_f.weight", "output_norm.weight", &[Embd]),
        HEAD,
    ],
    layers: "blocks",
    ..decoder("mpt", &["MPTForCausalLM", "MptForCausalLM"], &["mpt"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("norm_1.weight", "attn_norm.weight", &[Embd]),
    tensor("attn.Wqkv.weight", "attn_qkv.weight", &[QueryKeyValue, Embd]),
    tensor("attn.out_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("norm_2.weight", "ffn_norm.weight", &[Embd]),
    tensor("ffn.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("ffn.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Always,
    epsilon: 1e-5,
    norm: Norm::Layer,
    ff_factor: Some(4),
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let attention = config.part("attn_config")?;
    attention.expect("alibi", &[true.into()])?;
    attention.expect("qk_ln", &[false.into()])?;
    attention.expect("prefix_lm", &[false.into()])?;
    attention.expect("softmax_scale", &[])?;
    config.expect("logit_scale", &[])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    if let Some(limit) = attention.float("clip_qkv", 1e-3..=1e6)? {
        keys.float("attention.clamp_kqv", limit);
    }
    let largest = attention.float("alibi_bias_max", 1e-3..=1e3)?.unwrap_or(8.0);
    keys.float("attention.max_alibi_bias", largest);
    Ok(sizes)
}
