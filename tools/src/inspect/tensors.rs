//! Tensors, one a line.

use std::io::Write;

use mote_formats::gguf::{Gguf, Text};

use crate::failure::Result;

/// All tensors in the order of the file.
pub fn print(gguf: &Gguf<'_>, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "tensors: {}", gguf.n_tensors())?;
    let width = gguf.tensors().map(|tensor| tensor.name().len()).max().unwrap_or(0).min(60);
    for tensor in gguf.tensors() {
        let name = Text::from(tensor.name()).to_string();
        let shape = shape(tensor.dims());
        let kind = tensor.tensor_type().name();
        let (bytes, offset) = (tensor.data().len(), tensor.offset());
        writeln!(out, "  {name:<width$}  {kind:<8} {shape:<16} {bytes:>12} bytes at {offset}")?;
    }
    Ok(())
}

/// `576 x 1536`
pub fn shape(dims: &[u64]) -> String {
    let dims: Vec<String> = dims.iter().map(|dim| dim.to_string()).collect();
    dims.join(" x ")
}
