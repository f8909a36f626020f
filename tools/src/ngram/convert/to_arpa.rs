//! Writing the trie of a GGUF file as ARPA text.

use std::io::{self, Write};

use indicatif::ProgressBar;
use mote_formats::gguf::{Gguf, IoSink};
use mote_formats::ngram::arpa::{self, Writer};
use mote_formats::ngram::{Entry, MAX_ORDER, NEVER, Smoothing, Trie};

use super::vocabulary::{BOS, BOS_ID, EOS, EOS_ID, FIRST_BYTE, Tokens, UNKNOWN, UNKNOWN_ID};
use crate::failure::{Code, Failure, Result};

/// n-grams from one report of progress to the next.
const TOLD: u32 = 1 << 12;

/// What a text is written from.
pub struct Text<'a> {
    trie: &'a Trie<'a>,
    names: Names,
    levels: Vec<Level>,
}

/// The words of ids.
struct Names {
    texts: Vec<Vec<u8>>,
    bos: u32,
    /// The end of a sentence has the same id as its start.
    is_one: bool,
    /// Ids that are not written: those that were never seen, for whose share `<unk>` is written.
    unseen: Vec<bool>,
    /// One of those that share, and how many do.
    share: Option<(u32, usize)>,
}

/// Of the n-grams of one length: each one's context, its place among them one level below, and its
/// last word.
#[derive(Default)]
struct Level {
    parents: Vec<u32>,
    words: Vec<u32>,
}

impl<'a> Text<'a> {
    /// Finds the words of every n-gram: 8 bytes of memory each.
    pub fn new(trie: &'a Trie<'a>) -> Result<Self> {
        let damaged = |error| Failure::new(Code::Format, error);
        trie.verify().map_err(damaged)?;
        if trie.smoothing() == Smoothing::StupidBackoff {
            let sentence = "scores of stupid backoff are no probabilities: ARPA cannot tell them";
            return Err(Failure::new(Code::Model, sentence));
        }
        let levels = levels(trie)?;
        let names = Names::new(trie, &levels)?;
        Ok(Text { trie, names, levels })
    }

    /// n-grams of each length.
    pub fn counts(&self) -> Vec<u64> {
        let mut counts: Vec<u64> =
            (1..=self.trie.order()).map(|length| self.trie.n_grams(length) as u64).collect();
        let unseen = self.names.unseen.iter().filter(|&&unseen| unseen).count() as u64;
        counts[0] += u64::from(self.names.is_one) + u64::from(self.names.share.is_some());
        counts[0] -= unseen;
        counts
    }

    /// Writes it; `bar` hears of n-grams of two words and more.
    pub fn write(&self, out: &mut impl Write, bar: &ProgressBar) -> Result<()> {
        let mut writer = Writer::new(IoSink(out), &self.counts()).map_err(refused)?;
        self.write_words(&mut writer).map_err(refused)?;
        for length in 2..=self.trie.order() {
            for index in 0..self.trie.n_grams(length) as u32 {
                if index % TOLD == 0 {
                    bar.inc(TOLD.into());
                }
                let entry = self.trie.get(length, index).ok_or_else(damaged)?;
                let words = self.words(length, index).ok_or_else(damaged)?;
                let words = words.get(..length).unwrap_or(&words);
                let names = words.iter().enumerate().map(|(i, &id)| self.names.at(i, id));
                writer.push(names, entry.probability, entry.backoff).map_err(refused)?;
            }
        }
        Ok(writer.finish().map_err(refused)?.0.flush()?)
    }

    fn write_words<W: Write>(
        &self,
        writer: &mut Writer<IoSink<W>>,
    ) -> std::result::Result<(), arpa::WriteError<io::Error>> {
        let Names { texts, bos, is_one, unseen, share } = &self.names;
        let of = |id: u32| self.trie.unigram(id);
        if let Some((id, sharing)) = *share {
            let share = of(id).map_or(NEVER, |entry| entry.probability);
            let mass = match share {
                NEVER => NEVER,
                share => (f64::from(share) + libm::log10(sharing as f64)) as f32,
            };
            writer.push([UNKNOWN], mass.min(0.0), 0.0)?;
        }
        for (id, text) in (0..).zip(texts).filter(|&(id, _)| !unseen[id as usize]) {
            let Some(Entry { probability, backoff, .. }) = of(id) else { continue };
            if id != *bos {
                writer.push([&text[..]], probability, backoff)?;
                continue;
            }
            // As lmplz writes what is never predicted.
            let own = if *is_one || probability == NEVER { 0.0 } else { probability };
            writer.push([BOS], own, backoff)?;
            if *is_one {
                writer.push([EOS], probability, 0.0)?;
            }
        }
        Ok(())
    }

    /// The ids of an n-gram, the first `length` of them.
    fn words(&self, length: usize, index: u32) -> Option<[u32; MAX_ORDER]> {
        let mut words = [0; MAX_ORDER];
        let mut index = index;
        for place in (1..length).rev() {
            let level = self.levels.get(place - 1)?;
            *words.get_mut(place)? = *level.words.get(index as usize)?;
            index = *level.parents.get(index as usize)?;
        }
        *words.first_mut()? = index;
        Some(words)
    }
}

/// Decodes the keys, level by level: of 2-grams, 3-grams and so on.
fn levels(trie: &Trie<'_>) -> Result<Vec<Level>> {
    let mut levels: Vec<Level> = Vec::new();
    let mut suffixes: Vec<u32> = Vec::new();
    for length in 2..=trie.order() {
        let len = trie.n_grams(length);
        let mut level = Level { parents: vec![0; len], words: vec![0; len] };
        let mut own = vec![0; len];
        let mut last = 0;
        for parent in 0..trie.n_grams(length - 1) as u32 {
            let context = entry(trie, length - 1, parent)?;
            // Each n-gram has one context: otherwise a small file could take any time.
            if context.children.begin != last {
                return Err(damaged());
            }
            last = context.children.end;
            // The suffixes of its successors are the successors of its suffix.
            let begin = match length {
                2 => 0,
                _ => entry(trie, length - 2, suffixes[parent as usize])?.children.begin,
            };
            for index in context.children.begin..context.children.end {
                let key = trie.key(length, index).ok_or_else(damaged)?;
                let suffix = begin.checked_add(key).ok_or_else(damaged)?;
                let word = match levels.last() {
                    Some(below) => below.words.get(suffix as usize).copied(),
                    None => Some(suffix),
                };
                let place = index as usize;
                own[place] = suffix;
                level.parents[place] = parent;
                level.words[place] = word.ok_or_else(damaged)?;
            }
        }
        levels.push(level);
        suffixes = own;
    }
    Ok(levels)
}

fn entry(trie: &Trie<'_>, length: usize, index: u32) -> Result<Entry> {
    let entry = if length == 1 { trie.unigram(index) } else { trie.get(length, index) };
    entry.ok_or_else(damaged)
}

impl Names {
    fn new(trie: &Trie<'_>, levels: &[Level]) -> Result<Names> {
        let gguf = trie.gguf();
        let n = trie.n_words();
        let model = gguf.get("tokenizer.ggml.model").and_then(|model| model.as_text());
        let (mut texts, unknown, bos, eos) = match model.map(|model| model.as_bytes()) {
            Some(b"words") => (strings(gguf)?, Some(UNKNOWN_ID), BOS_ID, EOS_ID),
            Some(b"bytes") => {
                let name = |id: u32| id.saturating_sub(FIRST_BYTE).to_string().into_bytes();
                ((0..n as u32).map(name).collect(), Some(UNKNOWN_ID), BOS_ID, EOS_ID)
            }
            _ => {
                let Tokens { bos, eos, .. } = Tokens::new(gguf)?;
                let texts = (0..n as u32).map(|id| id.to_string().into_bytes());
                (texts.collect(), None, bos, eos)
            }
        };
        if texts.len() != n {
            let sentence = format_args!("{} tokens for {n} words", texts.len());
            return Err(Failure::new(Code::Model, sentence));
        }
        let markers = [(unknown, UNKNOWN), (Some(bos), BOS), (Some(eos), EOS)];
        for (id, text) in markers.into_iter().filter_map(|(id, text)| Some((id?, text))) {
            let place = texts.get_mut(id as usize);
            *place.ok_or_else(|| Failure::new(Code::Model, "no place for <s> and </s>"))? =
                text.to_vec();
        }
        let mut unseen = vec![false; n];
        if model.is_none_or(|model| model.as_bytes() != b"words") {
            mark_unseen(trie, levels, &mut unseen);
        }
        for id in [Some(bos), Some(eos), unknown].into_iter().flatten() {
            unseen[id as usize] = false;
        }
        let sharing = unseen.iter().filter(|&&unseen| unseen).count();
        let share = unseen.iter().position(|&unseen| unseen).map(|id| (id as u32, sharing));
        if let (Some(unknown), Some(_)) = (unknown, share) {
            unseen[unknown as usize] = true;
        }
        Ok(Names { texts, bos, is_one: bos == eos, unseen, share })
    }

    /// The word at a place of an n-gram of several.
    fn at(&self, place: usize, id: u32) -> &[u8] {
        match self.texts.get(id as usize) {
            _ if self.is_one && place == 0 && id == self.bos => BOS,
            Some(text) => text,
            None => UNKNOWN,
        }
    }
}

/// Ids without n-grams, as improbable as the most improbable.
fn mark_unseen(trie: &Trie<'_>, levels: &[Level], unseen: &mut [bool]) {
    let mut follows = vec![false; unseen.len()];
    for &word in levels.first().map_or(&[][..], |level| &level.words) {
        if let Some(follows) = follows.get_mut(word as usize) {
            *follows = true;
        }
    }
    let words = || (0..unseen.len() as u32).filter_map(|id| trie.unigram(id));
    let alone = |entry: &Entry| {
        entry.children.is_empty() && entry.backoff == 0.0 && !follows[entry.index as usize]
    };
    let predicted = words().filter(|entry| entry.probability > NEVER);
    let least = predicted.map(|entry| entry.probability).fold(0.0, f32::min);
    let found: Vec<u32> = words()
        .filter(|entry| alone(entry) && entry.probability <= least)
        .map(|entry| entry.index)
        .collect();
    found.into_iter().for_each(|id| unseen[id as usize] = true);
}

/// The texts of a vocabulary.
fn strings(gguf: &Gguf<'_>) -> Result<Vec<Vec<u8>>> {
    let tokens = gguf.get("tokenizer.ggml.tokens").and_then(|tokens| tokens.as_array());
    let strings = tokens.and_then(|tokens| tokens.strings());
    let strings = strings.ok_or_else(|| Failure::new(Code::Model, "no vocabulary"))?;
    Ok(strings.map(|text| text.as_bytes().to_vec()).collect())
}

fn damaged() -> Failure {
    Failure::new(Code::Format, "an n-gram leads out of the file: it is damaged")
}

fn refused(error: arpa::WriteError<io::Error>) -> Failure {
    match error {
        arpa::WriteError::Sink(error) => error.into(),
        error => Failure::new(Code::Model, error),
    }
}
