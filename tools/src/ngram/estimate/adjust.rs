//! Adjusted counts of all orders from the sorted counts of the highest: one walk through the tree of
//! contexts read backwards.
//!
//! Contexts that agree in their last words are neighbours in the sorted stream, so the walk is at
//! one node of every depth at a time, and leaves a node when it has seen all of its longer contexts.
//! Then each successor of the node counts once for the node's parent (an adjusted count is the
//! number of different words to the left), or as often as it stands in the text where there is no
//! word to the left, behind `<s>`.

use std::io;

use super::count::Layout;
use super::level::{Form, Head, LevelFile, LevelOut, Successor};
use super::record::{Record, common, get, mask};
use super::sort::Records;
use super::temporary::Temporary;
use super::{Settings, Told};

/// Counts of an order's n-grams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Different n-grams.
    pub different: u64,
    /// Those of adjusted count 1 to 4.
    pub of: [u64; 4],
}

impl Tally {
    #[inline]
    fn add(&mut self, adjusted: u64) {
        self.different += 1;
        if let Some(n) = self.of.get_mut(adjusted.wrapping_sub(1) as usize) {
            *n += 1;
        }
    }
}

/// What the walk leaves: contexts by length from 0 on, and tallies by order from 1 on.
pub struct Adjusted {
    pub levels: Vec<LevelFile>,
    pub tallies: Vec<Tally>,
    /// Where a walk may begin; the first is the beginning.
    pub splits: Vec<Split>,
}

/// A place between two contexts of one word: so many are before it, and on each level so many bytes.
#[derive(Clone, Debug, Default)]
pub struct Split {
    pub contexts: u64,
    pub at: Vec<u64>,
}

/// n-grams between two splits, at least.
const SPLIT: u64 = 1 << 14;

/// A depth of the walk.
struct Depth {
    out: LevelOut,
    tally: Tally,
    /// The farthest word of the node, id plus 1; 0 if there is none, before `<s>`.
    word: u32,
    children: u64,
    /// Words that follow the node, and whether they rise.
    words: Vec<u32>,
    rising: bool,
    /// By word, all 0 but for `words`: adjusted counts, and raw ones where they are needed.
    adjusted: Vec<u64>,
    raw: Vec<u64>,
}

const BUFFER: usize = 1 << 16;

/// Walks. `words`: ids are below.
pub fn adjust<const W: usize>(
    mut records: Records<W>,
    layout: Layout,
    words: u32,
    raw: bool,
    settings: &Settings,
    told: &Told<'_>,
) -> io::Result<Adjusted> {
    let deepest = layout.order as usize - 1;
    let mut depths = Vec::new();
    for depth in 0..=deepest {
        let form = Form { longest: depth == deepest, raw };
        let buffer = BUFFER.min(settings.memory / 64);
        let out = LevelOut::new(Temporary::new(&settings.folder)?, form, buffer);
        let places = words as usize + 1;
        depths.push(Depth {
            out,
            tally: Tally::default(),
            word: 0,
            children: 0,
            words: Vec::new(),
            rising: true,
            adjusted: vec![0; places],
            raw: if raw { vec![0; places] } else { Vec::new() },
        });
    }
    let key = mask::<W>(layout.order * layout.bits);
    let mut last: Option<Record<W>> = None;
    let mut seen = 0u64;
    let mut splits = vec![Split { contexts: 0, at: vec![0; depths.len()] }];
    let mut split_due = SPLIT;
    while let Some(record) = records.next()? {
        let same = match &last {
            // All depths but the first are new.
            None => 0,
            Some(last) => {
                let bits =
                    common(&super::record::and(last, &key), &super::record::and(&record, &key));
                (bits / layout.bits).min(layout.order - 1) as usize
            }
        };
        if same < deepest {
            if last.is_some() {
                leave(&mut depths, same)?;
            }
            if same == 0 && seen >= split_due {
                splits.push(split(&depths));
                split_due = seen + SPLIT;
            }
            enter(&mut depths, same, &record, layout.bits);
        }
        let word = get(&record, deepest as u32 * layout.bits, layout.bits);
        let count = record[W - 1] & (u64::MAX >> (64 - layout.count_bits));
        if let Some(depth) = depths.last_mut() {
            depth.add(word, count, count);
        }
        last = Some(record);
        seen += 1;
        if seen.is_multiple_of(1 << 16) {
            told.inc(1 << 16)?;
        }
    }
    leave(&mut depths, 0)?;
    if let Some(root) = depths.first_mut() {
        root.write()?;
    }
    let tallies = depths.iter().map(|depth| depth.tally).collect();
    let levels = depths.into_iter().map(|depth| depth.out.finish()).collect::<io::Result<_>>()?;
    Ok(Adjusted { levels, tallies, splits })
}

/// Between two nodes of the first depth.
fn split(depths: &[Depth]) -> Split {
    let contexts = depths.first().map_or(0, |root| root.children);
    Split { contexts, at: depths.iter().map(|depth| depth.out.written()).collect() }
}

/// The nodes deeper than `same` are new.
fn enter<const W: usize>(depths: &mut [Depth], same: usize, record: &Record<W>, bits: u32) {
    for (depth, node) in depths.iter_mut().enumerate().skip(same + 1) {
        node.word = get(record, (depth as u32 - 1) * bits, bits);
    }
}

/// Leaves the nodes deeper than `same`, the deepest first.
fn leave(depths: &mut [Depth], same: usize) -> io::Result<()> {
    for depth in (same + 1..depths.len()).rev() {
        let (above, below) = depths.split_at_mut(depth);
        if let (Some(parent), Some(node)) = (above.last_mut(), below.first_mut()) {
            node.close(parent)?;
        }
    }
    Ok(())
}

impl Depth {
    #[inline]
    fn add(&mut self, word: u32, adjusted: u64, raw: u64) {
        let place = &mut self.adjusted[word as usize];
        if *place == 0 {
            self.rising &= self.words.last().is_none_or(|last| *last < word);
            self.words.push(word);
        }
        *place += adjusted;
        if let Some(place) = self.raw.get_mut(word as usize) {
            *place += raw;
        }
    }

    fn close(&mut self, parent: &mut Depth) -> io::Result<()> {
        let before_begin = self.word == 0;
        if !before_begin {
            parent.children += 1;
            self.write_head()?;
        }
        let mut last = 0;
        for i in 0..self.words.len() {
            let word = self.words[i];
            let successor = self.take(word);
            if before_begin {
                parent.add(word, successor.adjusted, successor.raw);
                continue;
            }
            self.tell(last, successor)?;
            parent.add(word, 1, successor.raw);
            last = word;
        }
        self.clear();
        Ok(())
    }

    /// The empty context, in the end.
    fn write(&mut self) -> io::Result<()> {
        self.write_head()?;
        let mut last = 0;
        for i in 0..self.words.len() {
            let word = self.words[i];
            let successor = self.take(word);
            self.tell(last, successor)?;
            last = word;
        }
        self.clear();
        Ok(())
    }

    fn write_head(&mut self) -> io::Result<()> {
        if !self.rising {
            self.words.sort_unstable();
        }
        let Depth { word, children, .. } = *self;
        self.out.head(Head { word, children, successors: self.words.len() })
    }

    #[inline]
    fn take(&mut self, word: u32) -> Successor {
        let adjusted = std::mem::take(&mut self.adjusted[word as usize]);
        let raw = self.raw.get_mut(word as usize).map_or(0, std::mem::take);
        Successor { word, adjusted, raw }
    }

    #[inline]
    fn tell(&mut self, last: u32, successor: Successor) -> io::Result<()> {
        // Nothing that follows is no n-gram.
        if successor.word > 0 {
            self.tally.add(successor.adjusted);
        }
        self.out.successor(last, successor)
    }

    fn clear(&mut self) {
        self.words.clear();
        self.rising = true;
        self.children = 0;
    }
}
