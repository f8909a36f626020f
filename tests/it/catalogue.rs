//! tests/CATALOGUE.md says of every case of the catalogue which tests show it. It is right: the tests are there,
//! and no test of a case is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::process::Command;

use mote_tests::shared::root;

const CASES: RangeInclusive<u32> = 282..=430;

/// Cases of a server, which mote has not. (Of grammars and templates, 405 and 412, it has the command line's.)
const SERVER: [RangeInclusive<u32>; 2] = [396..=404, 406..=411];

/// A line of the table: its number, and its tests by file and name.
struct Row {
    number: u32,
    tests: Vec<(String, String)>,
    /// Why there are none.
    reason: Option<String>,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("tests/CATALOGUE.md")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case "));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [number, what, tests] = cells[..] else { panic!("not three cells: {line}") };
    assert!(!what.is_empty(), "{line}");
    let number = number.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    if let Some(reason) = tests.strip_prefix("none: ") {
        return Row { number, tests: Vec::new(), reason: Some(reason.to_owned()) };
    }
    let files = tests.split("; ").map(|group| group.split_once(": ").expect(line));
    let named = files.flat_map(|(file, names)| names.split(", ").map(move |name| (file, name)));
    let tests = named.map(|(file, name)| (file.to_owned(), name.to_owned())).collect();
    Row { number, tests, reason: None }
}

/// The functions of a file that are tests: of Rust by their attribute, of C by their name and that `main` calls
/// them.
fn tests_of(file: &str) -> BTreeSet<String> {
    let text =
        fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{file} is missing"));
    let name = |rest: &str| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    if file.ends_with(".c") {
        let (before, main) = text.split_once("\nint main(").expect(file);
        let defined = before.lines().filter_map(|line| line.strip_prefix("static void "));
        return defined.map(name).filter(|name| main.contains(&format!("{name}("))).collect();
    }
    let mut found = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("fn ") {
            if is_test {
                found.insert(name(rest));
            }
            is_test = false;
        } else if line == "#[test]" {
            is_test = true;
        } else if !(line.starts_with("#[") || line.starts_with("//")) {
            is_test = false;
        }
    }
    found
}

/// The numbers in a test's name: `case_297_…`, `cases_318_and_319_…`, `cases_100_to_103_…`.
fn numbers(name: &str) -> Vec<u32> {
    let Some(rest) = name.strip_prefix("case_").or_else(|| name.strip_prefix("cases_")) else {
        return Vec::new();
    };
    let words: Vec<&str> = rest.split('_').collect();
    let number = |at: usize| words.get(at)?.parse::<u32>().ok();
    let (Some(first), second) = (number(0), number(2)) else { return Vec::new() };
    match (words.get(1), second) {
        (Some(&"and"), Some(second)) => vec![first, second],
        (Some(&"to"), Some(last)) => (first..=last).collect(),
        _ => vec![first],
    }
}

#[test]
fn every_case_has_its_line() {
    let rows = rows();
    assert!(rows.iter().map(|row| row.number).eq(CASES), "each number once, in order");
    for Row { number, tests, reason } in &rows {
        let is_server = SERVER.iter().any(|cases| cases.contains(number));
        assert_eq!(reason.is_some(), is_server, "{number}");
        assert!(reason.is_some() || !tests.is_empty(), "{number}");
        assert!(reason.as_ref().is_none_or(|reason| !reason.is_empty()), "{number}");
    }
}

#[test]
fn every_test_of_the_table_exists() {
    let mut files = BTreeMap::new();
    for Row { number, tests, .. } in rows() {
        for (file, name) in tests {
            let found = files.entry(file.clone()).or_insert_with_key(|file| tests_of(file));
            assert!(found.contains(&name), "{number}: {file} has no test {name}");
        }
    }
}

#[test]
fn every_test_of_a_case_is_in_the_table() {
    let rows: BTreeMap<u32, Row> = rows().into_iter().map(|row| (row.number, row)).collect();
    let listed = Command::new("git").args(["ls-files", "*.rs", "*.c"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        println!("not checked without git");
        return;
    };
    let mut seen = 0;
    for file in String::from_utf8(listed.stdout).unwrap().lines() {
        if !root().join(file).is_file() {
            continue;
        }
        for name in tests_of_any(file) {
            for number in numbers(&name) {
                let row =
                    rows.get(&number).unwrap_or_else(|| panic!("{file}: {name}: no such case"));
                let test = (file.to_owned(), name.clone());
                assert!(row.tests.contains(&test), "{number} in the table lacks {file}: {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 130, "{seen}");
}

/// As [`tests_of`], also where a C file is no program of its own.
fn tests_of_any(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    if file.ends_with(".c") && !text.contains("\nint main(") {
        BTreeSet::new()
    } else {
        tests_of(file)
    }
}
