//! Keys and values of two files.

use std::io::Write;

use mote_formats::gguf::{Gguf, Value};
use serde::Serialize;

use super::escaped;
use crate::failure::Result;
use crate::inspect::metadata::brief;

/// What differs. Values as `mote inspect --metadata` shows them.
#[derive(Debug, Default, Serialize)]
pub struct Metadata {
    added: Vec<Entry>,
    removed: Vec<Entry>,
    changed: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Entry {
    key: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct Change {
    key: String,
    a: String,
    b: String,
}

impl Metadata {
    /// Of two files.
    pub fn new(a: &Gguf<'_>, b: &Gguf<'_>) -> Metadata {
        let mut found = Metadata::default();
        for (key, ours) in a.metadata() {
            let key = key.to_string();
            match b.get(&key) {
                None => found.removed.push(Entry { key, value: brief(&ours) }),
                Some(theirs) if !same(&ours, &theirs) => {
                    let (a, b) = (brief(&ours), brief(&theirs));
                    found.changed.push(Change { key, a, b });
                }
                Some(_) => {}
            }
        }
        for (key, theirs) in b.metadata().filter(|(key, _)| a.get(key).is_none()) {
            found.added.push(Entry { key: key.to_string(), value: brief(&theirs) });
        }
        found
    }

    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// As text.
    pub fn print(&self, out: &mut dyn Write) -> Result<()> {
        if self.is_equal() {
            return Ok(());
        }
        writeln!(out, "metadata")?;
        for Entry { key, value } in &self.removed {
            writeln!(out, "  - {}  {value}", escaped(key))?;
        }
        for Entry { key, value } in &self.added {
            writeln!(out, "  + {}  {value}", escaped(key))?;
        }
        for Change { key, a, b } in &self.changed {
            let key = escaped(key);
            if a == b {
                // Long values differ behind what is shown.
                writeln!(out, "  - {key}  {a}\n  + {key}  {b}, different further on")?;
            } else {
                writeln!(out, "  - {key}  {a}\n  + {key}  {b}")?;
            }
        }
        Ok(())
    }
}

/// Of the same type and bits: NaN is itself.
fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
        (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}
