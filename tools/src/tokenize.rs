//! `mote tokenize`: a text's token ids.

use clap::Args;
use mote_formats::gguf::Text;
use mote_runtime::Tokenizer;
use mote_runtime::tokenizer::EncodeOptions;
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Failure, Result};
use crate::host::{Memory, unknown_rules, with_gguf};
use crate::input;
use crate::options::{ModelOption, RulesOption, TextOptions};
use crate::streams::Streams;

/// Turn a text into token ids
#[derive(Args, Debug)]
#[command(after_help = "\
Without -p and -f, the text is read from standard input, byte for byte. The file needs a
vocabulary, not a model. Each line has an id, a tab, and the token as the vocabulary spells it.

JSON keys: ids.

Examples:
  mote tokenize -m model.gguf -p 'Hello, world'
  printf 'no line end' | mote tokenize -m model.gguf --no-bos --json")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    #[command(flatten)]
    rules: RulesOption,
    #[command(flatten)]
    text: TextOptions,
    /// Special tokens that the text spells become those tokens
    #[arg(long)]
    special: bool,
    /// Add no token before the text
    #[arg(long)]
    no_bos: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

#[derive(Serialize)]
struct Report {
    ids: Vec<u32>,
}

/// Tokenizes.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let path = &command.model.model;
    with_gguf(path, |gguf| {
        let refused = |error| Failure::load(error, gguf).in_file(path);
        let needed = Tokenizer::bytes_needed(gguf).map_err(|error| refused(error.into()))?;
        let mut tables = Memory::new(needed)?;
        let tokenizer = Tokenizer::new(gguf, &mut tables).map_err(|error| refused(error.into()))?;
        let tokenizer = match command.rules.name() {
            Some(name) => tokenizer.with_pre_tokenizer(name).ok_or_else(|| unknown_rules(name))?,
            None => tokenizer,
        };
        tell_unknown_rules(&tokenizer, streams);
        let default = tokenizer.default_options();
        let bos = default.bos && !command.no_bos;
        let options = EncodeOptions { bos, parse_special: command.special, ..default };
        let text = command.text.read(streams)?;
        let ids = input::encode(&tokenizer, &text, options)?;
        if command.json {
            return write_json(&Report { ids }, streams);
        }
        for id in ids {
            writeln!(streams.output, "{id}\t{}", Text::from(tokenizer.text(id)))?;
        }
        Ok(())
    })
}

/// Says so if texts may get other tokens than the model was trained on.
pub fn tell_unknown_rules(tokenizer: &Tokenizer<'_>, streams: &mut Streams<'_>) {
    if !tokenizer.is_pre_tokenizer_known() {
        let rules = tokenizer.pre_tokenizer().unwrap_or_default();
        streams.note(format_args!(
            "the vocabulary's rules for words are not known: those of {rules} are used, and texts \
             may get other tokens than in training, at digits, contractions, punctuation and blanks \
             above all (--pre NAME takes others)"
        ));
    }
}
