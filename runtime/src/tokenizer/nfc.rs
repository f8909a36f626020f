//! Normalization form C (Unicode Standard Annex #15), without an allocator and in linear or
//! n log n time for any run of combining marks. The version of Unicode is that of Hugging Face's
//! tokenizers: see [the tables](super::nfc_tables).

use super::characters::decode;
use super::nfc_tables::*;

/// The canonical form of a text is at most this many times as long.
pub(super) const MAX_GROWTH: usize = 3;

/// Values of scratch that [`normalize`] needs for a text of that length.
pub(super) const fn scratch_len(text_len: usize) -> usize {
    // A mark of n bytes decomposes to at most n characters; the starter before it to 4.
    text_len.saturating_add(4)
}

/// Whether the text is in normalization form C for sure: no character of it could combine with
/// another. A text that is not sure may well be.
pub(super) fn is_inert(text: &[u8]) -> bool {
    next_active(text, 0) == text.len()
}

/// Writes the text in normalization form C to `out` and returns the length. Bytes that are not
/// UTF-8 are copied. `out` has [`MAX_GROWTH`] times the text's length, `scratch` what
/// [`scratch_len`] says; with less, the rest of the text is left out.
pub(super) fn normalize(text: &[u8], out: &mut [u8], scratch: &mut [u64]) -> usize {
    let mut out = Writer { bytes: out, len: 0 };
    let mut done = 0;
    loop {
        let active = next_active(text, done);
        if active == text.len() {
            out.copy(&text[done..]);
            return out.len;
        }
        // The cluster begins with the character before, onto which the active one may compose.
        let starter = previous_start(text, done, active);
        out.copy(&text[done..starter]);
        done = cluster_end(text, active);
        Cluster { marks: scratch, len: 0 }.compose(&text[starter..done], &mut out);
    }
}

/// Calls `each` with the characters of a character's canonical decomposition. Only the first half of
/// a decomposition decomposes further.
pub(super) fn decompose(character: char, mut each: impl FnMut(u32)) {
    let mut first = u32::from(character);
    if let Some(syllable) = first.checked_sub(SYLLABLES).filter(|&s| s < SYLLABLE_COUNT) {
        each(LEADS + syllable / (VOWEL_COUNT * TAIL_COUNT));
        each(VOWELS + syllable % (VOWEL_COUNT * TAIL_COUNT) / TAIL_COUNT);
        if syllable % TAIL_COUNT != 0 {
            each(TAILS + syllable % TAIL_COUNT);
        }
        return;
    }
    let mut seconds = [0; 4];
    let mut count = 0;
    while let Some(index) = find_decomposed(first) {
        let second;
        (first, second) = decomposition(index);
        if second != 0 && count < seconds.len() {
            seconds[count] = second;
            count += 1;
        }
    }
    each(first);
    for &second in seconds[..count].iter().rev() {
        each(second);
    }
}

/// Characters of a cluster, each with its canonical combining class above its place above it, so
/// that sorting is by class and stable.
struct Cluster<'s> {
    marks: &'s mut [u64],
    len: usize,
}

/// Bits of a character, and of its place.
const CHARACTER_BITS: u32 = 21;
const PLACE_BITS: u32 = 32;

impl Cluster<'_> {
    fn compose(mut self, text: &[u8], out: &mut Writer<'_>) {
        let mut at = 0;
        while at < text.len() {
            let (character, len) = decode(text, at);
            if let Some(character) = character {
                self.decompose(character);
            }
            at += len;
        }
        self.order();
        let kept = self.recompose();
        for &mark in self.marks.iter().take(kept) {
            out.push(character_of(mark));
        }
    }

    fn push(&mut self, character: u32) {
        let class = u64::from(combining_class(character));
        let place = self.len as u64;
        if let Some(mark) = self.marks.get_mut(self.len) {
            *mark = (class << PLACE_BITS | place) << CHARACTER_BITS | u64::from(character);
            self.len += 1;
        }
    }

    fn decompose(&mut self, character: char) {
        decompose(character, |part| self.push(part));
    }

    /// Canonical ordering: sorts each run of marks between starters by class.
    fn order(&mut self) {
        let marks = self.marks.get_mut(..self.len).unwrap_or_default();
        for run in marks.chunk_by_mut(|&a, &b| class_of(a) != 0 && class_of(b) != 0) {
            if !run.is_sorted() {
                run.sort_unstable();
            }
        }
    }

    /// Canonical composition in place; returns the number of characters left.
    fn recompose(&mut self) -> usize {
        let mut kept = 0;
        let mut starter = None;
        // The class of what stands between the starter and the current character; none if it
        // follows the starter directly.
        let mut between = None;
        for index in 0..self.len {
            let mark = self.marks[index];
            let class = class_of(mark);
            if let Some(starter) = starter
                && between.is_none_or(|between| between < class)
                && let Some(composed) =
                    compose(character_of(self.marks[starter]), character_of(mark))
            {
                self.marks[starter] = u64::from(composed);
                continue;
            }
            if class == 0 {
                starter = Some(kept);
                between = None;
            } else {
                between = Some(class);
            }
            self.marks[kept] = mark;
            kept += 1;
        }
        kept
    }
}

fn character_of(mark: u64) -> u32 {
    (mark & ((1 << CHARACTER_BITS) - 1)) as u32
}

fn class_of(mark: u64) -> u8 {
    (mark >> (CHARACTER_BITS + PLACE_BITS)) as u8
}

// Hangul syllables are arranged by their jamo: lead, vowel, optional tail (Unicode, 3.12).
const SYLLABLES: u32 = 0xAC00;
const SYLLABLE_COUNT: u32 = 19 * VOWEL_COUNT * TAIL_COUNT;
const LEADS: u32 = 0x1100;
const VOWELS: u32 = 0x1161;
const VOWEL_COUNT: u32 = 21;
/// The place before the first tail: no tail.
const TAILS: u32 = 0x11A7;
const TAIL_COUNT: u32 = 28;

/// The primary composite of two characters.
fn compose(first: u32, second: u32) -> Option<u32> {
    if (LEADS..LEADS + 19).contains(&first) && (VOWELS..VOWELS + VOWEL_COUNT).contains(&second) {
        return Some(SYLLABLES + ((first - LEADS) * VOWEL_COUNT + (second - VOWELS)) * TAIL_COUNT);
    }
    if (SYLLABLES..SYLLABLES + SYLLABLE_COUNT).contains(&first)
        && (first - SYLLABLES).is_multiple_of(TAIL_COUNT)
        && (TAILS + 1..TAILS + TAIL_COUNT).contains(&second)
    {
        return Some(first + (second - TAILS));
    }
    let pair = |&place: &u16| decomposition(place.into());
    let found = COMPOSED.binary_search_by_key(&(first, second), pair).ok()?;
    Some(decomposed(COMPOSED[found].into()))
}

/// Where a character stands in [`DECOMPOSED`].
fn find_decomposed(character: u32) -> Option<usize> {
    let (planes, from) = match character >> 16 {
        0 => (&DECOMPOSED[..PLANE_1], 0),
        1 => (&DECOMPOSED[PLANE_1..PLANE_2], PLANE_1),
        2 => (&DECOMPOSED[PLANE_2..], PLANE_2),
        _ => return None,
    };
    planes.binary_search(&(character as u16)).ok().map(|place| from + place)
}

/// Character number `index` of [`DECOMPOSED`].
fn decomposed(index: usize) -> u32 {
    let plane = u32::from(index >= PLANE_1) + u32::from(index >= PLANE_2);
    plane << 16 | u32::from(DECOMPOSED[index])
}

/// What it decomposes into; the second half may be 0: none.
fn decomposition(index: usize) -> (u32, u32) {
    (DECOMPOSITION_FIRST[index], SECONDS[usize::from(DECOMPOSITION_SECOND[index])])
}

fn combining_class(character: u32) -> u8 {
    let run = CLASS_START.partition_point(|&start| start <= character);
    match run.checked_sub(1) {
        Some(run) if character - CLASS_START[run] < u32::from(CLASS_LENGTH[run]) => CLASS[run],
        _ => 0,
    }
}

fn is_active(character: char) -> bool {
    let character = u32::from(character);
    if character < ACTIVE_START[0] {
        return false;
    }
    let run = ACTIVE_START.partition_point(|&start| start <= character);
    run.checked_sub(1).is_some_and(|run| character <= ACTIVE_END[run])
}

/// Where the first active character from `at` on begins, or the end of the text.
fn next_active(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        // Below U+0300 nothing is active; its lead byte is the first that is looked at.
        if byte < 0xCC {
            at += 1;
            continue;
        }
        match decode(text, at) {
            (Some(character), _) if is_active(character) => return at,
            (_, len) => at += len,
        }
    }
    text.len()
}

/// The end of the active characters from `at` on.
fn cluster_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        match decode(text, at) {
            (Some(character), len) if is_active(character) => at += len,
            _ => break,
        }
    }
    at
}

/// Where the character that ends at `end` begins, not before `from`; `end` if none does.
fn previous_start(text: &[u8], from: usize, end: usize) -> usize {
    for len in 1..=4 {
        let Some(start) = end.checked_sub(len).filter(|&start| start >= from) else { break };
        if let (Some(_), found) = decode(text, start)
            && found == len
        {
            return start;
        }
    }
    end
}

struct Writer<'o> {
    bytes: &'o mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn copy(&mut self, text: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + text.len()) {
            place.copy_from_slice(text);
            self.len += text.len();
        }
    }

    fn push(&mut self, character: u32) {
        let mut buffer = [0; 4];
        let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.copy(character.encode_utf8(&mut buffer).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    use unicode_normalization_alignments::UnicodeNormalization;

    use super::*;

    fn nfc(text: &[u8]) -> Vec<u8> {
        let mut out = vec![0; text.len() * MAX_GROWTH];
        let len = normalize(text, &mut out, &mut vec![0; scratch_len(text.len())]);
        out.truncate(len);
        out
    }

    #[track_caller]
    fn check(text: &str) {
        let expected: String = text.nfc().map(|(character, _)| character).collect();
        assert_eq!(String::from_utf8(nfc(text.as_bytes())).unwrap(), expected, "{text:?}");
        if is_inert(text.as_bytes()) {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn every_character_alone_and_beside_others() {
        for character in '\0'..=char::MAX {
            for text in [["", ""], ["a", ""], ["e\u{327}", "\u{301}x"], ["\u{1100}", "\u{11A8}"]] {
                let mut buffer = String::from(text[0]);
                buffer.push(character);
                buffer.push_str(text[1]);
                check(&buffer);
            }
        }
    }

    /// Random texts of the characters that do something.
    #[test]
    fn random_texts() {
        let mut pool: Vec<char> = ('\0'..=char::MAX).filter(|&c| is_active(c)).collect();
        pool.extend(
            (0..DECOMPOSED.len())
                .flat_map(|i| [decomposed(i), DECOMPOSITION_FIRST[i]])
                .filter_map(char::from_u32),
        );
        pool.extend("abc\u{AC00}\u{AC01}\u{1100}\u{1161}\u{11A8}\u{FFFD}".chars());
        let mut state = 1u64;
        for _ in 0..200_000 {
            let mut text = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text.push(pool[(state >> 33) as usize % pool.len()]);
            }
            check(&text);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        assert_eq!(nfc(b"\xFFe\xCC\x81\x80\xCC\x81\xCC"), b"\xFF\xC3\xA9\x80\xCC\x81\xCC");
    }

    /// Case 288: a run of marks of mixed classes is sorted, not shuffled by insertion.
    #[test]
    fn case_288_a_million_accents_on_one_letter() {
        let text = String::from("a") + &"\u{301}\u{327}".repeat(250_000);
        check(&text);
    }
}
