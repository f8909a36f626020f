//! Importance in a file: the GGUF form of llama-imatrix.
//!
//! Of every matrix the tensors `NAME.in_sum2` (columns × experts) with sums of squares, and
//! `NAME.counts` (1 × experts) with the number of rows that went into them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use mote_formats::gguf::{Builder, Gguf, IoSink, Tensor, Text, Value};
use mote_kernels::QuantType;

use crate::failure::{Code, Failure, Result};
use crate::host::with_gguf;

/// How much each column of a model's matrices matters.
#[derive(Debug)]
pub struct Importance {
    /// Means of squares by the matrix's name: for each expert, for each column.
    matrices: BTreeMap<String, Vec<f32>>,
    texts: Vec<String>,
    chunks: u32,
}

/// Sums of squares of what met a matrix, or each of several.
#[derive(Default)]
pub struct Sums {
    /// One for each column, matrix by matrix.
    pub values: Vec<f32>,
    /// Rows that are in them, for each matrix.
    pub rows: Vec<u64>,
}

const KIND: &str = "general.type";
const TEXTS: &str = "imatrix.datasets";
const CHUNKS: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";
const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Writes what was summed up over a text: the same bytes for the same sums.
pub fn write(
    sums: &BTreeMap<String, Sums>,
    text: &str,
    (chunks, chunk_size): (usize, usize),
    out: &mut dyn Write,
) -> Result<()> {
    let build = || {
        let mut builder = Builder::new();
        builder.set(KIND, "imatrix")?;
        builder.set_strings(TEXTS, &[text])?;
        builder.set(CHUNKS, chunks as u32)?;
        builder.set(CHUNK_SIZE, chunk_size as u32)?;
        for (name, Sums { values, rows }) in sums {
            let n = rows.len().max(1) as u64;
            let cols = values.len() as u64 / n;
            builder.add_tensor(&format!("{name}{SUMS}"), &[cols, n], QuantType::F32)?;
            builder.add_tensor(&format!("{name}{COUNTS}"), &[1, n], QuantType::F32)?;
        }
        Ok(builder)
    };
    let builder = build()
        .map_err(|error: mote_formats::gguf::BuildError| Failure::new(Code::Format, error))?;
    let mut data = builder.write_index(IoSink(out)).map_err(io::Error::from)?;
    for Sums { values, rows } in sums.values() {
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        data.write(&values).map_err(io::Error::from)?;
        let rows: Vec<u8> = rows.iter().flat_map(|&rows| (rows as f32).to_le_bytes()).collect();
        data.write(&rows).map_err(io::Error::from)?;
    }
    data.finish().map_err(io::Error::from)?;
    Ok(())
}

impl Importance {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Importance> {
        with_gguf(path, |gguf| Self::parse(gguf).map_err(|failure| failure.in_file(path))).map_err(
            |failure| match failure.offset {
                // Not even the first bytes are those of GGUF.
                Some(0) if failure.code == Code::Format => Failure {
                    message: format!(
                        "{}; importance in the older form (.dat) is not read: llama-imatrix --in-file \
                         OLD -o NEW.gguf converts it",
                        failure.message
                    ),
                    ..failure
                },
                _ => failure,
            },
        )
    }

    fn parse(gguf: &Gguf<'_>) -> Result<Importance> {
        let wrong = |what: &str| Failure::new(Code::Format, what);
        if gguf.get(KIND).and_then(|kind| kind.as_str()) != Some("imatrix") {
            return Err(Failure::new(Code::Model, "no importance matrix, but another GGUF file"));
        }
        let mut matrices = BTreeMap::new();
        for tensor in gguf.tensors() {
            let Some(name) = tensor.name().strip_suffix(SUMS) else { continue };
            let counts = gguf.tensor(&format!("{name}{COUNTS}"));
            let counts = counts.ok_or_else(|| wrong("sums without counts"))?;
            let (sums, counts) = (floats(&tensor)?, floats(&counts)?);
            if !sums.len().is_multiple_of(counts.len()) {
                return Err(wrong("as many sums as are no multiple of the counts"));
            }
            let columns = sums.len() / counts.len();
            let mean = |(i, &sum): (usize, &f32)| match counts[i / columns] {
                // An expert that met nothing.
                0.0 => 1.0,
                count => sum / count,
            };
            let means: Vec<f32> = sums.iter().enumerate().map(mean).collect();
            if !means.iter().all(|mean| mean.is_finite() && *mean >= 0.0) {
                let name = Text::from(name);
                let what = format_args!("the importance of {name} is negative or not finite");
                return Err(Failure::new(Code::NotFinite, what));
            }
            matrices.insert(name.to_owned(), means);
        }
        if matrices.is_empty() {
            return Err(wrong("there is no importance of any matrix"));
        }
        let texts = match gguf.get(TEXTS) {
            Some(Value::Array(texts)) => texts.iter().collect(),
            _ => Vec::new(),
        };
        let texts = texts.iter().filter_map(|text| Some(text.as_str()?.to_owned())).collect();
        let chunks = gguf.get(CHUNKS).and_then(|chunks| chunks.as_u32()).unwrap_or(0);
        Ok(Importance { matrices, texts, chunks })
    }

    /// Matrices.
    pub fn len(&self) -> usize {
        self.matrices.len()
    }

    /// Names of the texts.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Windows of text.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// For each column of a matrix, or of each matrix of a tensor with several; `None` if nothing is
    /// known of it.
    pub fn of(&self, tensor: &Tensor<'_>) -> Result<Option<&[f32]>> {
        let Some(importance) = self.matrices.get(tensor.name()) else { return Ok(None) };
        let [cols, _, experts, _] = tensor.shape();
        let known = importance.len() as u64;
        if known != cols && Some(known) != cols.checked_mul(experts) {
            let name = Text::from(tensor.name());
            let what = format_args!(
                "{name} has {cols} columns, the importance {known}: it is another model's"
            );
            return Err(Failure::new(Code::Usage, what));
        }
        Ok(Some(importance))
    }
}

fn floats(tensor: &Tensor<'_>) -> Result<Vec<f32>> {
    if tensor.kind() != Ok(QuantType::F32) {
        return Err(Failure::new(Code::Format, "sums or counts that are not F32"));
    }
    let mut values = vec![0.0; tensor.data().len() / 4];
    QuantType::F32.decode(tensor.data(), &mut values);
    Ok(values)
}
