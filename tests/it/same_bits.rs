//! The same bits everywhere: logits do not depend on the kernel table, the number of threads, or
//! how the tokens were split into batches. For each activation precision and cache type there is
//! one result.

use std::path::PathBuf;

use mote_formats::Mapping;
use mote_formats::gguf::Value;
use mote_kernels::{CacheType, QuantType, arch};
use mote_runtime::executor::{Executor, Serial};
use mote_runtime::threads::ThreadPool;
use mote_runtime::{Origin, Pooling, Precision};
use mote_tests::every_architecture::{self, is_causal};
use mote_tests::models::{edited, encoded, fixture};
use mote_tests::random::Random;
use mote_tests::shared::{real_model, root, shared};
use mote_tests::speak::{Run, caches};
use mote_tests::variants;

const BATCHES: [usize; 4] = [1, 7, 64, 512];
const THREADS: [usize; 3] = [1, 2, 3];
const PRECISIONS: [Precision; 3] = [Precision::Bits8, Precision::Bits16, Precision::Mixed];

/// The GGUF files of a folder that mote can run, in the order of their names.
pub fn models(folder: PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf") && runs(path))
        .collect();
    files.sort();
    files
}

fn runs(path: &PathBuf) -> bool {
    let file = Mapping::open(path).unwrap();
    let gguf = mote_formats::Gguf::parse(&file).unwrap();
    mote_runtime::arch::of(&gguf).is_ok()
        && is_causal(&file)
        && gguf.tensors().all(|tensor| tensor.kind().is_ok())
}

/// Some text without meaning: ids below 200, which every vocabulary has.
fn text(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

/// Compares `runs` with the scalar table on one thread. The second half of the text counts as
/// generated.
fn assert_same(
    (name, file): (&str, &[u8]),
    ids: &[u32],
    base: Run,
    runs: impl Iterator<Item = Run>,
) {
    let scalar = arch::by_name("scalar").unwrap();
    let half = ids.len() / 2;
    let expected = Run { kernels: scalar, ..base }.bits(file, ids, half);
    for run in runs {
        assert!(run.bits(file, ids, half) == expected, "{name}: {run:?}");
    }
}

/// Every number of threads with every batch, half of the pairs for one precision and cache, the others
/// for the next: each would take twice as long, and emulated CPUs take minutes.
fn assert_same_everywhere(model: (&str, &[u8]), ids: &[u32], caches: &[CacheType]) {
    for (p, precision) in PRECISIONS.into_iter().enumerate() {
        for (c, &cache) in caches.iter().enumerate() {
            let base = Run { precision, cache, ..Run::default() };
            let splits = (0..THREADS.len() * BATCHES.len())
                .map(|i| (i % THREADS.len(), i / THREADS.len()))
                .filter(|(thread, batch)| (thread + batch + p + c).is_multiple_of(2));
            let runs = arch::available().flat_map(|kernels| {
                splits.clone().map(move |(thread, batch)| Run {
                    kernels,
                    threads: THREADS[thread],
                    batch: BATCHES[batch],
                    ..base
                })
            });
            assert_same(model, ids, base, runs);
        }
    }
}

#[test]
fn tiny_models_give_the_same_bits_everywhere() {
    let files = models(root().join("tests/fixtures/models"));
    assert!(files.len() >= 2, "{files:?}");
    for path in files {
        let file = Mapping::open(&path).unwrap();
        assert_same_everywhere((&path.to_string_lossy(), &file), &text(45), &caches(&file));
    }
}

/// As if the CPU lacked first the best instruction set, then the next: what is chosen then is the best of the rest,
/// down to the scalar table, which needs none, and a whole model's logits are the same. (Each operation alone:
/// kernels_match_scalar. CPUs that do lack them, emulated: `./ci.sh old-x86 aarch64`.)
#[test]
fn case_425_a_cpu_with_fewer_instructions_gives_the_same_bits() {
    let available: Vec<_> = arch::available().collect();
    let names: Vec<_> = arch::names().collect();
    assert_eq!(arch::best().name(), available[0].name());
    assert_eq!(available.last().map(|table| table.name()), Some("scalar"));
    // What can be run is found by its name, in the order of the list; what cannot, or is not there, is not.
    let known: Vec<_> = names.iter().filter_map(|name| arch::by_name(name)).collect();
    assert_eq!(names.last(), Some(&"scalar"));
    assert!(known.iter().map(|table| table.name()).eq(available.iter().map(|table| table.name())));
    assert!(arch::by_name("").is_none() && arch::by_name("avx1024").is_none());
    for kind in [QuantType::F32, QuantType::Q8_0, QuantType::Q4_0] {
        let file = encoded(&fixture("models/llama-f32.gguf"), kind);
        let of_scalar = Run { kernels: available[available.len() - 1], ..Run::default() };
        for &kernels in &available {
            let run = Run { kernels, ..Run::default() };
            assert_same(("llama", &file), &text(33), of_scalar, [run].into_iter());
            assert_eq!(run.greedy(&file, &text(9), 12), of_scalar.greedy(&file, &text(9), 12));
        }
    }
}

/// Every architecture, and caps, slopes, sinks, norms without biases, branches side by side, experts: with
/// floats, and with integers where rows are whole blocks. A few conditions each, because emulated CPUs take long.
#[test]
fn architectures_give_the_same_bits_everywhere() {
    let of_list = every_architecture::all().iter().cloned();
    for (name, float) in of_list.chain(variants::all()) {
        for file in [encoded(&float, QuantType::Q8_0), float] {
            let cache = caches(&file).into_iter().find(|cache| *cache == CacheType::F16);
            let base = Run { cache: cache.unwrap_or(CacheType::F32), ..Run::default() };
            let mut runs = arch::available().flat_map(|kernels| {
                [(1, 64), (2, 1), (3, 7)].map(|(threads, batch)| Run {
                    kernels,
                    threads,
                    batch,
                    ..base
                })
            });
            match is_causal(&file) {
                true => assert_same((name, &file), &text(27), base, runs),
                false => {
                    let expected = vector(&base, &file);
                    assert!(runs.all(|run| vector(&run, &file) == expected), "{name}");
                }
            }
        }
    }
}

/// What an encoder makes of a text.
fn vector(run: &Run, file: &[u8]) -> Vec<u32> {
    run.session(file, 64, |session| {
        let mut vector = vec![0.0; session.model().config().n_embd];
        session.embed(&text(27), Pooling::Mean, &mut vector, |_| true).unwrap();
        vector.iter().map(|value| value.to_bits()).collect()
    })
}

/// However a text is cut into feedings, and whatever was fed and taken back in between.
#[test]
fn feedings_of_any_length_give_the_same_bits() {
    let ids = text(60);
    let mut random = Random::new(7);
    for (name, float) in every_architecture::all().iter().filter(|(_, file)| is_causal(file)) {
        let file = encoded(float, QuantType::Q8_0);
        let base = Run { batch: 16, ..Run::default() };
        let mut expected = Vec::new();
        let visit = |_, logits: &mut [f32]| expected.push(logits.to_vec());
        base.session(&file, ids.len(), |session| session.score(&ids, visit).unwrap());
        for kernels in arch::available() {
            let run =
                Run { kernels, batch: 1 + random.below(16), threads: 1 + random.below(3), ..base };
            run.session(&file, ids.len(), |session| {
                while session.position() < ids.len() {
                    let from = session.position();
                    let to = from + 1 + random.below((ids.len() - from).min(20));
                    session.feed(&ids[from..to]).unwrap();
                    let logits = session.logits().unwrap();
                    assert!(logits == expected[to - 1], "{name}: {from}..{to}, {run:?}");
                    if random.below(3) == 0 {
                        session.rewind(to - random.below(4).min(to));
                    }
                }
            });
        }
    }
}

/// Sinks and slopes where several threads share the chunks of a long context.
#[test]
fn long_contexts_of_variants_give_the_same_bits() {
    for (name, file) in [("bloom", variants::bloom()), ("gpt-oss", variants::gpt_oss())] {
        let file = match name {
            "bloom" => file,
            _ => edited(&file, &[("gpt-oss.attention.sliding_window", Value::U32(290))], |_| ()),
        };
        let base = Run { threads: 1, batch: 512, ..Run::default() };
        let runs = [1, 2].map(|threads| Run { threads, batch: 1, ..base });
        assert_same((name, &file), &text(300), base, runs.into_iter());
    }
}

/// Token by token several threads share the chunks of a long context; at once they do not. One number of
/// threads for each model and cache, the next for the next: emulated CPUs take minutes.
#[test]
fn long_contexts_give_the_same_bits_everywhere() {
    let mut turn = 0;
    for path in models(root().join("tests/fixtures/models")) {
        let file = Mapping::open(&path).unwrap();
        for cache in caches(&file).into_iter().filter(|&cache| cache != CacheType::F16) {
            let base = Run { threads: 1, batch: 512, cache, ..Run::default() };
            let tables = arch::available().filter(|kernels| kernels.name() != "scalar");
            let threads = THREADS[turn % THREADS.len()];
            let runs = tables.map(|kernels| Run { kernels, threads, batch: 1, ..base });
            assert_same((&path.to_string_lossy(), &file), &text(600), base, runs);
            turn += 1;
        }
    }
}

/// A session that tries numbers of threads while it decodes gives what one thread gives.
#[test]
fn threads_chosen_on_the_way_give_the_same_bits() {
    let file = encoded(&fixture("models/llama-f32.gguf"), QuantType::Q4_0);
    let decoded = |executor: &dyn Executor| {
        let mut bits = Vec::new();
        Run::default().session_with(executor, &file, 600, |session| {
            for id in text(600) {
                session.feed_generated(&[id]).unwrap();
                bits.extend(session.logits().unwrap().iter().map(|v| v.to_bits()));
            }
        });
        bits
    };
    assert!(decoded(&ThreadPool::adaptive(3)) == decoded(&Serial));
}

/// The tiny llama in every encoding whose blocks fit its rows of 64.
#[test]
fn encoded_models_give_the_same_bits_everywhere() {
    let float = fixture("models/llama-f32.gguf");
    for &kind in QuantType::ALL.iter().filter(|kind| 64 % kind.block_len() == 0) {
        assert_same_everywhere((kind.name(), &encoded(&float, kind)), &text(17), &[CacheType::F16]);
    }
}

/// A model whose matrices are in IQ1 to IQ3.
#[test]
fn grids_give_the_same_bits_everywhere() {
    let file = fixture("quantize/points.gguf");
    assert_same_everywhere(("points", &file), &text(17), &[CacheType::F16]);
}

#[test]
fn every_encoding_gives_the_same_bits_everywhere() {
    let Some(folder) = shared("reference/quant") else { return };
    let files = models(folder);
    assert!(files.len() >= 17, "{files:?}");
    for path in files {
        let file = Mapping::open(&path).unwrap();
        assert_same_everywhere((&path.to_string_lossy(), &file), &text(17), &[CacheType::F16]);
    }
}

/// The scalar table is slow, so it gets few tokens; the fast ones get all splits of a longer text.
#[test]
fn real_models_give_the_same_bits_everywhere() {
    for name in ["SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-Q4_K_M.gguf"] {
        let Some(path) = real_model(name) else { return };
        let file = Mapping::open(&path).unwrap();
        for precision in PRECISIONS {
            let base = Run { precision, threads: 2, ..Run::default() };
            let tables = arch::available().map(|kernels| Run { kernels, ..base });
            assert_same((name, &file), &text(11), base, tables);
        }
    }
}

/// Mixed precision is 8 bits for the prompt and 16 for what is generated, however many tokens are
/// fed at once; what a position was is remembered, and feeding it again gives the same bits.
#[test]
fn mixed_precision_goes_by_origin() {
    let file = encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0);
    let ids = text(20);
    let run = |precision| Run { precision, ..Run::default() };
    let (bits8, bits16) = (run(Precision::Bits8), run(Precision::Bits16));
    let mixed = run(Precision::Mixed);
    assert!(mixed.bits(&file, &ids, 20) == bits8.bits(&file, &ids, 0));
    assert!(mixed.bits(&file, &ids, 0) == bits16.bits(&file, &ids, 20));
    assert!(mixed.bits(&file, &ids, 1) != bits16.bits(&file, &ids, 1));
    assert!(mixed.bits(&file, &ids, 19) != bits8.bits(&file, &ids, 19));
    mixed.session(&file, 20, |session| {
        // Drafts of which some are rejected: their places are taken by tokens of the prompt.
        let parts: [(Origin, _, _); 5] = [
            (Origin::Prompt, 0..1, 1),
            (Origin::Generated, 1..9, 6),
            (Origin::Prompt, 6..8, 8),
            (Origin::Generated, 8..9, 9),
            (Origin::Prompt, 9..10, 10),
        ];
        for (origin, range, keep) in parts {
            session.feed_with(&ids[range], origin, |_| true).unwrap();
            session.rewind(keep);
        }
        let origins: Vec<_> = (0..10).map(|i| session.origin(i).unwrap()).collect();
        let generated = |i| (1..6).contains(&i) || i == 8;
        assert!((0..10).all(|i| (origins[i] == Origin::Generated) == generated(i)));
        assert_eq!(session.origin(10), None);
        let first = session.logits().unwrap().to_vec();
        session.rewind(0);
        for (id, &origin) in ids.iter().zip(&origins) {
            session.feed_with(&[*id], origin, |_| true).unwrap();
        }
        assert_eq!(session.logits().unwrap(), first);
    });
}
