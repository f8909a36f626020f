//! Files that change or go away while they are in use.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mote_formats::mmap::OpenError;
use mote_formats::{Gguf, Mapping, guard};
use mote_kernels::{QuantType, arch};
use mote_runtime::executor::Serial;
use mote_runtime::{
    Degraded, Fallback, LanguageModel, NgramModel, NgramSession, Session, SessionError,
};
use mote_tests::models::{encoded, fixture};
use mote_tests::ngrams::ngram;
use mote_tests::random::Random;
use mote_tests::speak::Run;

const N_CTX: usize = 64;

/// A file of its own for a test, removed afterwards.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn new(name: &str, bytes: &[u8]) -> Temporary {
        let path = std::env::temp_dir().join(format!("mote-faults-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Temporary(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn cut(&self, len: u64) {
        OpenOptions::new().write(true).open(&self.0).unwrap().set_len(len).unwrap();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn model() -> Vec<u8> {
    encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0)
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 290 + 3).collect()
}

fn is_damaged(file: &Mapping) -> bool {
    file.damage().is_some_and(|damage| damage.load(Ordering::Relaxed))
}

fn with_session<R>(file: &Mapping, work: impl FnOnce(&mut Session<'_>) -> R) -> R {
    let gguf = Gguf::parse(file).unwrap().with_damage(file.damage());
    Run { batch: 8, ..Run::default() }.session_of(&Serial, &gguf, N_CTX, work)
}

/// The logits after each of the tokens, one by one from the sixth on; `then` is called before that.
fn decode(file: &Mapping, then: impl FnOnce()) -> Result<Vec<Vec<f32>>, SessionError> {
    let ids = text(20);
    with_session(file, |session| {
        session.feed(&ids[..5]).unwrap();
        then();
        let step = |&id: &u32| {
            session.feed_generated(&[id])?;
            Ok(session.logits().unwrap().to_vec())
        };
        ids[5..].iter().map(step).collect()
    })
}

#[test]
fn case_413_a_model_cut_short_is_an_error_of_its_sessions() {
    guard::install().unwrap();
    guard::install().unwrap();
    let bytes = model();
    let whole = Temporary::new("whole", &bytes);
    let other = Mapping::open(&whole.0).unwrap();
    let expected = decode(&other, || ()).unwrap();
    for len in [bytes.len() as u64 / 2, 1, 0] {
        let cut = Temporary::new("cut", &bytes);
        let file = Mapping::open(&cut.0).unwrap();
        assert_eq!(decode(&file, || ()).unwrap(), expected);
        assert_eq!(decode(&file, || cut.cut(len)), Err(SessionError::Damaged), "{len}");
        // For good, also where nothing that is missing is touched again.
        cut.cut(bytes.len() as u64);
        assert!(is_damaged(&file));
        // The others do not notice.
        assert_eq!(decode(&other, || ()).unwrap(), expected);
    }
}

/// Nothing of what was computed from zeros is drawn from: the n-gram model goes on.
#[test]
fn case_424_a_model_that_goes_away_is_replaced_by_its_fallback() {
    guard::install().unwrap();
    let (bytes, ids) = (model(), text(20));
    let spare = ngram(&bytes, &text(500), 3);
    let gguf = Gguf::parse(&spare).unwrap();
    let mut tables = vec![0; NgramModel::bytes_needed(&gguf).unwrap()];
    let spare = NgramModel::new(&gguf, &mut tables).unwrap();
    let mut memory = vec![0; NgramSession::plan(&spare, N_CTX).unwrap().total_bytes];
    let mut spare = NgramSession::new(&spare, N_CTX, arch::best(), &mut memory).unwrap();
    spare.feed(&ids).unwrap();
    let expected = spare.logits().unwrap().to_vec();
    let cut = Temporary::new("degraded", &bytes);
    let file = Mapping::open(&cut.0).unwrap();
    with_session(&file, |session| {
        let mut both = Fallback::new(session, &mut spare).unwrap();
        both.feed(&ids[..5]).unwrap();
        assert_eq!(both.degraded(), None);
        cut.cut(0);
        for id in &ids[5..] {
            both.feed_generated(&[*id]).unwrap();
            assert_eq!(both.degraded(), Some(Degraded::Damaged));
        }
        assert_eq!(both.logits().unwrap(), expected);
        both.rewind(0);
        both.feed(&ids).unwrap();
        assert_eq!(both.degraded(), Some(Degraded::Damaged));
        assert_eq!(both.logits().unwrap(), expected);
    });
}

/// A copy does not notice. (Of a mapped file this cannot be known; mote.h and `Mapping` say so.)
#[test]
fn case_414_a_copied_model_may_be_overwritten() {
    let bytes = model();
    let file = Temporary::new("overwritten", &bytes);
    let copy = Mapping::read(&file.0).unwrap();
    let expected = decode(&copy, || ()).unwrap();
    let overwrite = || {
        let mut out = OpenOptions::new().write(true).open(&file.0).unwrap();
        out.write_all(&vec![0; bytes.len()]).unwrap();
    };
    assert_eq!(decode(&copy, overwrite).unwrap(), expected);
    assert!(!is_damaged(&copy));
}

#[test]
fn case_415_a_model_that_is_replaced_is_used_to_the_end() {
    let bytes = model();
    let (file, new) = (Temporary::new("old", &bytes), Temporary::new("new", b"something else"));
    let mapped = Mapping::open(&file.0).unwrap();
    let expected = decode(&mapped, || ()).unwrap();
    let replace = || std::fs::rename(&new.0, &file.0).unwrap();
    assert_eq!(decode(&mapped, replace).unwrap(), expected);
    std::fs::remove_file(&file.0).unwrap();
    assert_eq!(decode(&mapped, || ()).unwrap(), expected);
}

/// Trials of the next test for each of its faults.
const TRIALS: usize = 1000;

/// A thousand times each, at any moment of a text: cut short, written over, replaced.
#[test]
fn case_413_414_415_a_thousand_times() {
    guard::install().unwrap();
    let bytes = model();
    let (file, new) = (Temporary::new("trials", &bytes), Temporary::new("trials-new", &[]));
    let whole = Mapping::read(&file.0).unwrap();
    let expected = some(&whole, 0, || ()).unwrap();
    let (mut random, mut noticed) = (Random::new(413), 0);
    for trial in 0..3 * TRIALS {
        let moment = random.below(STEPS);
        // Another file each time: to write over one, ext4 waits for the disk.
        std::fs::remove_file(&file.0).unwrap();
        std::fs::write(&file.0, &bytes).unwrap();
        let outcome = match trial % 3 {
            0 => {
                let (mapped, len) =
                    (Mapping::open(&file.0).unwrap(), random.below(bytes.len() / 2));
                let outcome = some(&mapped, moment, || file.cut(len as u64));
                assert_eq!(outcome, Err(SessionError::Damaged), "{len} bytes at {moment}");
                noticed += 1;
                continue;
            }
            1 => {
                let copy = Mapping::read(&file.0).unwrap();
                let from = random.below(bytes.len());
                some(&copy, moment, || {
                    let mut out = OpenOptions::new().write(true).open(&file.0).unwrap();
                    out.seek(SeekFrom::Start(from as u64)).unwrap();
                    out.write_all(&bytes[..bytes.len() - from]).unwrap();
                })
            }
            _ => {
                std::fs::write(&new.0, b"something else").unwrap();
                let mapped = Mapping::open(&file.0).unwrap();
                some(&mapped, moment, || std::fs::rename(&new.0, &file.0).unwrap())
            }
        };
        assert_eq!(outcome.as_ref(), Ok(&expected), "trial {trial}");
    }
    assert_eq!(noticed, TRIALS);
}

/// Tokens of a trial.
const STEPS: usize = 3;

/// The logits behind a few tokens; `then` is called before one of them.
fn some(file: &Mapping, moment: usize, then: impl FnOnce()) -> Result<Vec<f32>, SessionError> {
    let mut then = Some(then);
    with_session(file, |session| {
        for (step, &id) in text(STEPS as u32).iter().enumerate() {
            if let Some(then) = then.take_if(|_| step == moment) {
                then();
            }
            session.feed_generated(&[id])?;
        }
        Ok(session.logits().unwrap().to_vec())
    })
}

/// A page that cannot be read, as the kernel tells of it: the medium's EIO (BUS_ADRERR), and memory that has
/// failed where somebody touches it (BUS_MCEERR_AR) or before (BUS_MCEERR_AO). The signals are sent, with what
/// the kernel would say in them: no file system here has a page that fails.
#[cfg(target_os = "linux")]
#[test]
fn case_416_a_page_that_cannot_be_read_is_an_error_of_its_sessions() {
    guard::install().unwrap();
    let bytes = model();
    let whole = Temporary::new("sound", &bytes);
    let other = Mapping::open(&whole.0).unwrap();
    let expected = decode(&other, || ()).unwrap();
    for code in [libc::BUS_ADRERR, libc::BUS_MCEERR_AR, libc::BUS_MCEERR_AO] {
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let file = Temporary::new("failing", &bytes);
            let file = Mapping::open(&file.0).unwrap();
            let fault =
                || mote_tests::signals::bus_error(code, file.as_ptr() as usize + at).unwrap();
            assert_eq!(decode(&file, fault), Err(SessionError::Damaged), "{code} at {at}");
            assert!(is_damaged(&file));
            // Up to its page the file is what it was, and from there on there are zeros.
            assert!(file[at..].iter().all(|&byte| byte == 0));
            let before = at.saturating_sub(1 << 16);
            assert!(file[..before] == bytes[..before]);
            assert_eq!(decode(&other, || ()).unwrap(), expected);
        }
    }
}

/// Whatever it is opened as, it is of one size, and what is read of it is an error at worst.
#[test]
fn case_417_a_file_that_grows_and_shrinks_while_it_is_opened() {
    guard::install().unwrap();
    let bytes = model();
    let file = Temporary::new("racing", &bytes);
    let (len, done) = (bytes.len() as u64, AtomicBool::new(false));
    let changing = File::options().write(true).open(&file.0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                changing.set_len(len / 2).unwrap();
                changing.set_len(len).unwrap();
            }
        });
        for round in 0..10_000 {
            let opened = match round % 2 {
                0 => Mapping::open(&file.0),
                _ => Mapping::read(&file.0),
            };
            match opened {
                Ok(mapped) => {
                    assert!([len, len / 2].contains(&(mapped.len() as u64)));
                    let _ = Gguf::parse(&mapped);
                    // A byte of every page.
                    std::hint::black_box(mapped.iter().step_by(1024).max());
                }
                Err(OpenError::SizeChanged { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
