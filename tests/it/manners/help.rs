//! Help is complete, says the same everywhere, and its examples are commands.

use std::collections::BTreeMap;

use clap::{ArgAction, Command};

use super::{commands, leaves};

/// Commands whose result is a text for another program.
const NO_JSON: &[&str] = &["completions", "man"];

#[test]
fn every_command_and_option_has_help() {
    let mut bad = Vec::new();
    for (words, command) in commands() {
        let name = format!("mote {}", words.join(" "));
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        if !is_line(&about) {
            bad.push(format!("{name}: '{about}'"));
        }
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            if !is_line(&help) {
                bad.push(format!("{name}: {}: '{help}'", arg.get_id()));
            }
            let named = arg.get_value_names().is_some_and(|names| {
                names.iter().all(|name| !name.chars().any(char::is_lowercase))
            });
            if arg.get_action().takes_values() && !named {
                bad.push(format!("{name}: {}: a value without a name", arg.get_id()));
            }
            let values = arg.get_possible_values();
            let told = values.iter().filter(|value| value.get_help().is_some()).count();
            if told != 0 && told != values.len() {
                bad.push(format!("{name}: {}: some values have help", arg.get_id()));
            }
        }
    }
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

/// A beginning, and no full stop behind the first line.
fn is_line(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default().trim();
    let begins = first.chars().next().is_some_and(|c| c.is_uppercase() || !c.is_alphabetic())
        || first.starts_with("n-gram");
    begins && !first.ends_with('.') && !text.trim_end().ends_with('.')
}

/// A name means one thing: the same letter, a value or none, wherever it stands.
#[test]
fn options_of_one_name_are_alike() {
    let mut known: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (words, command) in leaves() {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let takes_value = arg.get_action().takes_values();
            let letter = arg.get_short().map(|c| format!("-{c}")).unwrap_or_default();
            let form = format!("{letter} {}", if takes_value { "VALUE" } else { "" });
            let forms = known.entry(long.to_owned()).or_default();
            forms.entry(form).or_default().push(words.join(" "));
        }
    }
    let differ: Vec<_> = known
        .iter()
        .filter(|(name, forms)| forms.len() > 1 && !DIFFERENT.contains(&name.as_str()))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// Names that mean two things: `score --bits --tokens` lists tokens, `run --tokens N` bounds them;
/// `perplexity --tune` and `rescore --tune FILE` look for weights; `inspect --template` shows one,
/// `chat --template FILE` brings one.
const DIFFERENT: &[&str] = &["tokens", "tune", "template"];

#[test]
fn every_command_gives_json() {
    for (words, command) in leaves() {
        let json = command.get_arguments().find(|arg| arg.get_long() == Some("json"));
        let is_flag = json.is_some_and(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
        assert_eq!(is_flag, !NO_JSON.contains(&words[0].as_str()), "mote {}", words.join(" "));
    }
}

#[test]
fn examples_are_commands() {
    let mut bad = Vec::new();
    for (words, command) in leaves() {
        let name = words.join(" ");
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        if !examples.iter().any(|example| example[1..].starts_with(&words)) {
            bad.push(format!("mote {name} has no example"));
        }
        for example in examples {
            if let Err(error) = mote_tools::command().try_get_matches_from(&example) {
                bad.push(format!("mote {name}: {example:?}: {error}"));
            }
        }
        if !NO_JSON.contains(&words[0].as_str()) && !help.contains("JSON keys") {
            bad.push(format!("mote {name}: the keys of its JSON are not told"));
        }
    }
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

/// The words of all commands `mote` under "Examples:".
fn examples(help: &str) -> Vec<Vec<String>> {
    let paragraphs = help.split("\n\n");
    let of = paragraphs.filter_map(|text| {
        text.strip_prefix("Examples:\n").or_else(|| text.strip_prefix("Example:\n"))
    });
    let lines = of.map(|text| text.replace("\\\n", " "));
    let commands =
        lines.flat_map(|text| text.lines().flat_map(simple_commands).collect::<Vec<_>>());
    commands.filter(|words| words.first().is_some_and(|word| word == "mote")).collect()
}

/// A line as a shell cuts it: at pipes and &&, without redirections.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut skips) = (Vec::new(), Vec::new(), false);
    for word in shell_words(line) {
        match word.as_str() {
            "|" | "&&" | ";" => commands.push(std::mem::take(&mut words)),
            ">" | ">>" | "<" | "2>" => skips = true,
            _ if std::mem::take(&mut skips) => {}
            _ => words.push(word),
        }
    }
    commands.push(words);
    commands
}

fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "{line}");
    words.extend(word);
    words
}

#[test]
fn lines_are_cut_as_a_shell_does() {
    let cut = simple_commands("zcat 'a b' | mote run -p \"x | y\" --stop '' > out && mote man");
    let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let wanted = [
        of(&["zcat", "a b"]),
        of(&["mote", "run", "-p", "x | y", "--stop", ""]),
        of(&["mote", "man"]),
    ];
    assert_eq!(cut, wanted);
}

/// clap's own rules: no name or letter twice in a command, nothing required that is not there.
#[test]
fn the_tree_is_sound() {
    mote_tools::command().debug_assert();
}

/// Exit codes and variables are listed in one place, completely.
#[test]
fn the_main_page_lists_codes_and_variables() {
    use mote_tools::failure::Code;
    let help = mote_tools::command().render_help().to_string();
    let codes = [
        Code::Io,
        Code::NotFinite,
        Code::Usage,
        Code::Format,
        Code::Model,
        Code::Text,
        Code::Context,
        Code::Memory,
        Code::Interrupted,
        Code::OutputClosed,
    ];
    for code in codes {
        let listed = format!("\n  {:<4} ", code.exit_code());
        assert!(help.contains(&listed), "{code:?}");
        // Where the output is closed, nobody hears of it.
        assert!(help.contains(code.name()) || code == Code::OutputClosed, "{code:?}");
    }
    let mut seen = 0;
    for (words, command) in commands() {
        for name in command.get_arguments().filter_map(|arg| arg.get_env()) {
            let name = name.to_str().unwrap();
            assert!(name.starts_with("MOTE_"), "{words:?}: {name}");
            assert!(help.contains(&format!("\n  {name} ")), "{words:?}: {name} is not listed");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn completions_and_manual_pages_name_everything() {
    let named = |texts: &BTreeMap<String, String>, command: &Command, page: &str| {
        let text = texts.get(page).unwrap_or_else(|| panic!("no {page} in {:?}", texts.keys()));
        for arg in command.get_arguments().filter_map(|arg| arg.get_long()) {
            let escaped = arg.replace('-', "\\-");
            assert!(text.contains(arg) || text.contains(&escaped), "{page}: --{arg}");
        }
    };
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    let _ = std::fs::remove_dir_all(&folder);
    let write = |more: &[&str]| {
        crate::cli::mote(&[&["man", "--output", folder.to_str().unwrap()], more].concat()).code
    };
    assert_eq!([write(&[]), write(&[]), write(&["--force"])], [0, 1, 0]);
    let mut pages = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        pages.insert(name, std::fs::read_to_string(&path).unwrap());
    }
    assert_eq!(pages.len(), commands().len());
    for (words, command) in commands() {
        named(
            &pages,
            &command,
            &format!("{}.1", [&["mote".to_owned()], &words[..]].concat().join("-")),
        );
    }
    assert_eq!(crate::cli::mote(&["man"]).text(), pages["mote.1"]);
    assert!(pages["mote.1"].contains("130") && pages["mote.1"].contains("MOTE_MODEL"));
    assert!(pages["mote-run.1"].contains(".SH EXAMPLES\n.nf\nmote run"), "{}", pages["mote-run.1"]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = crate::cli::mote(&["completions", shell]).text().to_owned();
        let scripts = BTreeMap::from([(shell.to_owned(), script)]);
        commands().iter().for_each(|(_, command)| named(&scripts, command, shell));
    }
}
