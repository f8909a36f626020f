//! What a model of either kind thinks of sentences: the scores that `score --bits`, `score --compare`
//! and `rescore` are made of.

use std::f64::consts::LN_10;
use std::ffi::OsString;

use clap::Args;
use mote_formats::ngram::{NEVER, Trie};
use mote_runtime::ngram::{State, score};
use mote_runtime::tokenizer::{EncodeOptions, Tokenizer};
use mote_runtime::{AnyModel, LanguageModel, Origin};

use crate::failure::Result;
use crate::host::{Engine, with_any_session};
use crate::input;
use crate::interrupt;
use crate::mix::MixOptions;
use crate::options::{Purpose, SessionOptions};
use crate::streams::Streams;

/// What stands around a sentence.
#[derive(Args, Clone, Debug, Default)]
pub struct SentenceOptions {
    /// Text before every sentence, not scored; special tokens are read as such [default: the token
    /// that begins a text, or where there is none, that which ends one]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub begin: Option<OsString>,
    /// Leave out the end of a sentence
    #[arg(long)]
    pub no_end: bool,
}

impl SentenceOptions {
    /// Whether anything was asked for.
    pub fn is_given(&self) -> bool {
        self.begin.is_some() || self.no_end
    }
}

/// The tokens around a sentence.
#[derive(Clone, Debug)]
pub struct Frame {
    begin: Vec<u32>,
    end: Option<u32>,
}

impl Frame {
    /// As the options ask, of this vocabulary.
    pub fn new(options: &SentenceOptions, tokenizer: &Tokenizer<'_>) -> Result<Frame> {
        let begin = match &options.begin {
            Some(text) => {
                let trusted =
                    EncodeOptions { bos: tokenizer.adds_bos(), eos: false, parse_special: true };
                input::encode(tokenizer, text.as_encoded_bytes(), trusted)?
            }
            None => tokenizer.bos().or(tokenizer.eos()).into_iter().collect(),
        };
        let end = tokenizer.eos().or(tokenizer.bos()).filter(|_| !options.no_end);
        Ok(Frame { begin, end })
    }

    /// What a text has around it that is no sentence: a beginning, where the model expects one.
    pub fn of_stream(tokenizer: &Tokenizer<'_>) -> Frame {
        let begin = tokenizer.bos().filter(|_| tokenizer.adds_bos());
        Frame { begin: begin.into_iter().collect(), end: None }
    }

    /// The sentence in its frame.
    pub fn around(&self, text: &[u8], tokenizer: &Tokenizer<'_>) -> Result<Sentence> {
        let plain = EncodeOptions { bos: false, eos: false, parse_special: false };
        Ok(self.around_ids(&input::encode(tokenizer, text, plain)?))
    }

    /// The same of tokens.
    pub fn around_ids(&self, ids: &[u32]) -> Sentence {
        let ids = [&self.begin, ids, self.end.as_slice()].concat();
        Sentence { ids, given: self.begin.len() }
    }
}

/// Tokens of which the last are scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// All of them.
    pub ids: Vec<u32>,
    /// Tokens of context.
    pub given: usize,
}

/// A token that was scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The token.
    pub id: u32,
    /// Natural logarithm of its probability after all tokens before it.
    pub ln: f64,
    /// Of an n-gram model: tokens of the longest n-gram that ends with it and is in the model.
    pub matched: Option<usize>,
}

impl Scored {
    /// Whether an n-gram model takes the token for impossible: what stupid backoff has not seen, and
    /// unknown words of a closed vocabulary. Its files have a very small probability in place of 0.
    pub fn is_impossible(&self) -> bool {
        self.matched.is_some() && self.ln <= f64::from(NEVER) * LN_10
    }
}

/// A model that scores one sentence after the other.
#[derive(Debug)]
pub struct Scorer<'s, 'm> {
    session: &'s mut dyn LanguageModel<'m>,
    trie: Option<Trie<'s>>,
    /// ln p of each token in the session's context; of the first one it is 0.
    known: Vec<f64>,
}

/// How a scorer computes.
#[derive(Clone, Copy, Debug)]
pub struct Computing<'a> {
    /// The model's session.
    pub session: &'a SessionOptions,
    /// What is mixed with it.
    pub mix: &'a MixOptions,
}

/// Runs `work` with a scorer that has room for these sentences.
pub fn with_scorer<'t, R>(
    model: &AnyModel<'_>,
    computing: Computing<'_>,
    sentences: impl IntoIterator<Item = &'t Sentence>,
    streams: &mut Streams<'_>,
    work: impl FnOnce(&mut Scorer<'_, '_>, &mut Streams<'_>) -> Result<R>,
) -> Result<R> {
    let Computing { session: options, mix } = computing;
    let engine = &Engine::new(options, streams)?;
    let longest = sentences.into_iter().map(|sentence| sentence.ids.len()).max();
    let longest = longest.unwrap_or_default();
    tell_beyond_training(model, longest, streams);
    let n_ctx = options.compute.ctx.map_or(longest.max(1), |ctx| ctx.get());
    let options =
        options.compute.session(model.all_float(), Purpose::Score, n_ctx, engine.threads());
    with_any_session(model, &options, engine, |session, _| {
        let trie = match model {
            AnyModel::Ngram(model) if !mix.is_given() => Some(*model.trie()),
            _ => None,
        };
        mix.with(session, engine, |session| {
            work(&mut Scorer { session, trie, known: Vec::new() }, streams)
        })
    })
}

/// Says so if a text is longer than the model has ever seen one.
pub fn tell_beyond_training(model: &AnyModel<'_>, tokens: usize, streams: &mut Streams<'_>) {
    let trained = model.n_ctx_train();
    if tokens > trained {
        streams.note(format_args!(
            "the model was trained with {trained} positions, a text has {tokens} tokens"
        ));
    }
}

impl Scorer<'_, '_> {
    /// Scores the tokens behind the given ones. A very first token, which nothing is given for, has no
    /// score and is left out.
    pub fn score(&mut self, sentence: &Sentence) -> Result<Vec<Scored>> {
        match self.trie {
            Some(trie) => self.score_by(&trie, sentence),
            None => self.score_by_session(sentence),
        }
    }

    /// n-grams are asked directly: the session would not tell how much of the context matched.
    fn score_by(&self, trie: &Trie<'_>, sentence: &Sentence) -> Result<Vec<Scored>> {
        self.session_takes(&sentence.ids)?;
        let mut state = State::EMPTY;
        let mut scores = Vec::with_capacity(sentence.ids.len());
        for (place, &id) in sentence.ids.iter().enumerate() {
            let (found, next) = score(trie, &state, id);
            if place >= sentence.given.max(1) {
                let ln = f64::from(found.log10) * LN_10;
                scores.push(Scored { id, ln, matched: Some(found.matched) });
            }
            state = next;
        }
        Ok(scores)
    }

    fn session_takes(&self, ids: &[u32]) -> Result<()> {
        match ids.is_empty() {
            true => Ok(()),
            false => Ok(self.session.check(ids)?),
        }
    }

    /// What begins as the sentence before is not computed again: its scores are known.
    fn score_by_session(&mut self, sentence: &Sentence) -> Result<Vec<Scored>> {
        let ids = &sentence.ids;
        let before = self.session.tokens();
        let same = ids.iter().zip(before).take_while(|(a, b)| a == b).count();
        self.session.rewind(same);
        self.known.resize(same, 0.0);
        if let Some(rest) = ids.get(same..).filter(|rest| !rest.is_empty()) {
            if same == 0 {
                self.known.push(0.0);
            }
            let known = &mut self.known;
            let go_on = &mut interrupt::not_pressed;
            self.session.score_tokens(rest, Origin::Prompt, go_on, &mut |_, ln| known.push(ln))?;
            interrupt::check()?;
        }
        let scores = ids.iter().zip(&self.known).skip(sentence.given.max(1));
        Ok(scores.map(|(&id, &ln)| Scored { id, ln, matched: None }).collect())
    }
}

/// The lines of a text, without their ends. The last one may do without.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = text.strip_suffix(b"\n").unwrap_or(text);
    let all = (!text.is_empty()).then(|| whole.split(|&byte| byte == b'\n'));
    all.into_iter().flatten().map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_they_end() {
        let of = |text: &'static str| lines(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(of("a b\n\nc\r\nd"), [&b"a b"[..], b"", b"c", b"d"]);
        assert_eq!(of("a\n"), [b"a"]);
        assert_eq!(of("\n"), [b""]);
        assert!(of("").is_empty());
    }
}
