//! Vocabularies and texts, by the kinds of vocabulary that a GGUF file may have.

use mote_formats::Gguf;
use mote_formats::gguf::Builder;
use mote_runtime::tokenizer::{
    DecodeOptions, Decoder, EncodeError, EncodeOptions, TokenKind, Tokenizer,
};

use super::input::Input;

/// Byte-level byte-pair encoding.
pub fn run_byte_level(bytes: &[u8]) {
    run(bytes, &["gpt2"]);
}

/// SentencePiece's byte-pair encoding, by scores and by merges.
pub fn run_pieces(bytes: &[u8]) {
    run(bytes, &["llama", "gemma4"]);
}

/// The rest: Unigram, WordPiece, RWKV's, words, bytes.
pub fn run_others(bytes: &[u8]) {
    run(bytes, &["t5", "bert", "rwkv", "words", "bytes"]);
}

/// Rules that cut words in ways of their own, of byte-level vocabularies. None of them normalizes a text.
const RULES: &[&str] = &["gpt-2", "llama-bpe", "default", "deepseek-v3", "gpt-4o", "starcoder"];
/// Rules that do.
const NORMALIZING: &[&str] = &["qwen2", "qwen35", "command-r", "olmo"];

/// What the first bytes choose.
struct Choice {
    /// The vocabulary has a token for each byte.
    has_bytes: bool,
    /// The text is the text that comes back, if all bytes have tokens.
    is_exact: bool,
    options: EncodeOptions,
}

fn run(bytes: &[u8], models: &[&'static str]) {
    let mut input = Input::new(bytes);
    let Some((file, choice)) = build(&mut input, models) else { return };
    let gguf = Gguf::parse(&file).expect("what a builder wrote");
    let Ok(needed) = Tokenizer::bytes_needed(&gguf) else { return };
    let mut memory = vec![0xa5; needed];
    let Ok(tokenizer) = Tokenizer::new(&gguf, &mut memory) else { return };
    let text = input.rest();
    let ids = encoded(&tokenizer, text, choice.options);
    for end in [text.len() / 2, text.len() / 3] {
        encoded(&tokenizer, &text[..end], choice.options);
    }
    check_decoding(&tokenizer, &ids.unwrap_or_default());
    let any: Vec<u32> = text.iter().map(|&byte| u32::from(byte) % tokenizer.len() as u32).collect();
    check_decoding(&tokenizer, &any);
    if choice.is_exact && choice.has_bytes && tokenizer.len() >= 256 {
        check_round_trip(&tokenizer, text);
    }
}

/// A text's ids, found twice alike and in memory that just does.
pub(super) fn encoded(
    tokenizer: &Tokenizer<'_>,
    text: &[u8],
    options: EncodeOptions,
) -> Option<Vec<u32>> {
    let ids = tokenizer.encode_to_vec(text, options);
    let mut scratch = vec![0; tokenizer.scratch_bytes(text.len())];
    let mut out = vec![0; ids.as_ref().map_or(0, Vec::len)];
    match (&ids, tokenizer.encode(text, options, &mut scratch, &mut out)) {
        (Ok(ids), Ok(n)) => assert_eq!((ids, n), (&out, out.len())),
        (Err(first), Err(EncodeError::OutputTooSmall { .. })) if out.is_empty() => {
            assert!(matches!(first, EncodeError::NoToken { .. }), "{first:?}");
        }
        (Err(first), Err(second)) => assert_eq!(*first, second),
        (first, second) => panic!("{first:?}, then {second:?}"),
    }
    let ids = ids.ok()?;
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.len()), "{ids:?}");
    Some(ids)
}

/// A decoder writes, token by token, what the bytes of all tokens are as text.
pub(super) fn check_decoding(tokenizer: &Tokenizer<'_>, ids: &[u32]) {
    for skip_special in [false, true] {
        let options = DecodeOptions { skip_special, text_start: true, raw: true };
        let raw = decoded(tokenizer, ids, options);
        let text = decoded(tokenizer, ids, DecodeOptions { raw: false, ..options });
        assert_eq!(String::from_utf8_lossy(&raw).as_bytes(), text, "{raw:x?}");
    }
    let mut alone = vec![0; tokenizer.max_token_bytes() + 1];
    for &id in ids {
        let len = tokenizer.token_bytes(id, &mut alone).expect("room for the longest token");
        assert!(len <= tokenizer.max_token_bytes(), "{len} bytes");
    }
}

fn decoded(tokenizer: &Tokenizer<'_>, ids: &[u32], options: DecodeOptions) -> Vec<u8> {
    let mut decoder = Decoder::new(tokenizer, options);
    let mut buffer = vec![0; decoder.max_text_bytes()];
    let mut text = Vec::new();
    for &id in ids {
        let len = decoder.push(id, &mut buffer).expect("room for the longest token");
        text.extend_from_slice(&buffer[..len]);
    }
    let len = decoder.finish(&mut buffer).expect("room for the longest token");
    text.extend_from_slice(&buffer[..len]);
    text
}

fn check_round_trip(tokenizer: &Tokenizer<'_>, text: &[u8]) {
    let plain = EncodeOptions { bos: false, eos: false, parse_special: false };
    let ids = tokenizer.encode_to_vec(text, plain).expect("every byte has a token");
    let options = DecodeOptions { skip_special: false, text_start: true, raw: true };
    let back = decoded(tokenizer, &ids, options);
    assert!(back == text, "{:?} became {:?}", text.escape_ascii().to_string(), ids);
}

/// A file of a vocabulary alone; what is left of the input is the text.
fn build(input: &mut Input<'_>, models: &[&'static str]) -> Option<(Vec<u8>, Choice)> {
    let model = *input.one_of(models);
    let flags = input.byte();
    let bit = |n: u8| flags >> n & 1 == 1;
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", model).ok()?;
    let has_bytes = bit(0);
    let mut is_exact = matches!(model, "gpt2" | "llama" | "gemma4" | "rwkv");
    if model == "gpt2" {
        let rules = if bit(5) { NORMALIZING } else { RULES };
        is_exact &= !bit(5);
        file.set("tokenizer.ggml.pre", *input.one_of(rules)).ok()?;
    }
    if bit(6) {
        file.set("tokenizer.ggml.add_space_prefix", bit(7)).ok()?;
    }
    let mut tokens = Tokens::default();
    if has_bytes || model == "bytes" {
        tokens.add_bytes(model);
    }
    tokens.read(input);
    tokens.write(&mut file, input)?;
    // Behind a token that is matched before anything else SentencePiece's vocabularies put a blank again.
    let prefix = if bit(6) { bit(7) } else { model == "llama" };
    is_exact &= !(prefix && tokens.types.contains(&USER_DEFINED));
    // SentencePiece writes a blank as a letter, which comes back as a blank; but not from tokens of its bytes.
    let blank = "\u{2581}".as_bytes();
    is_exact &= !input.clone().rest().windows(3).any(|it| it == blank);
    is_exact &= matches!(model, "gpt2" | "rwkv") || tokens.has(blank);
    let options = EncodeOptions { bos: bit(2), eos: bit(3), parse_special: bit(4) };
    let file = file.write_index(Vec::new()).ok()?.finish().ok()?;
    Some((file, Choice { has_bytes, is_exact, options }))
}

/// The number of a kind of tokens in files.
const fn number(kind: TokenKind) -> i32 {
    kind as i32 + 1
}

const USER_DEFINED: i32 = number(TokenKind::UserDefined);

/// A vocabulary in the making.
#[derive(Default)]
struct Tokens {
    texts: Vec<Vec<u8>>,
    types: Vec<i32>,
    scores: Vec<f32>,
}

impl Tokens {
    fn push(&mut self, text: Vec<u8>, kind: TokenKind, score: f32) {
        self.texts.push(text);
        self.types.push(number(kind));
        self.scores.push(score);
    }

    /// Whether a text is an ordinary token.
    fn has(&self, text: &[u8]) -> bool {
        let normal = number(TokenKind::Normal);
        self.texts.iter().zip(&self.types).any(|(it, kind)| it == text && *kind == normal)
    }

    /// A token for every byte, as this kind of vocabulary spells it.
    fn add_bytes(&mut self, model: &str) {
        for byte in 0..=255_u8 {
            match model {
                "gpt2" => {
                    let letter = alphabet(byte).to_string();
                    self.push(letter.into(), TokenKind::Normal, 0.0);
                }
                "rwkv" => {
                    let text = format!("\\x{byte:02x}");
                    self.push(text.into(), TokenKind::Normal, 0.0);
                }
                "words" | "bytes" => self.push(vec![byte], TokenKind::Normal, 0.0),
                _ => self.push(format!("<0x{byte:02X}>").into(), TokenKind::Byte, -1e4),
            }
        }
    }

    /// The tokens of the input.
    fn read(&mut self, input: &mut Input<'_>) {
        for _ in 0..input.byte() {
            if input.is_empty() {
                break;
            }
            let kind = match input.byte() % 16 {
                0 => TokenKind::Unknown,
                1 => TokenKind::Control,
                2 => TokenKind::UserDefined,
                3 => TokenKind::Unused,
                _ => TokenKind::Normal,
            };
            let score = f32::from(input.byte() as i8) / 4.0;
            self.push(input.string().to_vec(), kind, score);
        }
    }

    /// All keys, and the merges of the input: two tokens each, by their places.
    fn write(&self, file: &mut Builder, input: &mut Input<'_>) -> Option<()> {
        file.set_strings("tokenizer.ggml.tokens", &self.texts).ok()?;
        file.set_array("tokenizer.ggml.token_type", &self.types).ok()?;
        file.set_array("tokenizer.ggml.scores", &self.scores).ok()?;
        let mut merges = Vec::new();
        for _ in 0..input.byte() {
            if self.texts.is_empty() || input.is_empty() {
                break;
            }
            let [left, right] = [(); 2].map(|()| &self.texts[input.below(self.texts.len())]);
            merges.push([left, &b" "[..], right].concat());
        }
        file.set_strings("tokenizer.ggml.merges", &merges).ok()?;
        for name in ["bos", "eos", "unknown"] {
            if let id @ 1.. = input.byte() {
                file.set(&format!("tokenizer.ggml.{name}_token_id"), u32::from(id) - 1).ok()?;
            }
        }
        Some(())
    }
}

/// The letter by which byte-level vocabularies write a byte (GPT-2's `bytes_to_unicode`).
fn alphabet(byte: u8) -> char {
    let is_printed = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_printed(byte) {
        return byte.into();
    }
    let others = (0..byte).filter(|&byte| !is_printed(byte)).count() as u32;
    char::from_u32(256 + others).unwrap_or_default()
}
