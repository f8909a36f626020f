//! The merges of byte-pair encoding: both texts and what they give are tokens.

use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;

use super::error::{Reason, TokenizerError, quote};
use super::json::{self, Merge};
use super::lines;

/// The file's usual name.
const FILE: &str = "merges.txt";

/// How a blank is spelt in a merge of a GGUF file, where a blank stands between two texts.
const SPELT_BLANK: &str = "\u{120}";

/// The lines of `tokenizer.ggml.merges` from tokenizer.json.
pub(super) fn from_json(
    merges: &[Merge<'_>],
    ids: &HashMap<&str, u32>,
) -> Result<Vec<String>, TokenizerError> {
    let mut check = Check { file: json::FILE, ids, whole: String::new() };
    let mut lines = Vec::new();
    for (index, merge) in merges.iter().enumerate() {
        let (left, right) = pair(merge)
            .ok_or_else(|| TokenizerError::new(json::FILE, Reason::MergeFields(index)))?;
        check.tokens(index, left, right)?;
        lines.push(line(left, right));
    }
    Ok(lines)
}

/// The lines of `tokenizer.ggml.merges` from merges.txt: two texts on each line with blanks
/// between them, after an optional line `#version`. Byte-order mark, carriage returns, empty lines
/// and the lack of a last newline do not matter.
pub(super) fn from_text(
    bytes: &[u8],
    ids: &HashMap<&str, u32>,
) -> Result<Vec<String>, TokenizerError> {
    let text = lines::text(FILE, bytes)?;
    let mut check = Check { file: FILE, ids, whole: String::new() };
    let mut merges = Vec::new();
    for (number, text) in text.lines().enumerate() {
        if text.trim_ascii().is_empty() || number == 0 && text.starts_with("#version") {
            continue;
        }
        let mut fields = text.split_ascii_whitespace();
        let (Some(left), Some(right), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(TokenizerError::new(FILE, Reason::MergeLine(number + 1)));
        };
        check.tokens(merges.len(), left, right)?;
        merges.push(line(left, right));
    }
    Ok(merges)
}

/// The two texts of a merge.
pub(super) fn pair<'m>(merge: &'m Merge<'_>) -> Option<(&'m str, &'m str)> {
    let (left, right) = match merge {
        Merge::Pair(left, right) => (left.as_str(), right.as_str()),
        Merge::Line(line) => line.as_str().split_once(' ')?,
    };
    let alone = matches!(merge, Merge::Line(_)) && right.contains(' ');
    (!left.is_empty() && !right.is_empty() && !alone).then_some((left, right))
}

/// Checks that a merge is one of tokens.
pub(super) struct Check<'t> {
    pub(super) file: &'static str,
    pub(super) ids: &'t HashMap<&'t str, u32>,
    /// Room for both texts together.
    pub(super) whole: String,
}

impl Check<'_> {
    /// The id of what the two texts give.
    pub(super) fn tokens(
        &mut self,
        index: usize,
        left: &str,
        right: &str,
    ) -> Result<u32, TokenizerError> {
        self.whole.clear();
        self.whole.push_str(left);
        self.whole.push_str(right);
        let mut id = 0;
        for text in [left, right, &self.whole] {
            id = *self.ids.get(text).ok_or_else(|| {
                let reason = Reason::MergeOfNoToken { index, text: quote(text) };
                TokenizerError::new(self.file, reason)
            })?;
        }
        Ok(id)
    }
}

fn line(left: &str, right: &str) -> String {
    let mut line = left.replace(' ', SPELT_BLANK);
    line.push(' ');
    line.push_str(&right.replace(' ', SPELT_BLANK));
    line
}
