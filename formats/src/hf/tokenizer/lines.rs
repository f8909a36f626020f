//! Files of lines: merges.txt, templates.

use super::error::{Reason, TokenizerError};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A text file without its byte-order mark.
pub(super) fn text<'a>(file: &'static str, bytes: &'a [u8]) -> Result<&'a str, TokenizerError> {
    let text = str::from_utf8(bytes)
        .map_err(|error| TokenizerError::new(file, Reason::NotUtf8(error.valid_up_to())))?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
}
