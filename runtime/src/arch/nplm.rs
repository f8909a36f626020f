//! The neural probabilistic language model of Bengio et al. (2003): the embeddings of the last words side by side, a
//! hidden layer over them, and a head that sees the hidden layer and perhaps the embeddings, too. mote's own
//! architecture (FORMATS.md).

use super::{Architecture, Keys};
use crate::config::{Config, MAX_TAPS, MAX_WIDTH, Recurrence};
use crate::error::{KeyError, LoadError};
use crate::weights::{Fused, Slot};

pub static NPLM: Architecture = Architecture {
    name: "nplm",
    config,
    required: &[],
    optional: &[Slot::MixInBias],
    fused: &[
        Fused::renamed("window.weight", &[Slot::MixIn]),
        Fused::renamed("window.bias", &[Slot::MixInBias]),
    ],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let taps = keys.required_count("window_length", MAX_TAPS)?;
    let width = keys.required_count("embedding_length", MAX_WIDTH)?;
    let hidden = keys.required_count("hidden_length", MAX_WIDTH)?;
    let direct = keys.flag("direct_connections")?.unwrap_or(false);
    let seen = taps * width;
    let n_embd = if direct { seen + hidden } else { hidden };
    if seen.max(n_embd) > MAX_WIDTH {
        return Err(LoadError::Key("window_length", KeyError::OutOfRange));
    }
    if keys.required_count("block_count", MAX_WIDTH)? != 1 {
        return Err(LoadError::Key("block_count", KeyError::Unsupported));
    }
    keys.replacing(Recurrence::Window { taps, width, hidden }, n_embd)
}
