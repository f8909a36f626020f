//! Output that follows a grammar: `--json-schema`, `--grammar`, `--regex`.
//!
//! llguidance knows which bytes may come next, and a trie of the vocabulary (`vocabulary.rs`) turns them
//! into tokens. What it is given is not trusted: sizes and depths are limited, and it is compiled on a
//! stack of its own.

mod gbnf;
mod vocabulary;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv};
use llguidance::{Matcher, ParserFactory};
use mote_runtime::{Constraint, SessionError, Tokenizer};
use serde_json::{Value, json};

use crate::failure::{Code, Failure, Result};
use crate::input;

/// What the text must be.
#[derive(Args, Debug)]
#[command(next_help_heading = "Constraints")]
#[group(id = "constraint", multiple = false)]
pub struct ConstrainOptions {
    /// Write JSON that this schema allows: a file, or the schema itself
    #[arg(long, value_name = "FILE|SCHEMA")]
    json_schema: Option<OsString>,
    /// Write what this file's grammar allows, which is GBNF
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
    /// Write what this regular expression matches as a whole
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    regex: Option<String>,
}

/// Bytes of a grammar at most.
const MAX_BYTES: usize = 256 << 10;

/// Bytes of the stack on which grammars are compiled: many times what the limits allow for.
const STACK: usize = 256 << 20;

impl ConstrainOptions {
    /// Whether there is any.
    pub fn is_given(&self) -> bool {
        self.json_schema.is_some() || self.grammar.is_some() || self.regex.is_some()
    }

    /// The grammar over this vocabulary.
    pub fn compile(&self, tokenizer: &Tokenizer<'_>) -> Result<Option<Grammar>> {
        let (option, grammar) = if let Some(schema) = &self.json_schema {
            ("--json-schema", schema_grammar(schema)?)
        } else if let Some(path) = &self.grammar {
            let text = read(path, "--grammar")?;
            let lark = gbnf::to_lark(&text).map_err(|error| {
                Failure::new(Code::Usage, format_args!("--grammar: {error}")).in_file(path)
            })?;
            ("--grammar", TopLevelGrammar::from_lark(lark))
        } else if let Some(expression) = &self.regex {
            if expression.len() > MAX_BYTES {
                return Err(too_long("--regex"));
            }
            ("--regex", TopLevelGrammar::from_regex(expression))
        } else {
            return Ok(None);
        };
        let words = vocabulary::environment(tokenizer)?;
        Grammar::new(option, grammar, words).map(Some)
    }
}

fn too_long(option: &str) -> Failure {
    let sentence = format_args!("{option}: longer than {MAX_BYTES} bytes");
    Failure::new(Code::Usage, sentence)
}

fn read(path: &Path, option: &str) -> Result<String> {
    let bytes = input::read_file(path)?;
    if bytes.len() > MAX_BYTES {
        return Err(too_long(option).in_file(path));
    }
    let wrong = |_| Failure::new(Code::Usage, format_args!("{option}: not UTF-8")).in_file(path);
    String::from_utf8(bytes).map_err(wrong)
}

/// A schema in a file, or one that stands in the argument.
fn schema_grammar(schema: &OsString) -> Result<TopLevelGrammar> {
    let text = schema.to_str().unwrap_or_default().trim_start();
    let is_path = !text.starts_with('{') && !matches!(text.trim_end(), "true" | "false");
    let text = if is_path {
        read(Path::new(schema), "--json-schema")?
    } else if text.len() > MAX_BYTES {
        return Err(too_long("--json-schema"));
    } else {
        text.to_string()
    };
    let mut schema: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(Code::Usage, format_args!("--json-schema: {error}")))?;
    if let Value::Object(members) = &mut schema {
        // One spelling of blanks, as most JSON has it: a small model would write blanks forever.
        let spelling =
            json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "});
        members.entry("x-guidance").or_insert(spelling);
    }
    Ok(TopLevelGrammar::from_json_schema(schema))
}

/// A grammar over a vocabulary, before any text.
pub struct Grammar {
    matcher: Matcher,
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammar")
    }
}

impl Grammar {
    fn new(option: &str, grammar: TopLevelGrammar, words: TokEnv) -> Result<Grammar> {
        let refused = |error: String| {
            Failure::new(Code::Usage, format_args!("{option}: {}", first_line(&error)))
        };
        let compile = || -> std::result::Result<Matcher, String> {
            let capabilities = InferenceCapabilities::default();
            let mut factory =
                ParserFactory::new(&words, capabilities, &[]).map_err(|error| error.to_string())?;
            factory.quiet();
            factory.limits_mut().verbose_errors = false;
            let mut matcher = Matcher::new(factory.create_parser(grammar));
            // Only looking at it tells what is wrong with it.
            match matcher.compute_mask_or_eos() {
                Ok(mask) if mask.is_zero() => Err("it allows no text".to_string()),
                Ok(_) => Ok(matcher),
                Err(error) if has_no_way_on(&error) => Err("it allows no text".to_string()),
                Err(error) => Err(error.to_string()),
            }
        };
        let outcome = thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(STACK);
            builder.spawn_scoped(scope, compile).map(|thread| thread.join())
        });
        match outcome {
            Ok(Ok(Ok(matcher))) => Ok(Grammar { matcher }),
            Ok(Ok(Err(error))) => Err(refused(error)),
            Ok(Err(_)) => Err(refused("it cannot be compiled".to_string())),
            Err(error) => Err(Failure::new(Code::Memory, error)),
        }
    }

    /// What watches over one text.
    pub fn follower(&self) -> Follower {
        Follower { matcher: self.matcher.deep_clone(), mask: SimpleVob::new(), failure: None }
    }

    /// Why a text could not go on, where the grammar knows.
    pub fn explain(follower: Option<&Follower>, failure: Failure) -> Failure {
        match follower.and_then(|follower| follower.failure.as_ref()) {
            Some(why) if has_no_way_on(why) => {
                Failure::new(Code::Text, "the grammar: no token of the vocabulary goes on")
            }
            Some(why) => Failure::new(Code::Text, format_args!("the grammar: {}", first_line(why))),
            None => failure,
        }
    }
}

/// Whether llguidance found no token that may come.
fn has_no_way_on(error: &impl fmt::Display) -> bool {
    error.to_string().contains("NoExtension")
}

/// The first line of a message, for one line of ours.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("refused");
    line.chars().take(300).flat_map(char::escape_debug).collect()
}

/// Watches over one text.
pub struct Follower {
    matcher: Matcher,
    mask: SimpleVob,
    failure: Option<String>,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

impl Follower {
    fn failed<T>(&mut self, error: impl fmt::Display) -> std::result::Result<T, SessionError> {
        self.failure = Some(error.to_string());
        Err(SessionError::Constraint)
    }
}

impl Constraint for Follower {
    fn mask(&mut self) -> std::result::Result<&[u32], SessionError> {
        match self.matcher.compute_mask_or_eos() {
            Ok(mask) => self.mask = mask,
            Err(error) => return self.failed(error),
        }
        Ok(self.mask.as_slice())
    }

    fn accept(&mut self, id: u32) -> std::result::Result<(), SessionError> {
        match self.matcher.consume_token(id) {
            Ok(()) => Ok(()),
            Err(error) => self.failed(error),
        }
    }

    fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}
