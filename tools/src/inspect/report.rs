//! The same as JSON.

use std::collections::BTreeMap;

use mote_formats::gguf::{Array, Gguf, Text, Value};
use mote_kernels::CacheType;
use mote_runtime::{AnyModel, AnySession, Options, Plan};
use serde::Serialize;
use serde_json::Value as Json;

use super::ngram::NgramReport;
use super::summary::Summary;
use super::vocabulary::Token;
use crate::facts::{FileFacts, Total};
use crate::failure::{Failure, Result};
use crate::host::Memory;
use crate::options::{Bits, names};

/// Elements of a long array that are shown.
const FIRST: usize = 16;

/// What is in a file.
#[derive(Serialize)]
pub struct Report {
    version: u32,
    alignment: u32,
    bytes: u64,
    name: Option<String>,
    architecture: Option<String>,
    parameters: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_grams: Option<Vec<u64>>,
    #[serde(flatten)]
    summary: Summary,
    metadata: Vec<Entry>,
    tensors: Vec<TensorReport>,
    encodings: BTreeMap<&'static str, Total>,
    session: Option<SessionReport>,
    why_not: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ngram: Option<NgramReport>,
    /// Where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<Token>>,
    /// Where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    r#type: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    One { value: Json },
    Many { length: usize, first: Vec<Json> },
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    r#type: &'static str,
    shape: Vec<u64>,
    bytes: u64,
    offset: u64,
}

/// What a session of the default options would need.
#[derive(Serialize)]
pub struct SessionReport {
    /// Positions.
    pub n_ctx: usize,
    /// The cache's type.
    pub kv: &'static str,
    /// Bits of an activation.
    pub activations: Bits,
    /// The model's own tables, which its sessions share.
    pub tables_bytes: u64,
    /// The session's bytes.
    #[serde(flatten, serialize_with = "plan")]
    pub plan: Plan,
}

impl Report {
    /// Of a file.
    pub fn new(gguf: &Gguf<'_>) -> Result<Report> {
        let facts = FileFacts::new(gguf);
        let summary = Summary::new(gguf, &facts);
        let FileFacts { name, architecture, parameters, n_grams, bytes, encodings } = facts;
        let (session, why_not) = match SessionReport::new(gguf) {
            Ok(session) => (Some(session), None),
            Err(failure) => (None, Some(failure.message)),
        };
        let metadata = gguf.metadata().map(|(key, value)| Entry::new(key, &value));
        let tensors = gguf.tensors().map(|tensor| TensorReport {
            name: tensor.name().to_string(),
            r#type: tensor.tensor_type().name(),
            shape: tensor.dims().to_vec(),
            bytes: tensor.data().len() as u64,
            offset: tensor.offset() as u64,
        });
        Ok(Report {
            version: gguf.version(),
            alignment: gguf.alignment(),
            bytes,
            name,
            architecture,
            parameters,
            n_grams,
            summary,
            metadata: metadata.collect(),
            tensors: tensors.collect(),
            encodings,
            session,
            why_not,
            ngram: NgramReport::new(gguf),
            tokens: None,
            template: None,
        })
    }
}

impl Entry {
    fn new(key: &str, value: &Value<'_>) -> Entry {
        let kind = value.value_type().name();
        let (r#type, content) = match value {
            Value::Array(array) => {
                (format!("{kind} of {}", array.element_type().name()), Content::of(array))
            }
            value => (kind.to_string(), Content::One { value: json(value) }),
        };
        Entry { key: key.to_string(), r#type, content }
    }
}

impl Content {
    fn of(array: &Array<'_>) -> Content {
        let first = array.iter().take(FIRST).map(|value| json(&value)).collect();
        Content::Many { length: array.len(), first }
    }
}

/// A value that is no array. Numbers that JSON does not have become null, bytes that are not UTF-8
/// are escaped.
fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Str(text) => Json::from(string(*text)),
        Value::Bool(value) => Json::from(*value),
        // Its shortest digits, not those of the f64 that it is widened to.
        Value::F32(value) => value.to_string().parse::<f64>().map_or(Json::Null, Json::from),
        Value::F64(value) => Json::from(*value),
        value => match (value.as_u64(), value.as_i64()) {
            (Some(value), _) => Json::from(value),
            (None, Some(value)) => Json::from(value),
            (None, None) => Json::Null,
        },
    }
}

/// The text, or escaped if it is not UTF-8.
pub fn string(text: Text<'_>) -> String {
    text.as_str().map_or_else(|| text.to_string(), str::to_string)
}

impl SessionReport {
    /// Loads the file as a model, to see whether it is one.
    pub fn new(gguf: &Gguf<'_>) -> Result<SessionReport> {
        let refused = |error| Failure::load(error, gguf);
        let tables_bytes = AnyModel::bytes_needed(gguf).map_err(refused)?;
        let mut tables = Memory::new(tables_bytes)?;
        let model = AnyModel::new(gguf, &mut tables).map_err(refused)?;
        let cache = if model.all_float() { CacheType::F32 } else { CacheType::F16 };
        let options = Options { cache, ..Options::default() };
        let (activations, kv) = names(&options);
        let plan = AnySession::plan(&model, &options)?;
        let tables_bytes = tables_bytes as u64;
        Ok(SessionReport { n_ctx: options.n_ctx, kv, activations, tables_bytes, plan })
    }
}

fn plan<S: serde::Serializer>(plan: &Plan, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("cache_bytes", &plan.cache_bytes)?;
    map.serialize_entry("activation_bytes", &plan.activation_bytes)?;
    map.serialize_entry("logit_bytes", &plan.logit_bytes)?;
    map.serialize_entry("scratch_bytes", &plan.scratch_bytes)?;
    map.serialize_entry("total_bytes", &plan.total_bytes)?;
    map.end()
}
