//! Prompt lookup (Saxena 2023): where the last tokens have occurred before, the text is expected to go
//! on as it did there. Texts that summarise, edit or continue what was given repeat much of it.
//!
//! Places are found as compressors find them (LZ77): a table by the hash of the last two tokens leads
//! to the latest place behind these two, each place to the one before it. The longest match is taken.
//! Whatever the tables hold, only real matches count, so a rewound context does no harm.

use super::{Draft, Drafter, KINDS};
use crate::memory::{Carver, Measure, TooSmall};

/// Tokens of a match that the tables lead to.
const LEAST: usize = 2;

/// The kind of a guess where one token matches: the last time that it came.
const SINGLE: u8 = 0;

/// The kind of a guess where one token matches, near the last match. Each longer match is a kind.
const NEAR: u8 = 1;

/// The longest match that is told from longer ones.
const LONGEST: usize = KINDS - 1;

/// Within so many tokens a text that left its source may come back to it.
const NEARBY: usize = 8;

/// How often guesses came true in texts that copy and in texts that do not, SmolLM2-135M's.
const PRIOR: [f32; KINDS] =
    [0.15, 0.35, 0.5, 0.6, 0.7, 0.75, 0.8, 0.8, 0.85, 0.85, 0.9, 0.9, 0.9, 0.95, 0.95, 0.95];

/// Places that are looked at: the latest ones.
const PLACES: usize = 32;

/// Finds the last tokens in the context, in lent memory.
#[derive(Debug)]
pub struct Lookup<'m> {
    /// By hash: the latest place behind two such tokens; 0 for none.
    latest: &'m mut [u32],
    /// By hash: the latest place behind such a token.
    single: &'m mut [u32],
    /// By place: the one before it.
    earlier: &'m mut [u32],
    /// Places below this are in the tables.
    seen: usize,
    /// The place of the last match of two or more tokens, and the length of its text.
    matched: (usize, usize),
}

/// Tokens of a context, and one behind it.
#[derive(Clone, Copy)]
struct Text<'t> {
    context: &'t [u32],
    last: u32,
}

/// Buckets for texts of so many tokens.
fn buckets(n_ctx: usize) -> usize {
    n_ctx.clamp(64, 1 << 20).next_power_of_two()
}

impl<'m> Lookup<'m> {
    /// Bytes that [`Lookup::new`] needs for a context of `n_ctx` tokens: 12 to 20 for each.
    pub fn bytes_needed(n_ctx: usize) -> usize {
        let mut measure = Measure::default();
        measure
            .add::<u32>(buckets(n_ctx))
            .add::<u32>(buckets(n_ctx))
            .add::<u32>(n_ctx.saturating_add(1));
        measure.bytes()
    }

    /// For texts of at most `n_ctx` tokens, in memory of at least [`Lookup::bytes_needed`].
    pub fn new(n_ctx: usize, memory: &'m mut [u8]) -> Result<Self, TooSmall> {
        let mut carver = Carver::new(memory);
        let (latest, single) = (carver.take(buckets(n_ctx))?, carver.take(buckets(n_ctx))?);
        let earlier = carver.take(n_ctx.saturating_add(1))?;
        latest.fill(0);
        single.fill(0);
        Ok(Lookup { latest, single, earlier, seen: LEAST, matched: (0, 0) })
    }

    /// Where the tables keep places behind the two tokens that are before this one.
    fn bucket(&self, text: Text<'_>, place: usize) -> usize {
        // Odd numbers near 2^32 divided by the golden ratio and by pi: the high bits are mixed well.
        let before = text.get(place - 2).wrapping_mul(0x9E37_79B1).rotate_left(16);
        self.bucket_of(before ^ text.get(place - 1))
    }

    fn bucket_of(&self, hash: u32) -> usize {
        (hash.wrapping_mul(0x517C_C1B7) >> (32 - self.latest.len().ilog2())) as usize
    }

    /// Puts all places of the text into the tables, but for the one at its end.
    fn see(&mut self, text: Text<'_>) {
        let end = text.len().min(self.earlier.len());
        if end < self.seen {
            // The context became shorter, and may go on otherwise.
            self.latest.fill(0);
            self.single.fill(0);
            (self.seen, self.matched) = (LEAST, (0, 0));
        }
        for place in self.seen..end {
            let bucket = self.bucket(text, place);
            self.earlier[place] = core::mem::replace(&mut self.latest[bucket], place as u32);
            self.single[self.bucket_of(text.get(place - 1))] = place as u32;
        }
        self.seen = end.max(LEAST);
    }

    /// The place whose past is most like the text's, and for how many tokens; the latest of several.
    fn find(&self, text: Text<'_>) -> Option<(usize, usize)> {
        let end = text.len();
        let mut best = (0, LEAST - 1);
        let mut consider = |place: usize| {
            let len = text.match_len(place);
            if len > best.1 {
                best = (place, len);
            }
        };
        // The last match goes on, even if many places have come since.
        let (place, then) = self.matched;
        if then > 0 && end > then && place + (end - then) < end {
            consider(place + (end - then));
        }
        let mut place = self.latest[self.bucket(text, end)] as usize;
        for _ in 0..PLACES {
            if place < LEAST || place >= end {
                break;
            }
            consider(place);
            let earlier = self.earlier.get(place).map_or(0, |&earlier| earlier as usize);
            place = if earlier < place { earlier } else { 0 };
        }
        (best.1 >= LEAST).then_some(best)
    }
}

impl Lookup<'_> {
    /// A place to go on at where a single token matches, and the kind of guess.
    fn find_single(&self, text: Text<'_>) -> Option<(usize, u8)> {
        let (end, (matched, then)) = (text.len(), self.matched);
        let follows = |&place: &usize| place < end && text.get(place - 1) == text.last;
        let since = end - then.min(end);
        if then > 0 && since <= NEARBY {
            // Where the source would be, had the text only replaced what differs; then around it.
            let source = matched + since;
            let around = (0..=NEARBY).flat_map(|by| [source + by, source.saturating_sub(by)]);
            if let Some(place) = around.filter(|&place| place > matched).find(follows) {
                return Some((place, NEAR));
            }
        }
        let place = self.single[self.bucket_of(text.last)] as usize;
        Some((place, SINGLE)).filter(|(place, _)| *place > 0 && follows(place))
    }
}

impl Drafter for Lookup<'_> {
    fn prior(&self) -> [f32; KINDS] {
        PRIOR
    }

    fn draft(&mut self, context: &[u32], last: u32, drafts: &mut [Draft]) -> usize {
        let text = Text { context, last };
        if text.len() < LEAST {
            return 0;
        }
        self.see(text);
        let (place, kind, len) = if let Some((place, len)) = self.find(text) {
            self.matched = (place, text.len());
            (place, kind_of(len), len)
        } else if let Some((place, kind)) = self.find_single(text) {
            (place, kind, 1)
        } else {
            return 0;
        };
        for i in 0..drafts.len() {
            // A place near the end goes on with what is drafted here.
            let id = match (place + i).checked_sub(text.len()) {
                None => text.get(place + i),
                Some(at) => drafts[at].id,
            };
            drafts[i] = Draft { id, kind: if i == 0 { kind } else { kind_of(len + i) } };
        }
        drafts.len()
    }
}

/// The kind of a guess where so many tokens match, two or more.
fn kind_of(len: usize) -> u8 {
    len.clamp(LEAST, LONGEST) as u8
}

impl Text<'_> {
    fn len(&self) -> usize {
        self.context.len() + 1
    }

    fn get(&self, at: usize) -> u32 {
        self.context.get(at).copied().unwrap_or(self.last)
    }

    /// How many tokens before the place are those at the text's end.
    fn match_len(&self, place: usize) -> usize {
        let most = place.min(LONGEST);
        (1..=most).take_while(|back| self.get(place - back) == self.get(self.len() - back)).count()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// What follows `text`, as far as its own past tells, and the kinds of the guesses: from 2 on, how
    /// many tokens match.
    fn drafted(lookup: &mut Lookup<'_>, text: &[u32]) -> Vec<(u32, u8)> {
        let mut drafts = [Draft::default(); 7];
        let (&last, context) = text.split_last().unwrap();
        let n = lookup.draft(context, last, &mut drafts);
        drafts[..n].iter().map(|draft| (draft.id, draft.kind)).collect()
    }

    fn with_lookup(n_ctx: usize, work: impl FnOnce(&mut Lookup<'_>)) {
        let mut memory = vec![0xa5; Lookup::bytes_needed(n_ctx)];
        work(&mut Lookup::new(n_ctx, &mut memory).unwrap());
    }

    #[test]
    fn the_longest_match_goes_on_and_the_latest_of_equals() {
        with_lookup(100, |lookup| {
            assert_eq!(drafted(lookup, &[1]), []);
            assert_eq!(drafted(lookup, &[0, 1, 2, 3]), []);
            assert_eq!(drafted(lookup, &[0, 1, 2, 3, 1])[..2], [(2, SINGLE), (3, 2)]);
            let text = [9, 1, 2, 3, 4, 5, 1, 2, 7, 8, 9, 1, 2];
            let ids: Vec<_> = drafted(lookup, &text).into_iter().take(4).collect();
            assert_eq!(ids, [(3, 3), (4, 4), (5, 5), (1, 6)], "9 1 2 rather than 1 2");
        });
        with_lookup(100, |lookup| {
            let ids = drafted(lookup, &[1, 2, 3, 1, 2, 4, 0, 1, 2]);
            assert_eq!(ids[0], (4, 2));
        });
    }

    /// A text that replaces a word of its source goes on where the source does.
    #[test]
    fn a_match_is_taken_up_again_nearby() {
        with_lookup(100, |lookup| {
            let text = [1, 2, 3, 4, 5, 6, 7, 8, 5, 9, 0, 1, 2, 3, 4, 99, 5];
            assert_eq!(drafted(lookup, &text[..15])[0], (5, 4));
            assert_eq!(drafted(lookup, &text[..16]), [], "never seen before");
            assert_eq!(drafted(lookup, &text)[..2], [(6, NEAR), (7, 2)], "not 9");
        });
    }

    #[test]
    fn a_repetition_goes_on_for_ever() {
        with_lookup(100, |lookup| {
            let ids: Vec<_> = drafted(lookup, &[5, 6, 7, 5, 6]).iter().map(|d| d.0).collect();
            assert_eq!(ids, [7, 5, 6, 7, 5, 6, 7]);
        });
    }

    /// Random texts of few different tokens, also after a rewind, against a search of everything.
    #[test]
    fn finds_what_a_plain_search_finds() {
        let mut seed = 7_u32;
        let mut random = move |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % n
        };
        with_lookup(400, |lookup| {
            let mut text: Vec<u32> = vec![0];
            for _ in 0..2000 {
                if text.len() > 390 || random(50) == 0 {
                    text.truncate(1 + random(text.len() as u32) as usize);
                }
                text.push(random(20));
                let (end, mut best) = (text.len(), 1);
                for place in LEAST..end {
                    let same = |&back: &usize| text[place - back] == text[end - back];
                    best = best.max((1..=place.min(LONGEST)).take_while(same).count());
                }
                let found = drafted(lookup, &text);
                let len = found.first().map_or(1, |draft| usize::from(draft.1.max(1)));
                assert_eq!(len, best);
            }
        });
    }

    #[test]
    fn a_text_longer_than_was_planned_does_no_harm() {
        with_lookup(10, |lookup| {
            let text: Vec<u32> = (0..200).map(|i| i % 9).collect();
            for len in 1..text.len() {
                drafted(lookup, &text[..len]);
            }
        });
    }
}
