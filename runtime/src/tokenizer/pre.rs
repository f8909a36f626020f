//! THE LIST OF PRE-TOKENIZERS: how byte-level vocabularies cut a text into words before merging.
//!
//! Each is written in its tokenizer as a regular expression over Unicode classes. Here they are
//! scanners of two families: no backtracking, one pass, one character of look-ahead. A new one is
//! a line in [`LIST`], and rules where no family fits.

use super::characters::{Class, class_at, decode};

/// How a text is cut into words, and what else a file's `tokenizer.ggml.pre` implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    /// The values of `tokenizer.ggml.pre` that mean it.
    names: &'static [&'static str],
    rules: Rules,
    /// The text is brought to normalization form C first.
    pub(super) nfc: bool,
    /// A word that is a token becomes that token, whatever the merges say.
    pub(super) whole_words: bool,
    /// A BOS token is added unless the file says otherwise.
    pub(super) add_bos: bool,
}

/// A family of regular expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    ///
    /// With `digits`, every `\p{N}` is cut out first and stands alone, and the rest between them
    /// is cut by the expression.
    Gpt2 { digits: bool },
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,D}| ?[^\s\p{L}\p{N}]+[\r\n]*|`
    /// `\s*[\r\n]+|\s+(?!\S)|\s+`, where D is `max_digits`.
    Llama3 { max_digits: usize },
}

const DEFAULT: PreTokenizer = PreTokenizer {
    names: &["gpt-2"],
    rules: Rules::Gpt2 { digits: false },
    nfc: false,
    whole_words: false,
    add_bos: false,
};

/// All of them. The first is used for a name that none of them has.
const LIST: [PreTokenizer; 7] = [
    DEFAULT,
    PreTokenizer { names: &["olmo"], nfc: true, ..DEFAULT },
    PreTokenizer {
        names: &["smollm", "starcoder"],
        rules: Rules::Gpt2 { digits: true },
        ..DEFAULT
    },
    PreTokenizer {
        names: &["command-r"],
        rules: Rules::Gpt2 { digits: true },
        nfc: true,
        ..DEFAULT
    },
    PreTokenizer {
        names: &["dbrx", "smaug-bpe"],
        rules: Rules::Llama3 { max_digits: 3 },
        ..DEFAULT
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        rules: Rules::Llama3 { max_digits: 3 },
        whole_words: true,
        add_bos: true,
        ..DEFAULT
    },
    PreTokenizer {
        names: &["qwen2"],
        rules: Rules::Llama3 { max_digits: 1 },
        nfc: true,
        ..DEFAULT
    },
];

/// The names of all of them.
pub fn pre_tokenizers() -> impl Iterator<Item = &'static str> {
    LIST.iter().flat_map(|pre| pre.names).copied()
}

impl PreTokenizer {
    /// The one that a file names.
    pub(super) fn by_name(name: &str) -> Option<PreTokenizer> {
        LIST.into_iter().find(|pre| pre.names.contains(&name))
    }

    /// The end of the word that begins at `start`, which is inside the text.
    #[inline]
    pub(super) fn word_end(&self, text: &[u8], start: usize) -> usize {
        match self.rules {
            Rules::Gpt2 { digits } => gpt2(text, start, digits),
            Rules::Llama3 { max_digits } => llama3(text, start, max_digits),
        }
    }
}

impl Default for PreTokenizer {
    fn default() -> Self {
        DEFAULT
    }
}

fn gpt2(text: &[u8], start: usize, digits: bool) -> usize {
    if let Some(end) = contraction(text, start, false) {
        return end;
    }
    let (class, len) = class_at(text, start);
    if digits && class == Class::Number {
        return start + len;
    }
    if !class.is_space() {
        return run_end(text, start + len, class);
    }
    // One blank joins the word after it.
    if text.get(start) == Some(&b' ') && start + 1 < text.len() {
        let (class, len) = class_at(text, start + 1);
        let joins = !class.is_space() && (class != Class::Number || !digits);
        if joins {
            return run_end(text, start + 1 + len, class);
        }
    }
    let run = SpaceRun::at(text, start);
    // A text that ends before a digit ends there for the look-ahead too.
    if digits && run.end < text.len() && class_at(text, run.end).0 == Class::Number {
        return run.end;
    }
    run.without_last(text.len())
}

fn llama3(text: &[u8], start: usize, max_digits: usize) -> usize {
    if let Some(end) = contraction(text, start, true) {
        return end;
    }
    let (class, len) = class_at(text, start);
    let next = start + len;
    let class_after = if next < text.len() { class_at(text, next).0 } else { Class::Newline };
    match class {
        Class::Letter => return run_end(text, next, Class::Letter),
        Class::Number => return digits_end(text, next, max_digits - 1),
        // Any one character but a newline joins the letters after it.
        Class::Space | Class::Other if class_after == Class::Letter => {
            return run_end(text, next, Class::Letter);
        }
        Class::Other => return newlines_end(text, run_end(text, next, Class::Other)),
        Class::Space if text.get(start) == Some(&b' ') && class_after == Class::Other => {
            return newlines_end(text, run_end(text, next, Class::Other));
        }
        Class::Space | Class::Newline => {}
    }
    let run = SpaceRun::at(text, start);
    run.after_newline.unwrap_or_else(|| run.without_last(text.len()))
}

/// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at `start`. Without regard to case,
/// U+017F is an s too, by Unicode's simple case folding.
#[inline]
fn contraction(text: &[u8], start: usize, any_case: bool) -> Option<usize> {
    let rest = text.get(start..)?;
    if rest.first() != Some(&b'\'') {
        return None;
    }
    let fold = |at: usize| {
        let byte = rest.get(at).copied().unwrap_or_default();
        if any_case { byte.to_ascii_lowercase() } else { byte }
    };
    match (fold(1), fold(2)) {
        (b's' | b't' | b'm' | b'd', _) => Some(start + 2),
        (b'r' | b'v', b'e') | (b'l', b'l') => Some(start + 3),
        _ if any_case && rest.starts_with("'\u{17F}".as_bytes()) => Some(start + 3),
        _ => None,
    }
}

/// The end of the characters of `class` from `at` on.
#[inline]
fn run_end(text: &[u8], mut at: usize, class: Class) -> usize {
    while at < text.len() {
        let (found, len) = class_at(text, at);
        if found != class {
            break;
        }
        at += len;
    }
    at
}

/// The end of at most `most` numbers from `at` on.
fn digits_end(text: &[u8], mut at: usize, most: usize) -> usize {
    for _ in 0..most {
        match decode(text, at) {
            (Some(_), len) if class_at(text, at).0 == Class::Number => at += len,
            _ => break,
        }
    }
    at
}

/// The end of the carriage returns and line feeds from `at` on.
fn newlines_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// A run of white space.
struct SpaceRun {
    start: usize,
    end: usize,
    /// Where its last character begins.
    last: usize,
    /// The end of its last newline.
    after_newline: Option<usize>,
}

impl SpaceRun {
    fn at(text: &[u8], start: usize) -> SpaceRun {
        let mut run = SpaceRun { start, end: start, last: start, after_newline: None };
        while run.end < text.len() {
            let (class, len) = class_at(text, run.end);
            match class {
                Class::Newline => run.after_newline = Some(run.end + len),
                Class::Space => {}
                _ => break,
            }
            run.last = run.end;
            run.end += len;
        }
        run
    }

    /// `\s+(?!\S)|\s+`: the last character is left to what follows, if there is another before it.
    fn without_last(&self, text_end: usize) -> usize {
        if self.end == text_end || self.last == self.start { self.end } else { self.last }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let pre = PreTokenizer::by_name(name).unwrap();
        let mut words = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = pre.word_end(text.as_bytes(), start);
            words.push(&text[start..end]);
            start = end;
        }
        words
    }

    #[test]
    fn gpt2_rules() {
        let text = "I'll  say 'HELLO'S' 1234\n\n x\t\n";
        let expected =
            ["I", "'ll", " ", " say", " '", "HELLO", "'", "S", "'", " 1234", "\n\n", " x"];
        assert_eq!(words("gpt-2", text), [&expected[..], &["\t\n"]].concat());
    }

    #[test]
    fn digits_stand_alone() {
        assert_eq!(words("smollm", "a 12  3x\t4"), ["a", " ", "1", "2", "  ", "3", "x", "\t", "4"]);
        assert_eq!(words("smollm", "½² 1"), ["½", "²", " ", "1"]);
    }

    #[test]
    fn llama3_rules() {
        let text = "I'LLx 12345 .\n\n\"a\t\tb  \n \n  c!";
        let expected = [
            "I", "'LL", "x", " ", "123", "45", " .\n\n", "\"a", "\t", "\tb", "  \n \n", " ", " c",
            "!",
        ];
        assert_eq!(words("llama-bpe", text), expected);
        assert_eq!(words("qwen2", "x12"), ["x", "1", "2"]);
        assert_eq!(words("qwen2", "a'\u{17F}b"), ["a", "'\u{17F}", "b"]);
    }
}
