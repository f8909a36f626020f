//! `mote chat`: turns, commands, templates, and what a conversation keeps of its context.

use std::time::{Duration, Instant};

use mote_formats::Gguf;
use mote_formats::gguf::Builder;
use mote_tests::models::{fixture, llama, with_strings};
use serde_json::{Value, json};

use crate::cli::{Outcome, file, mote, mote_reading};

/// Some of what templates do. The blanks belong to it.
const TEMPLATE: &str = "{%- for message in messages %}
<{{ message.role }}> {{ message.content | trim }}
{% endfor %}
{% if add_generation_prompt %}
<assistant>
{%- endif %}";

/// A model with a chat template.
fn model() -> String {
    let file_bytes = fixture("models/llama-f32.gguf");
    let gguf = Gguf::parse(&file_bytes).unwrap();
    let mut builder = Builder::new();
    gguf.metadata().for_each(|(key, value)| builder.set(key, value).unwrap());
    builder.set("tokenizer.chat_template", TEMPLATE).unwrap();
    for tensor in gguf.tensors() {
        builder.add_tensor(tensor.name(), tensor.dims(), tensor.tensor_type()).unwrap();
    }
    let mut writer = builder.write_index(Vec::new()).unwrap();
    gguf.tensors().for_each(|tensor| writer.write(tensor.data()).unwrap());
    file("chat-model.gguf", &writer.finish().unwrap())
}

fn chat(more: &[&str], input: &str) -> Outcome {
    let model = model();
    let common = ["chat", "-m", &model, "-n", "12", "--temp", "0.7"];
    mote_reading(&[&common[..], more].concat(), input.as_bytes())
}

fn contents(report: &Value) -> Vec<(&str, &str)> {
    let messages = report["messages"].as_array().unwrap().iter();
    messages.map(|it| (it["role"].as_str().unwrap(), it["content"].as_str().unwrap())).collect()
}

#[test]
fn a_turn_is_what_run_writes_after_the_rendered_conversation() {
    let report = chat(&["--json", "--system", "Be brief."], "hello\nand then?\nwell\n").json();
    let turns = report["turns"].as_array().unwrap();
    assert_eq!((turns.len(), report["messages"].as_array().unwrap().len()), (3, 7));
    let model = model();
    for (i, turn) in turns.iter().enumerate() {
        let messages = &report["messages"].as_array().unwrap()[..2 + 2 * i];
        let context = json!({"messages": messages, "add_generation_prompt": true});
        let context = file(&format!("chat-context-{i}"), context.to_string().as_bytes());
        let rendered = mote(&["chat", "-m", &model, "--render", &context]);
        let prompt = file(&format!("chat-prompt-{i}"), rendered.text().as_bytes());
        let args = ["run", "-m", &model, "-n", "12", "--temp", "0.7", "--special", "-f", &prompt];
        let alone = mote(&[&args[..], &["--json"]].concat()).json();
        assert_eq!(
            (&turn["ids"], &turn["prompt_tokens"]),
            (&alone["ids"], &alone["prompt_tokens"])
        );
        let reused = turn["reused_tokens"].as_u64().unwrap();
        let before = i.checked_sub(1).map_or(0, |i| turns[i]["prompt_tokens"].as_u64().unwrap());
        // Where an answer begins, tokens may be cut otherwise than before it.
        assert!(reused + 4 >= before && reused < turn["prompt_tokens"].as_u64().unwrap(), "{turn}");
    }
    assert_eq!(contents(&report)[0], ("system", "Be brief."));
}

/// A text that is only rendered takes no options of how one is written.
#[test]
fn rendering_takes_no_options_of_writing() {
    let model = model();
    let context = file("chat-render", br#"{"messages": []}"#);
    let render = ["chat", "-m", &model, "--render", &context];
    for more in [
        &["--temp", "0"][..],
        &["--seed", "1"],
        &["--regex", "a"],
        &["--json-schema", "{}"],
        &["--mix", "lm.gguf"],
        &["--ram", "1G"],
        &["--speculate", "off"],
    ] {
        let outcome = mote(&[&render[..], more].concat());
        assert_eq!(outcome.code(), 2, "{more:?}");
        assert!(outcome.errors.contains("cannot be used with"), "{}", outcome.errors);
    }
    assert_eq!(mote(&render).code(), 0);
}

#[test]
fn answers_do_not_depend_on_drafts_or_on_what_was_kept() {
    let turns = |more: &[&str]| {
        let report =
            chat(&[&["--json"], more].concat(), "one two\none two three\none two\n").json();
        report["turns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|turn| turn["ids"].clone())
            .collect::<Vec<_>>()
    };
    let expected = turns(&[]);
    for more in [&["--speculate", "off"][..], &["--threads", "1", "--batch", "3"]] {
        assert_eq!(turns(more), expected, "{more:?}");
    }
}

#[test]
fn lines_with_a_slash_are_commands() {
    let saved = file("chat-saved.json", b"");
    let input = format!(
        "/help\n/stats\n/system You are a cat.\nhello\n/set temp=0\n/regenerate\n/undo\n//slash\\\nmore\n\
         /stats\n/save! {saved}\n/reset\n/load {saved}\n/set n=2\nlast\n/quit\nnever\n"
    );
    let outcome = chat(&["--json"], &input);
    let report = outcome.json();
    let said = contents(&report);
    assert_eq!(said[0], ("system", "You are a cat."));
    assert_eq!(said[1], ("user", "/slash\nmore"));
    assert_eq!((said[3], said.len()), (("user", "last"), 5));
    assert_eq!(report["turns"].as_array().unwrap().len(), 4);
    assert_eq!(report["turns"][3]["ids"].as_array().unwrap().len(), 2);
    for word in ["/regenerate", "reused", "context", "chat-saved.json"] {
        assert!(outcome.errors.contains(word), "{word}: {}", outcome.errors);
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(&saved).unwrap()).unwrap();
    assert_eq!(
        kept["messages"].as_array().unwrap()[..],
        report["messages"].as_array().unwrap()[..3]
    );
    let loaded = chat(&["--json", "--load", &saved], "more\n").json();
    assert_eq!(contents(&loaded)[..3], contents(&kept)[..]);
    for (line, word) in [
        ("/none", "/none"),
        ("/set temp=-1", "temperature"),
        ("/set x=1", "/set x"),
        ("/undo", "no question"),
        ("/regenerate", "no question"),
        (&format!("hello\n/save {saved}"), "exists"),
    ] {
        let outcome = chat(&[], &format!("{line}\n"));
        assert!(outcome.code() == 2 || outcome.code() == 1, "{line}: {}", outcome.errors);
        assert!(outcome.errors.contains(word), "{line}: {}", outcome.errors);
    }
}

#[test]
fn text_and_streams_are_what_the_report_says() {
    let input = "hello\nagain\n";
    let report = chat(&["--json"], input).json();
    let texts: Vec<&str> =
        report["turns"].as_array().unwrap().iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert_eq!(chat(&[], input).text(), texts.join("\n") + "\n");
    let stream = chat(&["--json-stream"], input);
    let (mut piece, mut turns) = (String::new(), Vec::new());
    for line in stream.text().lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        match object.get("stop") {
            None => piece += object["text"].as_str().unwrap(),
            Some(_) => {
                assert_eq!(object["text"], piece);
                turns.push(std::mem::take(&mut piece));
            }
        }
    }
    assert_eq!(turns, texts);
}

#[test]
fn ctrl_c_ends_an_answer_and_not_the_conversation() {
    let model = model();
    let args = ["chat", "-m", &model, "-n", "300", "--json"];
    mote_tools::interrupt::after(Some(20));
    let report = mote_reading(&args, b"hello\nagain\n").json();
    mote_tools::interrupt::after(None);
    let turns = report["turns"].as_array().unwrap();
    assert_eq!(turns[0]["stop"], "interrupted");
    assert_ne!(turns[1]["stop"], "interrupted");
    assert_eq!(contents(&report).len(), 4);
}

#[test]
fn what_cannot_be_is_said_in_a_sentence() {
    let plain = file("chat-none.gguf", &fixture("models/llama-f32.gguf"));
    let refused = mote_reading(&["chat", "-m", &plain], b"hello\n");
    assert_eq!(refused.code(), 3);
    assert!(refused.errors.contains("mote run") && refused.errors.contains("--template"));
    let long = chat(&["--ctx", "40"], &"word ".repeat(60));
    assert_eq!(long.code(), 1, "{}", long.errors);
    assert!(long.errors.contains("room for 40") && long.errors.contains("/reset"));
    assert_eq!(chat(&[], "").code(), 0);
    assert_eq!(mote_reading(&["chat", "-m", &model()], b"\xff\n").code(), 1);
    assert_eq!(chat(&["--load", "no such file"], "").code(), 1);
    assert_eq!(chat(&["--load", &file("chat-damaged.json", b"{\"messages\": [1]}")], "").code(), 4);
    assert_eq!(chat(&["--stop", ""], "").code(), 2);
    for date in ["2026-02-30", "+2026-02-03", "2026-+2-03", "2026-02-", "2026-02-03-"] {
        assert_eq!(chat(&["--date", date], "").code(), 2, "{date}");
    }
}

/// Templates of our own, with texts by Python's jinja2: see tests/fixtures/chat.
#[test]
fn templates_give_the_texts_of_jinja2() {
    let cases: Value = serde_json::from_slice(&fixture("chat/expected.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let text = |key: &str| case[key].as_str().unwrap();
        let name = text("template");
        let template = file(&format!("chat-{name}"), &fixture(&format!("chat/{name}")));
        let context = file(&format!("chat-{name}.json"), text("context").as_bytes());
        let args = ["chat", "--template", &template, "--date", "2026-11-06", "--render", &context];
        let outcome = mote(&args);
        match case["text"].as_str() {
            Some(expected) => assert_eq!(outcome.text(), expected, "{name}"),
            None => {
                assert_eq!(outcome.code(), 1, "{name}");
                assert!(outcome.errors.contains(text("error")), "{name}: {}", outcome.errors);
            }
        }
    }
}

/// Templates of a model that want to run code, to go on for ever, or to overflow the stack.
#[test]
fn case_412_templates_of_hostile_models() {
    let context =
        file("chat-412.json", b"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}");
    let mut seen = 0;
    let mut render = |name: &str, path: &str| {
        let start = Instant::now();
        let outcome = mote(&["chat", "-m", path, "--render", &context]);
        assert!([1, 3].contains(&outcome.code()), "{name}: {} {}", outcome.code(), outcome.out());
        assert!(start.elapsed() < Duration::from_secs(30), "{name}");
        // What the payload would have printed, had it run: a user's number.
        assert!(!outcome.out().contains("uid="), "{name}: {}", outcome.out());
        seen += 1;
    };
    for (id, bytes) in
        crate::gguf_malformed::files().filter(|(id, _)| id.starts_with("tk_template_"))
    {
        render(&id, &file(&format!("chat-{id}.gguf"), &bytes));
    }
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(60_000), ")".repeat(60_000));
    let deep = with_strings(&llama(), &[("tokenizer.chat_template", &deep)]);
    render("deep", &file("chat-deep.gguf", &deep));
    assert!(seen >= 3, "{seen}");
}

#[test]
fn a_template_is_not_trusted() {
    let context = file("chat-small.json", b"{\"messages\": []}");
    let render = |source: &str| {
        let template = file(&format!("chat-bad-{}", source.len()), source.as_bytes());
        let start = Instant::now();
        let outcome = mote(&["chat", "--template", &template, "--render", &context]);
        assert!(start.elapsed() < Duration::from_secs(30), "{source}");
        outcome
    };
    let endless = "{% for i in range(90000) %}{% for j in range(90000) %}x{% endfor %}{% endfor %}";
    for (source, code, word) in [
        (endless, 1, "fuel"),
        ("{% set x = 'a' * 100000 %}\n{{ (x * 100000) | length }}", 1, "line 2"),
        ("\n\n{{ nothing.at.all }}", 1, "line 3"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", 1, "template"),
        ("a\n{% if %}", 3, "line 2"),
        ("{{ raise_exception('not this\x1b[2J') }}", 1, "not this\\u{1b}"),
        ("{% include 'other' %}", 1, "template"),
    ] {
        let outcome = render(source);
        assert_eq!(outcome.code(), code, "{source}: {}", outcome.errors);
        assert!(outcome.errors.contains(word), "{source}: {}", outcome.errors);
    }
    let deep = format!("{}{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    assert_eq!(render(&deep).code(), 3);
    assert_eq!(render(&format!("{{{{ {}1{} }}}}", "(".repeat(9000), ")".repeat(9000))).code(), 3);
}
