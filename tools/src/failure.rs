//! Why a command failed: a short stable word, a sentence, and the exit code that goes with them.

use std::fmt;
use std::io;
use std::path::Path;

use mote_formats::gguf::{Foreign, Gguf, ParseError, Reason, Text};
use mote_formats::mmap::OpenError;
use mote_formats::ngram::TrieError;
use mote_runtime::tokenizer::{self, EncodeError};
use mote_runtime::{LoadError, SessionError};

use crate::interrupt::Interrupted;
use crate::models::{architectures, nearest};

/// Kinds of failures, each with a word for programs and an exit code for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A file cannot be read, or the system refuses something else.
    Io,
    /// The model computed logits that are infinite or NaN.
    NotFinite,
    /// Arguments that cannot be.
    Usage,
    /// Not a GGUF file, or a damaged one.
    Format,
    /// A sound GGUF file that is not a model which runs here.
    Model,
    /// A text or token ids that the model cannot take.
    Text,
    /// More tokens than the context has room for.
    Context,
    /// Not enough memory.
    Memory,
    /// Two files that were compared are not the same.
    Different,
    /// Ctrl-C, or another signal that asks the process to end.
    Interrupted,
    /// Whoever read the output has stopped reading.
    OutputClosed,
}

impl Code {
    /// The word that `--json` prints.
    pub fn name(self) -> &'static str {
        match self {
            Code::Io => "io",
            Code::NotFinite => "not_finite",
            Code::Usage => "usage",
            Code::Format => "format",
            Code::Model => "model",
            Code::Text => "text",
            Code::Context => "context",
            Code::Memory => "memory",
            Code::Different => "different",
            Code::Interrupted => "interrupted",
            Code::OutputClosed => "output_closed",
        }
    }

    /// The exit code; `--help` lists them.
    pub fn exit_code(self) -> u8 {
        match self {
            Code::Io | Code::NotFinite | Code::Text | Code::Context | Code::Different => 1,
            Code::Usage => 2,
            Code::Model => 3,
            Code::Format => 4,
            Code::Memory => 5,
            // What a shell sees of a program that Ctrl-C's signal ended, or the broken pipe's.
            Code::Interrupted => 130,
            Code::OutputClosed => 141,
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub code: Code,
    /// One sentence, safe to print on a terminal.
    pub message: String,
    /// Where in the model file, in bytes from its start.
    pub offset: Option<u64>,
}

/// What commands return.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure without a place.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Failure { code, message: message.to_string(), offset: None }
    }

    /// Why a command failed that has said on its output what there is to say.
    pub fn told(code: Code) -> Self {
        Failure::new(code, "")
    }

    /// A file that cannot be read or written; or what else input and output fail by.
    pub fn io(error: io::Error) -> Self {
        if Interrupted::is_in(&error) {
            return Interrupted.into();
        }
        match error.kind() {
            io::ErrorKind::OutOfMemory => Failure::new(Code::Memory, error),
            _ => Failure::new(Code::Io, error),
        }
    }

    /// The same of standard input.
    pub fn at_input(self) -> Self {
        self.in_place("standard input")
    }

    /// The same with the file's name before its sentence.
    pub fn in_file(self, path: &Path) -> Self {
        self.in_place(&shown(path))
    }

    fn in_place(mut self, place: &str) -> Self {
        // It is not the file's fault.
        if self.code != Code::Interrupted {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// A model that `gguf` does not hold.
    pub fn load(error: LoadError, gguf: &Gguf<'_>) -> Self {
        let code = match error {
            LoadError::Memory(_) => Code::Memory,
            LoadError::Ngram(TrieError::Directory { .. } | TrieError::Checksum { .. }) => {
                Code::Format
            }
            _ => Code::Model,
        };
        let failure = match error {
            LoadError::Architecture(_) => {
                let named = gguf.get("general.architecture").and_then(|name| name.as_str());
                let nearest = named.and_then(|name| nearest(name, architectures()));
                let nearest = nearest.unwrap_or("llama");
                let known = architectures().collect::<Vec<_>>().join(", ");
                let sentence = format_args!("the nearest that mote runs is {nearest}");
                Failure::new(
                    code,
                    format_args!("{error}; {sentence} (all: {known}; and n-gram models)"),
                )
            }
            _ => Failure::new(code, error),
        };
        Failure { offset: offset(&error, gguf), ..failure }
    }
}

/// Where in the file the key stands that the error is about.
fn offset(error: &LoadError, gguf: &Gguf<'_>) -> Option<u64> {
    let place = match error {
        LoadError::Architecture(_) => gguf.offset_of("general.architecture"),
        LoadError::Key(key, _) => {
            let architecture = gguf.get("general.architecture")?.as_str()?;
            gguf.offset_of(&format!("{architecture}.{key}"))
        }
        LoadError::Tokenizer(
            tokenizer::LoadError::WrongType(key)
            | tokenizer::LoadError::Length { key, .. }
            | tokenizer::LoadError::SpecialId { key, .. },
        ) => gguf.offset_of(key),
        _ => None,
    };
    place.map(|place| place as u64)
}

/// A path, with what could drive a terminal escaped.
pub fn shown(path: &Path) -> String {
    Text::from(path.as_os_str().as_encoded_bytes()).to_string()
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        let offset = Some(error.offset());
        let failure = match error.reason() {
            Reason::Foreign(foreign) => Failure::new(Code::Format, Advised(error, foreign)),
            _ => Failure::new(Code::Format, error),
        };
        Failure { offset, ..failure }
    }
}

/// What to do with a file of another format.
struct Advised(ParseError, Foreign);

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Advised(error, foreign) = self;
        write!(f, "{error}")?;
        match foreign {
            Foreign::Safetensors => f.write_str(": mote convert takes it, or the folder it is in"),
            Foreign::Json => f.write_str(": mote convert takes its folder"),
            Foreign::Arpa => f.write_str(": mote ngram convert takes it"),
            Foreign::Gzip => f.write_str(": unpack it (packed ARPA text: mote ngram convert)"),
            Foreign::Zip | Foreign::Pickle => {
                f.write_str(": it could run code; look for the model as safetensors or GGUF")
            }
            // The error says it all.
            _ => Ok(()),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::NotAFile { directory: true } => {
                Failure::new(Code::Io, format_args!("{error}; a checkpoint's folder: mote convert"))
            }
            OpenError::Io { error: cause, .. } if cause.kind() == io::ErrorKind::OutOfMemory => {
                Failure::new(Code::Memory, error)
            }
            _ => Failure::new(Code::Io, error),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let code = match error {
            SessionError::NotFinite => Code::NotFinite,
            SessionError::Damaged => Code::Io,
            SessionError::Token(_) | SessionError::Empty => Code::Text,
            SessionError::ContextFull { .. } => Code::Context,
            SessionError::Memory(_) => Code::Memory,
            SessionError::Encoder => {
                return Failure::new(Code::Model, format_args!("{error} (mote embed)"));
            }
            _ => Code::Usage,
        };
        Failure::new(code, error)
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        let code = match error {
            EncodeError::OutOfMemory => Code::Memory,
            _ => Code::Text,
        };
        Failure::new(code, error)
    }
}

impl From<io::Error> for Failure {
    /// Of writing to the output: files that are read get their names by [`Failure::in_file`].
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if Interrupted::is_in(&error) => Interrupted.into(),
            io::ErrorKind::BrokenPipe => Failure::new(Code::OutputClosed, "the output was closed"),
            _ => Failure::new(Code::Io, format_args!("cannot write the output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}
