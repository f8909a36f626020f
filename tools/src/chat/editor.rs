//! Where the lines come from: a line editor on a terminal, or else standard input.

use std::path::{Path, PathBuf};

use mote_runtime::tokenizer::MAX_TEXT_BYTES;
use rustyline::error::ReadlineError;
use rustyline::history::{FileHistory, History as _};
use rustyline::{Cmd, Config, Editor, KeyCode, KeyEvent, Modifiers};

use crate::failure::{Code, Failure, Result};
use crate::interrupt;
use crate::streams::Streams;

/// Lines of a conversation.
pub enum Lines {
    /// Somebody types them.
    Typed(Box<Typed>),
    /// They come from a file or a program.
    Read(Reader),
}

impl Lines {
    /// From what is there. `history`: a file of earlier lines, for those who type.
    pub fn new(streams: &Streams<'_>, history: Option<&Path>) -> Result<Lines> {
        match streams.terminal.input {
            true => Ok(Lines::Typed(Box::new(Typed::new(history)?))),
            false => Ok(Lines::Read(Reader::default())),
        }
    }

    /// The next turn: a line, and those that a backslash at its end appends. `None` at the end.
    pub fn next(&mut self, streams: &mut Streams<'_>) -> Result<Option<String>> {
        let mut text = String::new();
        loop {
            let line = match self {
                Lines::Typed(typed) => typed.next(if text.is_empty() { "> " } else { "… " })?,
                Lines::Read(reader) => reader.next(streams)?,
            };
            let Some(line) = line else {
                return Ok(if text.is_empty() { None } else { Some(text) });
            };
            if text.len() + line.len() > MAX_TEXT_BYTES {
                return Err(Failure::new(Code::Text, "standard input: a turn is too long"));
            }
            match line.strip_suffix('\\') {
                Some(begun) => {
                    text.push_str(begun);
                    text.push('\n');
                }
                None => {
                    text.push_str(&line);
                    if let Lines::Typed(typed) = self {
                        typed.remember(&text)?;
                    }
                    return Ok(Some(text));
                }
            }
        }
    }
}

/// A line editor, and where its history is kept.
pub struct Typed {
    editor: Editor<(), FileHistory>,
    history: Option<PathBuf>,
}

/// Lines that the arrow keys bring back.
const REMEMBERED: usize = 1000;

fn failed(error: ReadlineError) -> Failure {
    Failure::new(Code::Io, error)
}

impl Typed {
    fn new(history: Option<&Path>) -> Result<Typed> {
        let config = Config::builder().max_history_size(REMEMBERED).map_err(failed)?;
        let config = config.auto_add_history(false).build();
        let mut editor = Editor::with_config(config).map_err(failed)?;
        editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), Cmd::Newline);
        if let Some(path) = history
            && path.exists()
        {
            editor.load_history(path).map_err(|error| failed(error).in_file(path))?;
        }
        Ok(Typed { editor, history: history.map(Path::to_owned) })
    }

    fn next(&mut self, prompt: &str) -> Result<Option<String>> {
        match interrupt::awaiting(|| self.editor.readline(prompt)) {
            Ok(line) => Ok(Some(line)),
            Err(ReadlineError::Eof) => Ok(None),
            Err(ReadlineError::Interrupted) => Err(Failure::new(Code::Interrupted, "")),
            Err(error) => Err(failed(error)),
        }
    }

    /// Each line at once, so that none is lost.
    fn remember(&mut self, line: &str) -> Result<()> {
        self.editor.history_mut().add(line).map_err(failed)?;
        match &self.history {
            Some(path) => {
                self.editor.save_history(path).map_err(|error| failed(error).in_file(path))
            }
            None => Ok(()),
        }
    }
}

/// Lines of bytes.
#[derive(Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// `bytes[..start]` were given out.
    start: usize,
    ended: bool,
}

impl Reader {
    fn next(&mut self, streams: &mut Streams<'_>) -> Result<Option<String>> {
        let mut searched = 0;
        loop {
            let rest = &self.bytes[self.start..];
            if let Some(at) = rest[searched..].iter().position(|&byte| byte == b'\n') {
                let line = text(&rest[..searched + at]);
                self.start += searched + at + 1;
                return line.map(Some);
            }
            searched = rest.len();
            if self.ended {
                let line = text(rest);
                self.start = self.bytes.len();
                return if searched == 0 { Ok(None) } else { line.map(Some) };
            }
            self.fill(streams)?;
        }
    }

    fn fill(&mut self, streams: &mut Streams<'_>) -> Result<()> {
        self.bytes.drain(..std::mem::take(&mut self.start));
        if self.bytes.len() > MAX_TEXT_BYTES {
            return Err(Failure::new(Code::Text, "standard input: a line is too long"));
        }
        let mut piece = [0; 1 << 14];
        let read = streams.input.read(&mut piece);
        let n =
            read.map_err(|error| Failure::new(Code::Io, format_args!("standard input: {error}")))?;
        self.ended = n == 0;
        self.bytes.extend_from_slice(&piece[..n]);
        Ok(())
    }
}

fn text(line: &[u8]) -> Result<String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let wrong = |_| Failure::new(Code::Text, "standard input: a line is not UTF-8");
    String::from_utf8(line.to_vec()).map_err(wrong)
}
