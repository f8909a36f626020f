//! What was said.

use std::io::Write as _;
use std::path::Path;

use minijinja::Value;
use mote_formats::file::{self, Existing};
use mote_runtime::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, Result};
use crate::input;

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

impl Role {
    /// As templates know it.
    fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

impl Message {
    fn value(&self) -> Value {
        Value::from_pairs([("role", self.role.name()), ("content", &self.content)])
    }
}

/// A conversation: perhaps a system prompt, then users' and assistants' messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    pub messages: Vec<Message>,
}

impl Conversation {
    /// Other words before the conversation, or none.
    pub fn set_system(&mut self, text: Option<String>) {
        self.messages.retain(|message| message.role != Role::System);
        if let Some(content) = text.filter(|text| !text.is_empty()) {
            self.messages.insert(0, Message { role: Role::System, content });
        }
    }

    /// Forgets all but the system prompt.
    pub fn reset(&mut self) {
        self.messages.retain(|message| message.role == Role::System);
    }

    /// Adds a message.
    pub fn say(&mut self, role: Role, content: String) {
        self.messages.push(Message { role, content });
    }

    /// Forgets the last answer, so that there can be another. Whether there was a question.
    pub fn forget_answer(&mut self) -> bool {
        if self.messages.last().is_some_and(|message| message.role == Role::Assistant) {
            self.messages.pop();
        }
        self.messages.last().is_some_and(|message| message.role == Role::User)
    }

    /// Forgets the last question and its answer. Whether there was one.
    pub fn forget_turn(&mut self) -> bool {
        let is_there = self.forget_answer();
        if is_there {
            self.messages.pop();
        }
        is_there
    }

    /// Takes a conversation from a file; its system prompt, if it has one, takes the place of the one
    /// that is there.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let bytes = input::read_file(path)?;
        let loaded: Conversation = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(Code::Format, error).in_file(path))?;
        let has_system = loaded.messages.iter().any(|message| message.role == Role::System);
        if has_system {
            self.messages.clear();
        } else {
            self.reset();
        }
        self.messages.extend(loaded.messages);
        Ok(())
    }

    /// Writes it to a file, whole or not at all.
    pub fn save(&self, path: &Path, existing: Existing) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let written = file::write(path, existing, |out| out.write_all(text.as_bytes()));
        written.map_err(|error| Failure::new(Code::Io, error).in_file(path))
    }

    /// What a template is given, so that the assistant speaks next.
    pub fn context(&self, tokenizer: &Tokenizer<'_>) -> Value {
        let messages = self.messages.iter().map(Message::value).collect::<Value>();
        let mut entries = vec![
            ("messages", messages),
            ("add_generation_prompt", Value::from(true)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ];
        let tokens = [
            ("bos_token", tokenizer.bos()),
            ("eos_token", tokenizer.eos()),
            ("unk_token", tokenizer.unknown()),
            ("pad_token", tokenizer.padding()),
        ];
        for (name, id) in tokens {
            let text = id.map(|id| String::from_utf8_lossy(tokenizer.text(id)).into_owned());
            // Templates that print it expect a text.
            if let Some(text) = text {
                entries.push((name, Value::from(text)));
            }
        }
        Value::from_pairs(entries)
    }
}
