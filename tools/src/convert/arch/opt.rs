//! OPT: learned positions, of which the first two rows are for padding, and a ReLU. llama.cpp has no such
//! architecture.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Context, Embd, Ff, KeyValue, Query, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads, Norm};

pub static OPT: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("embed_positions.weight", "position_embd.weight", &[Context, Embd])
            .transform(Transform::Skip(2)),
        tensor("final_layer_norm.weight", "output_norm.weight", &[Embd]),
        tensor("final_layer_norm.bias", "output_norm.bias", &[Embd]),
        HEAD,
    ],
    ..decoder("opt", &["OPTForCausalLM"], &["opt"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("self_attn_layer_norm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn_layer_norm.bias", "attn_norm.bias", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.out_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("self_attn.out_proj.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("final_layer_norm.weight", "ffn_norm.weight", &[Embd]),
    tensor("final_layer_norm.bias", "ffn_norm.bias", &[Embd]),
    tensor("fc1.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("fc1.bias", "ffn_up.bias", &[Ff]).optional(),
    tensor("fc2.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("fc2.bias", "ffn_down.bias", &[Embd]).optional(),
];

const DEFAULTS: Defaults =
    Defaults { kv_heads: KvHeads::Always, epsilon: 1e-5, norm: Norm::Layer, ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("activation_function", &["relu".into()])?;
    config.expect("do_layer_norm_before", &[true.into()])?;
    config.expect("layer_norm_elementwise_affine", &[true.into()])?;
    config.expect("_remove_final_layer_norm", &[false.into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    config.expect("word_embed_proj_dim", &[sizes.n_embd.into()])?;
    Ok(sizes)
}
