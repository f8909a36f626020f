//! A language model of memory cells (LSTM) as Zaremba et al. (2014) made them: embeddings, layers of cells, a head.
//! mote's own architecture (FORMATS.md).

use super::{Architecture, Keys};
use crate::config::{Config, MAX_WIDTH, Recurrence};
use crate::error::LoadError;
use crate::weights::{Fused, Slot};

pub static LSTM: Architecture = Architecture {
    name: "lstm",
    config,
    required: &[],
    optional: &[Slot::MixInBias, Slot::MixBackBias],
    fused: &[
        Fused::renamed("cell_in.weight", &[Slot::MixIn]),
        Fused::renamed("cell_in.bias", &[Slot::MixInBias]),
    ],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let width = keys.required_count("hidden_length", MAX_WIDTH / 4)?;
    keys.replacing(Recurrence::Cells { width }, width)
}
