//! Checkpoints as the Hugging Face hub has them: a folder with weights in safetensors files,
//! `config.json` and the files of a tokenizer.

pub mod config;
pub mod folder;
pub mod weights;

pub use config::{Config, ConfigError};
pub use folder::{Folder, FolderError};
pub use weights::{Weights, WeightsError};
