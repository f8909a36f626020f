//! Any bytes as the weights of a checkpoint.

use mote_formats::Gguf;
use mote_formats::safetensors::Header;

use super::play::play;
use super::scratch::scratch_checkpoint;
use crate::checkpoint::{Tensor, file_of};

/// Tensors as long as their header says, without the fuzzer carrying them.
const MOST_BYTES: u64 = 1 << 18;

/// A file that is accepted has tensors that lie in it, can be written again with the same index, and is
/// converted, if its tensors are those of the fixture's configuration.
pub fn run(bytes: &[u8]) {
    let parsed = Header::parse(bytes, bytes.len() as u64);
    let again = Header::parse(bytes, bytes.len() as u64);
    assert_eq!(format!("{parsed:?}"), format!("{again:?}"));
    let mut file = bytes.to_vec();
    let Ok(header) = parsed.or_else(|_| {
        // Perhaps only data is missing: as much as the last tensor lacks.
        let data = announced(bytes)?;
        file.resize(data, 0x3c);
        Header::parse(&file, data as u64).map_err(drop)
    }) else {
        return;
    };
    check_written_again(&header, &file);
    if header.tensors().iter().any(|tensor| tensor.name() == "model.norm.weight") {
        let checkpoint = scratch_checkpoint();
        checkpoint.write("model.safetensors", &file);
        if let Some(converted) = checkpoint.converted() {
            play(&Gguf::parse(&converted).expect("what was converted is a file"), 0);
        }
        checkpoint.restore("model.safetensors");
    }
}

/// How long the file would be with all its tensors, as far as its text says.
fn announced(bytes: &[u8]) -> Result<usize, ()> {
    let len = u64::from_le_bytes(*bytes.first_chunk().ok_or(())?);
    let start = len.checked_add(8).filter(|&start| start <= bytes.len() as u64).ok_or(())?;
    let text = bytes.get(8..start as usize).ok_or(())?;
    let header: serde_json::Value = serde_json::from_slice(text).map_err(drop)?;
    let of = |tensor: &serde_json::Value| tensor["data_offsets"][1].as_u64();
    let data = header.as_object().ok_or(())?.values().filter_map(of).max().ok_or(())?;
    if data > MOST_BYTES { Err(()) } else { Ok((start + data) as usize) }
}

fn check_written_again(header: &Header, file: &[u8]) {
    let mut end = header.data_at();
    let mut order: Vec<_> = header.tensors().iter().collect();
    order.sort_by_key(|tensor| (tensor.offset(), tensor.data_bytes()));
    let mut tensors = Vec::new();
    for tensor in order {
        assert_eq!(header.data_at() + tensor.offset(), end, "{}", tensor.name());
        let start = end as usize;
        end += tensor.data_bytes();
        tensors.push(Tensor {
            name: tensor.name().into(),
            dtype: tensor.dtype().name().into(),
            shape: tensor.shape().to_vec(),
            data: file[start..end as usize].to_vec(),
        });
    }
    assert_eq!(end, file.len() as u64, "all of the file is tensors");
    let again = file_of(&tensors);
    let again = Header::parse(&again, again.len() as u64).expect("what was written again");
    assert_eq!(format!("{:?}", again.tensors()), format!("{:?}", header.tensors()));
}
