//! A checkpoint on the disk, and the output that must not be part of it.

use std::io::Read;
use std::path::Path;

use mote_formats::hf::folder::FolderReason;
use mote_formats::hf::{Config, Folder, FolderError, Weights, WeightsError};
use mote_kernels::QuantType;

use super::Command;
use super::arch::Mapping;
use super::plan::{Plan, mapping, refused};
use crate::failure::{Code, Failure, Result};

/// The configuration; much more than any has.
const MAX_CONFIG_BYTES: u64 = 1 << 24;

/// A checkpoint, opened.
pub struct Checkpoint {
    pub folder: Folder,
    pub weights: Weights,
    pub config: Config,
    pub generation_config: Option<Vec<u8>>,
    mapping: &'static Mapping,
}

impl Checkpoint {
    /// Of a folder, or of a safetensors file in one.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        let (folder, weights) = if path.is_dir() {
            let folder = Folder::open(path)?;
            (folder.clone(), Weights::open(&folder)?)
        } else {
            open_file(path)?
        };
        let config = folder.read("config.json", MAX_CONFIG_BYTES)?;
        let config = config
            .ok_or_else(|| Failure::new(Code::Format, "no config.json beside the weights"))?;
        let config = Config::parse(&config).map_err(refused)?;
        let mapping = mapping(&config)?;
        let config = config.into_text();
        let generation_config = folder.read("generation_config.json", MAX_CONFIG_BYTES)?;
        Ok(Checkpoint { folder, weights, config, generation_config, mapping })
    }

    /// What becomes of it.
    pub fn plan(&self, wanted: Option<QuantType>) -> Result<Plan<'_>> {
        Plan::new(self.mapping, &self.config, &self.weights, wanted)
    }

    /// Nothing of the checkpoint is overwritten, whatever --force says.
    pub fn check_output(&self, output: &Path) -> Result<()> {
        let Ok(place) = output.canonicalize() else { return Ok(()) };
        let is_input = self.weights.paths().any(|path| *path == place)
            || place.parent() == Some(self.folder.path())
                && place.extension().is_none_or(|extension| extension != "gguf");
        if is_input {
            let sentence = "is a file of the checkpoint; write to another";
            return Err(Failure::new(Code::Usage, sentence).in_file(output));
        }
        Ok(())
    }
}

/// An output that is in the way is found before any work.
pub fn check_output(command: &Command) -> Result<()> {
    let output = &command.output;
    let refused = |sentence| Err(Failure::new(Code::Io, sentence).in_file(output));
    if output.is_dir() {
        return refused("is a folder; name a file");
    }
    if !command.force && output.symlink_metadata().is_ok() {
        return refused("exists already; --force replaces it");
    }
    Ok(())
}

/// One file with weights.
fn open_file(path: &Path) -> Result<(Folder, Weights)> {
    let unnamed = || Failure::new(Code::Usage, "not the name of a file");
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unnamed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = Folder::open(parent.unwrap_or(Path::new(".")))?;
    let (file, ..) = folder.file(name)?;
    let mut start = Vec::new();
    let read = file.take(16).read_to_end(&mut start);
    read.map_err(Failure::io)?;
    if start.starts_with(b"GGUF") {
        let sentence = "is a GGUF file already; mote quantize changes its types";
        return Err(Failure::new(Code::Usage, sentence));
    }
    let weights = Weights::open_files(&folder, &[name.to_string()])?;
    Ok((folder, weights))
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        let code = match error.reason {
            FolderReason::Io(_) | FolderReason::NotAFile | FolderReason::NotAFolder => Code::Io,
            _ => Code::Format,
        };
        Failure::new(code, error)
    }
}

impl From<WeightsError> for Failure {
    fn from(error: WeightsError) -> Self {
        use mote_formats::safetensors::SafetensorsError;
        match error {
            WeightsError::Folder(error) => error.into(),
            WeightsError::Pickle(_) | WeightsError::Safetensors(_, SafetensorsError::Pickle) => {
                Failure::new(Code::Model, error)
            }
            _ => Failure::new(Code::Format, error),
        }
    }
}
