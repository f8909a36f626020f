//! What architectures with recurrent mixers share.

use mote_formats::hf::{Config, ConfigError};

use super::{MixerSizes, Sizes};
use crate::convert::keys::Keys;

/// Selective state spaces in heads (Mamba 2).
pub(super) struct StateHeads {
    /// The width of the mixer, a multiple of the heads.
    pub inner: u64,
    pub heads: u64,
    /// Heads share what is written and read in so many groups; `groups_key` says how many.
    pub groups: u64,
    pub groups_key: &'static str,
    /// Numbers of each channel; `state_key` says how many.
    pub state: u64,
    pub state_key: &'static str,
    /// Tokens that the convolution sees.
    pub taps: u64,
}

impl StateHeads {
    /// Writes the keys; the mixer's sizes.
    pub(super) fn describe(
        self,
        config: &Config,
        keys: &mut Keys,
        sizes: &Sizes,
    ) -> Result<MixerSizes, ConfigError> {
        let StateHeads { inner, heads, groups, state, taps, .. } = self;
        if !heads.is_multiple_of(groups) {
            return Err(config.out_of_range(self.groups_key, "must divide the number of heads"));
        }
        let shared = groups.saturating_mul(state).saturating_mul(2);
        let channels = inner.saturating_add(shared);
        let projected = inner.saturating_add(channels).saturating_add(heads);
        Keys::check_widths(config, &[(self.state_key, projected)])?;
        keys.count("ssm.conv_kernel", taps);
        keys.count("ssm.inner_size", inner);
        keys.count("ssm.state_size", state);
        keys.count("ssm.time_step_rank", heads);
        keys.count("ssm.group_count", groups);
        let (steps, group) = (heads, inner / groups);
        Ok(MixerSizes { projected, channels, taps, inner, steps, state, group, ..sizes.mixer })
    }
}

/// Refuses limits of a step that any step could meet.
pub(super) fn no_limit(config: &Config) -> Result<(), ConfigError> {
    const KEY: &str = "time_step_limit";
    let Some(limits) = config.get(KEY) else { return Ok(()) };
    let infinite =
        |value: &serde_json::Value| value.get("__float__").is_some_and(|name| name == "Infinity");
    match limits.as_array().map(Vec::as_slice) {
        Some([low, high]) if low.as_f64() == Some(0.0) && infinite(high) => Ok(()),
        _ => Err(config.unsupported(KEY)),
    }
}
