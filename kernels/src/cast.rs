//! Views of matrices that several threads write at once, each its own part.
#![allow(unsafe_code)]

use core::marker::PhantomData;

/// A rectangle of a row-major f32 matrix (tokens × features): `tokens` runs of `rows` floats,
/// `stride` apart. Named after what it receives: output rows of a weight matrix, for some tokens.
#[derive(Debug)]
pub struct Tile<'a> {
    /// Invariant 1: for every `t < tokens`, `start + t * stride ..+ rows` is valid and exclusively
    /// borrowed for `'a`.
    start: *mut f32,
    rows: usize,
    tokens: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: a tile is an exclusive borrow of floats, as `&mut [f32]` is.
unsafe impl Send for Tile<'_> {}

impl<'a> Tile<'a> {
    /// A whole matrix: `tokens` × `rows`, without gaps. Panics if `data` has another length.
    pub fn new(data: &'a mut [f32], tokens: usize, rows: usize) -> Self {
        assert_eq!(data.len(), tokens * rows, "tile of {tokens} x {rows}");
        Tile { start: data.as_mut_ptr(), rows, tokens, stride: rows, borrow: PhantomData }
    }

    /// A rectangle by its corner.
    ///
    /// # Safety
    /// Invariant 1 must hold, and `rows <= stride` if there is more than one token.
    pub unsafe fn from_raw(start: *mut f32, tokens: usize, rows: usize, stride: usize) -> Self {
        Tile { start, rows, tokens, stride, borrow: PhantomData }
    }

    /// Floats in each token's run.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of runs.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The run of one token.
    #[inline]
    pub fn token(&mut self, t: usize) -> &mut [f32] {
        assert!(t < self.tokens);
        // SAFETY: invariant 1; the borrow of `self` keeps it exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(t * self.stride), self.rows) }
    }

    /// The part that lies in rows `first..first + rows` and tokens `t0..t0 + tokens`.
    #[inline]
    pub fn part(&mut self, t0: usize, tokens: usize, first: usize, rows: usize) -> Tile<'_> {
        assert!(t0 + tokens <= self.tokens && first + rows <= self.rows);
        // SAFETY: inside invariant 1, by the assertion. An empty part is never dereferenced.
        let start =
            unsafe { self.start.add(if tokens == 0 { 0 } else { t0 * self.stride + first }) };
        Tile { start, rows, tokens, stride: self.stride, borrow: PhantomData }
    }
}
