//! A model: a GGUF file, and the tables that lead into it.

use mote_formats::gguf::Gguf;

use crate::arch::{self, Keys};
use crate::config::{Config, MAX_VOCABULARY, Recurrence};
use crate::error::{KeyError, LoadError};
use crate::memory::{Carver, Measure};
use crate::notes::note;
use crate::tokenizer::Tokenizer;
use crate::weights::{self, Weights};

/// An immutable model. Weights and vocabulary stay in the file's bytes; the tables (where each
/// tensor and token lies, token hash, merge ranks) live in lent memory. Many sessions may share it.
#[derive(Debug)]
pub struct Model<'a> {
    gguf: Gguf<'a>,
    config: Config,
    weights: Weights<'a>,
    tokenizer: Tokenizer<'a>,
}

impl<'a> Model<'a> {
    /// Bytes that [`Model::new`] needs for its tables.
    pub fn bytes_needed(gguf: &Gguf<'a>) -> Result<usize, LoadError> {
        let (_, config) = config(gguf)?;
        Ok(tables(&config).bytes().saturating_add(Tokenizer::bytes_needed(gguf)?))
    }

    /// Checks every hyper-parameter, tensor and token, and fills the tables in `memory`.
    pub fn new(gguf: &Gguf<'a>, memory: &'a mut [u8]) -> Result<Self, LoadError> {
        let (architecture, config) = config(gguf)?;
        let own = tables(&config).bytes();
        let (own, rest) = memory.split_at_mut(own.min(memory.len()));
        let weights = Weights::new(gguf, architecture, &config, &mut Carver::new(own))?;
        let tokenizer = Tokenizer::new(gguf, rest)?;
        if tokenizer.len() != config.n_vocab {
            let (tokens, rows) = (tokenizer.len(), config.n_vocab);
            return Err(LoadError::Vocabulary { tokens, rows });
        }
        note!(
            debug,
            "model: {} layers of width {}, {} tokens",
            config.n_layers,
            config.n_embd,
            config.n_vocab
        );
        Ok(Model { gguf: *gguf, config, weights, tokenizer })
    }

    /// The file.
    pub fn gguf(&self) -> &Gguf<'a> {
        &self.gguf
    }

    /// The facts of its architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where its tensors lie.
    pub fn weights(&self) -> &Weights<'a> {
        &self.weights
    }

    /// Cuts texts into words by other rules than the file's:
    /// [`Tokenizer::with_pre_tokenizer`]. Whether there are such.
    pub fn set_pre_tokenizer(&mut self, name: &str) -> bool {
        let tokenizer = self.tokenizer.with_pre_tokenizer(name);
        self.tokenizer = tokenizer.unwrap_or(self.tokenizer);
        tokenizer.is_some()
    }

    /// Text to token ids and back.
    pub fn tokenizer(&self) -> &Tokenizer<'a> {
        &self.tokenizer
    }
}

fn tables(config: &Config) -> Measure {
    let mut measure = Measure::default();
    Weights::measure(config, &mut measure);
    measure
}

fn config(gguf: &Gguf<'_>) -> Result<(&'static arch::Architecture, Config), LoadError> {
    let architecture = arch::of(gguf)?;
    let mut config = (architecture.config)(&Keys::new(gguf, architecture.name))?;
    if config.recurrence == Recurrence::None && !config.recurrent.is_empty() {
        return Err(LoadError::Key("attention.head_count_kv", KeyError::Unsupported));
    }
    // What looks back alone cannot look ahead.
    let looks_back = config.window.is_some_and(|it| it.ahead == 0) || config.alibi_max_bias > 0.0;
    if !config.causal && (looks_back || config.n_recurrent() > 0) {
        return Err(LoadError::Key("attention.causal", KeyError::Unsupported));
    }
    config.n_vocab = weights::n_vocab(gguf)?;
    if config.n_vocab > MAX_VOCABULARY {
        return Err(LoadError::Vocabulary { tokens: 0, rows: config.n_vocab });
    }
    Ok((architecture, config))
}
