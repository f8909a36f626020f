//! Files that commands write: whole or not at all, and not once Ctrl-C was pressed.

use std::io::{self, Write};
use std::path::Path;

use mote_formats::file;
pub use mote_formats::file::Existing;

use crate::failure::{Failure, Result};
use crate::interrupt::{self, Stoppable};

/// Writes the file `path` by `fill`, as [`file::write`] does. Ctrl-C makes writing fail.
pub fn write<T>(
    path: &Path,
    existing: Existing,
    fill: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let written = file::write(path, existing, |out| {
        let filled = fill(&mut Stoppable::new(out)).map_err(Refused)?;
        interrupt::check().map_err(Refused)?;
        Ok(filled)
    });
    written.map_err(|Refused(failure)| failure.in_file(path))
}

/// A failure while a file is written.
struct Refused(Failure);

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused(Failure::io(error))
    }
}
