//! A model of either kind, for programs that open whatever file they are given.

use mote_formats::gguf::Gguf;
use mote_formats::ngram::Trie;
use mote_kernels::Kernels;

use crate::budget::{Budget, BudgetError};
use crate::error::{LoadError, SessionError};
use crate::executor::Executor;
use crate::language_model::LanguageModel;
use crate::model::Model;
use crate::ngram::{NgramModel, NgramSession};
use crate::plan::{Options, Plan};
use crate::save::RestoreError;
use crate::session::Session;
use crate::tokenizer::Tokenizer;

/// A Transformer or an n-gram model, as the file's `general.architecture` says.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // There is no heap to put the larger one on.
pub enum AnyModel<'a> {
    /// Weights and layers.
    Transformer(Model<'a>),
    /// Counted sequences of tokens.
    Ngram(NgramModel<'a>),
}

impl<'a> AnyModel<'a> {
    /// Bytes that [`AnyModel::new`] needs for its tables.
    pub fn bytes_needed(gguf: &Gguf<'a>) -> Result<usize, LoadError> {
        if Trie::is_in(gguf) { NgramModel::bytes_needed(gguf) } else { Model::bytes_needed(gguf) }
    }

    /// Checks all of the file but the weights' values, and fills the tables in `memory`.
    pub fn new(gguf: &Gguf<'a>, memory: &'a mut [u8]) -> Result<Self, LoadError> {
        match Trie::is_in(gguf) {
            true => NgramModel::new(gguf, memory).map(AnyModel::Ngram),
            false => Model::new(gguf, memory).map(AnyModel::Transformer),
        }
    }

    /// The file.
    pub fn gguf(&self) -> &Gguf<'a> {
        match self {
            AnyModel::Transformer(model) => model.gguf(),
            AnyModel::Ngram(model) => model.trie().gguf(),
        }
    }

    /// Cuts texts into words by other rules than the file's:
    /// [`Tokenizer::with_pre_tokenizer`]. Whether there are such.
    pub fn set_pre_tokenizer(&mut self, name: &str) -> bool {
        match self {
            AnyModel::Transformer(model) => model.set_pre_tokenizer(name),
            AnyModel::Ngram(model) => model.set_pre_tokenizer(name),
        }
    }

    /// Text to token ids and back.
    pub fn tokenizer(&self) -> &Tokenizer<'a> {
        match self {
            AnyModel::Transformer(model) => model.tokenizer(),
            AnyModel::Ngram(model) => model.tokenizer(),
        }
    }

    /// Positions that it was trained with; of n-grams, which do not look back so far, any number.
    pub fn n_ctx_train(&self) -> usize {
        match self {
            AnyModel::Transformer(model) => model.config().n_ctx_train,
            AnyModel::Ngram(_) => usize::MAX,
        }
    }

    /// Whether nothing in it is quantised, so that what is computed with it deserves F32.
    pub fn all_float(&self) -> bool {
        match self {
            AnyModel::Transformer(model) => model.weights().all_float(),
            AnyModel::Ngram(_) => false,
        }
    }
}

/// A session of either kind.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // As above.
pub enum AnySession<'s> {
    /// Of a Transformer.
    Transformer(Session<'s>),
    /// Of an n-gram model.
    Ngram(NgramSession<'s>),
}

impl<'s> AnySession<'s> {
    /// Bytes that [`AnySession::new`] needs, and what for. An n-gram model needs no option but the
    /// length of the context.
    pub fn plan(model: &AnyModel<'_>, options: &Options) -> Result<Plan, SessionError> {
        match model {
            AnyModel::Transformer(model) => Session::plan(model, options),
            AnyModel::Ngram(model) => NgramSession::plan(model, options.n_ctx),
        }
    }

    /// As [`Plan::within`].
    pub fn plan_within(
        model: &AnyModel<'_>,
        wanted: &Options,
        budget: &Budget,
        beside: &dyn Fn(&Options) -> usize,
    ) -> Result<(Options, Plan), BudgetError> {
        Plan::fitting(&|options| Self::plan(model, options), wanted, budget, beside)
    }

    /// A session in `memory` of at least [`Plan::total_bytes`]. The memory need not be cleared.
    pub fn new(
        model: &'s AnyModel<'s>,
        options: &Options,
        kernels: &'static Kernels,
        executor: &'s dyn Executor,
        memory: &'s mut [u8],
    ) -> Result<Self, SessionError> {
        match model {
            AnyModel::Transformer(model) => {
                Session::new(model, options, kernels, executor, memory).map(AnySession::Transformer)
            }
            AnyModel::Ngram(model) => {
                NgramSession::new(model, options.n_ctx, kernels, memory).map(AnySession::Ngram)
            }
        }
    }

    /// Bytes that [`AnySession::save`] writes.
    pub fn saved_bytes(&self) -> usize {
        match self {
            AnySession::Transformer(session) => session.saved_bytes(),
            AnySession::Ngram(session) => session.saved_bytes(),
        }
    }

    /// Writes the context to `out`, and returns the number of bytes.
    pub fn save(&mut self, out: &mut [u8]) -> Result<usize, SessionError> {
        match self {
            AnySession::Transformer(session) => session.save(out),
            AnySession::Ngram(session) => NgramSession::save(session, out),
        }
    }

    /// Takes a context from its saved bytes, as [`Session::restore`].
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        match self {
            AnySession::Transformer(session) => session.restore(bytes),
            AnySession::Ngram(session) => session.restore(bytes),
        }
    }

    /// What both can do.
    pub fn as_model<'m>(&self) -> &(dyn LanguageModel<'m> + 's)
    where
        's: 'm,
    {
        match self {
            AnySession::Transformer(session) => session,
            AnySession::Ngram(session) => session,
        }
    }

    /// What both can do.
    pub fn as_model_mut<'m>(&mut self) -> &mut (dyn LanguageModel<'m> + 's)
    where
        's: 'm,
    {
        match self {
            AnySession::Transformer(session) => session,
            AnySession::Ngram(session) => session,
        }
    }
}
