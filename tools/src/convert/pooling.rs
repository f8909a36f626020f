//! What the sentence-transformers library says beside a checkpoint: how a text's states become one vector.

use mote_formats::hf::Folder;
use serde_json::Value;

use crate::failure::{Code, Failure, Result};

/// Much more than such a file has.
const MAX_BYTES: u64 = 1 << 20;

/// The number of the pooling, as the key `pooling_type` has it; `None` where the folder does not say. A
/// module that a GGUF file has no place for is refused.
pub fn read(folder: &Folder) -> Result<Option<u64>> {
    const FILE: &str = "modules.json";
    let Some(text) = folder.read(FILE, MAX_BYTES)? else { return Ok(None) };
    let modules = parse(FILE, &text)?;
    let mut pooling = None;
    let Some(modules) = modules.as_array() else {
        return Err(Failure::new(Code::Format, format_args!("{FILE} is not a list")));
    };
    for module in modules {
        let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = text("type").rsplit('.').next().unwrap_or_default();
        match kind {
            // Lengths are whoever's choice who asks for a vector.
            "Transformer" | "Normalize" => {}
            "Pooling" => pooling = of_folder(folder, text("path"))?.or(pooling),
            other => {
                let other = other.escape_debug();
                let sentence = format_args!("{FILE} has a module {other}, which GGUF cannot hold");
                return Err(Failure::new(Code::Model, sentence));
            }
        }
    }
    Ok(pooling)
}

/// Of the module in a folder of its own.
fn of_folder(folder: &Folder, name: &str) -> Result<Option<u64>> {
    let Some(module) = folder.folder(name)? else { return Ok(None) };
    let text = module.read("config.json", MAX_BYTES)?;
    let config = text.map_or(Ok(Value::Null), |text| parse("config.json", &text))?;
    let modes = [
        ("pooling_mode_mean_tokens", 1),
        ("pooling_mode_cls_token", 2),
        ("pooling_mode_lasttoken", 3),
    ];
    let no = |value: &Value| value.as_bool() == Some(false);
    let settings = config.as_object().into_iter().flatten();
    let mut chosen = settings.filter(|(key, value)| key.starts_with("pooling_mode") && !no(value));
    let number = |(key, value): (&String, &Value)| {
        let mode = modes.iter().find(|(name, _)| name == key && value.as_bool() == Some(true));
        mode.map(|&(_, number)| number)
    };
    match (chosen.next(), chosen.next()) {
        (Some(only), None) if number(only).is_some() => Ok(number(only)),
        (first, second) => {
            let name = second.or(first).map_or("no pooling", |(key, _)| key.as_str());
            let name = name.escape_debug();
            let sentence =
                format_args!("{name} is not supported: mean, cls and lasttoken, one of them");
            Err(Failure::new(Code::Model, sentence))
        }
    }
}

fn parse(file: &str, text: &[u8]) -> Result<Value> {
    serde_json::from_slice(text)
        .map_err(|error| Failure::new(Code::Format, format_args!("{file}: {error}")))
}
