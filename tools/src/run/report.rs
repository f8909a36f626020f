//! What is reported of a text that was written.

use serde::Serialize;

use super::logprobs::Token;
use super::speaker::DegradedReport;
use super::speculation;
use super::writing::Written;
use crate::facts::per_second;
use crate::streams::Streams;

/// One text, as `--json` has it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub text: String,
    pub ids: Vec<u32>,
    pub prompt_tokens: usize,
    /// Tokens of the prompt that the context had already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reused_tokens: Option<usize>,
    pub stop: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<Token>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<DegradedReport>,
    pub timings: Timings,
    pub speculation: Option<speculation::Report>,
}

/// Milliseconds, and tokens per second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Timings {
    pub load_ms: f64,
    pub prompt_ms: f64,
    pub prompt_tokens_per_second: f64,
    pub first_token_ms: f64,
    pub decode_ms: f64,
    pub decode_tokens_per_second: f64,
}

impl Report {
    /// Of what was written after `prompt_tokens`. `load_ms` and the first token's time count from the
    /// start of the command.
    pub fn new(written: Written, prompt_tokens: usize, load_ms: f64) -> Report {
        let Written { text, ids, stop, logprobs, degraded, speculation, .. } = written;
        let fed = prompt_tokens - written.reused;
        let timings = Timings {
            load_ms,
            prompt_ms: written.prompt_ms,
            prompt_tokens_per_second: per_second(fed, written.prompt_ms),
            first_token_ms: written.first_token_ms,
            decode_ms: written.decode_ms,
            decode_tokens_per_second: per_second(ids.len().saturating_sub(1), written.decode_ms),
        };
        Report {
            text,
            ids,
            prompt_tokens,
            reused_tokens: None,
            stop,
            logprobs,
            degraded,
            timings,
            speculation,
        }
    }

    /// The same with the number of tokens that did not have to be fed.
    pub fn with_reused(mut self, reused: usize) -> Report {
        self.reused_tokens = Some(reused);
        self
    }

    /// Says the figures.
    pub fn tell(&self, streams: &mut Streams<'_>) {
        let Report { prompt_tokens, ids, stop, timings, speculation, .. } = self;
        let Timings { load_ms, prompt_ms, first_token_ms, decode_ms, .. } = timings;
        streams.fact("load", format_args!("{load_ms:.1} ms, first token {first_token_ms:.1} ms"));
        let speed = timings.prompt_tokens_per_second;
        streams.fact(
            "prompt",
            format_args!("{prompt_tokens} tokens, {prompt_ms:.1} ms, {speed:.1} tokens/s"),
        );
        let (n, speed) = (ids.len(), timings.decode_tokens_per_second);
        streams.fact("decode", format_args!("{n} tokens, {decode_ms:.1} ms, {speed:.1} tokens/s"));
        if let Some(speculation) = speculation.as_ref().filter(|report| report.drafted > 0) {
            streams.fact("drafts", speculation);
        }
        streams.fact("stop", stop);
        if let Some(degraded) = &self.degraded {
            streams.fact("degraded", degraded);
        }
    }
}
