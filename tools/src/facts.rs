//! What people want to know about a model in a line or two.

use std::collections::BTreeMap;
use std::fmt;

use mote_formats::gguf::{Gguf, Value};
use mote_formats::ngram;
use mote_runtime::Plan;

/// Sizes of a file's tensors.
#[derive(Clone, Debug)]
pub struct FileFacts {
    /// `general.name`, or nothing; escaped.
    pub name: Option<String>,
    /// `general.architecture`, or nothing; escaped.
    pub architecture: Option<String>,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Of an n-gram model: how many n-grams it has of each length.
    pub n_grams: Option<Vec<u64>>,
    /// The file's bytes.
    pub bytes: u64,
    /// By encoding: tensors, numbers and bytes.
    pub encodings: BTreeMap<&'static str, Total>,
}

/// What the tensors of one encoding add up to.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Total {
    /// Tensors.
    pub tensors: u64,
    /// Numbers.
    pub parameters: u64,
    /// Bytes.
    pub bytes: u64,
}

impl FileFacts {
    /// Of a file.
    pub fn new(gguf: &Gguf<'_>) -> Self {
        let text = |key| Some(gguf.get(key)?.as_text()?.to_string());
        let mut encodings: BTreeMap<&str, Total> = BTreeMap::new();
        let mut parameters = 0u64;
        for tensor in gguf.tensors() {
            let total = encodings.entry(tensor.tensor_type().name()).or_default();
            total.tensors += 1;
            total.parameters = total.parameters.saturating_add(tensor.n_elements());
            total.bytes += tensor.data().len() as u64;
            parameters = parameters.saturating_add(tensor.n_elements());
        }
        FileFacts {
            name: text("general.name"),
            architecture: text("general.architecture"),
            parameters,
            n_grams: n_grams(gguf),
            bytes: gguf.bytes().len() as u64,
            encodings,
        }
    }

    /// The encodings, those with the most bytes first.
    pub fn largest_encodings(&self) -> Vec<(&'static str, &Total)> {
        let mut encodings: Vec<_> =
            self.encodings.iter().map(|(&name, total)| (name, total)).collect();
        encodings.sort_by_key(|(_, total)| core::cmp::Reverse(total.bytes));
        encodings
    }

    /// Bits of the tensors for each of their numbers.
    pub fn bits_per_weight(&self) -> f64 {
        let bytes = self.encodings.values().map(|total| total.bytes).sum();
        Total { bytes, parameters: self.parameters, ..Total::default() }.bits_per_weight()
    }
}

impl Total {
    /// Bits for each number.
    pub fn bits_per_weight(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.parameters.max(1) as f64
    }
}

/// Of each length, where the file is an n-gram model.
fn n_grams(gguf: &Gguf<'_>) -> Option<Vec<u64>> {
    let counts = gguf.get(ngram::keys::COUNTS).filter(|_| ngram::Trie::is_in(gguf))?;
    match counts {
        Value::Array(counts) => Some(counts.elements::<u64>()?.iter().collect()),
        _ => None,
    }
}

impl fmt::Display for FileFacts {
    /// `SmolLM2 135M (llama), 134.5 M parameters, 93.8 MiB: q4_1 92.1 MiB, f32 0.1 MiB`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let architecture = self.architecture.as_deref().unwrap_or("no architecture");
        match &self.name {
            Some(name) => write!(f, "{name} ({architecture})")?,
            None => write!(f, "{architecture}")?,
        }
        match &self.n_grams {
            Some(counts) => {
                let total = counts.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
                write!(f, ", order {}, {total} n-grams, {}", counts.len(), Bytes(self.bytes))?;
            }
            None => write!(f, ", {}, {}", Count(self.parameters), Bytes(self.bytes))?,
        }
        for (i, (name, total)) in self.largest_encodings().into_iter().enumerate() {
            write!(f, "{} {name} {}", if i == 0 { ":" } else { "," }, Bytes(total.bytes))?;
        }
        Ok(())
    }
}

/// A number of parameters: `134.5 M parameters`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            count @ 0..100_000 => write!(f, "{count} parameters"),
            count @ 100_000..1_000_000_000 => {
                write!(f, "{:.1} M parameters", count as f64 / 1e6)
            }
            count => write!(f, "{:.2} G parameters", count as f64 / 1e9),
        }
    }
}

/// A number of bytes: `93.8 MiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        match self.0 {
            bytes @ 0..KIB => write!(f, "{bytes} bytes"),
            bytes @ KIB..MIB => write!(f, "{:.1} KiB", bytes as f64 / KIB as f64),
            bytes => write!(f, "{:.1} MiB", bytes as f64 / MIB as f64),
        }
    }
}

/// A session's memory: `26.7 MiB (cache 22.5 MiB, activations 3.9 MiB, logits 192.0 KiB)`, without what
/// takes none.
#[derive(Clone, Copy, Debug)]
pub struct PlanFacts(pub Plan);

impl fmt::Display for PlanFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { cache_bytes, activation_bytes, logit_bytes, scratch_bytes, total_bytes } =
            self.0;
        let bytes = |bytes: usize| Bytes(bytes as u64);
        write!(f, "{} (cache {}", bytes(total_bytes), bytes(cache_bytes))?;
        let others = [
            ("activations", activation_bytes),
            ("logits", logit_bytes),
            ("scratch", scratch_bytes),
        ];
        for (name, n) in others.into_iter().filter(|&(_, n)| n > 0) {
            write!(f, ", {name} {}", bytes(n))?;
        }
        write!(f, ")")
    }
}

/// Milliseconds, and how many of something that makes in a second.
pub fn per_second(count: usize, milliseconds: f64) -> f64 {
    if milliseconds > 0.0 { count as f64 * 1000.0 / milliseconds } else { 0.0 }
}
