//! A malformed GGUF file is refused, a valid one accepted, and none takes the process down: the
//! corpus of tests/fixtures/malformed, and the whole of it where it lies beside the repository.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mote_formats::gguf::{Builder, Tensor};
use mote_formats::{Gguf, Mapping};
use mote_runtime::executor::Serial;
use mote_runtime::{Model, Options, Session, SessionError, sample};
use mote_tests::sweep::{changed, cut};

/// No file may take longer, in any build.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// Beside the file's own bytes.
const MEMORY_LIMIT: usize = 64 << 20;

/// Cases that the manifest would have refused, and that mote accepts: where the outcome is not
/// demanded. An empty text is never looked up, and vocabularies have been seen with unused entries.
const ACCEPTED: &[&str] = &["tk_empty_token"];

/// What mote makes of a file: the sentence it refuses it with, or else what running it comes to.
fn outcome(bytes: &[u8]) -> Result<Result<(), SessionError>, String> {
    let gguf = Gguf::parse(bytes).map_err(|error| error.to_string())?;
    let needed = Model::bytes_needed(&gguf).map_err(|error| error.to_string())?;
    assert!(needed <= bytes.len() + MEMORY_LIMIT, "{needed} bytes of tables");
    let mut tables = vec![0; needed];
    let model = Model::new(&gguf, &mut tables).map_err(|error| error.to_string())?;
    Ok(run(&model))
}

/// A few tokens, whatever the weights are.
fn run(model: &Model<'_>) -> Result<(), SessionError> {
    const TOKENS: usize = 8;
    let n_ctx = TOKENS.min(model.config().n_ctx_train);
    let options = Options { n_ctx, batch: 3, ..Options::default() };
    let plan = Session::plan(model, &options).unwrap();
    assert!(plan.total_bytes <= MEMORY_LIMIT, "{} bytes of session", plan.total_bytes);
    let mut memory = vec![0; plan.total_bytes];
    let kernels = mote_kernels::arch::best();
    let mut session = Session::new(model, &options, kernels, &Serial, &mut memory).unwrap();
    let n_vocab = model.config().n_vocab as u32;
    let ids: Vec<u32> = (0..n_ctx as u32).map(|i| i * 5 % n_vocab).collect();
    session.feed(&ids).unwrap();
    let greedy = sample::Options { temperature: 0.0, ..sample::Options::default() };
    let id = sample::pick(kernels, &greedy, session.logits().unwrap(), &ids, &mut [])?;
    assert!(id < n_vocab);
    Ok(())
}

/// A file and what should become of it.
struct Case {
    id: String,
    what: String,
    accept: bool,
    /// What running it comes to: ok, error or any.
    run: String,
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
/// length of the file. What is accepted can be written again with the same meaning, and does not
/// take the process down: eight tokens run.
#[test]
fn every_changed_byte_and_every_length_is_survived() {
    let whole = fs::read(fixture_folder().join("ok_baseline.gguf")).unwrap();
    let index_bytes = Gguf::parse(&whole).unwrap().index_bytes();
    let mut accepted = 0;
    changed(&whole, 0..index_bytes, &[], |_, bytes| {
        if let Ok(gguf) = Gguf::parse(bytes) {
            accepted += 1;
            has_the_same_meaning_again(&gguf);
            // Whatever it is: it does not panic, and does not ask for much memory.
            let _ = outcome(bytes);
        }
    });
    assert!(accepted > 1000, "{accepted}");
    cut(&whole, |bytes| assert!(Gguf::parse(bytes).is_err()));
}

/// Its index, written again without the data, and read. (Fields of no meaning, such as a tensor's dimensions
/// of 1 behind the first, may differ.)
fn has_the_same_meaning_again(gguf: &Gguf<'_>) {
    let again = Builder::copy_of(gguf).unwrap();
    let mut again = again.write_index(Vec::new()).unwrap();
    assert_eq!(again.left() > 0, gguf.n_tensors() > 0);
    gguf.tensors().for_each(|tensor| again.write(tensor.data()).unwrap());
    let again = again.finish().unwrap();
    let again = Gguf::parse(&again).unwrap();
    let spelt = |gguf: &Gguf<'_>| gguf.metadata().map(|it| format!("{it:?}")).collect::<Vec<_>>();
    assert_eq!(spelt(&again), spelt(gguf));
    let described = |tensor: &Tensor<'_>| (tensor.tensor_type(), tensor.dims().to_vec());
    assert_eq!(again.n_tensors(), gguf.n_tensors());
    for (a, b) in again.tensors().zip(gguf.tensors()) {
        assert!(a.name() == b.name() && described(&a) == described(&b) && a.data() == b.data());
    }
}

/// Says of all cases at once what is wrong.
fn assert_outcomes(cases: &[Case]) {
    let mut failures = Vec::new();
    for case in cases {
        let start = Instant::now();
        let outcome = panic::catch_unwind(|| outcome(&case.bytes));
        let took = start.elapsed();
        let Case { id, what, accept, run, .. } = case;
        match outcome {
            Err(_) => failures.push(format!("{id}: panicked ({what})")),
            Ok(Ok(_)) if !accept => failures.push(format!("{id}: accepted ({what})")),
            Ok(Err(error)) if *accept => {
                failures.push(format!("{id}: refused with \"{error}\" ({what})"));
            }
            Ok(Ok(result)) if run != "any" && result.is_ok() != (run == "ok") => {
                failures.push(format!("{id}: run gives {result:?}, not {run} ({what})"));
            }
            Ok(_) if took > TIME_LIMIT => failures.push(format!("{id}: took {took:?} ({what})")),
            Ok(_) => {}
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// The files of the repository's cases, with their ids.
pub(crate) fn files() -> impl Iterator<Item = (String, Vec<u8>)> {
    fixtures().into_values().map(|case| (case.id, case.bytes))
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
        let (id, what, run) = (field(record, "id"), field(record, "what"), field(record, "run"));
        let chosen = ACCEPTED.contains(&id.as_str());
        assert!(!chosen || field(record, "firm") == "false", "{id}: the outcome is demanded");
        let run = if chosen { "any".to_string() } else { run };
        Case { id, what, accept: accept || chosen, run, bytes }
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
