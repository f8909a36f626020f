//! The keys `general.*`.

use std::path::Path;

use mote_formats::gguf::{BuildError, Builder};
use mote_kernels::QuantType;
use serde_json::Value;

/// Numbers of `general.file_type`, which say what most matrices are stored as, by ggml's id of the
/// encoding (enum llama_ftype of llama.cpp; of the mixes those with the least else).
const FILE_TYPES: &[(u32, u32)] = &[
    (0, 0),
    (1, 1),
    (2, 2),
    (3, 3),
    (6, 8),
    (7, 9),
    (8, 7),
    (10, 10),
    (11, 11),
    (12, 14),
    (13, 16),
    (14, 18),
    (16, 19),
    (17, 20),
    (18, 23),
    (19, 24),
    (20, 25),
    (21, 26),
    (22, 28),
    (23, 30),
    (29, 31),
    (30, 32),
    (34, 36),
    (35, 37),
];

/// The number of an encoding.
pub fn file_type(kind: QuantType) -> Option<u32> {
    FILE_TYPES.iter().find(|(id, _)| *id == kind.gguf_id()).map(|(_, number)| *number)
}

/// What a model is called after its folder: words for hyphens, with capitals. A folder of the hub's
/// cache has the model's name above it.
pub fn name(folder: &Path) -> String {
    let last = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let of_cache = folder.parent().filter(|parent| parent.ends_with("snapshots"));
    let of_cache = of_cache.and_then(Path::parent).and_then(last);
    let of_cache = of_cache.as_deref().and_then(|name| name.strip_prefix("models--"));
    let name = match of_cache {
        Some(name) => name.rsplit("--").next().unwrap_or(name).to_string(),
        None => last(folder).unwrap_or_else(|| "model".to_string()),
    };
    let words = name.split(['-', ' ']).filter(|word| !word.is_empty()).map(capitalised);
    words.collect::<Vec<_>>().join(" ")
}

/// A word in lower case begins with a capital, and so does what follows its digits and signs; a
/// version (`v0.3`) or a size (`7b`) stays as it is.
fn capitalised(word: &str) -> String {
    let is_lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
    let rest = word.strip_prefix('v').unwrap_or(word);
    let is_version = rest.starts_with(|c: char| c.is_ascii_digit())
        && (rest == word || rest.chars().all(|c| c.is_ascii_digit() || c == '.'));
    if !is_lower || is_version {
        return word.to_string();
    }
    let mut title = String::new();
    let mut inside = false;
    for letter in word.chars() {
        if inside || !letter.is_alphabetic() {
            title.push(letter);
        } else {
            title.extend(letter.to_uppercase());
        }
        inside = letter.is_alphabetic();
    }
    title
}

/// A number of parameters in two or more digits: `135M`, `7.6B`.
pub fn size_label(parameters: u64) -> String {
    let (scale, suffix) = match parameters {
        1_000_000_000_001.. => (1e-12, 'T'),
        1_000_000_001.. => (1e-9, 'B'),
        1_000_001.. => (1e-6, 'M'),
        _ => (1e-3, 'K'),
    };
    let scaled = parameters as f64 * scale;
    let whole = format!("{scaled:.0}");
    let digits = whole.trim_start_matches('0').len();
    format!("{scaled:.*}{suffix}", 2_usize.saturating_sub(digits))
}

/// `general.sampling.*`: what generation_config.json recommends. One that is no JSON recommends
/// nothing.
pub fn sampling(generation_config: &[u8], builder: &mut Builder) -> Result<(), BuildError> {
    let Ok(config) = serde_json::from_slice::<Value>(generation_config) else { return Ok(()) };
    if let Some(n) = config["top_k"].as_i64().and_then(|n| i32::try_from(n).ok()) {
        builder.set("general.sampling.top_k", n)?;
    }
    let floats = [
        ("top_p", "top_p"),
        ("min_p", "min_p"),
        ("temperature", "temp"),
        ("repetition_penalty", "penalty_repeat"),
    ];
    for (from, to) in floats {
        if let Some(x) = config[from].as_f64().map(|x| x as f32).filter(|x| x.is_finite()) {
            builder.set(&format!("general.sampling.{to}"), x)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_llama_cpp() {
        for (folder, expected) in [
            ("llama_k256", "Llama_K256"),
            ("SmolLM2-135M-Instruct", "SmolLM2 135M Instruct"),
            ("mistral-7b-v0.3", "Mistral 7b v0.3"),
            ("gpt2", "Gpt2"),
            ("models--Org--tiny-llama/snapshots/0123", "Tiny Llama"),
        ] {
            assert_eq!(name(Path::new(folder)), expected);
        }
    }

    #[test]
    fn labels_are_those_of_llama_cpp() {
        for (parameters, label) in [
            (225_728, "226K"),
            (525_200, "525K"),
            (134_515_008, "135M"),
            (7_600_000_000, "7.6B"),
            (12_000_000_000, "12B"),
            (1_000_000, "1000K"),
        ] {
            assert_eq!(size_label(parameters), label);
        }
    }
}
