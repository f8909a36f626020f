//! Many sessions of one model in fewer threads for as long as is asked for: the same texts as alone,
//! whoever computes them, whatever was ended in the middle, saved and restored, in memory that stays as it is.
//!
//! `./ci.sh races` runs it under ThreadSanitizer. Rust's library is not instrumented there, so sessions go
//! from thread to thread by `try_lock` alone, which is compiled into this program.

use std::fmt::{self, Display};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use mote_formats::Gguf;
use mote_kernels::{CacheType, QuantType, arch, argmax};
use mote_runtime::executor::{Executor, Serial};
use mote_runtime::threads::ThreadPool;
use mote_runtime::{Model, Options, Origin, Session};
use mote_tests::models::{encoded, fixture};
use mote_tests::random::Random;

const SESSIONS: usize = 16;
const THREADS: usize = 8;
const PROMPT: usize = 40;
const TOKENS: usize = 24;
/// By how much the process may grow behind its first tenth.
const GROWTH: u64 = 1 << 20;

const USAGE: &str = "usage: mote-soak SECONDS [--sanitized]
--sanitized: a sanitizer is at work, whose memory is not mote's";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (seconds, sanitized) = match arguments[..] {
        [seconds] => (seconds.parse(), false),
        [seconds, "--sanitized"] => (seconds.parse(), true),
        _ => ("".parse(), false),
    };
    let Ok(seconds) = seconds else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match soak(Duration::from_secs(seconds), sanitized) {
        Ok(report) => println!("{report}"),
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What all threads count. Nothing here grows.
#[derive(Default)]
struct Counts {
    texts: AtomicU64,
    ended: AtomicU64,
    restored: AtomicU64,
    /// How long requests to end waited, by the logarithm of the microseconds: for the next layer, and for
    /// the system, which has more threads than processors (tests/it/cancel.rs tells them apart).
    waits: [AtomicU64; 32],
    longest_wait: AtomicU64,
}

impl Counts {
    fn waited(&self, nanoseconds: u64) {
        let bucket = (64 - (nanoseconds / 1000).leading_zeros() as usize).min(31);
        self.waits[bucket].fetch_add(1, Ordering::Relaxed);
        self.longest_wait.fetch_max(nanoseconds, Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Microseconds within which all but one in a thousand ended.
    fn most_waits(&self) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        let mut left = ended / 1000;
        for (bucket, count) in self.waits.iter().enumerate().rev() {
            let count = count.load(Ordering::Relaxed);
            if count > left {
                return 1 << bucket;
            }
            left -= count;
        }
        0
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [texts, ended, restored, longest] =
            [&self.texts, &self.ended, &self.restored, &self.longest_wait]
                .map(|count| count.load(Ordering::Relaxed));
        let tokens = texts * TOKENS as u64;
        writeln!(f, "{texts} texts of {SESSIONS} sessions in {THREADS} threads, {tokens} tokens")?;
        writeln!(f, "{restored} times saved and restored in the middle")?;
        write!(f, "{ended} times ended at a random moment: 99.9 % within ")?;
        write!(f, "{} microseconds, all within {}", self.most_waits(), longest.div_ceil(1000))
    }
}

/// A session, and what it must say.
struct Speaker<'m> {
    session: Session<'m>,
    random: Random,
    prompt: Vec<u32>,
    expected: Vec<u32>,
    saved: Vec<u8>,
}

impl<'m> Speaker<'m> {
    fn new(session: Session<'m>, seed: u64) -> Speaker<'m> {
        let mut random = Random::new(seed);
        let prompt = (0..PROMPT).map(|_| random.below(290) as u32 + 3).collect();
        let mut speaker =
            Speaker { session, random, prompt, expected: Vec::new(), saved: Vec::new() };
        let text: Vec<u32> = speaker.text(TOKENS).collect();
        speaker.expected = text;
        speaker.saved = vec![0; speaker.session.saved_bytes()];
        speaker
    }

    /// The first tokens that follow the prompt, which is fed in pieces.
    fn text(&mut self, n: usize) -> impl Iterator<Item = u32> {
        self.session.rewind(0);
        let (mut rest, mut next) = (&self.prompt[..], 0);
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(1 + self.random.below(rest.len()));
            self.session.feed(piece).unwrap();
            (rest, next) = (others, self.session.position());
        }
        assert_eq!(next, PROMPT);
        go_on(&mut self.session, n)
    }

    fn speak(&mut self, counts: &Counts) -> Result<(), String> {
        let expected = std::mem::take(&mut self.expected);
        let same = self.text(TOKENS).eq(expected.iter().copied());
        self.expected = expected;
        counts.texts.fetch_add(1, Ordering::Relaxed);
        if same { Ok(()) } else { Err("a text is not what it is alone".into()) }
    }

    /// Saves in the middle, goes elsewhere, comes back.
    fn restore(&mut self, counts: &Counts) -> Result<(), String> {
        let middle = self.random.below(TOKENS);
        self.text(middle).for_each(drop);
        let mut saved = std::mem::take(&mut self.saved);
        let bytes = self.session.save(&mut saved).unwrap();
        self.session.rewind(self.random.below(PROMPT));
        self.session.feed(&[5, 6, 7]).unwrap();
        self.session.restore(&saved[..bytes]).unwrap();
        self.session.recall(|| true).unwrap();
        self.saved = saved;
        counts.restored.fetch_add(1, Ordering::Relaxed);
        let same =
            go_on(&mut self.session, TOKENS - middle).eq(self.expected[middle..].iter().copied());
        if same { Ok(()) } else { Err("a restored text is not what it is alone".into()) }
    }

    /// Reads on and on, until somebody asks it to end.
    fn be_ended(&mut self, wanted: &AtomicU64, clock: Instant, counts: &Counts) -> bool {
        wanted.store(0, Ordering::SeqCst);
        for _ in 0..200 {
            self.session.rewind(0);
            let mut asked = 0;
            let go_on = |_| {
                asked = wanted.load(Ordering::SeqCst);
                asked == 0
            };
            self.session.feed_with(&self.prompt, Origin::Prompt, go_on).unwrap();
            if asked != 0 {
                counts.waited(clock.elapsed().as_nanos() as u64 - asked);
                return true;
            }
        }
        false
    }
}

/// The next tokens, each the most probable one.
fn go_on(session: &mut Session<'_>, n: usize) -> impl Iterator<Item = u32> {
    (0..n).map(|_| {
        let id = argmax(session.logits().unwrap()).unwrap() as u32;
        session.feed_generated(&[id]).unwrap();
        id
    })
}

fn soak(duration: Duration, sanitized: bool) -> Result<String, String> {
    let file = encoded(&fixture("models/llama-f32.gguf"), QuantType::Q8_0);
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    // Every fourth session has threads of its own.
    let pools: Vec<Option<ThreadPool>> =
        (0..SESSIONS).map(|i| i.is_multiple_of(4).then(|| ThreadPool::new(2))).collect();
    let options = Options {
        n_ctx: PROMPT + TOKENS,
        batch: 8,
        cache: CacheType::F16,
        threads: 2,
        ..Options::default()
    };
    let bytes = Session::plan(&model, &options).unwrap().total_bytes;
    let mut memory = vec![vec![0xff; bytes]; SESSIONS];
    let speakers = memory.iter_mut().zip(&pools).enumerate().map(|(i, (memory, pool))| {
        let executor: &dyn Executor = pool.as_ref().map_or(&Serial, |pool| pool);
        let session = Session::new(&model, &options, arch::best(), executor, memory).unwrap();
        (Mutex::new(Speaker::new(session, i as u64)), AtomicU64::new(0))
    });
    let speakers: Vec<_> = speakers.collect();
    let (counts, stop, start) = (Counts::default(), AtomicBool::new(false), Instant::now());
    let outcome = scope(|scope| {
        let work = |seed| {
            let (speakers, counts, stop) = (&speakers, &counts, &stop);
            move || speak_in_turn(speakers, seed, (counts, stop, start))
        };
        let threads: Vec<_> = (0..THREADS as u64).map(|seed| scope.spawn(work(seed))).collect();
        let grown = watch(&speakers, start, duration, &stop);
        stop.store(true, Ordering::SeqCst);
        // Joined by hand: waiting for a scope to end is nothing that a sanitizer sees.
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())?;
        Ok::<_, String>(grown)
    });
    let (before, after) = outcome?;
    let report = format!(
        "{counts}\nresident memory {} KiB behind the first tenth, {} KiB in the end",
        before / 1024,
        after / 1024
    );
    if !sanitized && after > before + GROWTH {
        return Err(report + "\nthat is too much");
    }
    Ok(report)
}

/// A thread's work: one session after the other, whichever is free.
fn speak_in_turn(
    speakers: &[(Mutex<Speaker<'_>>, AtomicU64)],
    seed: u64,
    (counts, stop, start): (&Counts, &AtomicBool, Instant),
) -> Result<(), String> {
    let mut random = Random::new(seed ^ 0xa5a5);
    while !stop.load(Ordering::SeqCst) {
        let (speaker, wanted) = &speakers[random.below(SESSIONS)];
        let Ok(mut speaker) = speaker.try_lock() else { continue };
        match random.below(4) {
            0 => drop(speaker.be_ended(wanted, start, counts)),
            1 => speaker.restore(counts)?,
            _ => speaker.speak(counts)?,
        }
    }
    Ok(())
}

/// Asks sessions to end, at random moments, until the time is over. Returns the process's resident bytes
/// behind the first tenth of it and in the end.
fn watch(
    speakers: &[(Mutex<Speaker<'_>>, AtomicU64)],
    start: Instant,
    duration: Duration,
    stop: &AtomicBool,
) -> (u64, u64) {
    let (mut random, mut before) = (Random::new(1), None);
    while start.elapsed() < duration && !stop.load(Ordering::SeqCst) {
        let (_, wanted) = &speakers[random.below(SESSIONS)];
        wanted.store(start.elapsed().as_nanos() as u64, Ordering::SeqCst);
        sleep(Duration::from_micros(random.below(400) as u64));
        if start.elapsed() > duration / 10 {
            before.get_or_insert_with(resident);
        }
    }
    (before.unwrap_or_default(), resident())
}

/// The bytes of this process that are in memory; 0 where no file says so.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .map_or(0, |pages: u64| pages * 4096)
}
