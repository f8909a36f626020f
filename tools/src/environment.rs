//! The variables of the environment that mote reads. The libraries read none, and nobody else here
//! (tests/it/tidy.rs): options take what these say, and what is said on the command line wins.

/// The model, where a command takes one by `--model`.
pub const MODEL: &str = "MOTE_MODEL";

/// The number of threads, where a command takes one by `--threads`.
pub const THREADS: &str = "MOTE_THREADS";

/// What `mote --help` says of them all, those of other makers included.
pub const HELP: &str = "\
Environment variables (options win):
  MOTE_MODEL      the model of commands that take one by -m
  MOTE_THREADS    their number of threads
  NO_COLOR        not empty: no colours; CLICOLOR=0 says the same
  CLICOLOR_FORCE  not empty: colours even where the messages go to no terminal
  TMPDIR          the folder of temporary files";
