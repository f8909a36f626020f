//! `mote completions`: scripts by which shells complete commands and options.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::failure::Result;
use crate::streams::Streams;

/// Print the script by which a shell completes commands and options
#[derive(Args, Debug)]
#[command(after_help = "\
Where the script goes: for bash to ~/.local/share/bash-completion/completions/mote, for zsh to a
file _mote in a folder of $fpath, for fish to ~/.config/fish/completions/mote.fish. A new shell
reads it.

Examples:
  mote completions bash > ~/.local/share/bash-completion/completions/mote
  mote completions zsh > ~/.zfunc/_mote
  mote completions fish > ~/.config/fish/completions/mote.fish")]
pub struct Command {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Command {
    /// Its result is a script, whoever reads it.
    pub fn json(&self) -> bool {
        false
    }
}

/// Prints.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    // Between them: what generates panics if it cannot write.
    let mut script = Vec::new();
    generate(command.shell, &mut crate::command(), "mote", &mut script);
    Ok(streams.output.write_all(&script)?)
}
