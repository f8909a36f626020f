//! What the library notes, shown on standard error. The logger belongs to a process, so these tests
//! start some.

use std::process::Command;

use super::baseline;

/// Output and errors of `mote run` with these options, where only these variables speak of colours.
fn mote(options: &[&str], variables: &[(&str, &str)]) -> (String, String) {
    let (model, _) = baseline();
    let mut mote = Command::new(env!("CARGO_BIN_EXE_mote-for-tests"));
    mote.args(["run", "-m", &model, "-n", "2", "a b"]).args(options);
    mote.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(variables.iter().copied());
    let output = mote.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

fn notes(errors: &str) -> Vec<&str> {
    let is_note = |line: &&str| line.starts_with("debug: ") || line.starts_with("trace: ");
    errors.lines().filter(is_note).collect()
}

#[test]
fn verbose_in_a_process_shows_notes_and_nothing_else_changes() {
    let (quiet_output, quiet) = mote(&[], &[]);
    assert!(notes(&quiet).is_empty(), "{quiet}");
    let (output, once) = mote(&["-v"], &[]);
    assert_eq!(output, quiet_output);
    let kernels = mote_kernels::arch::best().name();
    let shown = notes(&once);
    assert!(shown[0].starts_with("debug: model: "), "{once}");
    assert!(shown[1].ends_with(&format!("{kernels} kernels")), "{once}");
    assert!(shown.iter().all(|line| line.starts_with("debug: ")), "{once}");
    let (output, twice) = mote(&["-vv"], &[]);
    assert_eq!(output, quiet_output);
    assert!(notes(&twice).iter().any(|line| line.contains("tokens fed")), "{twice}");
}

#[test]
fn verbose_in_a_process_has_colours_only_where_they_are_wanted() {
    let force = ("CLICOLOR_FORCE", "1");
    let (_, coloured) = mote(&["-v"], &[force]);
    assert!(coloured.contains("\u{1b}[36mdebug:\u{1b}[0m model: "), "{coloured:?}");
    for variables in [&[][..], &[("NO_COLOR", "1"), force], &[("NO_COLOR", "1")]] {
        let (_, plain) = mote(&["-v"], variables);
        assert!(plain.contains("debug: model: "), "{plain:?}");
    }
}
