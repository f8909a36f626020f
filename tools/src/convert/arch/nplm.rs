//! The neural probabilistic language model: torch.nn.Embedding and two torch.nn.Linear under the names `embedding`,
//! `hidden` and `output`.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Inner, MixIn, Vocab};
use super::{Mapping, MixerSizes, Sizes, decoder, tensor};
use crate::convert::keys::Keys;

use mote_runtime::config::MAX_TAPS;

pub static NPLM: Mapping = Mapping {
    globals: &[
        tensor("embedding.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("hidden.weight", "blk.0.window.weight", &[MixIn, Inner]),
        tensor("hidden.bias", "blk.0.window.bias", &[MixIn]).optional(),
        tensor("output.weight", "output.weight", &[Vocab, Ff]),
        tensor("output.bias", "output.bias", &[Vocab]).optional(),
    ],
    ..decoder("nplm", &[], &["nplm"], &[], describe)
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let sizes = keys.seed(config, 1)?;
    let (taps, hidden) = (config.required("window")?, config.required("hidden_size")?);
    if taps > MAX_TAPS as u64 {
        return Err(config.out_of_range("window", format_args!("must be at most {MAX_TAPS}")));
    }
    config.expect("tie_word_embeddings", &[false.into()])?;
    let direct = config.flag("direct_connections")?.unwrap_or(false);
    let inner = sizes.n_embd.saturating_mul(taps);
    // What enters the head.
    let n_ff = if direct { inner.saturating_add(hidden) } else { hidden };
    Keys::check_widths(config, &[("window", inner), ("hidden_size", n_ff)])?;
    keys.count("window_length", taps);
    keys.count("hidden_length", hidden);
    keys.flag("direct_connections", direct);
    let mixer = MixerSizes { projected: hidden, inner, ..sizes.mixer };
    Ok(Sizes { mixer, n_ff, ..sizes })
}
