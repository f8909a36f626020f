//! Damaged tokenizer files are refused with a sentence, and cost no more than their size.

use std::time::{Duration, Instant};

use mote_formats::hf::tokenizer::{MAX_PIECE_BYTES, ProtobufReason, Reason, TokenizerError};
use serde_json::{Value as Json, json};

use super::{Folder, edit, fixture, gguf, keys, read, read_as};

/// Rows of the byte-level fixture, and of the other one.
const BYTES_ROWS: usize = 640;
const PIECES_ROWS: usize = 800;

/// The reason for which the changed tokenizer.json of the byte-level fixture is refused.
#[track_caller]
fn refused(change: impl FnOnce(&mut Json)) -> Reason {
    let mut folder = fixture("bpe_llama3");
    edit(&mut folder, "tokenizer.json", change);
    reason_of(&folder)
}

#[track_caller]
fn reason_of(folder: &Folder) -> Reason {
    match read(folder, BYTES_ROWS) {
        Ok(_) => panic!("not refused"),
        Err(error) => sentence(error).reason().clone(),
    }
}

/// What is said fits a line or two.
fn sentence(error: TokenizerError) -> TokenizerError {
    let text = error.to_string();
    assert!(text.len() < 700 && !text.contains('\n'), "{text}");
    error
}

/// A folder with these files alone.
fn files<const N: usize>(files: [(&str, &[u8]); N]) -> Folder {
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect()
}

#[test]
fn case_297_merges_of_no_token() {
    let long = "x".repeat(100);
    for merge in [json!(["Ġ", long]), json!([long, "t"]), json!(["Ġthe", "Ġthe"])] {
        let reason = refused(|json| json["model"]["merges"][7] = merge);
        assert!(matches!(reason, Reason::MergeOfNoToken { index: 7, .. }), "{reason:?}");
    }
    for merge in [json!("Ġ"), json!("Ġ t h"), json!(""), json!(["", "t"])] {
        assert_eq!(refused(|json| json["model"]["merges"][7] = merge), Reason::MergeFields(7));
    }
    for merge in [json!(["Ġ"]), json!(["Ġ", "t", "h"]), json!(7), json!([7, "t"])] {
        let reason = refused(|json| json["model"]["merges"][7] = merge);
        assert!(matches!(reason, Reason::Json(_)), "{reason:?}");
    }
}

#[test]
fn case_298_templates_and_lengths_that_mean_nothing() {
    let template = "/post_processor/processors/1";
    let reason = refused(|json| {
        json.pointer_mut(template).unwrap()["special_tokens"] = json!({});
    });
    assert_eq!(reason, Reason::TemplateToken("<|begin_of_text|>".into()));
    let reason = refused(|json| {
        let tokens = &mut json.pointer_mut(template).unwrap()["special_tokens"];
        tokens["<|begin_of_text|>"]["ids"] = json!([640]);
    });
    assert_eq!(reason, Reason::TemplateToken("<|begin_of_text|>".into()));
    for (start, stop) in [(json!(2), json!(0)), (json!(1), json!(u64::MAX)), (json!(-1), json!(0))]
    {
        let strip = json!({"type": "Strip", "content": " ", "start": start, "stop": stop});
        assert_eq!(refused(|json| json["decoder"] = strip), Reason::Strip);
    }
    let fixed = json!({"type": "FixedLength", "length": 0});
    let reason = refused(|json| json["pre_tokenizer"]["pretokenizers"][0] = fixed);
    assert!(matches!(reason, Reason::PreTokenizer(rules) if rules.contains("FixedLength")));
    for stride in [4, 5, u64::MAX] {
        let truncation = json!({"max_length": 4, "stride": stride, "strategy": "LongestFirst"});
        assert_eq!(refused(|json| json["truncation"] = truncation), Reason::Truncation);
    }
}

#[test]
fn case_299_ids_that_stand_twice_or_nowhere() {
    let vocab = |change: fn(&mut Json)| refused(|json| change(&mut json["model"]["vocab"]));
    let reason = vocab(|vocab| vocab["!"] = json!(1));
    assert!(matches!(reason, Reason::DuplicateId { id: 1, .. }), "{reason:?}");
    // An id of the vocabulary is left out.
    let reason = vocab(|vocab| drop(vocab.as_object_mut().unwrap().remove("!")));
    assert_eq!(reason, Reason::Hole(0));
    let reason = vocab(|vocab| vocab["no such"] = json!(u32::MAX));
    let reason_is =
        Reason::IdOutOfRange { id: u64::from(u32::MAX), rows: BYTES_ROWS, text: "no such".into() };
    assert_eq!(reason, reason_is);
    for id in [json!(-1), json!(1_u64 << 32), json!(0.5), json!("0"), json!(null)] {
        let reason = refused(|json| json["model"]["vocab"]["!"] = id);
        assert!(matches!(reason, Reason::Json(_)), "{reason:?}");
    }
    assert_eq!(vocab(|vocab| *vocab = json!({})), Reason::Empty);
    // The same text twice, which a map of most libraries would not show.
    let text = String::from_utf8(fixture("bpe_llama3")["tokenizer.json"].clone()).unwrap();
    let twice = text.replacen("\"!\": 0", "\"!\": 0, \"!\": 1", 1);
    let twice = if twice == text { text.replacen("\"!\":0", "\"!\":0,\"!\":1", 1) } else { twice };
    assert_eq!(
        reason_of(&files([("tokenizer.json", twice.as_bytes())])),
        Reason::DuplicateText("!".into())
    );
    // Added tokens that contradict the vocabulary or each other.
    let reason = refused(|json| json["added_tokens"][0]["content"] = json!("!"));
    assert_eq!(reason, Reason::DuplicateText("!".into()));
    let reason = refused(|json| json["added_tokens"][0]["id"] = json!(5));
    assert!(matches!(reason, Reason::DuplicateId { id: 5, .. }), "{reason:?}");
    let reason = refused(|json| json["added_tokens"][0]["id"] = json!(636));
    assert!(matches!(reason, Reason::DuplicateId { id: 636, .. }), "{reason:?}");
}

#[test]
fn case_300_json_without_end_or_measure() {
    let start = Instant::now();
    let deep = |open: &str, n: usize| open.repeat(n).into_bytes();
    let nested = format!("{{\"normalizer\":{}", "[".repeat(100_000)).into_bytes();
    for bytes in [
        deep("[", 100_000),
        deep("[", 100_000_000),
        deep("{\"a\":", 100_000),
        nested,
        br#"{"model":{"vocab":{"a":1e999}}}"#.to_vec(),
        br#"{"model":{"vocab":{"a":-0}}}"#.to_vec(),
        format!(r#"{{"model":{{"vocab":{{"a":{}}}}}}}"#, "9".repeat(4_000)).into_bytes(),
        br#"{"model":{"vocab":{"\ud800":0}}}"#.to_vec(),
        b"{\"model\":{\"vocab\":{\"\xFF\":0}}}".to_vec(),
        br#"{"model":{"vocab":{"a":0}}} x"#.to_vec(),
        b"".to_vec(),
        b"[]".to_vec(),
    ] {
        for name in ["tokenizer.json", "tokenizer_config.json", "config.json"] {
            let mut folder = fixture("bpe_llama3");
            folder.insert(name.into(), bytes.clone());
            if name == "tokenizer.json" || bytes.first() != Some(&b'{') || bytes.len() > 200 {
                let reason = reason_of(&folder);
                assert!(matches!(reason, Reason::Json(_)), "{name}: {reason:?}");
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn case_301_expressions_are_never_run() {
    let expression = "(a+)+$".to_owned() + &"a".repeat(1 << 20);
    let split = json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated"});
    let reason = refused(|json| json["pre_tokenizer"]["pretokenizers"][0] = split);
    assert!(matches!(reason, Reason::PreTokenizer(rules) if rules.contains("(a+)+$")));
    let normalizer = json!({"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"});
    let reason = refused(|json| json["normalizer"] = normalizer);
    assert!(matches!(reason, Reason::Normalizer(rules) if rules.contains("(a+)+$")));
    // Who knows better names the rules.
    let mut folder = fixture("bpe_llama3");
    edit(&mut folder, "tokenizer.json", |json| json["pre_tokenizer"]["type"] = json!("Mine"));
    assert!(read(&folder, BYTES_ROWS).unwrap_err().is_unsupported());
    assert_eq!(read_as(&folder, BYTES_ROWS, Some("gpt-4o")).unwrap().pre(), "gpt-4o");
}

/// A field of a message: its number and kind, and what follows.
fn field(number: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[number << 3 | kind], rest].concat()
}

/// A field that is a message or a string.
fn nested(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut len = bytes.len();
    let mut rest = Vec::new();
    while len >= 0x80 {
        rest.push(len as u8 | 0x80);
        len >>= 7;
    }
    rest.push(len as u8);
    field(number, 2, &[&rest, bytes].concat())
}

fn piece(text: &str) -> Vec<u8> {
    nested(1, &nested(1, text.as_bytes()))
}

/// A model of byte-pair encoding that leaves texts as they are.
fn model(pieces: &[u8]) -> Vec<u8> {
    let trainer = nested(2, &field(3, 0, &[2]));
    [pieces, &trainer, &nested(3, &field(4, 0, &[0]))].concat()
}

#[track_caller]
fn model_refused(bytes: &[u8]) -> Reason {
    match read(&files([("tokenizer.model", bytes)]), 8) {
        Ok(_) => panic!("not refused"),
        Err(error) => sentence(error).reason().clone(),
    }
}

#[test]
fn case_302_protobuf_lengths_and_kinds() {
    let good = model(&[piece("a"), piece("b")].concat());
    assert_eq!(read(&files([("tokenizer.model", &good)]), 8).unwrap().len(), 8);
    let long = model(&piece(&"x".repeat(200_000)));
    let reason = model_refused(&long);
    assert_eq!(reason, Reason::TokenTooLong { id: 0, len: 200_000 });
    const { assert!(MAX_PIECE_BYTES < 200_000) };
    let what = |bytes: &[u8]| match model_refused(bytes) {
        Reason::Protobuf(error) => error.what,
        other => panic!("{other:?}"),
    };
    let eleven = [&[0xFF; 10][..], &[1]].concat();
    assert_eq!(what(&field(3, 0, &eleven)), ProtobufReason::Varint);
    assert_eq!(what(&field(3, 0, &[[0xFF; 9].as_slice(), &[2]].concat())), ProtobufReason::Varint);
    let huge = [&[0x80; 9][..], &[1]].concat();
    assert_eq!(what(&field(1, 2, &huge)), ProtobufReason::Length(1 << 63));
    assert_eq!(what(&field(1, 2, &[5, 0])), ProtobufReason::Length(5));
    assert_eq!(what(&nested(1, &field(1, 2, &[0xFF, 0xFF, 3]))), ProtobufReason::Length(0xFFFF));
    assert_eq!(what(&field(1, 3, &[])), ProtobufReason::WireType(3));
    assert_eq!(what(&field(1, 4, &[])), ProtobufReason::WireType(4));
    assert_eq!(what(&field(1, 7, &[])), ProtobufReason::WireType(7));
    assert_eq!(what(&field(0, 0, &[1])), ProtobufReason::FieldNumber(0));
    assert_eq!(what(&field(1, 0, &[1])), ProtobufReason::FieldType(1));
    assert_eq!(what(&nested(1, &field(2, 0, &[1]))), ProtobufReason::FieldType(2));
    assert_eq!(what(&nested(1, &field(3, 0, &[9]))), ProtobufReason::FieldType(3));
    assert_eq!(what(&nested(1, &field(2, 5, &[0, 0]))), ProtobufReason::Truncated);
    // Tables of characters, however damaged, are not read; more pieces than can be.
    let charsmap = [good.clone(), nested(3, &nested(2, &[0xFF; 64]))].concat();
    assert!(matches!(model_refused(&charsmap), Reason::Normalizer(_)));
    let many = piece("").repeat((1 << 20) + 1);
    assert_eq!(model_refused(&many), Reason::TooManyTokens((1 << 20) + 1));
    assert_eq!(model_refused(b""), Reason::Empty);
    let nan = nested(1, &field(2, 5, &f32::NAN.to_le_bytes()));
    assert_eq!(model_refused(&nan), Reason::Score(0));
    // The runtime would not open such a file.
    for text in ["x", "<0x0>", "<0x000>", "<0xGG>"] {
        let no_byte = nested(1, &[nested(1, text.as_bytes()), field(3, 0, &[6])].concat());
        assert!(matches!(model_refused(&model(&no_byte)), Reason::Unsupported(_)), "{text}");
    }
    let unigram = piece("a");
    assert_eq!(model_refused(&unigram), Reason::Unsupported("a vocabulary without unknown token"));
}

#[test]
fn case_303_text_files_from_other_systems() {
    let vocab = br#"{"a": 0, "b": 1, "ab": 2, "abb": 3, "<|endoftext|>": 4}"#;
    let plain = "#version: 0.2\na b\nab b\n";
    let converted = |merges: &str| {
        let folder = files([("vocab.json", vocab), ("merges.txt", merges.as_bytes())]);
        read(&folder, 6).map(|tokenizer| keys(&gguf(&tokenizer)))
    };
    let expected = converted(plain).unwrap();
    assert_eq!(expected["tokenizer.ggml.merges"], r#"["a b", "ab b"]"#);
    assert_eq!(expected["tokenizer.ggml.pre"], "Str(\"gpt-2\")");
    for merges in [
        "a b\nab b".to_owned(),
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{plain}"),
        plain.replace('\n', "\n\n"),
        plain.replace("a b", " a\tb "),
    ] {
        assert_eq!(converted(&merges).unwrap(), expected, "{merges:?}");
    }
    for (merges, line) in [("a b\nab\n", 2), ("#version: 0.2\r\n\r\na b b\r\n", 3), ("a\n", 1)] {
        let error = converted(merges).unwrap_err();
        assert_eq!(error.reason(), &Reason::MergeLine(line));
        assert!(error.to_string().starts_with(&format!("merges.txt: line {line} ")));
    }
    let folder = files([("vocab.json", vocab), ("merges.txt", b"a \xFF\n")]);
    assert_eq!(reason_of(&folder), Reason::NotUtf8(2));
    assert_eq!(reason_of(&files([("vocab.json", vocab)])), Reason::Missing("merges.txt"));
    assert_eq!(reason_of(&files([])), Reason::NoVocabulary);
}

/// An empty line is a token without text, whose place counts, as for Hugging Face; it is there once.
#[test]
fn case_303_a_vocabulary_of_lines() {
    let plain = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##b\n";
    let converted = |vocabulary: &str, rows| {
        let folder = files([("vocab.txt", vocabulary.as_bytes())]);
        read(&folder, rows).map(|tokenizer| keys(&gguf(&tokenizer)))
    };
    let expected = converted(plain, 8).unwrap();
    for vocabulary in [
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{plain}"),
        plain.trim_end().to_owned(),
        plain.replace('\n', " \n"),
    ] {
        assert_eq!(converted(&vocabulary, 8).unwrap(), expected, "{vocabulary:?}");
    }
    // A reader would take tokens 100 to 102 for them.
    for special in ["[UNK]", "[CLS]", "[SEP]"] {
        let other = converted(&plain.replace(special, "other"), 8).unwrap_err();
        assert!(matches!(other.reason(), Reason::Unsupported(_)), "{special}: {other}");
    }
    let spaced = converted(&plain.replace("a\n", "a\n\n"), 9).unwrap();
    assert_ne!(spaced["tokenizer.ggml.tokens"], expected["tokenizer.ggml.tokens"]);
    let twice = converted(&plain.replace('\n', "\n\n"), 16).unwrap_err();
    assert_eq!(twice.reason(), &Reason::DuplicateText("".into()));
}

/// What a folder says beyond its vocabulary: several templates, several ends, tokens without rows.
#[test]
fn settings_of_small_files() {
    let mut folder = fixture("bpe_llama3");
    edit(&mut folder, "tokenizer_config.json", |config| {
        config["chat_template"] = json!([
            {"name": "default", "template": "d"},
            {"name": "tool-use", "template": "t"},
        ]);
        config["eos_token"] = json!({"content": "<|eot_id|>", "lstrip": false});
    });
    edit(&mut folder, "tokenizer.json", |json| {
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.push(json!({"id": 640, "content": "<image>", "special": true}));
    });
    let ends = br#"{"eos_token_id": [636, 639, 638, 640], "pad_token_id": 637}"#;
    folder.insert("generation_config.json".into(), ends.to_vec());
    let keys = keys(&gguf(&read(&folder, BYTES_ROWS).unwrap()));
    let key = |name: &str| keys.get(&format!("tokenizer.{name}")).map(String::as_str);
    assert_eq!(key("chat_template"), Some("Str(\"d\")"));
    assert_eq!(key("chat_template.tool_use"), Some("Str(\"t\")"));
    assert_eq!(key("chat_templates"), Some("[\"tool_use\"]"));
    assert_eq!(key("ggml.eos_token_id"), Some("U32(639)"));
    assert_eq!(key("ggml.eot_token_id"), Some("U32(636)"));
    assert_eq!(key("ggml.eom_token_id"), Some("U32(638)"));
    assert_eq!(key("ggml.padding_token_id"), Some("U32(637)"));

    let mut folder = fixture("spm_gemma");
    folder.remove("tokenizer_config.json");
    folder.insert("chat_template.jinja".into(), b"from a file".to_vec());
    let keys = super::keys(&gguf(&read(&folder, PIECES_ROWS).unwrap()));
    assert_eq!(keys["tokenizer.chat_template"], "Str(\"from a file\")");
    assert_eq!(keys["tokenizer.chat_templates"], "[\"a\", \"tool_use\"]");
}
