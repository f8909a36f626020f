//! `--tensor-type PATTERN=TYPE`.

use mote_formats::gguf::TensorType;
use mote_kernels::QuantType;

/// An encoding for the matrices of some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pattern: String,
    /// The encoding.
    pub kind: QuantType,
}

/// The encoding of that name to write, or why not.
pub fn written(name: &str) -> Result<QuantType, String> {
    let kind = QuantType::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = QuantType::written().map(QuantType::name).collect();
        format!("no such encoding; there are {}", names.join(", "))
    })?;
    if kind.is_written() {
        return Ok(kind);
    }
    let nearest = TensorType::from(kind).nearest().name();
    Err(format!(
        "mote reads {}, but does not write it; the nearest that it writes is {nearest}",
        kind.name()
    ))
}

impl Override {
    /// As on the command line.
    pub fn parse(text: &str) -> Result<Override, String> {
        let (pattern, kind) = text.rsplit_once('=').ok_or("not of the form PATTERN=TYPE")?;
        let kind = written(kind)?;
        if pattern.is_empty() {
            return Err("the pattern is empty".into());
        }
        Ok(Override { pattern: pattern.into(), kind })
    }

    /// As it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether it is for a tensor of this name.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.pattern.as_bytes(), name.as_bytes())
    }
}

/// `*` stands for any characters or none, `?` for one, everything else for itself; the pattern is for
/// the whole name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Behind the last star, and what it stands for so far ends here.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(&byte) if byte == b'?' || byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                // It stands for one more.
                Some((behind, end)) => {
                    star = Some((behind, end + 1));
                    (p, n) = (behind, end + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let cases = [
            ("output.weight", "output.weight", true),
            ("output.weight", "output.weights", false),
            ("*", "", true),
            ("blk.*.attn_?.weight", "blk.12.attn_v.weight", true),
            ("blk.*.attn_?.weight", "blk.12.attn_output.weight", false),
            ("*ffn*weight", "blk.0.ffn_down.weight", true),
            ("*a*ab", "aaab", true),
            ("*a*ab", "aba", false),
            ("?", "", false),
            ("a**", "a", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_may_have_an_equals_sign() {
        let parsed = Override::parse("a=b=Q4_K").unwrap();
        assert!(parsed.matches("a=b") && parsed.kind == QuantType::Q4_K);
        for wrong in ["Q4_K", "=Q4_K", "a=", "a=Q4_K_M"] {
            assert!(Override::parse(wrong).is_err(), "{wrong}");
        }
    }
}
