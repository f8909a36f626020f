//! Texts and token ids, from arguments, files and standard input.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use mote_runtime::tokenizer::{
    DecodeOptions, Decoder, EncodeError, EncodeOptions, MAX_TEXT_BYTES, Tokenizer,
};
use serde::de::DeserializeOwned;

use crate::failure::{Code, Failure, Result};
use crate::options::TextOptions;
use crate::streams::Streams;

impl TextOptions {
    /// The text, byte for byte: the argument's, the file's, or else standard input's.
    pub fn read(&self, streams: &mut Streams<'_>) -> Result<Vec<u8>> {
        match (&self.prompt, &self.file) {
            (Some(text), _) => Ok(text.as_encoded_bytes().to_vec()),
            (None, Some(path)) => read_file(path),
            (None, None) => read_input(streams),
        }
    }
}

/// A whole file. One that never ends is given up at the longest text there is.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| Failure::io(error).in_file(path);
    let file = File::open(path).map_err(unreadable)?;
    // Of a pipe it is not known before.
    let len = file.metadata().map_err(unreadable)?.len();
    if len > MAX_TEXT_BYTES as u64 {
        let too_long = EncodeError::TextTooLong { len: usize::try_from(len).unwrap_or(usize::MAX) };
        return Err(Failure::from(too_long).in_file(path));
    }
    read_limited(file).map_err(unreadable)
}

/// Lines of JSON with their numbers from 1 on, or what is wrong with one; empty ones do not count.
pub fn json_lines<E: DeserializeOwned>(text: &[u8]) -> impl Iterator<Item = (usize, Result<E>)> {
    let lines = text.split(|&byte| byte == b'\n').zip(1..);
    lines.filter(|(line, _)| !line.trim_ascii().is_empty()).map(|(line, number)| {
        let entry = serde_json::from_slice(line).map_err(|error| {
            // The column within the line is right, the number of the line is not.
            let error = error.to_string().replace("line 1 column", "column");
            Failure::new(Code::Usage, format_args!("line {number}: {error}"))
        });
        (number, entry)
    })
}

/// Standard input, as far as the longest text. Nobody is asked to type a text unprompted.
pub fn read_input(streams: &mut Streams<'_>) -> Result<Vec<u8>> {
    if streams.terminal.input {
        let sentence = "no text: give one as an argument, by --file, or on standard input";
        return Err(Failure::new(Code::Usage, sentence));
    }
    read_limited(&mut *streams.input).map_err(|error| Failure::io(error).at_input())
}

fn read_limited(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than a text may have: the tokenizer then says what is wrong.
    reader.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The ids of a text.
pub fn encode(tokenizer: &Tokenizer<'_>, text: &[u8], options: EncodeOptions) -> Result<Vec<u32>> {
    Ok(tokenizer.encode_to_vec(text, options)?)
}

/// The text of ids; without `special`, without that of control and unknown tokens.
pub fn decode(tokenizer: &Tokenizer<'_>, ids: &[u32], special: bool) -> Result<Vec<u8>> {
    let options = DecodeOptions { skip_special: !special, text_start: true, raw: true };
    let mut decoder = Decoder::new(tokenizer, options);
    let mut buffer = vec![0; decoder.max_text_bytes()];
    let mut text = Vec::new();
    for &id in ids {
        let len = decoder.push(id, &mut buffer);
        let len = len.map_err(|error| Failure::new(Code::Text, error))?;
        text.extend_from_slice(&buffer[..len]);
    }
    Ok(text)
}

/// Ids written in decimal with commas, blanks or line ends between them, in brackets or not.
pub fn parse_ids(text: &[u8]) -> Result<Vec<u32>> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(|word| {
            // No signs, which numbers may have otherwise.
            let digits = word.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| word.parse().ok()).flatten().ok_or_else(|| {
                let word: String = word.chars().take(40).collect();
                let word = word.escape_debug();
                Failure::new(Code::Usage, format_args!("--ids: '{word}' is not a token id"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_the_forms_that_are_customary() {
        for text in ["1,2,3", " 1 2\n3 ", "[1, 2, 3]", "1,2,3,"] {
            assert_eq!(parse_ids(text.as_bytes()), Ok(vec![1, 2, 3]), "{text}");
        }
        assert_eq!(parse_ids(b""), Ok(vec![]));
        for text in ["1,-2", "+1", "1,+2", "x", "4294967296", "1.5", "[1"] {
            assert_eq!(parse_ids(text.as_bytes()).unwrap_err().code, Code::Usage, "{text}");
        }
    }
}
