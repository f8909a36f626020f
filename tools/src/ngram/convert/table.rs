//! The n-grams of a model in memory, sorted: what a file's trie is written from.
//!
//! Level k has the k-grams in the order of their ids. A node knows its context (its place one level
//! below) and its last word; that is 16 bytes, and 4 for where its own successors begin.
//!
//! A trie with ranks demands that of every n-gram the first n-1 words and the last n-1 words are in
//! the model, too. Pruning by some programs leaves holes there. They are filled with what the model
//! says of such an n-gram anyway: the backed-off probability, and a backoff of 0 (a factor of 1).

use std::ops::Range;

use mote_formats::ngram::NEVER;

/// An n-gram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Where its first n-1 words stand one level below. Of a word on its own, 0.
    pub parent: u32,
    /// Its last word.
    pub word: u32,
    /// log10 of its probability.
    pub probability: f32,
    /// log10 of its backoff.
    pub backoff: f32,
}

/// All n-grams of one length.
#[derive(Debug, Default)]
pub struct Level {
    /// By rising parent, then word.
    pub nodes: Vec<Node>,
    /// Where each node's successors begin at the next level, and behind the last; empty before that
    /// level is complete.
    first: Vec<u32>,
}

/// A model. Levels come one after the other: [`push`](Self::push) all n-grams of a length, then
/// [`end_level`](Self::end_level).
#[derive(Debug)]
pub struct Table {
    levels: Vec<Level>,
    open: Level,
    orphans: Orphans,
    /// Suffixes of the last complete level.
    suffixes: Vec<u32>,
    /// n-grams that were not in the file.
    inserted: u64,
}

/// n-grams whose context is missing so far.
#[derive(Debug, Default)]
struct Orphans {
    /// The ids of one after the other.
    words: Vec<u32>,
    values: Vec<(f32, f32)>,
}

/// Why a level is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LevelError {
    /// These words stand there twice.
    Duplicate(Vec<u32>),
    /// More n-grams than 32 bits count, with those that had to be inserted.
    TooMany,
}

impl Level {
    /// Where a node's successors stand at the next level.
    pub fn children(&self, index: u32) -> Range<usize> {
        let place = |i: usize| self.first.get(i).map_or(0, |&first| first as usize);
        place(index as usize)..place(index as usize + 1)
    }

    /// The place of `word` among the neighbours `range`.
    fn find(&self, range: Range<usize>, word: u32) -> Option<u32> {
        let begin = range.start;
        let nodes = self.nodes.get(range)?;
        let found = nodes.binary_search_by_key(&word, |node| node.word).ok()?;
        Some((begin + found) as u32)
    }

    fn sort(&mut self) {
        let key = |node: &Node| (node.parent, node.word);
        if !self.nodes.is_sorted_by_key(key) {
            self.nodes.sort_unstable_by_key(key);
        }
    }

    fn set_children(&mut self, next: &Level) {
        self.first.clear();
        self.first.resize(self.nodes.len() + 1, 0);
        for node in &next.nodes {
            self.first[node.parent as usize + 1] += 1;
        }
        let mut sum = 0;
        for first in &mut self.first {
            sum += *first;
            *first = sum;
        }
    }
}

impl Table {
    /// A model of words on their own: log10 of the probability and backoff of each id.
    pub fn new(values: impl IntoIterator<Item = (f32, f32)>) -> Self {
        let node = |(word, (probability, backoff)): (usize, _)| Node {
            parent: 0,
            word: word as u32,
            probability,
            backoff,
        };
        let nodes = values.into_iter().enumerate().map(node).collect();
        let level = Level { nodes, first: Vec::new() };
        let (open, orphans, suffixes) = Default::default();
        Table { levels: vec![level], open, orphans, suffixes, inserted: 0 }
    }

    /// The longest n-grams that are complete.
    pub fn order(&self) -> usize {
        self.levels.len()
    }

    /// The n-grams of this length, from 1.
    pub fn level(&self, length: usize) -> &Level {
        &self.levels[length - 1]
    }

    /// n-grams that were inserted to fill holes.
    pub fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Adds an n-gram of the open level, one word longer than the complete ones. Its ids are below
    /// the number of words.
    pub fn push(&mut self, words: &[u32], probability: f32, backoff: f32) {
        if let Some((&word, context)) = words.split_last()
            && let Some(parent) = self.find(context)
        {
            self.open.nodes.push(Node { parent, word, probability, backoff });
        } else {
            self.orphans.words.extend_from_slice(words);
            self.orphans.values.push((probability, backoff));
        }
    }

    /// The open level has all its n-grams: sorts it, fills the holes that it makes visible below, and
    /// opens the next.
    pub fn end_level(&mut self) -> Result<(), LevelError> {
        let length = self.levels.len() + 1;
        let mut level = std::mem::take(&mut self.open);
        level.sort();
        self.levels.push(level);
        let inserted = self.inserted;
        self.adopt_orphans(length);
        if let Some(index) = self.first_duplicate() {
            return Err(LevelError::Duplicate(self.words(length, index)));
        }
        self.set_children(length - 1);
        let mut suffixes = if self.inserted == inserted {
            self.suffixes_above(length, &self.suffixes)
        } else {
            self.suffixes(length)
        };
        let holes = suffixes.iter().zip(0..).filter(|(suffix, _)| **suffix == u32::MAX);
        let holes: Vec<Vec<u32>> =
            holes.map(|(_, index)| self.words(length, index)[1..].to_vec()).collect();
        if !holes.is_empty() {
            self.fill(holes, length);
            suffixes = self.suffixes(length);
        }
        self.suffixes = suffixes;
        let fits = |level: &Level| level.nodes.len() < u32::MAX as usize;
        if self.levels.iter().all(fits) { Ok(()) } else { Err(LevelError::TooMany) }
    }

    /// Where these words stand at the level of their number.
    pub fn find(&self, words: &[u32]) -> Option<u32> {
        let (&first, rest) = words.split_first()?;
        let mut node = first;
        for (pair, &word) in self.levels.windows(2).zip(rest) {
            let [level, next] = pair else { return None };
            node = next.find(level.children(node), word)?;
        }
        (words.len() <= self.levels.len()).then_some(node)
    }

    /// The ids of an n-gram.
    pub fn words(&self, length: usize, index: u32) -> Vec<u32> {
        let mut words = vec![0; length];
        let mut index = index as usize;
        for (level, word) in self.levels.iter().zip(&mut words).rev() {
            let node = level.nodes[index];
            (*word, index) = (node.word, node.parent as usize);
        }
        words
    }

    /// Of every n-gram of this length (from 2), where its last n-1 words stand one level below;
    /// `u32::MAX` if they are not there.
    pub fn suffixes(&self, length: usize) -> Vec<u32> {
        let mut below: Vec<u32> = Vec::new();
        for length in 2..=length {
            below = self.suffixes_above(length, &below);
        }
        below
    }

    /// The same, from those of the level below.
    pub fn suffixes_above(&self, length: usize, below: &[u32]) -> Vec<u32> {
        let nodes = &self.level(length).nodes;
        if length == 2 {
            return nodes.iter().map(|node| node.word).collect();
        }
        let (context, next) = (self.level(length - 2), self.level(length - 1));
        let suffix = |node: &Node| {
            let siblings = context.children(below[node.parent as usize]);
            next.find(siblings, node.word).unwrap_or(u32::MAX)
        };
        nodes.iter().map(suffix).collect()
    }

    fn set_children(&mut self, length: usize) {
        let (levels, next) = self.levels.split_at_mut(length);
        if let (Some(level), Some(next)) = (levels.last_mut(), next.first()) {
            level.set_children(next);
        }
    }

    /// In the last level.
    fn first_duplicate(&self) -> Option<u32> {
        let nodes = &self.levels.last()?.nodes;
        let is_same = |pair: &[Node]| match pair {
            [a, b] => (a.parent, a.word) == (b.parent, b.word),
            _ => false,
        };
        nodes.windows(2).position(is_same).map(|index| index as u32)
    }

    /// Inserts the contexts that n-grams of the last level lack, and puts these in their places.
    fn adopt_orphans(&mut self, length: usize) {
        let Orphans { words, values } = std::mem::take(&mut self.orphans);
        if values.is_empty() {
            return;
        }
        let contexts = words.chunks_exact(length).map(|words| words[..length - 1].to_vec());
        self.fill(contexts.collect(), length);
        for (words, (probability, backoff)) in words.chunks_exact(length).zip(values) {
            // The last level is not yet searched: this is the level below.
            let parent = self.find(&words[..length - 1]).unwrap_or_default();
            let node = Node { parent, word: words[length - 1], probability, backoff };
            self.levels[length - 1].nodes.push(node);
        }
        self.levels[length - 1].sort();
    }

    /// Inserts these n-grams, which are one word shorter than `length`, and all that they need.
    fn fill(&mut self, holes: Vec<Vec<u32>>, length: usize) {
        // By length; what is missing at one level is known when all above it are.
        let mut missing: Vec<Vec<Vec<u32>>> = vec![Vec::new(); length];
        missing[length - 1] = holes;
        for n in (2..length).rev() {
            let mut holes = std::mem::take(&mut missing[n]);
            holes.sort_unstable();
            holes.dedup();
            holes.retain(|words| self.find(words).is_none());
            for words in holes.iter().filter(|_| n > 2) {
                missing[n - 1].push(words[..n - 1].to_vec());
                missing[n - 1].push(words[1..].to_vec());
            }
            missing[n] = holes;
        }
        for (n, holes) in missing.iter().enumerate().filter(|(_, holes)| !holes.is_empty()) {
            self.insert(n, holes);
        }
    }

    /// Inserts n-grams of length `n`, sorted, none of which is there; all shorter ones are.
    fn insert(&mut self, n: usize, holes: &[Vec<u32>]) {
        let new: Vec<Node> = holes.iter().map(|words| self.backed_off(words)).collect();
        let old = std::mem::take(&mut self.levels[n - 1].nodes);
        let (merged, moved) = merge(&old, &new);
        self.levels[n - 1].nodes = merged;
        self.inserted += new.len() as u64;
        if let Some(next) = self.levels.get_mut(n) {
            for node in &mut next.nodes {
                node.parent = moved[node.parent as usize];
            }
        }
        self.set_children(n - 1);
        self.set_children(n);
    }

    /// What the model says of an n-gram that it does not have, when it has all shorter ones.
    fn backed_off(&self, words: &[u32]) -> Node {
        let below = &self.level(words.len() - 1).nodes;
        let at = |words: &[u32]| self.find(words).unwrap_or_default();
        let (parent, suffix) = (at(&words[..words.len() - 1]), at(&words[1..]));
        let log10 = below[parent as usize].backoff + below[suffix as usize].probability;
        let word = words[words.len() - 1];
        Node { parent, word, probability: log10.clamp(NEVER, 0.0), backoff: 0.0 }
    }
}

/// Both lists in one order, and the new place of each old node.
fn merge(old: &[Node], new: &[Node]) -> (Vec<Node>, Vec<u32>) {
    let key = |node: &Node| (node.parent, node.word);
    let mut merged = Vec::with_capacity(old.len() + new.len());
    let mut moved = Vec::with_capacity(old.len());
    let mut new = new.iter().peekable();
    for node in old {
        while let Some(inserted) = new.next_if(|inserted| key(inserted) < key(node)) {
            merged.push(*inserted);
        }
        moved.push(merged.len() as u32);
        merged.push(*node);
    }
    merged.extend(new);
    (merged, moved)
}
