//! Quantised activations: one format for all encodings, of one or two int8 planes.

/// Values of a row that share one scale.
pub const BLOCK: usize = 32;

/// Rows are padded with zeros to a multiple of this, so that kernels may take four blocks at once.
const PAD: usize = 128;

/// How many bits an activation keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// One int8 plane: `q = nearest(x * 127 / amax)`.
    Bits8,
    /// Two int8 planes: `v = 255 * high + low = nearest(x * 32512 / amax)`.
    Bits16,
}

/// Quantised rows, tokens × k. Made by [`crate::Kernels::quantize`].
///
/// `scales[b]` belongs to values `32b..32b + 32` of a row, `sums[h]` is the exact sum of values
/// `16h..16h + 16`, and `scaled_sums[b]` is `scales[b]` times the sum of its 32 values, rounded.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    pub(crate) tokens: usize,
    pub(crate) k: usize,
    /// Invariant: `stride` is `k` rounded up to 128; every plane has `tokens` rows of `stride`
    /// values (or none, `low`), scales `stride / 32`, sums `stride / 16`; the padding is zero.
    pub(crate) stride: usize,
    pub(crate) high: &'a [i8],
    pub(crate) low: Option<&'a [i8]>,
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
    pub(crate) scaled_sums: &'a [f32],
}

/// [`Activations`] to be written.
#[derive(Debug)]
pub struct ActivationsMut<'a> {
    tokens: usize,
    k: usize,
    stride: usize,
    high: &'a mut [i8],
    low: Option<&'a mut [i8]>,
    scales: &'a mut [f32],
    sums: &'a mut [i32],
    scaled_sums: &'a mut [f32],
}

/// One row of [`ActivationsMut`], `stride` values long.
pub(crate) struct RowMut<'a> {
    pub high: &'a mut [i8],
    pub low: Option<&'a mut [i8]>,
    pub scales: &'a mut [f32],
    pub sums: &'a mut [i32],
    pub scaled_sums: &'a mut [f32],
}

impl<'a> ActivationsMut<'a> {
    /// The padded length of a row of `k` values.
    pub const fn stride(k: usize) -> usize {
        k.next_multiple_of(PAD)
    }

    /// Over lent planes: `high` (and `low`) of `tokens * stride` values, `scales` and `scaled_sums`
    /// of one for 32, `sums` of one for 16. Panics if a plane has another length.
    pub fn new(
        (tokens, k): (usize, usize),
        (high, low): (&'a mut [i8], Option<&'a mut [i8]>),
        scales: &'a mut [f32],
        sums: &'a mut [i32],
        scaled_sums: &'a mut [f32],
    ) -> Self {
        assert!(k.is_multiple_of(BLOCK), "activations of {k} values");
        let stride = Self::stride(k);
        let values = tokens * stride;
        assert_eq!(high.len(), values);
        assert!(low.as_ref().is_none_or(|low| low.len() == values));
        assert_eq!(scales.len(), values / 32);
        assert_eq!(sums.len(), values / 16);
        assert_eq!(scaled_sums.len(), values / 32);
        ActivationsMut { tokens, k, stride, high, low, scales, sums, scaled_sums }
    }

    /// Rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Values in a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// What [`crate::Kernels::quantize`] will write.
    pub fn precision(&self) -> Precision {
        if self.low.is_some() { Precision::Bits16 } else { Precision::Bits8 }
    }

    pub(crate) fn row(&mut self, token: usize) -> RowMut<'_> {
        let n = self.stride;
        RowMut {
            high: &mut self.high[token * n..][..n],
            low: self.low.as_deref_mut().map(|low| &mut low[token * n..][..n]),
            scales: &mut self.scales[token * n / 32..][..n / 32],
            sums: &mut self.sums[token * n / 16..][..n / 16],
            scaled_sums: &mut self.scaled_sums[token * n / 32..][..n / 32],
        }
    }

    /// The first `tokens` rows, and the rest. Panics if there are fewer.
    pub fn split_at(self, tokens: usize) -> (Self, Self) {
        let (at, k, stride) = (tokens * self.stride, self.k, self.stride);
        let (high, high2) = self.high.split_at_mut(at);
        let (low, low2) = self.low.map(|low| low.split_at_mut(at)).unzip();
        let (scales, scales2) = self.scales.split_at_mut(at / 32);
        let (sums, sums2) = self.sums.split_at_mut(at / 16);
        let (scaled_sums, scaled_sums2) = self.scaled_sums.split_at_mut(at / 32);
        (
            ActivationsMut { tokens, k, stride, high, low, scales, sums, scaled_sums },
            ActivationsMut {
                tokens: self.tokens - tokens,
                k,
                stride,
                high: high2,
                low: low2,
                scales: scales2,
                sums: sums2,
                scaled_sums: scaled_sums2,
            },
        )
    }

    /// For reading.
    pub fn freeze(self) -> Activations<'a> {
        Activations {
            tokens: self.tokens,
            k: self.k,
            stride: self.stride,
            high: self.high,
            low: self.low.map(|low| &*low),
            scales: self.scales,
            sums: self.sums,
            scaled_sums: self.scaled_sums,
        }
    }
}

impl<'a> Activations<'a> {
    /// Rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Values in a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows `first..first + tokens`. Panics if there are fewer.
    pub fn part(&self, first: usize, tokens: usize) -> Activations<'a> {
        let (from, to) = (first * self.stride, (first + tokens) * self.stride);
        Activations {
            tokens,
            k: self.k,
            stride: self.stride,
            high: &self.high[from..to],
            low: self.low.map(|low| &low[from..to]),
            scales: &self.scales[from / 32..to / 32],
            sums: &self.sums[from / 16..to / 16],
            scaled_sums: &self.scaled_sums[from / 32..to / 32],
        }
    }
}

/// The input of a matrix product in the forms that its encodings need: f32 rows for float weights,
/// quantised rows for integer weights, or both when a phase has weights of both kinds.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub(crate) tokens: usize,
    pub(crate) k: usize,
    pub(crate) float: Option<&'a [f32]>,
    pub(crate) quantized: Option<Activations<'a>>,
}

impl<'a> Rows<'a> {
    /// `tokens` × `k` floats and/or the same rows quantised. Panics if the sizes disagree.
    pub fn new(
        (tokens, k): (usize, usize),
        float: Option<&'a [f32]>,
        quantized: Option<Activations<'a>>,
    ) -> Self {
        assert!(float.is_none_or(|rows| rows.len() == tokens * k));
        assert!(quantized.is_none_or(|rows| rows.tokens == tokens && rows.k == k));
        Rows { tokens, k, float, quantized }
    }

    /// Rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Values in a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The rows as floats, if there are any.
    pub fn float(&self) -> Option<&'a [f32]> {
        self.float
    }

    /// Rows `first..first + tokens`. Panics if there are fewer.
    pub fn part(&self, first: usize, tokens: usize) -> Rows<'a> {
        Rows {
            tokens,
            k: self.k,
            float: self.float.map(|rows| &rows[first * self.k..(first + tokens) * self.k]),
            quantized: self.quantized.map(|rows| rows.part(first, tokens)),
        }
    }
}
