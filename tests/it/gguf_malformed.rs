//! A malformed GGUF file is refused, a valid one accepted, and none takes the process down: the
//! corpus of tests/fixtures/malformed, and the whole of it where it lies beside the repository.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mote_formats::gguf::Builder;
use mote_formats::{Gguf, Mapping};

/// No file may take longer, in any build.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// What mote makes of a file: the sentence it refuses it with, or nothing.
fn outcome(bytes: &[u8]) -> Result<(), String> {
    match Gguf::parse(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Cases to be refused whose container is sound, so that `outcome` cannot see what is wrong.
#[rustfmt::skip]
const SOUND_CONTAINERS: &[&str] = &[
    // header
    "hdr_n_tensors_minus_1_req", "hdr_nothing_inside",
    // kv
    "kv_arch_type", "kv_arch_array", "kv_arch_unknown", "kv_arch_format", "kv_arch_1m",
    // tensor
    "ti_rank_3", "ti_embd_31_rows", "ti_embd_33_rows", "ti_norm_16", "ti_type_norm_f16",
    "ti_rope_freqs_2", "ti_missing_q", "ti_missing_embd", "ti_missing_norm",
    // hparams
    "hp_layers_0", "hp_layers_2", "hp_layers_max", "hp_embd_64", "hp_embd_max", "hp_heads_0",
    "hp_heads_33", "hp_heads_max", "hp_kv_heads_3", "hp_kv_heads_max", "hp_ff_0", "hp_ff_max",
    "hp_ctx_0", "hp_rope_7", "hp_rope_base_0", "hp_rope_base_neg", "hp_rope_base_nan", "hp_eps_neg",
    "hp_eps_str", "hp_heads_i32_neg", "hp_heads_arr_0", "hp_heads_arr_str", "hp_heads_arr_600",
    "hp_heads_missing", "hp_embd_missing", "hp_layers_missing", "hp_eps_missing", "hp_vocab_max",
    "hp_experts_8", "hp_experts_used_9", "hp_experts_max", "hp_rope_scaling_type", "hp_key_len_0",
    "hp_key_len_16", "hp_key_len_max",
    // tokenizer
    "tk_model_missing", "tk_model_unknown", "tk_model_type", "tk_tokens_missing", "tk_tokens_u32",
    "tk_tokens_str", "tk_tokens_31", "tk_tokens_33", "tk_scores_31", "tk_scores_str",
    "tk_scores_missing", "tk_types_31", "tk_types_u8", "tk_types_99", "tk_empty_token",
    "tk_all_empty", "tk_byte_short", "tk_byte_empty", "tk_bos_max", "tk_bos_str", "tk_pad_max",
    "tk_add_bos_str", "tk_bpe_no_merges", "tk_bpe_merges_u32", "tk_bpe_merge_no_space",
    "tk_bpe_merge_empty", "tk_bpe_merge_long", "tk_bpe_merge_spaces", "tk_charsmap_size",
    "tk_bert_defaults", "tk_rwkv_escape",
];

/// A file and what should become of it.
struct Case {
    id: String,
    what: String,
    accept: bool,
    bytes: Vec<u8>,
}

#[test]
fn every_fixture_gets_its_outcome() {
    let cases: Vec<Case> = fixtures().into_values().collect();
    assert!(cases.len() >= 181, "{} cases", cases.len());
    assert_outcomes(&cases);
}

#[test]
fn every_file_of_the_shared_corpus_gets_its_outcome() {
    let Some(folder) = shared("malformed") else { return };
    let mut cases = Vec::new();
    for record in records(&folder.join("manifest.json")) {
        let bytes = Mapping::open(folder.join(field(&record, "file"))).unwrap();
        cases.push(Case::new(&record, bytes.to_vec()));
    }
    assert!(cases.len() >= 183, "{} cases", cases.len());
    assert_outcomes(&cases);
    let fixtures = fixtures();
    for case in &cases {
        if let Some(fixture) = fixtures.get(&case.id) {
            assert!(fixture.bytes == case.bytes, "{}: another file is in the fixtures", case.id);
        }
    }
}

/// Goal 5 of the robustness plan: each byte of the metadata set to what breaks readers, and each
/// length of the file. What is accepted can be written again with the same meaning.
#[test]
fn every_changed_byte_and_every_length_is_survived() {
    let whole = fs::read(fixture_folder().join("ok_baseline.gguf")).unwrap();
    let index_bytes = Gguf::parse(&whole).unwrap().index_bytes();
    let mut bytes = whole.clone();
    for at in 0..index_bytes {
        let old = whole[at];
        let flips = (0..8).map(|bit| old ^ (1 << bit));
        let values = [0, 0x7F, 0x80, 0xFF, old.wrapping_add(1), old.wrapping_sub(1)];
        for new in flips.chain(values) {
            bytes[at] = new;
            if let Ok(gguf) = Gguf::parse(&bytes) {
                let again = Builder::copy_of(&gguf).unwrap();
                let again = again.write_index(Vec::new()).unwrap();
                assert_eq!(again.left() > 0, gguf.n_tensors() > 0, "byte {at} = {new}");
            }
        }
        bytes[at] = old;
    }
    for len in 0..whole.len() {
        assert!(Gguf::parse(&whole[..len]).is_err(), "{len} bytes");
    }
}

/// Says of all cases at once what is wrong.
fn assert_outcomes(cases: &[Case]) {
    let mut failures = Vec::new();
    for case in cases {
        let start = Instant::now();
        let outcome = panic::catch_unwind(|| outcome(&case.bytes));
        let took = start.elapsed();
        let expected = case.accept || SOUND_CONTAINERS.contains(&case.id.as_str());
        let Case { id, what, .. } = case;
        match outcome {
            Err(_) => failures.push(format!("{id}: panicked ({what})")),
            Ok(Ok(())) if !expected => failures.push(format!("{id}: accepted ({what})")),
            Ok(Err(error)) if expected => {
                failures.push(format!("{id}: refused with \"{error}\" ({what})"));
            }
            Ok(_) if took > TIME_LIMIT => failures.push(format!("{id}: took {took:?} ({what})")),
            Ok(_) => {}
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// The cases of the repository by id, made by their recipes.
fn fixtures() -> BTreeMap<String, Case> {
    let folder = fixture_folder();
    let baseline = fs::read(folder.join("ok_baseline.gguf")).unwrap();
    let mut cases = BTreeMap::new();
    for record in records(&folder.join("manifest.json")) {
        let bytes = follow(&field(&record, "recipe"), &baseline);
        assert_eq!(bytes.len().to_string(), field(&record, "bytes"));
        let case = Case::new(&record, bytes);
        cases.insert(case.id.clone(), case);
    }
    cases
}

impl Case {
    fn new(record: &str, bytes: Vec<u8>) -> Self {
        let accept = match field(record, "expected").as_str() {
            "accept" => true,
            "reject" => false,
            other => panic!("expected: {other}"),
        };
        Case { id: field(record, "id"), what: field(record, "what"), accept, bytes }
    }
}

/// The bytes of a recipe; its language is told in the fixtures' README.
fn follow(recipe: &str, baseline: &[u8]) -> Vec<u8> {
    let number = |text: &str| text.parse::<usize>().unwrap();
    let mut bytes = Vec::new();
    for piece in recipe.split_whitespace() {
        if let Some(hex) = piece.strip_prefix(':') {
            bytes.extend(unhex(hex));
        } else if let Some((at, len)) = piece.split_once('+') {
            bytes.extend(&baseline[number(at)..][..number(len)]);
        } else {
            let (hex, times) = piece.split_once('*').unwrap();
            bytes.extend(unhex(hex).repeat(number(times)));
        }
    }
    bytes
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The texts of a manifest's cases. Each begins with its id.
fn records(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap();
    text.split("\"id\":").skip(1).map(|rest| format!("\"id\":{rest}")).collect()
}

/// A field of a manifest's case: a string without escapes, a number, or a bool.
fn field(record: &str, name: &str) -> String {
    let marker = format!("\"{name}\":");
    let (_, rest) = record.split_once(&marker).unwrap_or_else(|| panic!("no {name} in {record}"));
    let rest = rest.trim_start();
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next().unwrap_or_default().to_string(),
        None => rest.split([',', '\n', '}']).next().unwrap_or_default().trim().to_string(),
    }
}

fn fixture_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/malformed")
}

/// A folder of the large sets beside the repository, or `None` without them. CI demands them.
fn shared(name: &str) -> Option<PathBuf> {
    let root = env::var_os("MOTE_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let folder = root.join(name);
    let required = env::var_os("MOTE_REQUIRE_SHARED").is_some_and(|value| value == "1");
    assert!(folder.is_dir() || !required, "{} is missing", folder.display());
    folder.is_dir().then_some(folder)
}
