//! A weight matrix as the file has it.

use crate::QuantType;

/// `rows` × `cols` weights, each row `row_bytes` of encoded blocks, borrowed from the file.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    kind: QuantType,
    rows: usize,
    cols: usize,
    data: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// `None` if a row is not a whole number of blocks, or `data` is not exactly `rows` of them.
    pub const fn new(kind: QuantType, rows: usize, cols: usize, data: &'a [u8]) -> Option<Self> {
        match kind.row_bytes(cols) {
            Some(bytes) => match bytes.checked_mul(rows) {
                Some(bytes) if bytes == data.len() => Some(Matrix { kind, rows, cols, data }),
                _ => None,
            },
            None => None,
        }
    }

    /// The encoding of every row.
    pub fn kind(&self) -> QuantType {
        self.kind
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs: weights in a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.cols / self.kind.block_len() * self.kind.block_bytes()
    }

    /// All rows, encoded.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Rows `first..first + rows`. Panics if there are fewer.
    pub fn part(&self, first: usize, rows: usize) -> Matrix<'a> {
        let bytes = self.row_bytes();
        Matrix { rows, data: &self.data[first * bytes..(first + rows) * bytes], ..*self }
    }

    /// Decodes row `row` into `out` (`cols` floats). Panics if there is no such row.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        self.kind.decode(self.part(row, 1).data, out);
    }
}
