//! Lines that begin with a slash.

use std::path::PathBuf;

use mote_formats::file::Existing;

use super::name;
use super::turn::Chat;
use crate::failure::{Code, Failure, Result};

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Something to the model.
    Say(String),
    Help,
    System(Option<String>),
    Reset,
    Regenerate,
    Undo,
    Save(PathBuf, Existing),
    Load(PathBuf),
    Stats,
    Set(String, String),
    Quit,
    /// An empty line.
    Nothing,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Line,
    End,
}

const HELP: &str = "\
/system TEXT   tell the model something before the conversation; without TEXT, nothing
/reset         forget the conversation
/regenerate    another answer (with the next seed)
/undo          forget the last question and its answer
/save FILE     write the conversation to a file (/save! overwrites one)
/load FILE     go on with a conversation from a file
/stats         figures of the last answer
/set KEY=X     temp, top_k, top_p, min_p, repetition_penalty, frequency_penalty,
               presence_penalty, penalty_window, seed, n (tokens of an answer)
/quit          end
A backslash at the end of a line (or Alt-Enter) goes on to the next line; // begins a turn with
a slash.
";

impl Command {
    /// What the line says.
    pub fn parse(line: &str) -> Result<Command> {
        let wrong = |what: String| Failure::new(Code::Usage, what);
        if line.trim().is_empty() {
            return Ok(Command::Nothing);
        }
        let Some(rest) = line.strip_prefix('/') else { return Ok(Command::Say(line.to_string())) };
        if rest.starts_with('/') {
            return Ok(Command::Say(rest.to_string()));
        }
        let (word, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let argument = argument.trim();
        let path = || match argument {
            "" => Err(wrong(format!("/{word}: which file?"))),
            path => Ok(PathBuf::from(path)),
        };
        Ok(match (word, argument) {
            ("help", "") => Command::Help,
            ("system", "") => Command::System(None),
            ("system", text) => Command::System(Some(text.to_string())),
            ("reset", "") => Command::Reset,
            ("regenerate", "") => Command::Regenerate,
            ("undo", "") => Command::Undo,
            ("stats", "") => Command::Stats,
            ("quit" | "exit", "") => Command::Quit,
            ("save", _) => Command::Save(path()?, Existing::Keep),
            ("save!", _) => Command::Save(path()?, Existing::Replace),
            ("load", _) => Command::Load(path()?),
            ("set", _) => match argument.split_once('=') {
                Some((key, value)) => {
                    Command::Set(key.trim().to_string(), value.trim().to_string())
                }
                None => return Err(wrong("/set: as /set temp=0.5".to_string())),
            },
            _ => {
                let line: String = line.chars().take(40).flat_map(char::escape_debug).collect();
                return Err(wrong(format!("no such command: '{line}' (/help lists them)")));
            }
        })
    }

    /// Does it.
    pub fn obey(self, chat: &mut Chat<'_, '_, '_, '_>) -> Result<Next> {
        let streams = &mut *chat.writing.streams;
        match self {
            Command::Nothing => {}
            Command::Quit => return Ok(Next::End),
            Command::Say(text) => chat.say(text)?,
            Command::Help => {
                let _ = streams.errors.write_all(HELP.as_bytes());
            }
            Command::System(text) => chat.conversation.set_system(text),
            Command::Reset => chat.conversation.reset(),
            Command::Regenerate => {
                let (before, seed) = (chat.conversation.clone(), chat.sampling.seed);
                if !chat.conversation.forget_answer() {
                    chat.conversation = before;
                    return Err(Failure::new(Code::Usage, "/regenerate: there is no question"));
                }
                chat.sampling.seed = seed.wrapping_add(1);
                if let Err(failure) = chat.answer() {
                    (chat.conversation, chat.sampling.seed) = (before, seed);
                    return Err(failure);
                }
            }
            Command::Undo => {
                if !chat.conversation.forget_turn() {
                    return Err(Failure::new(Code::Usage, "/undo: there is no question"));
                }
            }
            Command::Save(path, existing) => {
                chat.conversation.save(&path, existing)?;
                streams.note(format_args!("saved: {}", name(&path)));
            }
            Command::Load(path) => {
                chat.conversation.load(&path)?;
                let n = chat.conversation.messages.len();
                streams.note(format_args!("{n} messages: {}", name(&path)));
            }
            Command::Stats => stats(chat),
            Command::Set(key, value) => set(chat, &key, &value)?,
        }
        Ok(Next::Line)
    }
}

fn stats(chat: &mut Chat<'_, '_, '_, '_>) {
    let (used, room) = (chat.session.position(), chat.session.capacity());
    let streams = &mut *chat.writing.streams;
    if let Some(report) = chat.turns.last() {
        report.tell(streams);
        let reused = report.reused_tokens.unwrap_or_default();
        let all = report.prompt_tokens;
        streams.fact("reused", format_args!("{reused} of {all} tokens were in the context"));
    }
    streams.fact("context", format_args!("{used} of {room} tokens"));
}

/// Changes an option of the answers that follow.
fn set(chat: &mut Chat<'_, '_, '_, '_>, key: &str, value: &str) -> Result<()> {
    let wrong = |what: &dyn std::fmt::Display| {
        let key: String = key.chars().take(40).flat_map(char::escape_debug).collect();
        Failure::new(Code::Usage, format_args!("/set {key}: {what}"))
    };
    let not_a_number = || wrong(&"not a number");
    let mut options = chat.sampling;
    let mut max_tokens = chat.max_tokens;
    let float = || value.parse::<f32>().map_err(|_| not_a_number());
    let count = || value.parse::<usize>().map_err(|_| not_a_number());
    match key {
        "temp" | "temperature" => options.temperature = float()?,
        "top_k" | "top-k" => options.top_k = count()?,
        "top_p" | "top-p" => options.top_p = float()?,
        "min_p" | "min-p" => options.min_p = float()?,
        "repetition_penalty" | "repetition-penalty" => options.repetition_penalty = float()?,
        "frequency_penalty" | "frequency-penalty" => options.frequency_penalty = float()?,
        "presence_penalty" | "presence-penalty" => options.presence_penalty = float()?,
        "penalty_window" | "penalty-window" => options.penalty_window = count()?,
        "seed" => options.seed = value.parse().map_err(|_| not_a_number())?,
        "n" | "tokens" => max_tokens = count()?,
        _ => return Err(wrong(&"no such option (/help lists them)")),
    }
    options.check().map_err(|error| wrong(&error))?;
    (chat.sampling, chat.max_tokens) = (options, max_tokens);
    Ok(())
}
