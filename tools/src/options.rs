//! Options that several subcommands share.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mote_kernels::CacheType;
use mote_runtime::{Options, Precision};
use serde::{Serialize, Serializer};

use crate::environment;

/// `-m FILE`, demanded.
#[derive(Args, Clone, Debug)]
pub struct ModelOption {
    /// The model: a GGUF file, or a name: tiny (built in), or what `mote pull` got
    #[arg(short, long, value_name = "FILE", env = environment::MODEL, hide_env_values = true)]
    pub model: PathBuf,
}

/// `--pre NAME`.
#[derive(Args, Clone, Debug)]
pub struct RulesOption {
    /// Rules that cut texts into words before anything is merged, whatever the file says: gpt-2,
    /// llama-bpe, qwen2, ... (for vocabularies of bytes)
    #[arg(long, value_name = "NAME")]
    pub pre: Option<String>,
}

impl RulesOption {
    /// What a model is asked for.
    pub fn name(&self) -> Option<&str> {
        self.pre.as_deref()
    }
}

/// How a session computes: what run, score, perplexity and bench have in common, the number of
/// threads excepted (bench takes a list of them).
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Computation")]
pub struct ComputeOptions {
    /// Most tokens that pass the layers together: more are faster and need more memory
    #[arg(long, value_name = "N", default_value = "512")]
    pub batch: NonZeroUsize,
    /// Instruction set: scalar, avx2, avxvnni, avx512, ... [default: the best that this CPU has]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Tokens that the context has room for
    #[arg(short = 'c', long, value_name = "N")]
    pub ctx: Option<NonZeroUsize>,
    /// How keys and values are stored
    #[arg(long, value_enum, value_name = "TYPE", default_value = "auto")]
    pub kv: CacheChoice,
    /// Bits of an activation that meets quantised weights [default: 8]
    #[arg(long, value_enum, value_name = "BITS")]
    pub activations: Option<Bits>,
}

/// [`ComputeOptions`] and the number of threads.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Computation")]
pub struct SessionOptions {
    /// Threads [default: the CPUs that this process may use, fewer for decoding where that is faster]
    #[arg(short, long, value_name = "N", env = environment::THREADS, hide_env_values = true)]
    pub threads: Option<NonZeroUsize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub compute: ComputeOptions,
}

/// A cache type, or what suits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CacheChoice {
    /// f32 where every position is scored and for models of floats alone, else f16
    Auto,
    /// As computed
    F32,
    /// Half the memory
    F16,
    /// A quarter of the memory, a little less exact; for heads of a multiple of 32 values
    #[value(name = "q8_0")]
    Q8_0,
}

/// `8`, `16` or `mixed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bits {
    /// Fastest
    #[value(name = "8")]
    Eight,
    /// 200 times nearer to exact arithmetic
    #[value(name = "16")]
    Sixteen,
    /// 8 for the prompt, 16 for what is written
    Mixed,
}

impl Bits {
    fn of(precision: Precision) -> Bits {
        match precision {
            Precision::Bits8 => Bits::Eight,
            Precision::Bits16 => Bits::Sixteen,
            Precision::Mixed => Bits::Mixed,
        }
    }
}

impl fmt::Display for Bits {
    /// As an adjective.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bits::Eight => "8-bit",
            Bits::Sixteen => "16-bit",
            Bits::Mixed => "mixed",
        })
    }
}

impl Serialize for Bits {
    /// A number, or the word.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Bits::Eight => to.serialize_u32(8),
            Bits::Sixteen => to.serialize_u32(16),
            Bits::Mixed => to.serialize_str("mixed"),
        }
    }
}

/// What a session is for: the automatic choices depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Writing text, and measuring how fast.
    Generate,
    /// Scoring text: every position's logits are of interest, and that they are near to exact.
    Score,
}

/// Rows of logits that a scoring session computes together.
const SCORED_ROWS: usize = 32;

impl ComputeOptions {
    /// The same options for another process of mote.
    pub fn arguments(&self) -> Vec<String> {
        let ComputeOptions { batch, target, ctx, kv, activations } = self;
        let mut arguments = vec![format!("--batch={batch}")];
        arguments.extend(target.iter().map(|target| format!("--target={target}")));
        arguments.extend(ctx.iter().map(|ctx| format!("--ctx={ctx}")));
        let choices = [
            ("kv", kv.to_possible_value()),
            ("activations", activations.and_then(|it| it.to_possible_value())),
        ];
        for (option, value) in choices {
            arguments.extend(value.map(|value| format!("--{option}={}", value.get_name())));
        }
        arguments
    }

    /// The session's options for a context of `n_ctx`; of models that hold floats alone, exact ones.
    pub fn session(
        &self,
        all_float: bool,
        purpose: Purpose,
        n_ctx: usize,
        threads: usize,
    ) -> Options {
        let exact = purpose == Purpose::Score || all_float;
        let cache = match self.kv {
            CacheChoice::Auto if exact => CacheType::F32,
            CacheChoice::F32 => CacheType::F32,
            CacheChoice::Auto | CacheChoice::F16 => CacheType::F16,
            CacheChoice::Q8_0 => CacheType::Q8_0,
        };
        let precision = match self.activations.unwrap_or(Bits::Eight) {
            Bits::Eight => Precision::Bits8,
            Bits::Sixteen => Precision::Bits16,
            Bits::Mixed => Precision::Mixed,
        };
        let logit_rows = if purpose == Purpose::Score { SCORED_ROWS } else { 1 };
        Options { n_ctx, batch: self.batch.get(), logit_rows, precision, cache, threads }
    }
}

/// Bits of an activation, and the cache's type, as they are called in reports.
pub fn names(options: &Options) -> (Bits, &'static str) {
    let kv = match options.cache {
        CacheType::F32 => "f32",
        CacheType::F16 => "f16",
        CacheType::Q8_0 => "q8_0",
    };
    (Bits::of(options.precision), kv)
}

/// Where the text of tokenize, score and perplexity comes from.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct TextOptions {
    /// The text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<OsString>,
    /// A file with the text, taken byte for byte
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}
