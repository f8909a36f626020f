//! What a person wants to know first.

use std::io::{self, Write};

use mote_formats::gguf::{CHECKSUMS_KEY, Gguf, TensorType, Value};
use serde::Serialize;

use super::metadata::cut;
use crate::facts::{Bytes, Count, FileFacts};

/// Where the chat template stands; others of a name of their own behind a dot.
pub const TEMPLATE_KEY: &str = "tokenizer.chat_template";

/// What the keys say about the model.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// `general.license`, or nothing; escaped.
    pub license: Option<String>,
    /// Bits of the tensors for each of their numbers.
    pub bits_per_weight: f64,
    /// The tokens that it was trained to see.
    pub context_length: Option<u64>,
    /// Layers.
    pub layers: Option<u64>,
    /// Numbers that stand for a token between layers.
    pub embedding_length: Option<u64>,
    /// Heads of the attention; in files with a number for each layer, nothing.
    pub heads: Option<u64>,
    /// Of keys and values.
    pub kv_heads: Option<u64>,
    /// Its tokens, if it has a vocabulary.
    pub vocabulary: Option<Vocabulary>,
    /// Whether there is a chat template.
    pub chat_template: bool,
    /// Whether there are checksums of the tensors, which `mote verify` compares.
    pub checksums: bool,
}

/// What the keys say about the tokenizer.
#[derive(Debug, Serialize)]
pub struct Vocabulary {
    /// Tokens.
    pub tokens: u64,
    /// The kind of tokenizer.
    pub model: Option<String>,
    /// How it divides a text first.
    pub pre: Option<String>,
}

impl Summary {
    /// Of a file.
    pub fn new(gguf: &Gguf<'_>, facts: &FileFacts) -> Summary {
        let architecture = gguf.get("general.architecture").and_then(|value| value.as_str());
        let number = |key: &str| {
            gguf.get(&format!("{}.{key}", architecture?)).and_then(|value| value.as_u64())
        };
        let text = |key| Some(cut(gguf.get(key)?.as_text()?));
        let tokens = match gguf.get("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) => Some(tokens.len() as u64),
            _ => None,
        };
        Summary {
            license: text("general.license"),
            bits_per_weight: facts.bits_per_weight(),
            context_length: number("context_length"),
            layers: number("block_count"),
            embedding_length: number("embedding_length"),
            heads: number("attention.head_count"),
            kv_heads: number("attention.head_count_kv"),
            vocabulary: tokens.map(|tokens| Vocabulary {
                tokens,
                model: text("tokenizer.ggml.model"),
                pre: text("tokenizer.ggml.pre"),
            }),
            chat_template: gguf.get(TEMPLATE_KEY).is_some(),
            checksums: gguf.get(CHECKSUMS_KEY).is_some(),
        }
    }

    /// As text. What the file does not say has no line.
    pub fn print(&self, facts: &FileFacts, out: &mut dyn Write) -> io::Result<()> {
        if facts.n_grams.is_none() && facts.parameters > 0 {
            writeln!(out, "  parameters  {}{}", count(facts.parameters), self.shape())?;
        }
        self.print_encodings(facts, out)?;
        if let Some(context) = self.context_length {
            writeln!(out, "  context     {context} tokens in training")?;
        }
        if let Some(vocabulary) = &self.vocabulary {
            writeln!(out, "  vocabulary  {}", vocabulary.sentence())?;
            let template = if self.chat_template { "yes" } else { "no" };
            writeln!(out, "  template    {template}")?;
        }
        if let Some(license) = &self.license {
            writeln!(out, "  licence     {license}")?;
        }
        if self.checksums {
            writeln!(out, "  checksums   of every tensor: `mote verify` compares them")?;
        }
        Ok(())
    }

    /// `, 30 layers of width 576, 9 heads (3 of keys and values)`
    fn shape(&self) -> String {
        let mut text = String::new();
        if let Some(layers) = self.layers {
            text += &format!(", {layers} layers");
        }
        if let Some(width) = self.embedding_length {
            text += &format!(" of width {width}");
        }
        if let Some(heads) = self.heads {
            text += &format!(", {heads} heads");
        }
        match self.kv_heads {
            Some(n) if self.heads != Some(n) => text += &format!(" ({n} of keys and values)"),
            _ => {}
        }
        text
    }

    /// The largest first.
    fn print_encodings(&self, facts: &FileFacts, out: &mut dyn Write) -> io::Result<()> {
        let mut label = "encodings";
        for (name, total) in facts.largest_encodings() {
            let (bytes, tensors) = (Bytes(total.bytes).to_string(), total.tensors);
            let bits = total.bits_per_weight();
            let tensors = format!("{tensors} {}", if tensors == 1 { "tensor" } else { "tensors" });
            let foreign = foreign(name).filter(|_| facts.n_grams.is_none());
            let note = foreign.map_or(String::new(), |kind| {
                format!("   mote cannot compute with it, but with {}", kind.nearest().name())
            });
            writeln!(
                out,
                "  {label:<10}  {name:<8} {bytes:>11}  {bits:>6.2} bits each  {tensors}{note}"
            )?;
            label = "";
        }
        Ok(())
    }
}

/// The encoding of that name, if it is one that mote can only show.
fn foreign(name: &str) -> Option<TensorType> {
    let found = (0..64).filter_map(TensorType::from_id).find(|known| known.name() == name);
    found.filter(|known| known.quant_type().is_none())
}

/// `134.5 M`
fn count(n: u64) -> String {
    Count(n).to_string().replace(" parameters", "")
}

impl Vocabulary {
    fn sentence(&self) -> String {
        let Vocabulary { tokens, model, pre } = self;
        let model = model.as_deref().map_or(String::new(), |model| format!(", {model}"));
        let pre = pre.as_deref().map_or(String::new(), |pre| format!(" ({pre})"));
        format!("{tokens} tokens{model}{pre}")
    }
}
