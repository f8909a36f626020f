//! A checkpoint on the disk, and the output that must not be part of it.

use std::io::Read;
use std::path::Path;

use mote_formats::hf::folder::FolderReason;
use mote_formats::hf::tokenizer::Tokenizer;
use mote_formats::hf::{Config, Folder, FolderError, Weights, WeightsError};
use mote_formats::safetensors::{self, SafetensorsError};
use mote_kernels::QuantType;

use super::arch::Mapping;
use super::plan::{Plan, mapping, refused};
use super::{Command, llama2c, pooling, tokenizer};
use crate::failure::{Code, Failure, Result};
use crate::output;

/// The configuration; much more than any has.
const MAX_CONFIG_BYTES: u64 = 1 << 24;

/// A checkpoint, opened.
pub struct Checkpoint {
    pub folder: Folder,
    pub weights: Weights,
    pub config: Config,
    pub generation_config: Option<Vec<u8>>,
    /// The text of config.json.
    config_text: Vec<u8>,
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
        let config_text = folder.read("config.json", MAX_CONFIG_BYTES)?;
        let config_text = config_text
            .ok_or_else(|| Failure::new(Code::Format, "no config.json beside the weights"))?;
        let config = Config::parse(&config_text).map_err(refused)?;
        let mapping = mapping(&config)?;
        let config = config.into_text();
        let generation_config = folder.read("generation_config.json", MAX_CONFIG_BYTES)?;
        Ok(Checkpoint { folder, weights, config, generation_config, config_text, mapping })
    }

    /// What becomes of it.
    pub fn plan(&self, wanted: Option<QuantType>) -> Result<Plan<'_>> {
        let mut plan = Plan::new(self.mapping, &self.config, &self.weights, wanted)?;
        if let Some(number) = pooling::read(&self.folder)? {
            plan.keys.count("pooling_type", number);
        }
        Ok(plan)
    }

    /// Its tokenizer, for an embedding of `rows` rows.
    pub fn tokenizer(&self, rows: u64, pre: Option<&str>) -> Result<Tokenizer> {
        tokenizer::read(&self.folder, &self.config_text, rows, pre)
    }

    /// Nothing of the checkpoint is overwritten, whatever --force says.
    pub fn check_output(&self, output: &Path) -> Result<()> {
        let Ok(place) = output.canonicalize() else { return Ok(()) };
        // In the hub's cache the names are links: where a name stands counts, and where its file does.
        let stands_in = output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let stands_in = stands_in.unwrap_or(Path::new(".")).canonicalize().ok();
        let folders = [place.parent(), stands_in.as_deref()];
        let is_gguf = output.extension().is_some_and(|extension| extension == "gguf");
        let is_input = self.weights.paths().any(|path| *path == place)
            || folders.contains(&Some(self.folder.path())) && !is_gguf;
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
    if output.is_dir() {
        return Err(Failure::new(Code::Io, "is a folder; name a file").in_file(output));
    }
    output::check_absent(output, command.force)
}

/// One file with weights.
fn open_file(path: &Path) -> Result<(Folder, Weights)> {
    let unnamed = || Failure::new(Code::Usage, "not the name of a file");
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unnamed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = Folder::open(parent.unwrap_or(Path::new(".")))?;
    let (file, size, _) = folder.file(name)?;
    let mut start = Vec::new();
    let read = file.take(16).read_to_end(&mut start);
    read.map_err(Failure::io)?;
    if start.starts_with(b"GGUF") {
        let sentence = "is a GGUF file already; mote quantize changes its types";
        return Err(Failure::new(Code::Usage, sentence));
    }
    // Before pickles: a width of 640 begins a header like one, and only a whole header is taken for one.
    llama2c::check_vocabulary(path)?;
    // Of a pickle no more than this is read.
    if let Err(error @ SafetensorsError::Pickle) = safetensors::header_bytes(&start, size) {
        return Err(WeightsError::Safetensors(name.to_string(), error).into());
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
        match error {
            WeightsError::Folder(error) => error.into(),
            WeightsError::Pickle(_) | WeightsError::Safetensors(_, SafetensorsError::Pickle) => {
                Failure::new(Code::Model, error)
            }
            _ => Failure::new(Code::Format, error),
        }
    }
}
