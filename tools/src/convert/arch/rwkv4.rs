//! RWKV 4: averages of values with weights that decay, and networks that see the token before.

use mote_formats::hf::{Config, ConfigError};
use mote_runtime::config::MAX_LAYERS;

use super::Width::{Embd, Ff, Inner, One, Vocab};
use super::{Mapping, MixerSizes, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Keys, Norm};

pub static RWKV4: Mapping = Mapping {
    globals: GLOBALS,
    layers: "blocks",
    prefixes: &["rwkv."],
    ..decoder("rwkv4", &["RwkvForCausalLM"], &["rwkv"], LAYER, describe)
};

const GLOBALS: &[Rule] = &[
    tensor("embeddings.weight", "token_embd.weight", &[Vocab, Embd]),
    tensor("blocks.0.pre_ln.weight", "token_embd_norm.weight", &[Embd]),
    tensor("blocks.0.pre_ln.bias", "token_embd_norm.bias", &[Embd]),
    tensor("ln_out.weight", "output_norm.weight", &[Embd]),
    tensor("ln_out.bias", "output_norm.bias", &[Embd]),
    tensor("head.weight", "output.weight", &[Vocab, Embd]).optional(),
];

/// How much of the state itself a matrix meets; the rest is of the one before.
const fn share(from: &'static str, to: &'static str) -> Rule {
    tensor(from, to, &[One, One, Embd]).transform(Transform::Complement)
}

const LAYER: &[Rule] = &[
    tensor("ln1.weight", "attn_norm.weight", &[Embd]),
    tensor("ln1.bias", "attn_norm.bias", &[Embd]),
    tensor("ln2.weight", "attn_norm_2.weight", &[Embd]),
    tensor("ln2.bias", "attn_norm_2.bias", &[Embd]),
    tensor("attention.time_decay", "time_mix_decay.weight", &[Inner]),
    tensor("attention.time_first", "time_mix_first.weight", &[Inner]),
    share("attention.time_mix_key", "time_mix_lerp_k.weight"),
    share("attention.time_mix_value", "time_mix_lerp_v.weight"),
    share("attention.time_mix_receptance", "time_mix_lerp_r.weight"),
    tensor("attention.key.weight", "time_mix_key.weight", &[Inner, Embd]),
    tensor("attention.value.weight", "time_mix_value.weight", &[Inner, Embd]),
    tensor("attention.receptance.weight", "time_mix_receptance.weight", &[Inner, Embd]),
    tensor("attention.output.weight", "time_mix_output.weight", &[Embd, Inner]),
    share("feed_forward.time_mix_key", "channel_mix_lerp_k.weight"),
    share("feed_forward.time_mix_receptance", "channel_mix_lerp_r.weight"),
    tensor("feed_forward.key.weight", "channel_mix_key.weight", &[Ff, Embd]),
    tensor("feed_forward.receptance.weight", "channel_mix_receptance.weight", &[Embd, Embd]),
    tensor("feed_forward.value.weight", "channel_mix_value.weight", &[Embd, Ff]),
];

/// `rescale_every`, where the configuration does not say.
const RESCALE_EVERY: i64 = 6;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let mut sizes = keys.recurrent_stack(config, (Norm::Layer, 1e-5), Some(50_277))?;
    let inner = config.count("attention_hidden_size")?.unwrap_or(sizes.n_embd);
    sizes.n_ff = config.count("intermediate_size")?.unwrap_or(sizes.n_embd.saturating_mul(4));
    let widths = [("attention_hidden_size", inner), ("intermediate_size", sizes.n_ff)];
    Keys::check_widths(config, &widths)?;
    keys.count("feed_forward_length", sizes.n_ff);
    if inner != sizes.n_embd {
        keys.count("wkv.channel_count", inner);
    }
    // The class halves weights and states so often when it does not learn. Norms undo it.
    const RESCALE: &str = "rescale_every";
    let every = match config.get(RESCALE) {
        Some(value) => value.as_i64().ok_or_else(|| config.unsupported(RESCALE))?,
        None => RESCALE_EVERY,
    };
    if (1..=MAX_LAYERS as i64).contains(&every) {
        keys.count("halving_period", every.unsigned_abs());
    }
    sizes.mixer = MixerSizes { inner, ..sizes.mixer };
    Ok(sizes)
}
