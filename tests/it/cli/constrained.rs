//! `mote run` under a grammar, a schema and a regular expression: what is written follows it, whatever
//! the model's weights say, and drafts change nothing.

use std::time::{Duration, Instant};

use mote_tests::models::fixture;

use super::*;

fn model() -> String {
    file("constrained-model.gguf", &fixture("models/llama-f32.gguf"))
}

/// Texts under a constraint, greedy and sampled, and why they ended.
fn texts(constraint: &[&str], n: &str, check: impl Fn(&str, &str)) {
    let model = model();
    let samplings: [&[&str]; 5] = [
        &["--temp", "0"],
        &["--seed", "1"],
        &["--seed", "2", "--temp", "1", "--top-k", "0", "--top-p", "1", "--min-p", "0"],
        &["--seed", "3", "--temp", "inf", "--top-k", "0", "--min-p", "0", "--top-p", "1"],
        &["--seed", "4", "--temp", "2", "--repetition-penalty", "1.5"],
    ];
    for sampling in samplings {
        let run = |how: &str| {
            let args =
                ["run", "-m", &model, "-p", "a text of", "-n", n, "--json", "--speculate", how];
            mote(&[&args[..], sampling, constraint].concat()).json()
        };
        let report = run("off");
        assert_eq!(run("lookup")["ids"], report["ids"], "{constraint:?} {sampling:?}");
        check(report["text"].as_str().unwrap(), report["stop"].as_str().unwrap());
    }
}

fn is_complete(stop: &str) -> bool {
    stop == "complete" || stop == "eos"
}

#[test]
fn a_text_matches_the_expression() {
    texts(&["--regex", "[0-9]{4}-(0[1-9]|1[0-2])"], "60", |text, stop| {
        assert!(is_complete(stop), "{text} {stop}");
        let (year, month) = text.split_once('-').unwrap();
        assert!(year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()), "{text}");
        assert!((1..=12).contains(&month.parse::<u32>().unwrap()) && month.len() == 2, "{text}");
    });
    texts(&["--regex", "(é|漢|[^a-z])+!"], "40", |text, stop| {
        let body = text.strip_suffix('!').unwrap_or(text);
        assert!(is_complete(stop) || stop == "length");
        assert!(!body.chars().any(|c| c.is_ascii_lowercase()), "{text:?}");
    });
    texts(&["--regex", "yes|no"], "9", |text, _| assert!(text == "yes" || text == "no", "{text}"));
}

#[test]
fn a_text_follows_the_grammar() {
    let nested = "# nested\nroot ::= item\nitem ::= \"(\" (item (\", \" item)*)? \")\" | [a-c] [\\x30-\\x39]{2}";
    let path = file("nested.gbnf", nested.as_bytes());
    texts(&["--grammar", &path], "200", |text, stop| {
        let rest = item(text);
        assert!(
            rest == Some("") && is_complete(stop) || rest.is_none() && stop == "length",
            "{text} {stop}"
        );
    });
    let left = "root ::= root \"+\" [1-9] | [1-9]";
    let path = file("left.gbnf", left.as_bytes());
    texts(&["--grammar", &path], "30", |text, _| {
        assert!(text.split('+').all(|n| n.len() <= 1), "{text}");
    });
    let model = model();
    let run = |text: &str| {
        let path = file(&format!("bad-{}.gbnf", text.len()), text.as_bytes());
        mote(&["run", "-m", &model, "-p", "a", "-n", "5", "--grammar", &path])
    };
    for (text, word) in [
        ("root ::= root", "no text"),
        ("root ::= \"a\" b", "no rule 'b'"),
        ("root ::= \"a\"\n\nroot ::= \"b\"", "line 3"),
        ("root ::= [", "line 1"),
    ] {
        let outcome = run(text);
        assert_eq!(outcome.code, 2, "{text}: {}", outcome.errors);
        assert!(outcome.errors.contains(word), "{text}: {}", outcome.errors);
    }
}

/// What is left behind an item; `None` if the text ends within it.
fn item(text: &str) -> Option<&str> {
    let Some(mut rest) = text.strip_prefix('(') else {
        let name = text.chars().next()?;
        assert!(('a'..='c').contains(&name), "{text}");
        let digits = text.get(1..3)?;
        assert!(digits.bytes().all(|b| b.is_ascii_digit()), "{text}");
        return text.get(3..);
    };
    if let Some(rest) = rest.strip_prefix(')') {
        return Some(rest);
    }
    loop {
        rest = item(rest)?;
        match rest.strip_prefix(')') {
            Some(rest) => return Some(rest),
            None if rest == "," => return None,
            None => rest = rest.strip_prefix(", ").or(rest.is_empty().then_some(""))?,
        }
    }
}

#[test]
fn a_text_is_json_of_the_schema() {
    let schema = r#"{"type": "object", "additionalProperties": false,
        "required": ["name", "n", "tags", "ok"],
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "n": {"type": "integer", "minimum": -5, "maximum": 99},
            "tags": {"type": "array", "maxItems": 3, "items": {"enum": ["a", "b b"]}},
            "ok": {"type": ["boolean", "null"]}}}"#;
    let check = |text: &str, stop: &str| {
        assert!(is_complete(stop), "{text} {stop}");
        let value: Value = serde_json::from_str(text).unwrap_or_else(|it| panic!("{text}: {it}"));
        assert_eq!(keys(&value), ["n", "name", "ok", "tags"], "{text}");
        assert!(value["name"].as_str().unwrap().chars().count() <= 12, "{text}");
        assert!((-5..=99).contains(&value["n"].as_i64().unwrap()), "{text}");
        let tags = value["tags"].as_array().unwrap();
        assert!(tags.len() <= 3 && tags.iter().all(|tag| tag == "a" || tag == "b b"), "{text}");
        assert!(value["ok"].is_boolean() || value["ok"].is_null(), "{text}");
    };
    texts(&["--json-schema", schema], "400", check);
    let path = file("schema.json", schema.as_bytes());
    texts(&["--json-schema", &path], "400", check);
    let either = r#"{"anyOf": [{"const": 7}, {"type": "array", "items": {"type": "boolean"},
        "minItems": 2, "maxItems": 2}]}"#;
    texts(&["--json-schema", either], "40", |text, _| {
        let value: Value = serde_json::from_str(text).unwrap();
        let pair = |it: &Vec<Value>| it.len() == 2 && it.iter().all(Value::is_boolean);
        assert!(value == 7 || value.as_array().is_some_and(pair), "{text}");
    });
}

#[test]
fn case_405_grammars_that_are_too_much_are_refused_soon() {
    let model = model();
    let (open, close) = ("(".repeat(60_000), ")".repeat(60_000));
    let schema = format!("{}{}", "{\"items\": ".repeat(100_000), "}".repeat(100_000));
    let references: String = (0..3000)
        .map(|i| format!("\"r{i}\": {{\"items\": {{\"$ref\": \"#/$defs/r{}\"}}}}, ", i + 1))
        .collect();
    let chain = format!(
        "{{\"$defs\": {{{references}\"r3000\": {{\"type\": \"null\"}}}}, \"$ref\": \"#/$defs/r0\"}}"
    );
    let doubling: String =
        (0..400).map(|i| format!("r{i} ::= r{} r{} | \"a\"\n", i + 1, i + 1)).collect();
    let cases = [
        ("--grammar", format!("root ::= {open}\"a\"{close}"), false),
        ("--grammar", "root ::= \"x\"{1000000000}".to_string(), false),
        ("--grammar", "root ::= (\"a\"*)*".to_string(), true),
        ("--grammar", format!("root ::= r0\n{doubling}r400 ::= \"b\""), true),
        ("--grammar", "root ::= ".repeat(40_000), false),
        ("--grammar", "root ::= root \"a\" | \"b\"".to_string(), true),
        ("--grammar", "root ::= r\nr ::= s \"a\"\ns ::= r".to_string(), true),
        ("--regex", format!("{open}a{close}"), false),
        ("--regex", "((((".to_string(), false),
        ("--regex", "x{1000000000}".to_string(), true),
        ("--regex", "(((a{1000}){1000}){1000}){1000}".to_string(), true),
        ("--regex", "a".repeat(300 << 10), false),
        ("--json-schema", schema, false),
        ("--json-schema", chain, true),
        ("--json-schema", "{\"type\": \"no such type\"}".to_string(), false),
        ("--json-schema", "{\"$ref\": \"#\"}".to_string(), true),
        ("--json-schema", "{\"type\": ".to_string(), false),
    ];
    for (i, (option, text, may_run)) in cases.iter().enumerate() {
        let path = file(&format!("case-405-{i}"), text.as_bytes());
        let is_file = *option != "--regex";
        let value = if is_file { path } else { text.clone() };
        let start = Instant::now();
        let outcome = mote(&["run", "-m", &model, "-p", "a", "-n", "4", option, &value]);
        let took = start.elapsed();
        let shown: String = text.chars().take(40).collect();
        assert!(took < Duration::from_secs(60), "{option} {shown}: {took:?}");
        let refused = outcome.code == 2 || *may_run && outcome.code <= 1;
        assert!(refused, "{option} {shown}: {} {}", outcome.code, outcome.errors);
    }
}

#[test]
fn constraints_that_cannot_be_are_refused() {
    let model = model();
    let code = |more: &[&str]| mote(&[&["run", "-m", &model, "-p", "a"], more].concat()).code;
    assert_eq!(code(&["--regex", "a", "--json-schema", "{}"]), 2);
    assert_eq!(code(&["--regex", "a", "--ignore-eos"]), 2);
    assert_eq!(code(&["--grammar", "no such file"]), 1);
    assert_eq!(code(&["--json-schema", "no such file"]), 1);
    // A vocabulary of letters cannot spell digits.
    let (letters, _) = baseline();
    let spelled = mote(&["run", "-m", &letters, "-p", "a", "--regex", "[0-9]"]);
    assert_eq!(spelled.code, 2, "{}", spelled.errors);
    assert!(spelled.errors.contains("no text"), "{}", spelled.errors);
}
