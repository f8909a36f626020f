//! A context in a file: `--save-session`, `--load-session`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use mote_formats::Mapping;
use mote_formats::file::{self, Existing};
use mote_runtime::{LanguageModel, RestoreError, SavedContext};

use crate::failure::{Code, Failure, Result};
use crate::host::Memory;
use crate::source;

/// Where a context goes, and comes from.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sessions")]
pub struct SessionFiles {
    /// Keep the context (what was read and written) in this file in the end, so that another run can go
    /// on. Without --ctx it gets room for 4096 tokens. A file of that name is replaced if it is a saved
    /// session
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fallback", "mix", "batch_file"])]
    save_session: Option<PathBuf>,
    /// Go on from a saved context of the same model, of the size that it has there. Without a prompt the
    /// text goes on as if it had not been interrupted; a prompt is appended
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fallback", "mix", "batch_file"])]
    load_session: Option<PathBuf>,
}

/// Tokens that a context has room for if it is to be saved.
pub const ROOM: usize = 4096;

impl SessionFiles {
    /// Whether the context is to be saved.
    pub fn saves(&self) -> bool {
        self.save_session.is_some()
    }

    /// Whether there is a context to go on from.
    pub fn loads(&self) -> bool {
        self.load_session.is_some()
    }

    /// The context to go on from.
    pub fn open(&self) -> Result<Option<Saved>> {
        let Some(path) = &self.load_session else { return Ok(None) };
        let bytes = source::map(path)?;
        let context = SavedContext::of(&bytes).map_err(|error| refused(error, path))?;
        Ok(Some(Saved { path: path.clone(), bytes, context }))
    }

    /// Refuses a name under which something else stands, before any work.
    pub fn check(&self) -> Result<()> {
        let Some(path) = &self.save_session else { return Ok(()) };
        match Mapping::open(path) {
            Ok(bytes) if matches!(SavedContext::of(&bytes), Err(RestoreError::Foreign)) => {
                let sentence = "the file is there already, and is no saved session";
                Err(Failure::new(Code::Io, sentence).in_file(path))
            }
            Ok(_) => Ok(()),
            Err(error) if path.symlink_metadata().is_ok() => {
                Err(Failure::from(error).in_file(path))
            }
            Err(_) => match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                    Err(Failure::new(Code::Io, "its folder is not there").in_file(path))
                }
                _ => Ok(()),
            },
        }
    }

    /// Saves the context, if that was asked for.
    pub fn save(&self, model: &mut dyn LanguageModel<'_>) -> Result<()> {
        let Some(path) = &self.save_session else { return Ok(()) };
        let Some(len) = model.saved_bytes() else {
            return Err(Failure::new(Code::Usage, "--save-session: this model cannot be saved"));
        };
        let mut bytes = Memory::new(len)?;
        let len = model.save(&mut bytes)?;
        let written = file::write(path, Existing::Replace, |out| {
            std::io::Write::write_all(out, &bytes[..len])
        });
        written.map_err(|error| Failure::new(Code::Io, error).in_file(path))
    }
}

/// A saved context.
pub struct Saved {
    path: PathBuf,
    bytes: Arc<Mapping>,
    /// What it was.
    pub context: SavedContext,
}

impl Saved {
    /// The model's context becomes this one.
    pub fn restore(&self, model: &mut dyn LanguageModel<'_>) -> Result<()> {
        model.restore(&self.bytes).map_err(|error| refused(error, &self.path))
    }
}

fn refused(error: RestoreError, path: &Path) -> Failure {
    let code = match error {
        RestoreError::Model | RestoreError::Context(_) | RestoreError::Options => Code::Usage,
        _ => Code::Format,
    };
    Failure::new(code, error).in_file(path)
}
