//! The variables of the environment that mote reads. The libraries read none (tests/it/tidy.rs), and
//! what is said on the command line wins.

/// The model, where a command takes one by `--model`.
pub const MODEL: &str = "MOTE_MODEL";

/// The number of threads, where a command takes one by `--threads`.
pub const THREADS: &str = "MOTE_THREADS";

/// What `mote --help` says of them all, those of other makers included.
pub const HELP: &str = "\
Environment variables (options win):
  MOTE_MODEL      the model of commands that take one by -m
  MOTE_MODELS     the folder of mote pull's models, else mote/models in XDG_DATA_HOME,
                  in .local/share of HOME, or on Windows in LOCALAPPDATA
  MOTE_THREADS    the number of threads of commands that take one by -t
  HF_ENDPOINT     where mote pull finds the Hugging Face hub, if not where it is
  NO_COLOR        not empty: no colours; CLICOLOR=0 says the same
  CLICOLOR_FORCE  not empty: colours even where the messages go to no terminal
  COLORTERM       truecolor or 24bit: all colours, else 256
  TMPDIR          the folder of temporary files";
