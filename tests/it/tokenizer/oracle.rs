//! Random texts through every vocabulary that is there: their tokens are those of Hugging Face's
//! tokenizers library, and they come back from them.
//!
//! `MOTE_ROUNDS=N` makes N texts for each vocabulary, `MOTE_SEED=N` others.

use std::collections::HashMap;

use mote_formats::gguf::Strings;
use tokenizers::{NormalizedString, Tokenizer as Oracle};

use super::*;
use crate::convert_tokenizer;

/// Texts for each vocabulary.
const ROUNDS: usize = 1000;

/// A vocabulary as mote reads it, and as Hugging Face's library does.
struct Pair {
    name: String,
    file: Vec<u8>,
    oracle: Oracle,
}

impl Pair {
    /// The tokenizer files of a checkpoint, converted.
    fn of_folder(name: &str, path: &Path) -> Pair {
        let folder = convert_tokenizer::folder(path);
        let tokenizer = convert_tokenizer::read(&folder, convert_tokenizer::rows(&folder)).unwrap();
        let file = convert_tokenizer::gguf(&tokenizer);
        let oracle = Oracle::from_bytes(&folder["tokenizer.json"]).unwrap();
        Pair { name: name.into(), file, oracle }
    }

    /// The tokens and merges of a file under the rules of another vocabulary.
    fn of_file(name: &str, path: &Path, rules: &Path) -> Pair {
        let file = std::fs::read(path).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let array = |key: &str| gguf.get(&format!("tokenizer.ggml.{key}")).unwrap().as_array();
        let list = |key: &str| array(key).and_then(|list| list.strings()).unwrap();
        let texts = |list: Strings<'_>| -> Vec<String> {
            list.map(|text| String::from_utf8(text.as_bytes().to_vec()).unwrap()).collect()
        };
        let kinds = array("token_type").and_then(|kinds| kinds.elements::<i32>()).unwrap();
        let mut json = json(&rules.join("tokenizer.json"));
        let (mut vocab, mut added) = (serde_json::Map::new(), Vec::new());
        for (id, (text, kind)) in texts(list("tokens")).into_iter().zip(kinds.iter()).enumerate() {
            // Else the library counts on.
            vocab.insert(text.clone(), id.into());
            if kind != NORMAL {
                added.push(serde_json::json!({
                    "id": id, "content": text, "special": kind == CONTROL, "normalized": false,
                    "single_word": false, "lstrip": false, "rstrip": false,
                }));
            }
        }
        json["model"]["vocab"] = vocab.into();
        json["model"]["merges"] = texts(list("merges")).into();
        json["added_tokens"] = added.into();
        json["post_processor"] = Value::Null;
        let oracle = Oracle::from_bytes(serde_json::to_vec(&json).unwrap()).unwrap();
        Pair { name: name.into(), file, oracle }
    }
}

/// The fixtures that have a tokenizer.json, the folders of the reference set, and large vocabularies.
fn pairs() -> Vec<Pair> {
    let fixtures =
        ["bpe_bloom", "bpe_deepseek3", "bpe_falcon", "bpe_llama3", "bpe_o200k", "spm_gemma"];
    let mut pairs: Vec<Pair> = fixtures
        .into_iter()
        .chain(["wordpiece_bert"])
        .map(|name| Pair::of_folder(name, &fixture(name)))
        .collect();
    let Some(reference) = shared("reference/tok") else { return pairs };
    for entry in std::fs::read_dir(&reference).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !pairs.iter().any(|pair| pair.name == name) {
            pairs.push(Pair::of_folder(name, &path));
        }
    }
    let Some(large) = shared("tokenizers") else { return pairs };
    for (name, rules) in [
        ("gpt-2", "bpe_gpt2"),
        ("llama-bpe", "bpe_llama3"),
        ("qwen2", "bpe_qwen2"),
        ("starcoder", "bpe_starcoder"),
        ("falcon", "bpe_falcon"),
    ] {
        let file = large.join(format!("ggml-vocab-{name}.gguf"));
        pairs.push(Pair::of_file(name, &file, &reference.join(rules)));
    }
    pairs
}

/// Numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let seed = std::env::var("MOTE_SEED").map_or(1, |seed| seed.parse().unwrap());
        Random(seed)
    }

    /// Below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Ranges of characters where rules differ.
const RANGES: [(u32, u32); 32] = [
    (0x00, 0x1F), // controls
    (0x20, 0x7E), // ASCII
    (0x20, 0x7E),
    (0x7F, 0xA0),   // more controls
    (0xA1, 0xFF),   // Latin-1
    (0x100, 0x24F), // Latin, precomposed
    (0x300, 0x36F), // combining marks
    (0x300, 0x30F),
    (0x370, 0x52F),   // Greek, Cyrillic
    (0x591, 0x6FF),   // Hebrew and Arabic with their marks and digits
    (0x900, 0x97F),   // Devanagari: composition exclusions
    (0x9BC, 0x9DF),   // Bengali
    (0xE01, 0xEDF),   // Thai, Lao: no blanks
    (0xF40, 0xFBC),   // Tibetan
    (0x1100, 0x11FF), // Hangul, conjoining
    (0x1100, 0x1112),
    (0x1161, 0x1175),
    (0x11A7, 0x11C2),
    (0x1AB0, 0x1ABE),   // more marks
    (0x1E00, 0x1FFF),   // Latin and Greek, precomposed
    (0x2000, 0x206F),   // blanks, joiners, directions
    (0x2070, 0x218F),   // superscripts, letter-like symbols, Roman numbers
    (0x2190, 0x2BFF),   // symbols
    (0x3000, 0x30FF),   // CJK punctuation, Kana
    (0x4E00, 0x9FFF),   // Han
    (0xAC00, 0xD7A3),   // Hangul
    (0xF900, 0xFAFF),   // Han that decomposes
    (0xFB00, 0xFDFF),   // ligatures
    (0xFE00, 0xFFFF),   // selectors, full width
    (0x1D100, 0x1D7FF), // music (exclusions), mathematical letters
    (0x1F1E6, 0x1FAFF), // flags, emoji
    (0x20000, 0x2FA1D), // rare Han
];

/// Sequences that belong together, or look as if they did.
const SEQUENCES: [&str; 40] = [
    "e\u{301}",
    "a\u{301}\u{327}",
    "A\u{30A}",
    "\u{212B}",
    "\u{1E9B}\u{323}",
    "q\u{307}\u{323}",
    "\u{1100}\u{1161}\u{11A8}",
    "\u{AC00}\u{11A8}",
    "\u{915}\u{93C}",
    "\u{958}",
    "\u{9C7}\u{9BE}",
    "\u{1D15E}",
    "\u{FB1D}",
    "👨\u{200D}👩\u{200D}👧",
    "👍🏽",
    "🇩🇪🇫🇷",
    "1\u{FE0F}\u{20E3}",
    "🏴\u{E0067}\u{E0062}\u{E007F}",
    "'s",
    "'S",
    "'ll",
    "'LL",
    "'\u{17F}",
    "’s",
    "\u{212A}",
    "ß",
    "İ",
    "ǅ",
    " \n",
    "\r\n",
    "\n\n",
    "\t ",
    "   ",
    "\u{3000}",
    "\u{A0}",
    "\u{85}",
    "▁",
    "12345",
    "٣٤٥",
    "½²Ⅷ",
];

/// A text of random characters, sequences, words and the spellings of special tokens.
fn text(random: &mut Random, words: &[&str], specials: &[&str]) -> String {
    let mut text = String::new();
    for _ in 0..random.below(24) {
        match random.below(16) {
            0..=4 => {
                let (first, last) = random.one_of(&RANGES);
                for _ in 0..1 + random.below(3) {
                    let code = first + random.below((last - first + 1) as usize) as u32;
                    text.extend(char::from_u32(code));
                }
            }
            5 => text.extend(char::from_u32(random.below(0x11_0000) as u32)),
            6..=9 => text.push_str(random.one_of(&SEQUENCES)),
            10 => {
                let run = random.one_of(&[" ", "\n", "\t", "0", "a", ".", "\u{301}", "▁", "你"]);
                text.push_str(&run.repeat(random.below(12)));
            }
            11 if !specials.is_empty() => {
                let special = random.one_of(specials);
                let end = special.len() - [0, 0, 0, 1][random.below(4)];
                text.push_str(special.get(..end).unwrap_or(special));
            }
            12 => text.push(' '),
            _ => text.push_str(random.one_of(words)),
        }
    }
    text
}

/// Words of many scripts.
fn words(strings: &Value) -> Vec<&str> {
    let strings = strings.as_array().unwrap().iter().map(|string| string.as_str().unwrap());
    strings.flat_map(|string| string.split_inclusive(' ')).collect()
}

/// What comes back from a text's tokens: the text in the form that the vocabulary has for it.
fn normal(oracle: &Oracle, tokenizer: &Tokenizer<'_>, text: &str) -> String {
    // The blank before a text is taken off again.
    if tokenizer.pre_tokenizer().is_none() {
        return text.replace('▁', " ");
    }
    let mut normal = NormalizedString::from(text);
    if let Some(normalizer) = oracle.get_normalizer() {
        tokenizers::Normalizer::normalize(normalizer, &mut normal).unwrap();
    }
    normal.get().into()
}

/// Marks and punctuation that Unicode got after the library's tables for WordPiece, which take them for
/// letters.
fn is_newer(character: char) -> bool {
    matches!(character, '\u{61D}' | '\u{1ABF}'..='\u{1AFF}' | '\u{2E3F}'..='\u{2E5D}')
        || matches!(u32::from(character), 0x890..=0x8E1 | 0x10D00..=0x1CFFF | 0x1E000..=0x1EFFF)
}

#[test]
fn random_texts_have_the_tokens_of_hugging_face_and_come_back() {
    let strings = json(&fixture("strings.json"));
    let words = words(&strings);
    let rounds = std::env::var("MOTE_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut wrong: HashMap<String, Vec<String>> = HashMap::new();
    for Pair { name, file, mut oracle } in pairs() {
        let mut random = Random::new();
        let added = oracle.get_added_vocabulary().get_vocab().clone();
        let mut specials: Vec<&str> = added.keys().map(String::as_str).collect();
        specials.sort_unstable();
        // Those of WordPiece come back in another form.
        let is_complete = !name.starts_with("wordpiece");
        let wrong = wrong.entry(name).or_default();
        with_bytes(&file, |tokenizer| {
            // The first models of code have no token for some bytes: an error or the unknown token,
            // where Hugging Face's library leaves them out.
            let lacks = |&byte: &u8| match tokenizer.encode_to_vec(&[byte], PLAIN) {
                Ok(ids) => tokenizer.unknown().is_some_and(|unknown| ids == [unknown]),
                Err(_) => true,
            };
            let is_cut = tokenizer.pre_tokenizer().is_some();
            let missing: Vec<u8> = (0..=u8::MAX).filter(|_| is_cut).filter(lacks).collect();
            for _ in 0..rounds {
                let mut text = text(&mut random, &words, &specials);
                text.retain(|character| is_complete || !is_newer(character));
                if text.bytes().any(|byte| missing.contains(&byte)) {
                    continue;
                }
                for options in [TRUSTED, PLAIN] {
                    oracle.set_encode_special_tokens(!options.parse_special);
                    let expected = oracle.encode_fast(text.as_str(), false).unwrap();
                    let expected = expected.get_ids();
                    let found = tokenizer.encode_to_vec(text.as_bytes(), options).unwrap();
                    if found != expected {
                        wrong.push(format!("{text:?} {options:?}: {found:?}, not {expected:?}"));
                    }
                    let back = decode(tokenizer, &found, RAW);
                    if is_complete
                        && !options.parse_special
                        && back != normal(&oracle, tokenizer, &text).as_bytes()
                    {
                        let back = String::from_utf8_lossy(&back);
                        wrong.push(format!("{text:?} comes back as {back:?}"));
                    }
                }
            }
        });
    }
    wrong.retain(|_, wrong| !wrong.is_empty());
    for (name, wrong) in &wrong {
        let some: Vec<&str> = wrong.iter().take(5).map(String::as_str).collect();
        eprintln!("{name}: {} of {rounds}\n{}", wrong.len(), some.join("\n"));
    }
    assert!(wrong.is_empty(), "{:?} differ", wrong.keys());
}

/// Vocabularies of which there is no tokenizer.json.
#[test]
fn random_texts_come_back() {
    let strings = json(&fixture("strings.json"));
    let words = words(&strings);
    let fixtures = FIXTURES.map(|name| fixture(&format!("{name}.gguf")));
    let large = shared("tokenizers").map(|folder| {
        ["llama-spm", "phi-3"].map(|name| folder.join(format!("ggml-vocab-{name}.gguf")))
    });
    for path in fixtures.into_iter().chain(large.into_iter().flatten()) {
        let mut random = Random::new();
        with_file(&path, |tokenizer| {
            for _ in 0..ROUNDS / 4 {
                // A blank is put before what follows user-defined tokens.
                let has_blank = tokenizer.adds_space_prefix();
                let specials: &[&str] = if has_blank { &[] } else { &["<s>", "<|endoftext|>"] };
                let text = text(&mut random, &words, specials);
                let ids = tokenizer.encode_to_vec(text.as_bytes(), PLAIN).unwrap();
                let mut normal = NormalizedString::from(text.as_str());
                if path.ends_with("bpe_qwen2.gguf") {
                    normal.nfc();
                }
                let is_pieces = tokenizer.pre_tokenizer().is_none();
                let normal = normal.get();
                let normal = if is_pieces { normal.replace('▁', " ") } else { normal.into() };
                let back = decode(tokenizer, &ids, RAW);
                assert!(back == normal.as_bytes(), "{}: {text:?}", path.display());
            }
        });
    }
}
