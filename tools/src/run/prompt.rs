//! The text that is continued.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use mote_runtime::tokenizer::{EncodeOptions, Tokenizer};

use crate::failure::{Code, Failure, Result};
use crate::input;
use crate::streams::Streams;

/// Where the prompt comes from: at most one of them; without any, standard input.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct PromptOptions {
    /// The text to continue [default: standard input]
    #[arg(value_name = "PROMPT")]
    text: Option<OsString>,
    /// The text to continue, which may begin with a hyphen
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<OsString>,
    /// A file with the text to continue
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Token ids to continue, with commas between them, taken as they are
    #[arg(long, value_name = "IDS")]
    ids: Option<OsString>,
    /// A file of token ids to continue
    #[arg(long, value_name = "FILE")]
    ids_file: Option<PathBuf>,
}

/// What was given.
#[derive(Debug)]
pub enum Source {
    Text(Vec<u8>),
    Ids(Vec<u32>),
}

impl PromptOptions {
    /// Whether nothing was given.
    pub fn is_absent(&self) -> bool {
        let PromptOptions { text, prompt, file, ids, ids_file } = self;
        text.is_none() && prompt.is_none() && file.is_none() && ids.is_none() && ids_file.is_none()
    }

    /// Reads it.
    pub fn read(&self, streams: &mut Streams<'_>) -> Result<Source> {
        if let Some(ids) = &self.ids {
            return Ok(Source::Ids(input::parse_ids(ids.as_encoded_bytes())?));
        }
        if let Some(path) = &self.ids_file {
            return Ok(Source::Ids(input::parse_ids(&input::read_file(path)?)?));
        }
        match (self.text.as_ref().or(self.prompt.as_ref()), &self.file) {
            (Some(text), _) => Ok(Source::Text(text.as_encoded_bytes().to_vec())),
            (None, Some(path)) => Ok(Source::Text(input::read_file(path)?)),
            (None, None) => Ok(Source::Text(input::read_input(streams)?)),
        }
    }
}

/// A prompt, as text and as ids.
#[derive(Debug)]
pub struct Prompt {
    /// The text as it was given; of ids, what they stand for.
    pub text: Vec<u8>,
    /// What is fed.
    pub ids: Vec<u32>,
    /// The text is empty: what is written begins it.
    pub is_empty_text: bool,
}

impl Prompt {
    /// A text gets the tokens that the model expects around it, except one that would end it.
    /// With `special`, control tokens that it spells are taken as such.
    pub fn new(source: Source, tokenizer: &Tokenizer<'_>, special: bool) -> Result<Prompt> {
        let prompt = Prompt::with(source, tokenizer, special, tokenizer.adds_bos())?;
        if prompt.ids.is_empty() {
            let sentence = "the prompt is empty, and this model expects no token before a text";
            return Err(Failure::new(Code::Text, sentence));
        }
        Ok(prompt)
    }

    /// What is appended to a text that has begun: it may be empty.
    pub fn more(source: Source, tokenizer: &Tokenizer<'_>, special: bool) -> Result<Prompt> {
        Prompt::with(source, tokenizer, special, false)
    }

    fn with(source: Source, tokenizer: &Tokenizer<'_>, special: bool, bos: bool) -> Result<Prompt> {
        let (text, ids) = match source {
            Source::Text(text) => {
                let options = EncodeOptions { bos, eos: false, parse_special: special };
                let ids = input::encode(tokenizer, &text, options)?;
                (text, ids)
            }
            Source::Ids(ids) => (input::decode(tokenizer, &ids, special)?, ids),
        };
        Ok(Prompt { is_empty_text: text.is_empty(), text, ids })
    }
}
