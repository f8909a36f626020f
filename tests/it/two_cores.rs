//! The executor of runtime/examples/cortex-m, with a thread as the second core.

#[path = "../../runtime/examples/cortex-m/src/two_cores.rs"]
mod executor;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use executor::TwoCores;
use mote_runtime::executor::Executor;
use mote_tests::models::fixture;
use mote_tests::speak::Run;

/// Runs `work` while another thread helps whenever it can.
fn with_second_core(cores: &TwoCores, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                cores.help();
                // On a machine of one CPU the first core must come to its turn.
                thread::yield_now();
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn each_item_is_computed_once_by_one_of_two_cores() {
    let cores = TwoCores::new(|| ());
    let (mut all, mut round) = (0, 0);
    with_second_core(&cores, || {
        // The system may keep the second core waiting.
        while round < 4000 || cores.items().1 < 100 {
            round += 1;
            let items = round % 67;
            let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
            let at_work = [AtomicBool::new(false), AtomicBool::new(false)];
            cores.run(items, &|item, worker| {
                assert!(!at_work[worker].swap(true, Ordering::SeqCst), "two calls of a worker");
                counts[item].fetch_add(1, Ordering::Relaxed);
                at_work[worker].store(false, Ordering::SeqCst);
                if item % 16 == 0 {
                    thread::yield_now();
                }
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            all += items;
        }
    });
    let (first, second) = cores.items();
    assert_eq!(first + second, all);
}

/// As under an emulator: the second core comes, stands in the first one's way, and leaves half.
#[test]
fn a_phase_ends_without_a_second_core_and_with_one_that_leaves_half() {
    static HALF: TwoCores = TwoCores::new(|| HALF.help_with_half());
    static ALONE: TwoCores = TwoCores::new(|| ());
    for cores in [&HALF, &ALONE] {
        cores.run(10, &|_, _| ());
    }
    assert_eq!(HALF.items(), (5, 5));
    assert_eq!(ALONE.items(), (10, 0));
}

#[test]
fn two_cores_give_the_same_bits() {
    let file = fixture("models/llama-q4_0.gguf");
    let ids: Vec<u32> = (3..40).collect();
    let run = Run { batch: 7, ..Run::default() };
    let cores = TwoCores::new(|| ());
    with_second_core(&cores, || {
        assert!(run.bits_with(&cores, &file, &ids) == run.bits(&file, &ids, ids.len()));
    });
    assert!(cores.items().0 > 0);
}
