//! Files that commands write: whole or not at all, and not once Ctrl-C was pressed or an input went away.

use std::io::{self, Write};
use std::path::Path;

use mote_formats::file;
pub use mote_formats::file::Existing;
use mote_formats::gguf::{Builder, IoSink};

use crate::failure::{Code, Failure, Result};
use crate::interrupt::{self, Stoppable};
use crate::source;
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

/// Writes the file `path` by `fill`, as [`file::write`] does. Ctrl-C makes writing fail, and so does a mapped
/// input that is gone.
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
        source::check_mapped().map_err(Stopped)?;
        Ok(filled)
    });
    written.map_err(|stopped: Stopped| stopped.of(path))
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
        source::check_mapped().map_err(Stopped)?;
        let (_, checksums) = data.finish_checksums().map_err(io::Error::from)?;
        checksums.write_to(out)?;
        out.flush()?;
        Ok(out.get_ref().metadata()?.len())
    });
    bar.finish_and_clear();
    written.map_err(|stopped: Stopped| stopped.of(path))
}

/// A failure while a file is written.
#[derive(Debug)]
pub struct Stopped(pub Failure);

impl Stopped {
    /// What to tell the user who wanted the file `path`: an input that went away is the cause of the rest.
    fn of(self, path: &Path) -> Failure {
        source::check_mapped().err().unwrap_or_else(|| self.0.in_file(path))
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Stopped(Failure::io(error))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// What was made of zeros, in the place of an input that went away, gets no name.
    #[test]
    fn case_413_no_output_of_an_input_that_is_gone() {
        mote_formats::guard::install().unwrap();
        let folder = std::env::temp_dir().join(format!("mote-output-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (input, output) = (folder.join("input"), folder.join("output"));
        std::fs::write(&input, vec![1; 100_000]).unwrap();
        let copy = |cut: bool| {
            let file = source::map(&input)?;
            write(&output, Existing::Replace, |out| {
                if cut {
                    let file = std::fs::OpenOptions::new().write(true).open(&input).unwrap();
                    file.set_len(10_000).unwrap();
                }
                out.write_all(&file).map_err(Failure::io)
            })
        };
        copy(false).unwrap();
        let failure = copy(true).unwrap_err();
        assert_eq!(failure.code, Code::Io);
        assert!(failure.message.contains("cut short"), "{}", failure.message);
        assert_eq!(std::fs::read(&output).unwrap(), vec![1; 100_000]);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
        // Of what is no longer in use nobody asks.
        source::check_mapped().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
