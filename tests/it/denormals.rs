//! Numbers below the smallest normal one, for which many CPUs take a hundred times as long.

use std::time::{Duration, Instant};

use mote_kernels::{CacheType, QuantType};
use mote_runtime::Precision;
use mote_tests::models::{OwnedTensor, edited, encoded, fixture};
use mote_tests::speak::Run;

/// The model with every weight, those of the norms too, at 1e-40 of its size or so, so that activations and
/// sums are below the smallest normal number as well.
fn denormal(file: &[u8]) -> Vec<u8> {
    edited(file, &[], |tensors: &mut Vec<OwnedTensor>| {
        for tensor in tensors {
            for number in tensor.data.as_chunks_mut::<4>().0 {
                let tiny = f32::from_le_bytes(*number).signum() * 1e-40;
                *number = tiny.to_le_bytes();
            }
        }
    })
}

/// Time of a prompt and some steps.
fn time(run: &Run, file: &[u8]) -> Duration {
    run.session(file, 64, |session| {
        let ids: Vec<u32> = (0..32).map(|i| i * 7 % 300 + 3).collect();
        let start = Instant::now();
        session.feed(&ids).unwrap();
        ids[..16].iter().for_each(|&id| session.feed_generated(&[id]).unwrap());
        start.elapsed()
    })
}

/// The quickest of some runs that alternate: what else the machine does makes some longer, none shorter.
#[test]
fn case_426_denormal_numbers_measured_in_seconds() {
    const ROUNDS: usize = 15;
    let normal = fixture("models/llama-f32.gguf");
    let tiny = denormal(&normal);
    for kind in [QuantType::F32, QuantType::F16, QuantType::BF16, QuantType::Q8_0] {
        let files = [encoded(&normal, kind), encoded(&tiny, kind)];
        for precision in [Precision::Bits8, Precision::Mixed] {
            for cache in [CacheType::F32, CacheType::F16] {
                let run = Run { precision, cache, ..Run::default() };
                let mut quickest = [Duration::MAX; 2];
                for _ in 0..ROUNDS {
                    for (file, quickest) in files.iter().zip(&mut quickest) {
                        *quickest = time(&run, file).min(*quickest);
                    }
                }
                let [of_normal, of_tiny] = quickest;
                println!("{kind:?} {precision:?} {cache:?}: {of_normal:?} and {of_tiny:?}");
                assert!(of_tiny < of_normal * 2, "{kind:?} {precision:?} {cache:?}: {quickest:?}");
            }
        }
    }
}
