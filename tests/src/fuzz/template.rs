//! Any text as a chat template.

use std::sync::OnceLock;

use minijinja::Value;
use mote_tools::chat::template::{Moment, Template};

/// A template that is understood gives twice the same text or the same error, within its fuel.
pub fn run(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let date = Moment::parse("2026-11-26").expect("a date");
    let (first, second) = (Template::new(source, date), Template::new(source, date));
    match (first, second) {
        (Ok(first), Ok(second)) => {
            for context in contexts() {
                let texts = [&first, &second].map(|template| {
                    template.render(context.clone()).map_err(|error| error.message.clone())
                });
                assert_eq!(texts[0], texts[1]);
            }
        }
        (Err(first), Err(second)) => assert_eq!(first.message, second.message),
        _ => panic!("understood once, and once not"),
    }
}

/// Conversations: none, a short one, one with tools and odd values.
fn contexts() -> &'static [Value] {
    static CONTEXTS: OnceLock<Vec<Value>> = OnceLock::new();
    CONTEXTS.get_or_init(|| {
        let texts = [
            r#"{"messages": [], "add_generation_prompt": true}"#,
            r#"{"messages": [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": "What is 2 + 2?\n\u00e4\u0301"},
                {"role": "assistant", "content": " 4 <|im_end|> "}],
                "add_generation_prompt": false, "bos_token": "<s>", "eos_token": "</s>"}"#,
            r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f",
                "arguments": {"x": 1.5, "y": [true, null, -9007199254740993, 1e300]}}}]},
                {"role": "tool", "content": "{}", "name": "f"}],
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
                "add_generation_prompt": true, "bos_token": "", "documents": {}}"#,
        ];
        texts.map(|text| serde_json::from_str(text).expect("JSON")).to_vec()
    })
}
