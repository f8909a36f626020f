//! Granite 3, dense: a llama with multipliers for the embedding, the scores of attention and what branches
//! add, and a divisor of the logits.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys};

pub static GRANITE: Mapping =
    decoder("granite", &["GraniteForCausalLM"], &["granite"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]).interleaved(),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).interleaved(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).interleaved().optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).interleaved().optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("self_attn.o_proj.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.gate_proj.bias", "ffn_gate.bias", &[Ff]).optional(),
    tensor("mlp.up_proj.bias", "ffn_up.bias", &[Ff]).optional(),
    tensor("mlp.down_proj.bias", "ffn_down.bias", &[Embd]).optional(),
];

const DEFAULTS: Defaults = Defaults { stretched: true, ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("rope.dimension_count", sizes.head_dim);
    let scales = [
        ("attention_multiplier", "attention.scale"),
        ("embedding_multiplier", "embedding_scale"),
        ("residual_multiplier", "residual_scale"),
        ("logits_scaling", "logit_scale"),
    ];
    for (from, to) in scales {
        keys.float(to, config.float(from, 1e-6..=1e6)?.unwrap_or(1.0));
    }
    Ok(sizes)
}
