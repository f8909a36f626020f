//! The manners of the binary `mote`: arguments, help, files, failures, signals. Cases 381 to 395.

use clap::Command;

mod arguments;
mod files;
mod help;
mod interrupts;
mod json;
// What only a process of its own shows. (Names that ci.sh leaves out where CPUs are emulated.)
#[cfg(unix)]
mod processes;

/// All commands with the words that call them, those that only hold others included.
fn commands() -> Vec<(Vec<String>, Command)> {
    let mut root = mote_tools::command().disable_help_subcommand(true);
    root.build();
    let (mut found, mut rest) = (Vec::new(), vec![(Vec::new(), root)]);
    while let Some((words, command)) = rest.pop() {
        for inner in command.get_subcommands() {
            let mut words: Vec<String> = words.clone();
            words.push(inner.get_name().to_owned());
            rest.push((words, inner.clone()));
        }
        found.push((words, command));
    }
    found
}

/// Those that do something.
fn leaves() -> impl Iterator<Item = (Vec<String>, Command)> {
    let does =
        |command: &Command| !command.has_subcommands() || !command.is_subcommand_required_set();
    commands().into_iter().filter(move |(_, command)| does(command))
}

/// A file or folder of the tests' fixtures.
fn fixture_path(name: &str) -> String {
    let path = mote_tests::shared::root().join("tests/fixtures").join(name);
    path.into_os_string().into_string().unwrap()
}

/// A trained model as others store it.
pub(crate) fn checkpoint() -> String {
    fixture_path("checkpoint")
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// A text in which n-grams return. The same in every run.
pub(crate) fn prose(words: usize) -> String {
    let mut state = 1_u64;
    let mut text = String::new();
    for i in 1..=words {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        // Small numbers are frequent.
        let (a, b) = ((state >> 33) % 40, (state >> 50) % 40);
        text.push_str(&format!("w{}", a * b % 997));
        text.push(if i % 12 == 0 { '\n' } else { ' ' });
    }
    text
}
