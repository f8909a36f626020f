//! The map of characters that SentencePiece compiles into a model (`precompiled_charsmap`): which
//! sequences of bytes are replaced by which.
//!
//! It is a double array (Aoe 1989; Yata's darts-clone): 4 bytes of the array's length, the array of
//! 32-bit units, and texts that end with a zero. A unit has the byte that leads to it (`LABEL`), an
//! offset to its children, and whether one of them is a value: the place of a text.

/// A map that may have been damaged: what leads out of it replaces nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Charsmap<'a> {
    units: &'a [u8],
    texts: &'a [u8],
    /// Bytes of the longest text.
    longest: usize,
}

/// Bytes of the longest sequence that is looked for: a damaged array may lead round and round. The
/// longest that SentencePiece has are a few characters.
const MAX_KEY: usize = 64;
/// Bytes of the longest text that is believed: of Unicode's forms the longest has 33.
const MAX_TEXT: usize = 255;

/// A unit's byte, with the bit that values have.
const LABEL: u32 = 1 << 31 | 0xFF;
const HAS_VALUE: u32 = 1 << 8;
const VALUE: u32 = (1 << 31) - 1;

impl<'a> Charsmap<'a> {
    /// A map, unless its length is not that of the bytes, or a text is too long.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (len, rest) = bytes.split_first_chunk()?;
        let (units, texts) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        if texts.is_empty() {
            return None;
        }
        let longest = texts.split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0);
        (longest <= MAX_TEXT).then_some(Charsmap { units, texts, longest })
    }

    /// Bytes of the longest text that replaces anything.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The longest beginning of a text that is replaced: its length, and what replaces it.
    pub(super) fn find(&self, text: &[u8]) -> Option<(usize, &'a [u8])> {
        let mut node = offset(self.unit(0)?);
        let mut found = None;
        for (at, &byte) in text.iter().take(MAX_KEY).enumerate() {
            node ^= u32::from(byte);
            let Some(unit) = self.unit(node).filter(|unit| unit & LABEL == u32::from(byte)) else {
                break;
            };
            if byte == 0 {
                break;
            }
            node ^= offset(unit);
            if unit & HAS_VALUE != 0 {
                found = self.unit(node).map(|unit| (at + 1, unit & VALUE)).or(found);
            }
        }
        let (len, place) = found?;
        let text = self.texts.get(place as usize..)?;
        let end = text.iter().position(|&byte| byte == 0)?;
        Some((len, text.get(..end)?))
    }

    fn unit(&self, at: u32) -> Option<u32> {
        let start = (at as usize).checked_mul(4)?;
        let bytes = self.units.get(start..start.checked_add(4)?)?;
        bytes.first_chunk().map(|&bytes| u32::from_le_bytes(bytes))
    }
}

/// How far a unit's children are.
fn offset(unit: u32) -> u32 {
    (unit >> 10) << ((unit & 1 << 9) >> 6)
}
