//! Whatever the hyper-parameters of a model say: it is refused, or it runs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, Value};
use mote_kernels::CacheType;
use mote_runtime::executor::Serial;
use mote_runtime::{Model, Options, Plan, Pooling, Session};
use mote_tests::models::{edited, fixture};
use mote_tests::shared::root;

/// Memory that a session may have here.
const MOST_BYTES: usize = 16 << 20;

/// Loads a model, and if it is one, feeds, goes back, drafts and saves. Whether it was one.
fn run(file: &[u8]) -> bool {
    let Ok(gguf) = Gguf::parse(file) else { return false };
    let Ok(bytes) = Model::bytes_needed(&gguf) else { return false };
    let mut tables = vec![0; bytes];
    let Ok(model) = Model::new(&gguf, &mut tables) else { return false };
    let cache = CacheType::F16;
    let options = Options { n_ctx: 24, batch: 5, logit_rows: 3, cache, ..Options::default() };
    let Ok(plan) = Plan::new(model.config(), &options) else { return false };
    if plan.total_bytes > MOST_BYTES {
        return false;
    }
    let mut memory = vec![0xff; plan.total_bytes];
    let kernels = mote_kernels::arch::best();
    let Ok(mut session) = Session::new(&model, &options, kernels, &Serial, &mut memory) else {
        return false;
    };
    let ids: Vec<u32> = (0..18).map(|i| i * 7 % 23 + 3).collect();
    let mut embedding = vec![0.0; model.config().n_embd];
    let _ = session.embed(&ids[..9], Pooling::Mean, &mut embedding, |_| true);
    let _ = session.feed(&ids);
    let _ = session.feed_drafted(5, &[6, 7], |_| true);
    let _ = session.feed_generated(&[6]);
    session.rewind(11);
    let _ = session.feed(&ids[..2]);
    let mut saved = vec![0; session.saved_bytes()];
    if session.save(&mut saved).is_ok() {
        let _ = session.restore(&saved);
        let _ = session.feed_generated(&[4]);
    }
    true
}

/// All fixtures that hold a model, by the name of their architecture.
fn files() -> Vec<(String, String, Vec<u8>)> {
    let folder = std::fs::read_dir(root().join("tests/fixtures/models")).unwrap();
    let mut names: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".gguf"))
        .collect();
    names.sort();
    let file = |name: String| {
        let bytes = fixture(&format!("models/{name}"));
        let gguf = Gguf::parse(&bytes).unwrap();
        let architecture = gguf.get("general.architecture")?.as_str()?.to_string();
        Some((name, architecture, bytes))
    };
    names.into_iter().filter_map(file).collect()
}

/// Values in the place of one.
fn others(value: Value<'_>) -> Vec<Value<'_>> {
    if let Some(n) = value.as_u64() {
        let near = [n.wrapping_sub(1), n + 1, n / 2, 2 * n, 3 * n];
        let far = [0, 1, 2, 3, 5, 16, 31, 32, 64, 255, 1 << 16, 1 << 17, u32::MAX.into()];
        return near.into_iter().chain(far).map(|n| Value::U32(n as u32)).collect();
    }
    match value {
        Value::F32(_) => {
            let numbers = [0.0, -1.0, 1e-30, 1e-5, 1.0, 3.0, 1e6, 1e30, f32::INFINITY, f32::NAN];
            numbers.map(Value::F32).to_vec()
        }
        Value::Bool(flag) => vec![Value::Bool(!flag)],
        _ => Vec::new(),
    }
}

/// A file whose keys are arrays of numbers and of flags, for keys that may be given by layer.
fn arrays() -> Vec<u8> {
    let mut builder = Builder::new();
    for (i, numbers) in [
        [0, 0, 0],
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 1, 1],
        [2, 1, 2],
        [4, 4, 0],
        [16, 32, 48],
        [64, 64, 128],
        [-1, 2, 2],
    ]
    .iter()
    .enumerate()
    {
        builder.set_array(&format!("numbers.{i}"), numbers).unwrap();
        builder.set_array(&format!("two.{i}"), &numbers[..2]).unwrap();
        let flags = numbers.map(|n| n > 0);
        builder.set_array(&format!("flags.{i}"), &flags).unwrap();
    }
    builder.write_index(Vec::new()).unwrap().finish().unwrap()
}

/// Each key of each model with other values, and each key that any model has in all others.
#[test]
fn keys_that_disagree_are_refused_or_run() {
    let (files, arrays) = (files(), arrays());
    let arrays = Gguf::parse(&arrays).unwrap();
    let arrays: Vec<Value<'_>> = arrays.metadata().map(|(_, value)| value).collect();
    let mut keys: BTreeMap<&str, Value<'_>> = BTreeMap::new();
    for (_, architecture, bytes) in &files {
        let gguf = Gguf::parse(bytes).unwrap();
        for (key, value) in gguf.metadata() {
            let own = key.strip_prefix(architecture.as_str()).and_then(|key| key.strip_prefix('.'));
            if let Some(key) = own {
                keys.entry(key).or_insert(value);
            }
        }
    }
    let (mut failed, mut ran) = (Vec::new(), 0);
    for (name, architecture, bytes) in &files {
        for (key, value) in &keys {
            let key = format!("{architecture}.{key}");
            let own = Gguf::parse(bytes).unwrap().get(&key);
            let is_array = |value: &Value<'_>| matches!(value, Value::Array(_));
            let mut values = others(own.unwrap_or(*value));
            if value.as_u64().is_some() || is_array(value) {
                values.extend(&arrays);
            }
            for value in values {
                let file = edited(bytes, &[(&key, value)], |_| ());
                match catch_unwind(AssertUnwindSafe(|| run(&file))) {
                    Ok(done) => ran += usize::from(done),
                    Err(_) => failed.push(format!("{name}: {key} = {value:?}")),
                }
            }
        }
    }
    assert!(ran > 10_000, "{ran}");
    assert!(failed.is_empty(), "{} panics:\n{}", failed.len(), failed.join("\n"));
}
