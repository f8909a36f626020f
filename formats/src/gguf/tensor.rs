//! Tensors of a file: their shapes, their encodings, and their bytes, borrowed from the file.

use mote_kernels::QuantType;

use super::cursor::Cursor;
use super::error::{ParseError, Reason};
use super::limits::{MAX_DIMENSIONS, MAX_NAME_BYTES};

/// A tensor whose data is proven to lie in the file.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    name: &'a str,
    shape: [u64; 4],
    n_dims: u32,
    tensor_type: TensorType,
    offset: usize,
    data: &'a [u8],
}

/// How a tensor's elements are encoded: any encoding of ggml, whether mote computes with it
/// ([`quant_type`](Self::quant_type)) or can only show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorType {
    id: u32,
    name: &'static str,
    block_len: u32,
    block_bytes: u32,
}

/// One record of the file's tensor index.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub name: &'a [u8],
    pub shape: [u64; 4],
    pub n_dims: u32,
    pub type_id: u32,
    /// From the start of the tensor data.
    pub data_offset: u64,
    /// Where the fields of the record stand in the file.
    pub name_at: usize,
    pub shape_at: usize,
    pub type_at: usize,
    pub offset_at: usize,
}

impl<'a> Tensor<'a> {
    /// The tensor of a record, once its shape and the range of its data are proven.
    pub(super) fn new(
        record: &Record<'a>,
        bytes: &'a [u8],
        data_at: usize,
    ) -> Result<Self, ParseError> {
        let error = |reason, at| ParseError::new(reason, at).of_tensor(record.name);
        let tensor_type = TensorType::from_id(record.type_id)
            .ok_or(error(Reason::TensorType(record.type_id), record.type_at))?;
        let size = tensor_type
            .data_bytes(record.shape)
            .map_err(|reason| error(reason, record.shape_at))?;
        let start = (data_at as u64).checked_add(record.data_offset);
        let end = start.and_then(|start| start.checked_add(size));
        let past_end =
            Reason::DataPastEnd { end: end.unwrap_or(u64::MAX), file: bytes.len() as u64 };
        let (start, data) = start
            .zip(end)
            .and_then(|(start, end)| {
                Some((usize::try_from(start).ok()?, usize::try_from(end).ok()?))
            })
            .and_then(|(start, end)| Some((start, bytes.get(start..end)?)))
            .ok_or(error(past_end, record.offset_at))?;
        Ok(Tensor {
            name: core::str::from_utf8(record.name)
                .map_err(|_| error(Reason::NameNotUtf8, record.name_at))?,
            shape: record.shape,
            n_dims: record.n_dims,
            tensor_type,
            offset: start,
            data,
        })
    }

    /// Its name, unique in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Elements along each dimension, the one whose elements are neighbours first: a matrix is
    /// `[columns, rows, 1, 1]`. Never 0; 1 where the file has no dimension.
    pub fn shape(&self) -> [u64; 4] {
        self.shape
    }

    /// The dimensions that the file has: 0 (a scalar) to 4 of [`shape`](Self::shape).
    pub fn dims(&self) -> &[u64] {
        self.shape.get(..self.n_dims as usize).unwrap_or(&self.shape)
    }

    /// How its elements are encoded.
    pub fn tensor_type(&self) -> TensorType {
        self.tensor_type
    }

    /// The encoding, or the id of one that mote cannot compute with.
    pub fn kind(&self) -> Result<QuantType, u32> {
        self.tensor_type.quant_type().ok_or(self.tensor_type.id)
    }

    /// Its bytes: `n_rows` rows of `row_bytes`, one after the other.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where [`data`](Self::data) begins, from the start of the file.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Elements in all.
    pub fn n_elements(&self) -> u64 {
        // The product was checked; it does not wrap.
        self.shape.iter().fold(1, |product, &n| product.wrapping_mul(n))
    }

    /// Rows: elements along all dimensions but the first.
    pub fn n_rows(&self) -> u64 {
        self.shape.iter().skip(1).fold(1, |product, &n| product.wrapping_mul(n))
    }

    /// Bytes of a row: the elements along the first dimension.
    pub fn row_bytes(&self) -> usize {
        let n_rows = usize::try_from(self.n_rows());
        n_rows.ok().and_then(|n_rows| self.data.len().checked_div(n_rows)).unwrap_or(0)
    }
}

impl TensorType {
    /// By ggml's type id. `None` for an id that no released version has, or that was withdrawn.
    pub fn from_id(id: u32) -> Option<TensorType> {
        match QuantType::from_gguf_id(id) {
            Some(quant_type) => Some(quant_type.into()),
            None => OTHER_TYPES.iter().find(|other| other.id == id).copied(),
        }
    }

    /// ggml's type id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The name in lower case, as in GGUF file names.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Elements in a block.
    pub fn block_len(&self) -> u32 {
        self.block_len
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// The encoding, if mote computes with it.
    pub fn quant_type(&self) -> Option<QuantType> {
        QuantType::from_gguf_id(self.id)
    }

    /// The encoding that mote writes which is most like it: about as large, and not worse.
    pub fn nearest(&self) -> QuantType {
        match (self.quant_type(), self.name) {
            (Some(kind), _) if kind.is_written() => kind,
            (_, "iq3_xxs" | "iq3_s") => QuantType::Q3_K,
            (Some(_), _) | (None, "q1_0" | "q2_0") => QuantType::Q2_K,
            (None, "nvfp4") => QuantType::MXFP4,
            (None, "q8_1" | "q8_k") => QuantType::Q8_0,
            (None, _) => QuantType::F32,
        }
    }

    /// Bytes of a tensor of this shape, or what is wrong with the shape.
    pub(super) fn data_bytes(&self, shape: [u64; 4]) -> Result<u64, Reason> {
        let [row, rest @ ..] = shape;
        if shape.contains(&0) {
            return Err(Reason::ZeroDimension);
        }
        let block_len = u64::from(self.block_len);
        if !row.is_multiple_of(block_len) {
            return Err(Reason::PartialBlock { row, block: self.block_len });
        }
        // The elements are counted too, so that `n_elements` cannot wrap.
        let elements = rest.iter().try_fold(row, |product, &n| product.checked_mul(n));
        elements
            .and_then(|elements| elements.checked_div(block_len))
            .and_then(|blocks| blocks.checked_mul(u64::from(self.block_bytes)))
            .ok_or(Reason::ShapeOverflow)
    }
}

impl From<QuantType> for TensorType {
    fn from(quant_type: QuantType) -> Self {
        TensorType {
            id: quant_type.gguf_id(),
            name: quant_type.name(),
            block_len: quant_type.block_len() as u32,
            block_bytes: quant_type.block_bytes() as u32,
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a record and checks what needs no other record.
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, ParseError> {
        let name_at = cursor.offset();
        let name = read_name(cursor)?;
        let of_tensor = |error: ParseError| error.of_tensor(name);
        let shape_at = cursor.offset();
        let n_dims = cursor.u32().map_err(of_tensor)?;
        if n_dims > MAX_DIMENSIONS {
            return Err(of_tensor(ParseError::new(Reason::Dimensions(n_dims), shape_at)));
        }
        let mut shape = [1; 4];
        for dimension in shape.iter_mut().take(n_dims as usize) {
            *dimension = cursor.u64().map_err(of_tensor)?;
        }
        let type_at = cursor.offset();
        let type_id = cursor.u32().map_err(of_tensor)?;
        let offset_at = cursor.offset();
        let data_offset = cursor.u64().map_err(of_tensor)?;
        Ok(Record {
            name,
            shape,
            n_dims,
            type_id,
            data_offset,
            name_at,
            shape_at,
            type_at,
            offset_at,
        })
    }
}

/// Reads a key or a tensor's name. That it is UTF-8 is checked in parsing only.
pub(super) fn read_name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], ParseError> {
    let here = *cursor;
    let name = cursor.string()?;
    check_name(name).map_err(|reason| here.error(reason))?;
    Ok(name)
}

/// What every key and every tensor's name must be, besides UTF-8.
pub(super) fn check_name(name: &[u8]) -> Result<(), Reason> {
    match name.len() as u64 {
        0 => Err(Reason::EmptyName),
        len if len > MAX_NAME_BYTES => Err(Reason::NameTooLong(len)),
        _ if name.contains(&0) => Err(Reason::NameHasNul),
        _ => Ok(()),
    }
}

const fn other(id: u32, name: &'static str, block_len: u32, block_bytes: u32) -> TensorType {
    TensorType { id, name, block_len, block_bytes }
}

/// The encodings of ggml (ggml.h and ggml-common.h of llama.cpp, mid-2026). Those that mote has
/// come from `QuantType` first, so a type need not leave this list when it enters that one.
static OTHER_TYPES: [TensorType; 10] = [
    other(9, "q8_1", 32, 36),
    other(15, "q8_k", 256, 292),
    other(24, "i8", 1, 1),
    other(25, "i16", 1, 2),
    other(26, "i32", 1, 4),
    other(27, "i64", 1, 8),
    other(28, "f64", 1, 8),
    other(40, "nvfp4", 64, 36),
    other(41, "q1_0", 128, 18),
    other(42, "q2_0", 64, 18),
];
