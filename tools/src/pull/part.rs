//! A file that is not whole yet: `NAME.part` with what has come, `NAME.part.version` with what the
//! server called the file. Under its name a file stands only when it is whole and right.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::http::{Answer, Resume};
use crate::failure::{Code, Failure, Result};
use crate::interrupt;
use crate::streams::Streams;

/// Bytes that are read at once.
const BLOCK: usize = 1 << 16;

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// 64 digits in hexadecimal.
    pub fn parse(text: &str) -> std::result::Result<Digest, String> {
        let refused = || "not a SHA-256: 64 digits in hexadecimal".to_string();
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(refused());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refused())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
        }
        Ok(Digest(digest))
    }

    fn of(hasher: Sha256) -> Digest {
        Digest(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The size and digest of a file.
pub fn digest(path: &Path) -> Result<(u64, Digest)> {
    let in_file = |error: io::Error| Failure::io(error).in_file(path);
    let mut file = File::open(path).map_err(in_file)?;
    let mut hasher = Sha256::new();
    let bytes = hash(&mut file, &mut hasher).map_err(in_file)?;
    Ok((bytes, Digest::of(hasher)))
}

fn hash(source: &mut dyn Read, hasher: &mut Sha256) -> io::Result<u64> {
    let (mut block, mut bytes) = (vec![0; BLOCK], 0);
    loop {
        interrupt::check_io()?;
        match source.read(&mut block)? {
            0 => return Ok(bytes),
            n => {
                hasher.update(&block[..n]);
                bytes += n as u64;
            }
        }
    }
}

/// What is written, and the digest of it.
pub struct Hashing<'w> {
    out: &'w mut dyn Write,
    hasher: Sha256,
}

impl<'w> Hashing<'w> {
    /// Around a sink.
    pub fn new(out: &'w mut dyn Write) -> Self {
        Hashing { out, hasher: Sha256::new() }
    }

    /// Of all that was written.
    pub fn digest(self) -> Digest {
        Digest::of(self.hasher)
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A file that comes in.
pub struct Part {
    target: PathBuf,
    path: PathBuf,
    version: PathBuf,
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl Part {
    /// The part of `target`, as far as it is there. Another process that gets the same file makes this
    /// fail.
    pub fn open(target: &Path) -> Result<Part> {
        let (path, version) = (with(target, ".part"), with(target, ".part.version"));
        let in_file = |error: io::Error| Failure::io(error).in_file(&path);
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(&path).map_err(in_file)?;
        file.try_lock().map_err(|error| {
            let sentence = format_args!("another process writes it ({error})");
            Failure::new(Code::Io, sentence).in_file(&path)
        })?;
        // Who held it before may have finished: then this is the file under its final name.
        if !path.exists() {
            let sentence = "another process has just finished it";
            return Err(Failure::new(Code::Io, sentence).in_file(&path));
        }
        let mut hasher = Sha256::new();
        let bytes = hash(&mut file, &mut hasher).map_err(in_file)?;
        Ok(Part { target: target.to_owned(), path, version, file, hasher, bytes })
    }

    /// What to ask the server for, if something is there and has a version.
    pub fn resume(&self) -> Option<Resume> {
        let version = fs::read_to_string(&self.version).ok()?;
        let is_header =
            !version.is_empty() && version.bytes().all(|byte| (32..127).contains(&byte));
        (self.bytes > 0 && is_header).then_some(Resume { bytes: self.bytes, version })
    }

    /// Makes ready for the answer: what is there stays only if the answer goes on from it. Returns how
    /// many bytes stay.
    pub fn begin(&mut self, answer: &Answer) -> Result<u64> {
        if answer.start != self.bytes {
            self.empty().map_err(|error| self.failed(error))?;
        }
        if answer.start == 0 {
            let version = answer.version.as_deref().unwrap_or_default();
            fs::write(&self.version, version).map_err(|error| self.failed(error))?;
        }
        Ok(self.bytes)
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        io::Seek::rewind(&mut self.file)?;
        (self.hasher, self.bytes) = (Sha256::new(), 0);
        Ok(())
    }

    /// Takes what comes. What has come stays if it ends too soon.
    pub fn fill(&mut self, answer: &mut Answer, streams: &mut Streams<'_>) -> Result<()> {
        let bar = streams.bytes_progress(answer.total.unwrap_or(0));
        let mut block = vec![0; BLOCK];
        loop {
            interrupt::check()?;
            let n = match answer.body.read(&mut block) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.stopped(error)),
            };
            // A server that sends more than it said.
            if answer.total.is_some_and(|total| self.bytes + n as u64 > total) {
                return Err(self.give_up("more bytes came than the server said there are"));
            }
            self.file.write_all(&block[..n]).map_err(|error| self.stopped(error))?;
            self.hasher.update(&block[..n]);
            self.bytes += n as u64;
            bar.set_position(self.bytes);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The file under its name, if all of it is there and has the digest. A wrong one is removed.
    /// Returns its size and digest.
    pub fn finish(self, total: Option<u64>, expected: Option<Digest>) -> Result<(u64, Digest)> {
        match total {
            Some(total) if self.bytes < total => {
                let end = format!("the connection ended at byte {} of {total}", self.bytes);
                return Err(self.stopped(io::Error::new(io::ErrorKind::UnexpectedEof, end)));
            }
            Some(total) if self.bytes > total => {
                return Err(self.give_up("the part is longer than the server's file"));
            }
            _ => {}
        }
        let actual = Digest::of(self.hasher.clone());
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            let failure = not_as_expected(actual, expected);
            self.remove();
            return Err(failure.in_file(&self.target));
        }
        self.file.sync_all().map_err(|error| self.failed(error))?;
        fs::rename(&self.path, &self.target).map_err(|error| self.failed(error))?;
        let _ = fs::remove_file(&self.version);
        Ok((self.bytes, actual))
    }

    fn give_up(&self, why: &str) -> Failure {
        self.remove();
        Failure::new(Code::Io, why).in_file(&self.target)
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.version);
    }

    /// It ended too soon, and can go on later.
    fn stopped(&self, error: io::Error) -> Failure {
        let mut failure = Failure::io(error).in_file(&self.target);
        if failure.code != Code::Interrupted {
            let again = "the same command goes on from there";
            failure.message =
                format!("{} ({} bytes are there: {again})", failure.message, self.bytes);
        }
        failure
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::io(error).in_file(&self.path)
    }
}

impl Drop for Part {
    /// Nothing has come: no trace.
    fn drop(&mut self) {
        if self.bytes == 0 {
            self.remove();
        }
    }
}

/// A digest that is not the one that was wanted.
pub fn not_as_expected(actual: Digest, expected: Digest) -> Failure {
    Failure::new(Code::Io, format_args!("its SHA-256 is {actual}, not {expected}"))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}
