//! Numbers below the smallest normal one, for which many CPUs take thirty times as long. The same bits come out
//! everywhere: nothing is flushed to zero (kernels/NUMERICS.md). That costs no time where weights are integers
//! with a scale for each block. Matrices of floats do become slow; whoever fears that quantises them.

use std::time::{Duration, Instant};

use mote_kernels::{CacheType, QuantType, arch};
use mote_runtime::Precision;
use mote_tests::models::{OwnedTensor, edited, encoded, fixture};
use mote_tests::speak::Run;

/// Of floats, and of blocks of 32 with a scale in f16.
const KINDS: [QuantType; 7] = [
    QuantType::F32,
    QuantType::F16,
    QuantType::BF16,
    QuantType::Q8_0,
    QuantType::Q4_0,
    QuantType::Q4_1,
    QuantType::Q5_0,
];

/// The model with some of its tensors at so small a size.
fn scaled(file: &[u8], factor: f32, chosen: impl Fn(&str) -> bool) -> Vec<u8> {
    edited(file, &[], |tensors: &mut Vec<OwnedTensor>| {
        for tensor in tensors.iter_mut().filter(|tensor| chosen(&tensor.name)) {
            for number in tensor.data.as_chunks_mut::<4>().0 {
                *number = (f32::from_le_bytes(*number) * factor).to_le_bytes();
            }
        }
    })
}

/// What makes weights of about 0.1, or the scales of their blocks, denormal in an encoding.
fn tiny_factor(kind: QuantType) -> f32 {
    match kind {
        QuantType::F32 | QuantType::BF16 => 1e-38,
        QuantType::F16 => 1e-5,
        _ => 1e-4,
    }
}

/// The usual model, one of denormal weights, and one of denormal activations, in this encoding.
fn files(kind: QuantType) -> [Vec<u8>; 3] {
    let usual = fixture("models/llama-f32.gguf");
    let is_norm = |name: &str| name.ends_with("_norm.weight");
    let is_matrix = |name: &str| !is_norm(name) && name != "token_embd.weight";
    let weights = scaled(&usual, tiny_factor(kind), is_matrix);
    let activations = scaled(&usual, 1e-40, is_norm);
    [usual, weights, activations].map(|file| encoded(&file, kind))
}

fn ids() -> Vec<u32> {
    (0..32).map(|i| i * 7 % 300 + 3).collect()
}

/// Time of a prompt and some steps.
fn time(run: &Run, file: &[u8]) -> Duration {
    run.session(file, 64, |session| {
        let start = Instant::now();
        session.feed(&ids()).unwrap();
        ids()[..16].iter().for_each(|&id| session.feed_generated(&[id]).unwrap());
        start.elapsed()
    })
}

/// The quickest of some runs that alternate: what else the machine does makes some longer, none shorter.
#[test]
fn case_426_denormal_blocks_measured_in_seconds() {
    const ROUNDS: usize = 15;
    for kind in KINDS.into_iter().filter(|kind| kind.block_len() > 1) {
        let files = files(kind);
        for precision in [Precision::Bits8, Precision::Mixed] {
            let run = Run { precision, cache: CacheType::F16, ..Run::default() };
            let mut quickest = [Duration::MAX; 3];
            for _ in 0..ROUNDS {
                for (file, quickest) in files.iter().zip(&mut quickest) {
                    *quickest = time(&run, file).min(*quickest);
                }
            }
            let [usual, others @ ..] = quickest;
            let is_quick = others.iter().all(|&other| other < usual * 2);
            assert!(is_quick, "{} {precision:?}: {quickest:?}", kind.name());
        }
    }
}

#[test]
fn case_426_denormal_numbers_give_the_same_bits() {
    for kind in KINDS {
        for file in files(kind) {
            let mut runs = arch::available().map(|kernels| {
                let run = Run { kernels, ..Run::default() };
                run.bits(&file, &ids(), 20)
            });
            let first = runs.next().unwrap();
            assert!(runs.all(|bits| bits == first), "{}", kind.name());
        }
    }
}
