//! What the tokens of a model are, and how they are spelt: words, bytes, or a tokenizer's ids.

use mote_formats::gguf::{BuildError, Builder, Gguf};
use mote_runtime::Tokenizer;
use mote_runtime::tokenizer::MAX_TEXT_BYTES;

use super::text::{Rules, Spool};
use super::vocabulary::{BEGIN, END, SPECIAL, UNKNOWN, Words};
use super::{Error, Ids};

/// The id of byte 0.
const FIRST_BYTE: u32 = 3;
/// Ids of a vocabulary of bytes.
const BYTES: u32 = FIRST_BYTE + 256;

/// ggml's types of tokens.
const UNKNOWN_TYPE: i32 = 2;
const CONTROL_TYPE: i32 = 3;
const BYTE_TYPE: i32 = 6;

/// The vocabulary of a model that is estimated.
pub enum Lexicon<'a> {
    /// Words, and their provisional ids in the order of the model's.
    Words { words: Words, order: Vec<u32> },
    /// Bytes.
    Bytes,
    /// The ids of a GGUF file's tokenizer, with the rules for words called `pre` if it says so.
    Tokens { gguf: &'a Gguf<'a>, pre: Option<&'a str>, n: u32, begin: u32, end: u32 },
}

impl<'a> Lexicon<'a> {
    /// Of the words of a text. `may_stay` says which n-grams are kept by their words.
    pub fn of_words(mut words: Words, may_stay: Option<&Words>) -> (Lexicon<'a>, Ids) {
        words.forget_table();
        let special = SPECIAL.len() as u32;
        let stays = |id: u32| {
            id < special || may_stay.is_none_or(|list| list.find(words.get(id)).is_some())
        };
        let order = words.order(stays);
        let mut of_provisional = vec![0; order.len()];
        for (id, &provisional) in order.iter().enumerate() {
            of_provisional[provisional as usize] = id as u32;
        }
        let len = order.len() as u32;
        let allowed = order.iter().filter(|provisional| stays(**provisional)).count() as u32;
        let ids =
            Ids { len, allowed, begin: BEGIN, end: END, unknown: Some(UNKNOWN), of_provisional };
        (Lexicon::Words { words, order }, ids)
    }

    /// Of bytes.
    pub fn of_bytes() -> (Lexicon<'a>, Ids) {
        let of_provisional = Vec::new();
        let unknown = Some(UNKNOWN);
        let (len, allowed) = (BYTES, BYTES);
        (Lexicon::Bytes, Ids { len, allowed, begin: BEGIN, end: END, unknown, of_provisional })
    }

    /// Of a tokenizer whose rules for words are called `pre`, if not as the file says. None if it has
    /// neither a token that begins texts nor one that ends them.
    pub fn of_tokens(
        gguf: &'a Gguf<'a>,
        tokenizer: &Tokenizer<'_>,
        pre: Option<&'a str>,
    ) -> Option<(Self, Ids)> {
        let begin = tokenizer.bos().or(tokenizer.eos())?;
        let end = tokenizer.eos().unwrap_or(begin);
        let n = tokenizer.len() as u32;
        let (unknown, of_provisional) = (None, Vec::new());
        let ids = Ids { len: n, allowed: n, begin, end, unknown, of_provisional };
        Some((Lexicon::Tokens { gguf, pre, n, begin, end }, ids))
    }

    /// Ids that a model file has: those of words that must not stay are the last, and left out.
    pub fn len(&self, ids: &Ids) -> u32 {
        match self {
            Lexicon::Words { .. } => ids.allowed,
            Lexicon::Bytes => BYTES,
            Lexicon::Tokens { n, .. } => *n,
        }
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Lexicon::Words { words, order } => words.memory() + 4 * order.len(),
            _ => 0,
        }
    }

    /// How an ARPA file spells a word; `last`: in the last place, where `</s>` may stand and `<s>`
    /// may not.
    pub fn spell(&self, id: u32, last: bool, out: &mut Vec<u8>) {
        use std::io::Write as _;
        match self {
            Lexicon::Words { words, order } => {
                out.extend_from_slice(order.get(id as usize).map_or(b"", |id| words.get(*id)));
            }
            Lexicon::Bytes => match id.checked_sub(FIRST_BYTE) {
                Some(byte) => _ = write!(out, "{byte}"),
                None => out.extend_from_slice(SPECIAL.get(id as usize).copied().unwrap_or(b"")),
            },
            Lexicon::Tokens { begin, end, .. } => match id {
                id if id == *end && (last || begin != end) => out.extend_from_slice(b"</s>"),
                id if id == *begin => out.extend_from_slice(b"<s>"),
                id => _ = write!(out, "{id}"),
            },
        }
    }

    /// The keys of the vocabulary in a model file of `len` ids.
    pub fn describe(&self, len: u32, builder: &mut Builder) -> Result<(), BuildError> {
        let name = |key: &str| format!("tokenizer.ggml.{key}");
        match self {
            Lexicon::Tokens { gguf, pre, .. } => {
                let rules = name("pre");
                let keys = gguf.metadata().filter(|(key, _)| key.starts_with("tokenizer."));
                for (key, value) in keys.filter(|(key, _)| pre.is_none() || **key != *rules) {
                    builder.set(key, value)?;
                }
                // Whoever uses the model gets the tokens that were counted.
                return pre.map_or(Ok(()), |pre| builder.set(&rules, pre));
            }
            Lexicon::Words { words, order } => {
                let kept = order.iter().take(len as usize);
                let spelt: Vec<&[u8]> = kept.map(|id| words.get(*id)).collect();
                builder.set(&name("model"), "words")?;
                builder.set_strings(&name("tokens"), &spelt)?;
            }
            Lexicon::Bytes => {
                let special = SPECIAL.iter().map(|word| word.to_vec());
                let bytes = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>").into_bytes());
                let spelt: Vec<Vec<u8>> = special.chain(bytes).collect();
                let mut types = vec![UNKNOWN_TYPE, CONTROL_TYPE, CONTROL_TYPE];
                types.resize(spelt.len(), BYTE_TYPE);
                builder.set(&name("model"), "bytes")?;
                builder.set_strings(&name("tokens"), &spelt)?;
                builder.set_array(&name("token_type"), &types)?;
            }
        }
        builder.set(&name("unknown_token_id"), UNKNOWN)?;
        builder.set(&name("bos_token_id"), BEGIN)?;
        builder.set(&name("eos_token_id"), END)?;
        builder.set(&name("add_bos_token"), true)
    }
}

/// Cuts a text into bytes: of lines, or all of them.
pub fn read_bytes(
    input: &mut dyn std::io::Read,
    rules: Rules,
    spool: &mut Spool,
) -> Result<(), Error> {
    let mut block = vec![0; 1 << 18];
    loop {
        let n = match input.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Input(error)),
        };
        for &byte in &block[..n] {
            if byte == b'\n' && !rules.stream {
                spool.end(END)?;
            } else {
                spool.token(FIRST_BYTE + u32::from(byte))?;
            }
        }
    }
    if rules.stream { Ok(()) } else { Ok(spool.stop()?) }
}

/// Cuts a text into a tokenizer's tokens: of lines, or all of it, cut before words that follow line
/// ends into pieces of a size that fits the memory.
pub fn read_tokens(
    input: &mut dyn std::io::Read,
    rules: Rules,
    tokenizer: &Tokenizer<'_>,
    end: u32,
    spool: &mut Spool,
) -> Result<(), Error> {
    let options = mote_runtime::tokenizer::EncodeOptions {
        bos: false,
        eos: false,
        ..tokenizer.default_options()
    };
    let mut line = 0;
    pieces(input, rules.stream, |piece| {
        line += 1;
        let (text, ended) = match piece.strip_suffix(b"\n") {
            Some(text) if !rules.stream => (text, true),
            _ => (piece, false),
        };
        let ids = tokenizer
            .encode_to_vec(text, options)
            .map_err(|error| Error::Encode(format!("{error} (line {line})")))?;
        ids.into_iter().try_for_each(|id| spool.token(id))?;
        if ended { Ok(spool.end(end)?) } else { Ok(()) }
    })?;
    if rules.stream { Ok(()) } else { Ok(spool.stop()?) }
}

/// Reads decimal ids of a tokenizer's vocabulary.
pub fn read_ids(
    input: &mut dyn std::io::Read,
    rules: Rules,
    ids: &Ids,
    spool: &mut Spool,
) -> Result<(), Error> {
    let mut line = 0;
    pieces(input, false, |piece| {
        line += 1;
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0);
        for word in piece.split(blank).filter(|word| !word.is_empty()) {
            let id = std::str::from_utf8(word).ok().and_then(|word| word.parse::<u32>().ok());
            let shown = || String::from_utf8_lossy(word).chars().take(40).collect::<String>();
            match id.filter(|id| *id < ids.len) {
                None => return Err(Error::Id { word: shown(), line }),
                Some(id) if id == ids.begin || id == ids.end => {
                    if !rules.skip_symbols {
                        return Err(Error::Symbol { word: shown(), line });
                    }
                }
                Some(id) => spool.token(id)?,
            }
        }
        let ends = piece.ends_with(b"\n") && !rules.stream;
        if ends { Ok(spool.end(ids.end)?) } else { Ok(()) }
    })?;
    if rules.stream { Ok(()) } else { Ok(spool.stop()?) }
}

/// Reads lines, each with its newline; or pieces of a megabyte and more, which end before a line
/// that does not begin with a blank.
fn pieces(
    input: &mut dyn std::io::Read,
    long: bool,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    use std::io::BufRead as _;
    let mut input = std::io::BufReader::with_capacity(1 << 18, input);
    let mut piece = Vec::new();
    loop {
        let room = (MAX_TEXT_BYTES + 1).saturating_sub(piece.len()) as u64;
        let mut limited = std::io::Read::take(&mut input, room);
        let n = limited.read_until(b'\n', &mut piece).map_err(Error::Input)?;
        if piece.len() > MAX_TEXT_BYTES {
            return Err(Error::LongLine);
        }
        if n == 0 {
            break;
        }
        if long {
            let next = input.fill_buf().map_err(Error::Input)?.first().copied();
            let goes_on = next.is_some_and(|byte| byte.is_ascii_whitespace());
            if piece.len() < 1 << 20 || goes_on {
                continue;
            }
        }
        take(&piece)?;
        piece.clear();
    }
    if piece.is_empty() { Ok(()) } else { take(&piece) }
}
