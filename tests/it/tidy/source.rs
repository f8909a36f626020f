//! Just enough of Rust's lexer to tell code from comments and literals, so that a rule about code is
//! not broken by a sentence about it.

/// Lines with their numbers, from 1.
pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Unit tests stand last in a file.
pub fn without_unit_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the word stands in the line by itself, not as a part of an identifier.
pub fn has_word(line: &str, word: &str) -> bool {
    let bytes = line.as_bytes();
    line.match_indices(word).any(|(start, _)| {
        let before = start.checked_sub(1).and_then(|i| bytes.get(i));
        let after = bytes.get(start + word.len());
        !before.is_some_and(|b| is_word_byte(*b)) && !after.is_some_and(|b| is_word_byte(*b))
    })
}

/// Whether an absolute path with this beginning stands in the line, not a longer one's middle.
pub fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].bytes().next_back();
        !before.is_some_and(|b| is_word_byte(b) || matches!(b, b'.' | b'-' | b'/' | b'}'))
    })
}

/// What [`code`] does with string and character literals.
#[derive(Clone, Copy, PartialEq)]
pub enum Strings {
    Blank,
    Keep,
}

/// Rust source with its comments, and on request its string and character literals, replaced by
/// spaces. Length and lines stay as they are.
pub fn code(source: &str, strings: Strings) -> String {
    let mut output = Vec::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let previous = output.last().copied();
        let (length, blank) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), true),
            '/' if rest.starts_with("/*") => (block_comment(rest), true),
            '"' => (string(rest), strings == Strings::Blank),
            'r' | 'b' if !previous.is_some_and(is_word_byte) => match prefixed_literal(rest) {
                Some(length) => (length, strings == Strings::Blank),
                None => (1, false),
            },
            '\'' => match character(rest) {
                Some(length) => (length, strings == Strings::Blank),
                None => (1, false),
            },
            other => (other.len_utf8(), false),
        };
        let (token, after) = rest.split_at(length);
        let keep = |byte: u8| if blank && byte != b'\n' { b' ' } else { byte };
        output.extend(token.bytes().map(keep));
        rest = after;
    }
    String::from_utf8(output).expect("whole tokens are blanked, so UTF-8 stays UTF-8")
}

/// Length of the block comment that the text starts with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut position) = (0, 0);
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        let step = match rest {
            _ if rest.starts_with("/*") => (1, 2),
            _ if rest.starts_with("*/") => (-1, 2),
            _ => (0, rest.chars().next().map_or(1, char::len_utf8)),
        };
        depth += step.0;
        position += step.1;
        if depth == 0 {
            return position;
        }
    }
    text.len()
}

/// Length of the string literal that the text starts with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of `r"…"`, `r#"…"#`, `b"…"`, `br"…"` or `b'…'`; none if an identifier starts here.
fn prefixed_literal(text: &str) -> Option<usize> {
    let byte = text.strip_prefix('b');
    let after = byte.unwrap_or(text);
    if let Some(raw) = after.strip_prefix('r') {
        let hashes = raw.bytes().take_while(|b| *b == b'#').count();
        let body = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&end).map_or(body.len(), |position| position + end.len());
        return Some(text.len() - body.len() + length);
    }
    match byte?.bytes().next()? {
        b'"' => Some(1 + string(after)),
        b'\'' => character(after).map(|length| 1 + length),
        _ => None,
    }
}

/// Length of the character literal that the text starts with; none if it is a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    if let (_, '\\') = characters.next()? {
        characters.next()?;
        return characters.find(|(_, c)| *c == '\'').map(|(position, _)| position + 1);
    }
    let (position, close) = characters.next()?;
    (close == '\'').then_some(position + 1)
}

#[test]
fn the_lexer_tells_code_from_comments_and_strings() {
    let source = "a // b\n/* c /* d */ e */ f \"g \\\" h\" 'i' 'j r#\"k \" l\"# '\\'' b\"m\" n";
    let blanked = code(source, Strings::Blank);
    assert_eq!(blanked.len(), source.len());
    assert_eq!(blanked.split_whitespace().collect::<Vec<_>>(), ["a", "f", "'j", "n"]);
    let kept = code(source, Strings::Keep);
    let expected = ["a", "f", "\"g", "\\\"", "h\"", "'i'", "'j", "r#\"k", "\"", "l\"#", "'\\''"];
    assert_eq!(kept.split_whitespace().take(11).collect::<Vec<_>>(), expected);
    assert!(has_word("an unsafe fn", "unsafe") && !has_word("unsafe_code", "unsafe"));
    assert!(starts_a_path("at '/usr/x", "/usr/") && !starts_a_path("lib/usr/x", "/usr/"));
}
