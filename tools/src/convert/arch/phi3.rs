//! Phi 3 and 4 mini: queries, keys and values in one matrix, gate and up in one matrix, perhaps a
//! sliding window, perhaps factors for each frequency (LongRoPE).

use mote_formats::hf::config::{Layers, Scaling};
use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, GateUp, Query, QueryKeyValue};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys};

pub static PHI3: Mapping = decoder("phi3", &["Phi3ForCausalLM"], &["phi3"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.qkv_proj.weight", "attn_qkv.weight", &[QueryKeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_up_proj.weight", "ffn_up.weight", &[GateUp, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
];

const DEFAULTS: Defaults = Defaults { n_ctx: 4096, epsilon: 1e-5, ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = Keys::sizes(config, &DEFAULTS)?;
    let rope = config.rope(Layers::Full, DEFAULTS.theta)?;
    let original = config.count("original_max_position_embeddings")?.unwrap_or(4096);
    // As the readers of the files round it.
    let turning = (rope.partial.unwrap_or(1.0) * sizes.n_embd as f64) as u64 / sizes.n_heads;
    keys.count("context_length", sizes.n_ctx);
    if !matches!(rope.scaling, Scaling::Yarn { .. }) {
        keys.count("rope.scaling.original_context_length", original);
    }
    keys.count("embedding_length", sizes.n_embd);
    keys.count("feed_forward_length", sizes.n_ff);
    keys.count("block_count", sizes.n_layers);
    keys.count("attention.head_count", sizes.n_heads);
    keys.count("attention.head_count_kv", sizes.n_kv_heads);
    keys.float("attention.layer_norm_rms_epsilon", Keys::epsilon(config, &DEFAULTS)?);
    keys.count("rope.dimension_count", turning);
    keys.float("rope.freq_base", rope.theta);
    keys.file_type();
    // 0: no window. A key that is missing would mean one to some readers.
    keys.count("attention.sliding_window", config.count("sliding_window")?.unwrap_or(0));
    match rope.scaling {
        Scaling::None => {}
        Scaling::Long { short, long } => {
            let half = turning / 2;
            if [short.len(), long.len()].iter().any(|&len| len as u64 != half) {
                let why = format!("must have {half} factors in each list");
                return Err(config.out_of_range("rope_scaling", why));
            }
            keys.float("rope.scaling.attn_factor", attention_factor(sizes.n_ctx, original));
            let narrow = |list: Vec<f64>| list.into_iter().map(|x| x as f32).collect();
            keys.tensor("rope_factors_long.weight", narrow(long));
            keys.tensor("rope_factors_short.weight", narrow(short));
        }
        Scaling::Yarn { .. } => keys.yarn(&rope.scaling),
        _ => return Err(config.unsupported("rope_scaling")),
    }
    Ok(sizes)
}

/// What LongRoPE multiplies queries and keys by.
fn attention_factor(n_ctx: u64, original: u64) -> f64 {
    let scale = n_ctx as f64 / original as f64;
    if scale <= 1.0 || original < 2 {
        return 1.0;
    }
    libm::sqrt(1.0 + libm::log(scale) / libm::log(original as f64))
}
