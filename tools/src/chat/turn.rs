//! A question and its answer.

use std::time::Instant;

use mote_runtime::tokenizer::EncodeOptions;
use mote_runtime::{CompletionOptions, Constraint, LanguageModel, sample};
use serde::Serialize;

use super::conversation::{Conversation, Message, Role};
use super::template::Template;
use crate::cli::write_json;
use crate::constrain::Grammar;
use crate::failure::{Code, Failure, Result};
use crate::input;
use crate::run::report::Report;
use crate::run::speculation::Drafters;
use crate::run::writing::{Form, Helpers, Writing};

/// A conversation with a model.
pub struct Chat<'c, 's, 'm, 'd> {
    pub writing: Writing<'c, 's>,
    pub session: &'c mut (dyn LanguageModel<'m> + 'c),
    pub template: &'c Template,
    pub grammar: Option<&'c Grammar>,
    pub drafters: Drafters<'d>,
    pub conversation: Conversation,
    pub sampling: sample::Options,
    /// Of an answer.
    pub max_tokens: usize,
    pub stops: &'c [&'c str],
    pub load_ms: f64,
    pub turns: Vec<Report>,
}

/// What `--json` prints.
#[derive(Serialize)]
pub struct ChatReport<'r> {
    /// All that was said.
    pub messages: &'r [Message],
    /// Each answer.
    pub turns: &'r [Report],
}

impl Chat<'_, '_, '_, '_> {
    /// The user says something, and the model answers. If it cannot, nothing was said.
    pub fn say(&mut self, text: String) -> Result<()> {
        self.conversation.say(Role::User, text);
        let answered = self.answer();
        if answered.is_err() {
            self.conversation.forget_turn();
        }
        answered
    }

    /// The model answers what was said last.
    pub fn answer(&mut self) -> Result<()> {
        // The time that somebody takes to type is not the model's.
        self.writing.start = Instant::now();
        let ids = self.ids()?;
        let capacity = self.session.capacity();
        if ids.len() >= capacity {
            let sentence = format_args!(
                "the conversation has {} tokens, the context has room for {capacity}: /undo or \
                 /reset makes some, --ctx gives more",
                ids.len()
            );
            return Err(Failure::new(Code::Context, sentence));
        }
        let options = CompletionOptions {
            sampling: self.sampling,
            max_tokens: self.max_tokens,
            stops: self.stops,
            ..CompletionOptions::default()
        };
        let mut follower = self.grammar.map(Grammar::follower);
        let constraint = follower.as_mut().map(|it| it as &mut dyn Constraint);
        let helpers = Helpers { drafters: &mut self.drafters, constraint };
        let written = self.writing.write(self.session, &ids, options, helpers);
        let written = written.map_err(|it| Grammar::explain(follower.as_ref(), it))?;
        self.conversation.say(Role::Assistant, written.text.clone());
        let (reused, is_interrupted) = (written.reused, written.is_interrupted());
        let report = Report::new(written, ids.len(), self.load_ms).with_reused(reused);
        match self.writing.form {
            Form::Text => {
                self.writing.print(b"\n")?;
                if is_interrupted {
                    report.tell(self.writing.streams);
                }
            }
            Form::Report => {}
            Form::Pieces => {
                write_json(&report, self.writing.streams)?;
                self.writing.streams.output.flush()?;
            }
        }
        self.turns.push(report);
        Ok(())
    }

    /// The conversation as the model reads it.
    fn ids(&self) -> Result<Vec<u32>> {
        let tokenizer = self.session.tokenizer();
        let text = self.template.render(self.conversation.context(tokenizer))?;
        let options = EncodeOptions { bos: false, eos: false, parse_special: true };
        let mut ids = input::encode(tokenizer, text.as_bytes(), options)?;
        // Templates print it where it belongs, or leave it to the tokenizer.
        if let Some(bos) = tokenizer.bos().filter(|_| tokenizer.adds_bos())
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        if ids.is_empty() {
            return Err(Failure::new(Code::Text, "the chat template makes nothing of it"));
        }
        Ok(ids)
    }
}
