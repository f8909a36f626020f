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
    for module in modules.as_array().into_iter().flatten() {
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
    let Some(text) = module.read("config.json", MAX_BYTES)? else { return Ok(None) };
    let config = parse("config.json", &text)?;
    let is = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
    let modes = [
        ("pooling_mode_mean_tokens", 1),
        ("pooling_mode_cls_token", 2),
        ("pooling_mode_lasttoken", 3),
    ];
    let mut chosen = modes.iter().filter(|(key, _)| is(key));
    let others = [
        "pooling_mode_max_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens",
    ];
    match (chosen.next(), chosen.next(), others.iter().find(|key| is(key))) {
        (found, None, None) => Ok(found.map(|&(_, number)| number)),
        (_, second, other) => {
            let name = other.copied().or(second.map(|&(key, _)| key)).unwrap_or_default();
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
