//! THE LIST OF RULE SETS: how the pre-tokenizer of a tokenizer.json is called in a GGUF file.
//!
//! A rule set is known by its structure and by the text of its regular expressions, which are
//! compared and never run. llama.cpp's converter hashes the tokens of a test text instead, so that
//! a vocabulary of other tokens with the same rules is unknown to it.
//!
//! Where several names mean the same rules, it is the one that llama.cpp gives best-known files.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::Value;

use super::error::{Reason, TokenizerError, quote};
use super::json::{self, TokenizerJson, kind, parts};

/// A step of a pre-tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    /// What the expression finds stands alone.
    Split(&'a str),
    /// Every digit (`false`: every run of digits) stands alone.
    Digits { each: bool },
    /// Every run of punctuation stands alone.
    Punctuation,
    /// Bytes become characters; with `words`, text is cut by [`GPT2`] first.
    Bytes { words: bool },
}

/// A rule set and its name.
struct Rules {
    name: &'static str,
    steps: &'static [Step<'static>],
    /// Normalization form C comes first; `None`: either way.
    nfc: Option<bool>,
    /// A word that is a token becomes that token, whatever the merges say; `None`: either way.
    whole_words: Option<bool>,
    /// Whether a post-processor is there, which distinguishes names of the same rules.
    post_processor: Option<bool>,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";
const DEEPSEEK3_WORDS: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const EAST_ASIAN: &str = "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const UFAKZEKA: &str =
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";

/// After expressions that cut the words already.
const BYTES: Step<'static> = Step::Bytes { words: false };
const WORDS: Step<'static> = Step::Bytes { words: true };

const ANY: Rules =
    Rules { name: "", steps: &[], nfc: None, whole_words: None, post_processor: None };

/// All of them; the first that fits is it.
const LIST: &[Rules] = &[
    Rules { name: "gpt-2", steps: &[WORDS], nfc: Some(false), ..ANY },
    Rules { name: "olmo", steps: &[WORDS], nfc: Some(true), ..ANY },
    Rules {
        name: "smollm",
        steps: &[Step::Digits { each: true }, WORDS],
        nfc: Some(false),
        post_processor: Some(false),
        ..ANY
    },
    Rules {
        name: "starcoder",
        steps: &[Step::Digits { each: true }, WORDS],
        nfc: Some(false),
        ..ANY
    },
    Rules {
        name: "command-r",
        steps: &[Step::Digits { each: true }, WORDS],
        nfc: Some(true),
        ..ANY
    },
    Rules {
        name: "llama-bpe",
        steps: &[Step::Split(LLAMA3), BYTES],
        nfc: Some(false),
        whole_words: Some(true),
        ..ANY
    },
    Rules {
        name: "dbrx",
        steps: &[Step::Split(LLAMA3), BYTES],
        nfc: Some(false),
        whole_words: Some(false),
        ..ANY
    },
    Rules {
        name: "qwen2",
        steps: &[Step::Split(QWEN2), BYTES],
        nfc: Some(true),
        whole_words: Some(false),
        ..ANY
    },
    Rules {
        name: "stablelm2",
        steps: &[Step::Split(QWEN2), BYTES],
        nfc: Some(false),
        whole_words: Some(false),
        ..ANY
    },
    Rules { name: "qwen35", steps: &[Step::Split(QWEN35), BYTES], ..ANY },
    Rules { name: "gpt-4o", steps: &[Step::Split(GPT4O), BYTES], ..ANY },
    Rules { name: "tekken", steps: &[Step::Split(TEKKEN), BYTES], ..ANY },
    Rules { name: "bloom", steps: &[Step::Split(BLOOM), BYTES], ..ANY },
    Rules {
        name: "falcon",
        steps: &[
            Step::Punctuation,
            WORDS,
            Step::Digits { each: false },
            Step::Split("[0-9][0-9][0-9]"),
        ],
        ..ANY
    },
    Rules {
        name: "deepseek-v3",
        steps: &[
            Step::Split(r"\p{N}{1,3}"),
            Step::Split(EAST_ASIAN),
            Step::Split(DEEPSEEK3_WORDS),
            BYTES,
        ],
        ..ANY
    },
    Rules { name: "bailingmoe", steps: &[Step::Split(BAILING), BYTES], ..ANY },
    Rules { name: "seed-coder", steps: &[Step::Split(SEED_CODER), BYTES], ..ANY },
    Rules { name: "exaone-moe", steps: &[Step::Split(EXAONE), BYTES], ..ANY },
    Rules { name: "ufakzeka", steps: &[Step::Split(UFAKZEKA), BYTES], ..ANY },
    Rules { name: "jais-2", steps: &[Step::Split(JAIS2), BYTES], ..ANY },
    Rules {
        name: "minicpm5",
        steps: &[Step::Split(r"\p{N}{1,3}"), Step::Split(MINICPM5), BYTES],
        ..ANY
    },
    Rules {
        name: "tiny_aya",
        steps: &[Step::Split(r"\d{1,3}(?=(?:\d{3})*\b)"), Step::Split(GPT4O), BYTES],
        ..ANY
    },
    Rules {
        name: "superbpe",
        steps: &[Step::Split(r"\p{N}+"), Step::Split(r"(?=(\d{3})+(?!\d))"), BYTES],
        ..ANY
    },
    Rules {
        name: "deepseek-coder",
        steps: &[
            Step::Split(r"[\r\n]"),
            Step::Split(r"\s?\p{L}+"),
            Step::Split(r"\s?\p{P}+"),
            Step::Split("[一-龥\u{800}-一가-\u{d7ff}]+"),
            Step::Digits { each: true },
            BYTES,
        ],
        ..ANY
    },
];

/// Names that add a BOS token unless the file says otherwise.
pub(super) fn adds_bos(name: &str) -> bool {
    matches!(
        name,
        "llama-bpe"
            | "llama3"
            | "llama-v3"
            | "falcon3"
            | "falcon-h1"
            | "pixtral"
            | "midm-2.0"
            | "lfm2"
            | "jina-v5-nano"
            | "tekken"
            | "chameleon"
    )
}

/// The name of a byte-level vocabulary's rules.
pub(super) fn name(json: &TokenizerJson<'_>) -> Result<&'static str, TokenizerError> {
    let unknown = || {
        let rules = quote(&json.pre_tokenizer.to_string());
        TokenizerError::new(json::FILE, Reason::PreTokenizer(rules))
    };
    let nfc = normalizes(&json.normalizer)?;
    let mut steps: Vec<Step<'_>> = Vec::new();
    for part in parts(&json.pre_tokenizer, "pretokenizers") {
        steps.push(step(part).ok_or_else(unknown)?);
    }
    // GPT-2's expression, written out.
    if let [.., Step::Split(GPT2), last] = steps.as_mut_slice()
        && *last == BYTES
    {
        steps.truncate(steps.len() - 2);
        steps.push(WORDS);
    }
    let fits = |rules: &&Rules| {
        rules.steps == steps
            && rules.nfc.is_none_or(|is| is == nfc)
            && rules.whole_words.is_none_or(|is| is == json.model.ignore_merges)
            && rules.post_processor.is_none_or(|is| is != json.post_processor.is_null())
    };
    LIST.iter().find(fits).map(|rules| rules.name).ok_or_else(unknown)
}

/// Whether text is brought to normalization form C; anything else is unknown.
fn normalizes(normalizer: &Value) -> Result<bool, TokenizerError> {
    let mut nfc = false;
    for part in parts(normalizer, "normalizers") {
        if kind(part) != "NFC" {
            let rules = quote(&normalizer.to_string());
            return Err(TokenizerError::new(json::FILE, Reason::Normalizer(rules)));
        }
        nfc = true;
    }
    Ok(nfc)
}

/// A step, if it is one that a rule set may have.
fn step(part: &Value) -> Option<Step<'_>> {
    let flag = |key| part.get(key).and_then(Value::as_bool);
    let behavior = part.get("behavior").and_then(Value::as_str);
    match kind(part) {
        "Split" => {
            let expression = part.get("pattern")?.get("Regex")?.as_str()?;
            // Text that the expression does not find is removed: it finds everything.
            let stands_alone = match flag("invert").unwrap_or(false) {
                false => behavior == Some("Isolated"),
                true => behavior == Some("Removed"),
            };
            stands_alone.then_some(Step::Split(expression))
        }
        "Digits" => Some(Step::Digits { each: flag("individual_digits")? }),
        "Punctuation" => (behavior == Some("Contiguous")).then_some(Step::Punctuation),
        "ByteLevel" => {
            let prefix = flag("add_prefix_space").unwrap_or(true);
            (!prefix).then_some(Step::Bytes { words: flag("use_regex").unwrap_or(true) })
        }
        _ => None,
    }
}

/// The name of the rules of a vocabulary that is vocab.json and merges.txt, by the class that
/// reads them; those of GPT-2, whose files they are, where none is named.
pub(super) fn name_of_class(class: Option<&str>) -> Result<&'static str, TokenizerError> {
    match class.map(|class| class.strip_suffix("Fast").unwrap_or(class)) {
        None | Some("GPT2Tokenizer") => Ok("gpt-2"),
        Some("Qwen2Tokenizer") => Ok("qwen2"),
        Some(other) => {
            let rules = format!("those of {}", quote(other));
            Err(TokenizerError::new("tokenizer_config.json", Reason::PreTokenizer(rules)))
        }
    }
}

/// Whether a SentencePiece vocabulary puts a blank before a text, by tokenizer.json.
pub(super) fn puts_blank_first(json: &TokenizerJson<'_>) -> Result<bool, TokenizerError> {
    let refuse = |reason: fn(String) -> Reason, rules: &Value| {
        Err(TokenizerError::new(json::FILE, reason(quote(&rules.to_string()))))
    };
    let text = |part: &Value, key: &str| part.get(key).and_then(Value::as_str).map(String::from);
    let mut blank = false;
    for part in parts(&json.normalizer, "normalizers") {
        let pattern = part.get("pattern").and_then(|pattern| text(pattern, "String"));
        match kind(part) {
            "Prepend" if text(part, "prepend").as_deref() == Some("\u{2581}") => blank = true,
            "Replace"
                if pattern.as_deref() == Some(" ")
                    && text(part, "content").as_deref() == Some("\u{2581}") => {}
            _ => return refuse(Reason::Normalizer, &json.normalizer),
        }
    }
    for part in parts(&json.pre_tokenizer, "pretokenizers") {
        match kind(part) {
            // The text has no blanks any more.
            "Split"
                if part.get("pattern").and_then(|p| text(p, "String")).as_deref() == Some(" ") => {}
            "Metaspace" if part.get("split").and_then(Value::as_bool) == Some(false) => {
                blank |= match text(part, "prepend_scheme").as_deref() {
                    Some(scheme) => scheme != "never",
                    None => part.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(true),
                };
            }
            _ => return refuse(Reason::PreTokenizer, &json.pre_tokenizer),
        }
    }
    Ok(blank)
}
