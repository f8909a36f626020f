//! Files that commands write: whole or not at all, and not once Ctrl-C was pressed.

use std::io::{self, Write};
use std::path::Path;

use mote_formats::file;
pub use mote_formats::file::Existing;
use mote_formats::gguf::{Builder, IoSink};

use crate::failure::{Code, Failure, Result};
use crate::interrupt::{self, Stoppable};
use crate::streams::Streams;

/// What `--force` means.
pub fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

/// Refuses an output that is in the way, before the work and not after it.
pub fn check_absent(path: &Path, force: bool) -> Result<()> {
    if !force && path.symlink_metadata().is_ok() {
        let sentence = "exists already; --force replaces it";
        return Err(Failure::new(Code::Io, sentence).in_file(path));
    }
    Ok(())
}

/// Writes the file `path` by `fill`, as [`file::write`] does. Ctrl-C makes writing fail.
pub fn write<T>(
    path: &Path,
    existing: Existing,
    fill: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    // From the first byte on, Ctrl-C removes what is there.
    interrupt::check()?;
    let written = file::write(path, existing, |out| {
        let filled = fill(&mut Stoppable::new(out)).map_err(Stopped)?;
        interrupt::check().map_err(Stopped)?;
        Ok(filled)
    });
    written.map_err(|Stopped(failure)| failure.in_file(path))
}

/// Takes the data of a file's tensors, piece by piece.
pub type TensorSink<'s> = dyn FnMut(&[u8]) -> std::result::Result<(), Stopped> + 's;

/// Writes a GGUF file in the same way: `index`, then the `data_bytes` or so of the tensors that `fill`
/// gives to its sink, with their checksums. Returns the file's bytes.
pub fn write_gguf(
    path: &Path,
    existing: Existing,
    index: &Builder,
    data_bytes: u64,
    streams: &Streams<'_>,
    fill: impl FnOnce(&mut TensorSink<'_>) -> std::result::Result<(), Stopped>,
) -> Result<u64> {
    interrupt::check()?;
    let bar = streams.bytes_progress(data_bytes);
    let written = file::write(path, existing, |out| {
        let mut data = index.write_index(IoSink(&mut *out)).map_err(io::Error::from)?;
        fill(&mut |bytes| {
            interrupt::check_io()?;
            data.write(bytes).map_err(io::Error::from)?;
            bar.inc(bytes.len() as u64);
            Ok(())
        })?;
        interrupt::check_io()?;
        let (_, checksums) = data.finish_checksums().map_err(io::Error::from)?;
        checksums.write_to(out)?;
        out.flush()?;
        Ok(out.get_ref().metadata()?.len())
    });
    bar.finish_and_clear();
    written.map_err(|Stopped(failure)| failure.in_file(path))
}

/// A failure while a file is written.
#[derive(Debug)]
pub struct Stopped(pub Failure);

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Stopped(Failure::io(error))
    }
}
