//! The variables of the environment that mote reads. The libraries read none (tests/it/tidy.rs), and
//! what is said on the command line wins.

use std::env;
use std::path::PathBuf;

/// The model, where a command takes one by `--model`.
pub const MODEL: &str = "MOTE_MODEL";

/// The number of threads, where a command takes one by `--threads`.
pub const THREADS: &str = "MOTE_THREADS";

/// A variable's path, if it is set and not empty.
fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The model, for a command that clap cannot tell: where `--model` excludes another option.
pub fn model() -> Option<PathBuf> {
    path(MODEL)
}

/// Where models are that have been pulled: `MOTE_MODELS`, else `mote/models` where the system wants a
/// user's data. `None` where nothing says where that is.
pub fn models() -> Option<PathBuf> {
    if let Some(folder) = path("MOTE_MODELS") {
        return Some(folder);
    }
    let data = if cfg!(windows) {
        path("LOCALAPPDATA")
    } else {
        let data = path("XDG_DATA_HOME").filter(|folder| folder.is_absolute());
        data.or_else(|| Some(path("HOME")?.join(".local/share")))
    };
    Some(data?.join("mote").join("models"))
}

/// The address of the model hub, as the hub's own programs are told it.
#[cfg(feature = "pull")]
pub fn hub() -> Option<String> {
    env::var("HF_ENDPOINT").ok().filter(|address| !address.is_empty())
}

/// What the hub knows its user by: models that ask for consent are for some users alone.
#[cfg(feature = "pull")]
pub fn hub_token() -> Option<String> {
    env::var("HF_TOKEN").ok().filter(|token| !token.is_empty())
}

/// What `mote --help` says of them all, those of other makers included.
pub const HELP: &str = "\
Environment variables (options win):
  MOTE_MODEL      the model of commands that take one by -m
  MOTE_MODELS     the folder of mote pull's models, else mote/models in XDG_DATA_HOME,
                  in .local/share of HOME, or on Windows in LOCALAPPDATA
  MOTE_THREADS    the number of threads of commands that take one by -t
  HF_ENDPOINT     the address of the hub that mote pull asks for OWNER/REPO/FILE
  HF_TOKEN        the token that the hub of HF_ENDPOINT is shown, and nobody else
  NO_COLOR        not empty: no colours; CLICOLOR=0 says the same
  CLICOLOR_FORCE  not empty: colours even where the messages go to no terminal
  COLORTERM       truecolor or 24bit: all colours, else 256
  TMPDIR          the folder of temporary files";
