//! LFM2 (Liquid AI 2025): most layers have a short convolution between two gates in the place of attention;
//! those that attend norm each head of queries and keys. The norm before the head bears the embedding's
//! name.

use super::{Architecture, Keys};
use crate::config::{Config, MAX_TAPS, NormKind, Recurrence};
use crate::error::LoadError;
use crate::weights::{Fused, Slot};
use mote_kernels::RopeLayout;

pub static LFM2: Architecture = Architecture {
    name: "lfm2",
    config,
    required: &[Slot::QNorm, Slot::KNorm],
    optional: &[Slot::MixInBias, Slot::ConvolutionBias, Slot::MixOutBias],
    fused: &[
        Fused::renamed("shortconv.in_proj.weight", &[Slot::MixIn]),
        Fused::renamed("shortconv.in_proj.bias", &[Slot::MixInBias]),
        Fused::renamed("shortconv.conv.weight", &[Slot::Convolution]),
        Fused::renamed("shortconv.conv.bias", &[Slot::ConvolutionBias]),
        Fused::renamed("shortconv.out_proj.weight", &[Slot::MixOut]),
        Fused::renamed("shortconv.out_proj.bias", &[Slot::MixOutBias]),
    ],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    let taps = keys.required_count("shortconv.l_cache", MAX_TAPS)?;
    config.recurrence = Recurrence::ShortConvolution { taps, width: config.n_embd };
    config.output_norm_misnamed = true;
    keys.refuse("attention.sliding_window")?;
    keys.refuse("expert_count")?;
    Ok(config)
}
