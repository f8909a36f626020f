//! Keys and values of 8 bits: what they take, how near they are, that going back is exact.

use mote_formats::Gguf;
use mote_kernels::{CacheType, QuantType};
use mote_runtime::{Model, Options, Plan, Precision, SessionError};
use mote_tests::models::{encoded, fixture};
use mote_tests::speak::Run;

fn run() -> Run {
    Run { cache: CacheType::Q8_0, precision: Precision::Mixed, ..Run::default() }
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

fn plan(file: &str, cache: CacheType) -> Result<Plan, SessionError> {
    let file = fixture(file);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    Plan::new(model.config(), &Options { n_ctx: 512, cache, ..Options::default() })
}

/// 34 bytes for every 64 of halves, beside a token's id and its origin.
#[test]
fn the_cache_takes_17_of_32_bytes_of_halves() {
    let bytes = |cache| plan("models/qwen3.gguf", cache).unwrap().cache_bytes - 512 * 4 - 512 / 8;
    assert_eq!(bytes(CacheType::Q8_0) * 64, bytes(CacheType::F16) * 34);
    assert_eq!(bytes(CacheType::F16), 512 * 2 * 2 * 2 * 32 * 2);
}

#[test]
fn heads_must_be_whole_blocks() {
    let error = plan("models/llama-f32.gguf", CacheType::Q8_0).unwrap_err();
    let sentence = "a q8_0 cache needs heads of a multiple of 32 values";
    assert_eq!(error, SessionError::Option(sentence));
}

/// Codes of 8 bits change a log-probability by hundredths (0.02 of real models, BENCHMARKS.md), not by
/// nothing.
#[test]
fn eight_bits_are_near_to_exact() {
    for name in ["qwen3", "gemma3-bf16"] {
        let file = fixture(&format!("models/{name}.gguf"));
        let of = |cache| Run { cache, ..Run::default() }.logprobs(&file, &text(200));
        let (exact, coded) = (of(CacheType::F32), of(CacheType::Q8_0));
        let differences = exact.iter().zip(&coded).map(|(a, b)| (a - b).abs());
        let (sum, largest) = differences.fold((0.0, 0.0f64), |(s, m), d| (s + d, m.max(d)));
        let mean = sum / exact.len() as f64;
        println!("{name}: mean {mean:.5}, largest {largest:.5}");
        assert!(mean > 1e-5 && mean < 0.05 && largest < 0.5, "{name}: {mean} {largest}");
    }
}

/// Positions that were taken back leave nothing behind: other tokens in their place, in any batches,
/// give what a new session gives.
#[test]
fn going_back_is_exact() {
    let file = encoded(&fixture("models/qwen3.gguf"), QuantType::Q8_0);
    let ids = text(60);
    let logits = |session: &mut mote_runtime::Session<'_>, ids: &[u32]| {
        session.feed(ids).unwrap();
        session.logits().unwrap().to_vec()
    };
    let expected = run().session(&file, 80, |session| logits(session, &ids));
    for batch in [1, 5, 64] {
        for keep in [0, 1, 15, 16, 17, 31, 59] {
            Run { batch, ..run() }.session(&file, 80, |session| {
                let other = [&ids[..keep], &[31; 20]].concat();
                session.feed(&other).unwrap();
                session.rewind(keep);
                assert_eq!(logits(session, &ids[keep..]), expected, "{keep}, batches of {batch}");
            });
        }
    }
}
