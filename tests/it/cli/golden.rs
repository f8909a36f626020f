//! The numeric contract, frozen: hashes of logits that no target, no compiler and no change of mote
//! may alter (kernels/NUMERICS.md). Every table gives them, the scalar one first; a change of the
//! contract changes them, and its reason belongs to NUMERICS.md.

use mote_kernels::QuantType;
use mote_tests::every_architecture::{self, is_causal};
use mote_tests::models::{EXPERTS, RECURRENT, encoded};
use mote_tests::shared::real_model;
use mote_tools::synthetic::{Recipe, Shape, Types};

use super::*;

const GOLDEN: &str = include_str!("../../fixtures/models/golden_hashes.txt");

/// Where one result is expected: activations and cache.
const KINDS: [(&str, &str); 4] = [("8", "f32"), ("8", "f16"), ("16", "f32"), ("mixed", "f32")];

/// What the names of models begin with that stand for an architecture of the list.
const OF_LIST: &str = "any-";

/// Where the results of a model are expected: its heads decide whether a Q8_0 cache fits them.
fn kinds(model: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let few = model.starts_with(OF_LIST);
    let kinds = KINDS.into_iter().skip(if few { 3 } else { 0 });
    let eight = [("8", "q8_0"), ("mixed", "q8_0")]
        .into_iter()
        .filter(move |_| ["qwen3", "gemma4"].contains(&model));
    kinds.chain(eight)
}

/// The model's lines of the golden file.
fn golden(model: &str) -> Vec<&'static str> {
    GOLDEN.lines().filter(|line| line.split(' ').next() == Some(model)).collect()
}

/// The line of a model, made by the command line with `options`.
fn line(model: &str, path: &str, (bits, kv): (&str, &str), options: &[&str]) -> String {
    let ids: Vec<String> = (0..40).map(|i| (i * 7 % 32).to_string()).collect();
    let ids = ids.join(",");
    let common = ["score", "-m", path, "--ids", &ids, "--hash", "--json"];
    let kind = ["--activations", bits, "--kv", kv, "--generated-from", "28"];
    let report = mote(&[&common[..], &kind, options].concat()).json();
    format!("{model} {bits} {kv} {}", report["hash"].as_str().unwrap())
}

/// The small models: what is in the repository, synthetic ones of every encoding and mix, and one of every
/// architecture.
fn small_models() -> Vec<(String, String)> {
    let names = ["llama-f32", "gemma3", "gemma4", "gpt2", "phi3", "qwen2", "qwen3"].into_iter();
    let names = names.chain(EXPERTS).chain(RECURRENT);
    let fixtures = names.map(|name| {
        let path = root().join(format!("tests/fixtures/models/{name}.gguf"));
        (name.to_string(), path.into_os_string().into_string().unwrap())
    });
    let synthetic = Types::all().map(|(name, types)| {
        let mut bytes = Vec::new();
        Recipe { shape: Shape::Tiny, types, seed: 0 }.write(&mut bytes, |_| ()).unwrap();
        (format!("tiny-{name}"), file(&format!("golden_{name}.gguf"), &bytes))
    });
    let of_list = every_architecture::all().iter().filter(|(_, file)| is_causal(file));
    let of_list = of_list.map(|(name, float)| {
        let bytes = encoded(float, QuantType::Q8_0);
        (format!("{OF_LIST}{name}"), file(&format!("golden_{OF_LIST}{name}.gguf"), &bytes))
    });
    // Matrices in IQ1 to IQ3.
    let path = root().join("tests/fixtures/quantize/points.gguf");
    let grids = ("points".to_string(), path.into_os_string().into_string().unwrap());
    fixtures.chain(synthetic).chain(of_list).chain([grids]).collect()
}

#[test]
fn small_models_have_the_golden_hashes() {
    let lines: Vec<String> = small_models()
        .iter()
        .flat_map(|(name, path)| kinds(name).map(move |kind| line(name, path, kind, &[])))
        .collect();
    let expected: Vec<_> = GOLDEN.lines().filter(|line| !line.contains(".gguf")).collect();
    assert_eq!(lines, expected, "\n{}\n", lines.join("\n"));
}

#[test]
fn real_models_have_the_golden_hashes() {
    for name in ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-Q4_K_M.gguf"] {
        let Some(path) = real_model(name) else { return };
        let path = path.into_os_string().into_string().unwrap();
        let lines = KINDS.map(|kind| line(name, &path, kind, &[]));
        assert_eq!(lines.as_slice(), golden(name), "\n{}\n", lines.join("\n"));
    }
}

/// One hash for each model, precision and cache, whatever computes it and however it is cut. Each target
/// meets each split, but not with each model: emulated CPUs would take minutes.
#[test]
fn the_hash_depends_on_nothing_but_model_and_precision() {
    // All splits are in same_bits.rs; these are the command line's.
    let splits = [("1", "64"), ("2", "1"), ("3", "7")];
    let mut turn = 0;
    for (name, path) in small_models() {
        for (kind, golden) in kinds(&name).zip(golden(&name)) {
            for (i, kernels) in arch::available().enumerate() {
                let (threads, batch) = splits[(turn + i) % splits.len()];
                let split = ["--target", kernels.name(), "--threads", threads, "--batch", batch];
                assert_eq!(line(&name, &path, kind, &split), golden, "{split:?}");
            }
            turn += 1;
        }
    }
}
