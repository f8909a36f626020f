//! Every byte of a file changed in fourteen ways, and every length of it: an error, or a file that is then
//! used. (GGUF files of models with layers: gguf_malformed.rs.)

use std::fs;
use std::path::Path;

use mote_formats::Gguf;
use mote_formats::ngram::Trie;
use mote_formats::safetensors::Header;
use mote_kernels::{CacheType, arch};
use mote_runtime::executor::Serial;
use mote_runtime::{
    AnyModel, AnySession, LanguageModel, Model, NgramModel, NgramSession, Options, Origin,
    Precision, sample,
};
use mote_tests::checkpoint::{self, Checkpoint, safetensors};
use mote_tests::models::{fixture, llama};
use mote_tests::ngram::{Words, convert, convert_to};
use mote_tests::ngrams::ngram;
use mote_tests::speak::Run;
use mote_tests::sweep::{changed, cut};

use serde_json::json;

use crate::convert_tokenizer::{Folder, edit, gguf, read};
use crate::ngram_arpa_malformed::BASE;
use crate::ngram_gguf_malformed::ask;
use crate::save::resealed;
use crate::tokenizer::{
    PLAIN, TRUSTED, WITH_SPECIAL, WITHOUT_SPECIAL, decode, try_with_bytes, with_bytes,
};

// ---- Tokenizers

/// A tokenizer that is read is written, opened, and makes tokens of a text and texts of all tokens.
fn use_tokenizer(folder: &Folder, rows: usize) -> bool {
    let Ok(tokenizer) = read(folder, rows) else { return false };
    let text = "ab <s>\u{e9}\u{1f600}ab[CLS]abc Unknown\n".as_bytes();
    with_bytes(&gguf(&tokenizer), |tokenizer| {
        assert_eq!(tokenizer.len(), rows);
        for options in [PLAIN, TRUSTED, tokenizer.default_options()] {
            // A vocabulary may have no token for a letter.
            let ids = tokenizer.encode_to_vec(text, options).unwrap_or_default();
            assert!(ids.iter().all(|&id| (id as usize) < rows));
            decode(tokenizer, &ids, WITHOUT_SPECIAL);
        }
        let all: Vec<u32> = (0..rows as u32).collect();
        decode(tokenizer, &all, WITH_SPECIAL);
    });
    true
}

/// Sweeps one file of a folder.
fn sweep_tokenizer(mut folder: Folder, name: &str, rows: usize) {
    let whole = folder[name].clone();
    read(&folder, rows).unwrap();
    let mut accepted = 0;
    let files = changed(&whole, 0..whole.len(), b"\"\\}]0", |_, bytes| {
        folder.insert(name.into(), bytes.to_vec());
        accepted += usize::from(use_tokenizer(&folder, rows));
    });
    assert!(accepted > 0 && accepted < files, "{accepted} of {files} {name}");
    cut(&whole, |bytes| {
        folder.insert(name.into(), bytes.to_vec());
        use_tokenizer(&folder, rows);
    });
}

fn tokenizer_files(folder: &str) -> Folder {
    crate::convert_tokenizer::folder(
        &mote_tests::shared::root().join("tests/fixtures").join(folder),
    )
}

/// The file without blanks, whose bytes say nothing.
fn minified(folder: &mut Folder, name: &str) {
    edit(folder, name, |_| ());
}

#[test]
fn a_tokenizer_of_pieces() {
    let mut folder = tokenizer_files("checkpoint");
    minified(&mut folder, "tokenizer.json");
    sweep_tokenizer(folder.clone(), "tokenizer.json", 32);
    sweep_tokenizer(folder, "tokenizer_config.json", 32);
}

#[test]
fn a_tokenizer_of_words() {
    sweep_tokenizer(tokenizer_files("bert"), "tokenizer.json", 99);
}

/// The rules of Llama 3 over a vocabulary of seven tokens.
#[test]
fn a_tokenizer_of_bytes() {
    let mut folder = tokenizer_files("tokenizer/bpe_llama3");
    edit(&mut folder, "tokenizer.json", |json| {
        json["model"]["vocab"] = json!({ "a": 0, "b": 1, "\u{120}": 2, "ab": 3, "\u{120}ab": 4 });
        json["model"]["merges"] = json!([["a", "b"], ["\u{120}", "ab"]]);
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.truncate(2);
        (0..).zip(added).for_each(|(i, token)| token["id"] = json!(5 + i));
        let begin = "/post_processor/processors/1/special_tokens/<|begin_of_text|>/ids";
        *json.pointer_mut(begin).unwrap() = json!([5]);
    });
    folder.remove("tokenizer_config.json");
    sweep_tokenizer(folder, "tokenizer.json", 7);
}

/// SentencePiece's file: three pieces with bytes, and the rules of Llama.
#[test]
fn a_tokenizer_in_protobuf() {
    let pieces = [piece("<unk>", Some(2)), piece("<s>", Some(3)), piece("ab", None)];
    let bytes = (0..3).map(|byte| piece(&format!("<0x{byte:02X}>"), Some(6)));
    // Byte-pair encoding, and unknown characters as bytes: fields 3 and 35.
    let trainer = message(2, &[3 << 3, 2, 0x98, 2, 1]);
    let normalizer = message(3, &[3 << 3, 1, 4 << 3, 0]);
    let file = [pieces.concat(), bytes.collect::<Vec<_>>().concat(), trainer, normalizer].concat();
    sweep_tokenizer(Folder::from([("tokenizer.model".to_owned(), file)]), "tokenizer.model", 6);
}

/// Vocabularies of lines, alone and with merges beside them.
#[test]
fn tokenizers_of_lines() {
    let folder = |files: &[(&str, &str)]| -> Folder {
        files.iter().map(|(name, text)| ((*name).into(), text.as_bytes().to_vec())).collect()
    };
    let words = folder(&[("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nab\n##c\n")]);
    sweep_tokenizer(words, "vocab.txt", 7);
    let merged = folder(&[
        ("vocab.json", r#"{"a":0,"b":1,"ab":2,"abb":3,"<|endoftext|>":4}"#),
        ("merges.txt", "#version: 0.2\na b\nab b\n"),
        ("tokenizer_config.json", r#"{"add_bos_token":false,"eos_token":"<|endoftext|>"}"#),
    ]);
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        sweep_tokenizer(merged.clone(), name, 6);
    }
}

/// A piece with a score and its type.
fn piece(text: &str, kind: Option<u8>) -> Vec<u8> {
    let score = [&[2 << 3 | 5][..], &(-1.5_f32).to_le_bytes()].concat();
    let kind = kind.map_or_else(Vec::new, |kind| vec![3 << 3, kind]);
    message(1, &[message(1, text.as_bytes()), score, kind].concat())
}

/// A field of less than 128 bytes.
fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

/// The map of characters in a file: SentencePiece's double array, of which every unit may lead anywhere.
#[test]
fn a_map_of_characters() {
    let whole = fixture("tokenizer/unigram.gguf");
    let gguf = Gguf::parse(&whole).unwrap();
    let map = gguf.get("tokenizer.ggml.precompiled_charsmap").and_then(|map| map.as_array());
    let map = map.unwrap().bytes();
    let start = whole.windows(map.len()).position(|bytes| bytes == map).unwrap();
    let text = "a \u{fb01} e\u{301} \u{ff21}\u{fdfa} \u{2460}".repeat(3);
    let mut used = 0;
    changed(&whole, start..start + map.len(), &[], |_, file| {
        let found = try_with_bytes(file, |tokenizer| {
            let ids = tokenizer.encode_to_vec(text.as_bytes(), PLAIN).unwrap();
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.len()));
        });
        used += usize::from(found.is_ok());
    });
    assert!(used > 1000, "{used}");
}

// ---- Checkpoints

/// Of a file that is accepted, every tensor lies in it.
fn header_is_sound(bytes: &[u8], file_bytes: u64) -> bool {
    let Ok(header) = Header::parse(bytes, file_bytes) else { return false };
    let mut data = 0;
    for tensor in header.tensors() {
        assert!(header.data_at() + tensor.offset() + tensor.data_bytes() <= file_bytes);
        let elements: u64 = tensor.shape().iter().product();
        assert_eq!(elements * tensor.dtype().bytes(), tensor.data_bytes());
        data += tensor.data_bytes();
    }
    assert_eq!(header.data_at() + data, file_bytes);
    true
}

fn sweep_header(file: &[u8]) {
    let (file_bytes, data_at) =
        (file.len() as u64, Header::parse(file, file.len() as u64).unwrap());
    let header = &file[..data_at.data_at() as usize];
    let mut accepted = 0;
    changed(header, 0..header.len(), b"\"}9 -", |_, bytes| {
        accepted += usize::from(header_is_sound(bytes, file_bytes));
    });
    assert!(accepted > 20, "{accepted}");
    for len in 0..file.len() {
        assert!(Header::parse(&file[..len], len as u64).is_err(), "{len} bytes");
    }
}

#[test]
fn a_header_of_safetensors() {
    sweep_header(&fs::read(checkpoint::fixture().join("model.safetensors")).unwrap());
    let tensor = |begin: u64| {
        let end = begin + 8;
        format!(r#"{{"dtype":"F16","shape":[2,2],"data_offsets":[{begin},{end}]}}"#)
    };
    let header = format!(r#"{{"__metadata__":{{"a":"b"}},"s":{},"t":{}}}"#, tensor(0), tensor(8));
    sweep_header(&safetensors(header.as_bytes(), &[0; 16]));
}

/// A conversion fails with a sentence, or makes a model.
#[test]
fn a_configuration() {
    let checkpoint = Checkpoint::new("sweep");
    let path = checkpoint.path("config.json");
    let json = mote_tests::shared::json(&path);
    let whole = serde_json::to_vec(&json).unwrap();
    // What is written is synced, for which memory is quicker than a disk.
    let memory = Path::new("/dev/shm");
    let output = format!("mote-sweep-{}.gguf", std::process::id());
    let output = if memory.is_dir() { memory.join(output) } else { checkpoint.path(&output) };
    let convert = |bytes: &[u8]| {
        // A new file: of one that is cut short and written again, some systems sync the data.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let args = ["convert", checkpoint.arg(), "-o", output.to_str().unwrap(), "--force"];
        let outcome = crate::cli::mote(&args);
        if outcome.code() != 0 {
            // Unsupported, or damaged.
            assert!([3, 4].contains(&outcome.code()), "{}", outcome.errors());
            assert!(!output.exists());
            return false;
        }
        let file = fs::read(&output).unwrap();
        fs::remove_file(&output).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
        Model::new(&gguf, &mut tables).unwrap();
        true
    };
    assert!(convert(&whole));
    let mut accepted = 0;
    changed(&whole, 0..whole.len(), &[], |_, bytes| accepted += usize::from(convert(bytes)));
    assert!(accepted > 100, "{accepted}");
    cut(&whole, |bytes| assert!(!convert(bytes)));
}

// ---- n-grams

/// A text that is converted is a model that answers.
fn answers(text: &[u8]) -> bool {
    let Ok(file) = convert(text) else { return false };
    let gguf = Gguf::parse(&file).unwrap();
    let words = Words::new(&gguf);
    assert!(words.scores(&["a", "b", "</s>", "zebra"]).iter().all(|score| score.is_finite()));
    true
}

#[test]
fn an_arpa_text() {
    let whole = BASE.as_bytes();
    let mut accepted = 0;
    changed(whole, 0..whole.len(), b"\t\n\r -.09\\e", |_, text| {
        accepted += usize::from(answers(text));
    });
    // Most are refused.
    assert!((100..3500).contains(&accepted), "{accepted}");
    cut(whole, |text| {
        answers(text);
    });
}

/// What anybody does with a file: opens it as a model, whose checksum must be right, and lets it write.
fn write_eight_tokens(gguf: &Gguf<'_>) -> bool {
    let Ok(needed) = AnyModel::bytes_needed(gguf) else { return false };
    assert!(needed < 1 << 20, "{needed} bytes of tables");
    let mut tables = vec![0; needed];
    let Ok(model) = AnyModel::new(gguf, &mut tables) else { return false };
    let options = Options { n_ctx: 8, ..Options::default() };
    let mut memory = vec![0; AnySession::plan(&model, &options).unwrap().total_bytes];
    let session = AnySession::new(&model, &options, arch::best(), &Serial, &mut memory);
    let mut session = session.unwrap();
    let session = session.as_model_mut();
    for id in 0..8 {
        session.feed(&[id % session.n_vocab() as u32]).unwrap();
        let logits = session.logits().unwrap();
        assert!(logits.iter().all(|logit| logit.is_finite()), "{logits:?}");
    }
    true
}

/// The tiny model with an index.
fn indexed() -> Vec<u8> {
    let arpa = mote_tests::shared::root().join("tests/fixtures/ngram/tiny/lmplz.order3.arpa");
    let output = crate::cli::folder("sweep-index").join("indexed.gguf");
    let [from, to] = [&arpa, &output].map(|path| crate::cli::text(path));
    crate::cli::mote(&["ngram", "convert", from, "-o", to, "--index", "--force"]).text();
    fs::read(output).unwrap()
}

/// Beside that, whoever does not look at the checksum is given answers, too.
#[test]
fn files_of_n_gram_models() {
    let text = fixture("ngram/tiny/lmplz.order3.arpa");
    for whole in [convert_to(&text, 32).unwrap(), convert_to(&text, 8).unwrap(), indexed()] {
        let (mut opened, mut written) = (0, 0);
        changed(&whole, 0..whole.len(), &[1], |_, file| {
            let Ok(gguf) = Gguf::parse(file) else { return };
            written += usize::from(write_eight_tokens(&gguf));
            let Ok(trie) = Trie::new(&gguf) else { return };
            ask(&trie);
            opened += 1;
        });
        assert!(opened > 10_000 && written > 1_000, "{opened} opened, {written} wrote");
        // Behind the last tensor nothing is missed.
        let last = Gguf::parse(&whole).unwrap().tensors().last().unwrap();
        cut(&whole[..last.offset() + last.data().len()], |file| {
            assert!(Gguf::parse(file).ok().is_none_or(|gguf| Trie::new(&gguf).is_err()));
        });
    }
}

// ---- Saved sessions

fn saved(session: &mut dyn LanguageModel<'_>) -> Vec<u8> {
    let mut bytes = vec![0; session.saved_bytes().unwrap()];
    assert_eq!(session.save(&mut bytes), Ok(bytes.len()));
    bytes
}

/// Goes on by a token, and back again. Logits need not be numbers, of a state that somebody made up.
fn go_on(session: &mut dyn LanguageModel<'_>) -> Vec<u32> {
    let position = session.position();
    assert_eq!(session.recall(&mut || true), Ok(position > 0));
    assert_eq!(session.feed_with(&[5], Origin::Prompt, &mut |_| true), Ok(1));
    let greedy = sample::Options { temperature: 0.0, ..sample::Options::default() };
    let logits: Vec<u32> = session.logits().unwrap().iter().map(|logit| logit.to_bits()).collect();
    let (kernels, n_vocab) = (session.kernels(), session.n_vocab());
    if let Ok(id) = sample::pick(kernels, &greedy, session.logits().unwrap(), &[], &mut []) {
        assert!((id as usize) < n_vocab);
    }
    session.rewind(position);
    logits
}

/// Damaged bytes are an error, after which the session is what it was. With the checksum of the damaged bytes
/// they may be accepted, and the session goes on.
fn sweep_session(session: &mut dyn LanguageModel<'_>) {
    session.feed_with(&[3, 9], Origin::Prompt, &mut |_| true).unwrap();
    let whole = saved(session);
    session.rewind(0);
    session.feed_with(&[4, 6, 8], Origin::Prompt, &mut |_| true).unwrap();
    let (before, expected) = (saved(session), go_on(session));
    let mut files = 0;
    let mut refuse = |bytes: &[u8]| {
        assert!(session.restore(bytes).is_err());
        assert_eq!(session.tokens(), [4, 6, 8]);
        files += 1;
        if files % 500 == 0 {
            assert_eq!(go_on(session), expected);
        }
    };
    changed(&whole, 0..whole.len(), &[], |_, bytes| refuse(bytes));
    cut(&whole, refuse);
    assert!(saved(session) == before);

    // All of the header and the tokens; of the numbers behind them, some.
    let head = whole.len().min(80);
    let mut accepted = 0;
    changed(&whole, (0..head).chain((head..whole.len() - 8).step_by(7)), &[], |_, bytes| {
        let held = session.tokens().to_vec();
        match session.restore(&resealed(bytes.to_vec())) {
            Err(_) => assert_eq!(session.tokens(), held),
            Ok(()) => {
                accepted += 1;
                go_on(session);
            }
        }
    });
    assert!(accepted > 10, "{accepted}");
    session.restore(&before).unwrap();
    assert_eq!(go_on(session), expected);
}

fn sweep_session_of(name: &str, cache: CacheType) {
    let run = Run { precision: Precision::Mixed, cache, batch: 4, ..Run::default() };
    run.session(&fixture(&format!("models/{name}.gguf")), 16, |session| sweep_session(session));
}

#[test]
fn saved_sessions_of_attention() {
    sweep_session_of("gemma3", CacheType::F16);
}

#[test]
fn saved_sessions_of_recurrent_layers() {
    sweep_session_of("mamba", CacheType::F32);
}

#[test]
fn saved_sessions_of_n_grams() {
    let text: Vec<u32> = (0..400_u32).map(|i| (i * i / 3 + i * 7 % 11) % 29 + 3).collect();
    let file = ngram(&llama(), &text, 3);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let model = NgramModel::new(&gguf, &mut tables).unwrap();
    let mut memory = vec![0xff; NgramSession::plan(&model, 16).unwrap().total_bytes];
    sweep_session(&mut NgramSession::new(&model, 16, arch::best(), &mut memory).unwrap());
}
