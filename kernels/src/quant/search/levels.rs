//! What codes may stand for, in multiples of a scale.

use super::{LANES, Lanes, ROUND, round_even, within};

/// A set of numbers, one for each code.
pub trait Levels: Copy {
    /// The nearest of them.
    fn nearest(self, x: f32) -> f32;
    /// Its code.
    fn code(self, x: f32) -> u8;
    /// What the weight of largest magnitude may be, at the beginning of a search.
    fn starts(&self) -> &[[f32; LANES]];
    /// What it is if no search finds anything.
    fn end(self) -> f32;
}

/// The integers `-half ..= half - 1`; the codes begin at 0.
#[derive(Clone, Copy)]
pub struct Integers {
    half: f32,
    starts: Lanes,
}

impl Integers {
    pub fn new(half: i32) -> Self {
        /// So many codes beyond the last one.
        const STRETCHES: Lanes = [-0.9, -0.6, -0.35, -0.15, 0.0, 0.2, 0.45, 0.7];
        let half = half as f32;
        Integers { half, starts: STRETCHES.map(|stretch| -(half + stretch)) }
    }
}

impl Levels for Integers {
    #[inline(always)]
    fn nearest(self, x: f32) -> f32 {
        round_even(within(x, -self.half, self.half - 1.0))
    }

    #[inline(always)]
    fn code(self, x: f32) -> u8 {
        // The integer stands in the low bits.
        (within(x, -self.half, self.half - 1.0) + self.half + ROUND).to_bits() as u8
    }

    fn starts(&self) -> &[Lanes] {
        core::slice::from_ref(&self.starts)
    }

    /// The end without a counterpart.
    fn end(self) -> f32 {
        -self.half
    }
}

/// Sixteen integers from -128 to 127 in any order.
pub struct Grid<const STARTS: usize> {
    levels: [f32; 16],
    /// The code of what lies between each two neighbouring halves, from -128 on: no border between
    /// two codes lies within.
    codes: [u8; 512],
    starts: [f32; STARTS],
}

impl<const STARTS: usize> Grid<STARTS> {
    /// `starts`: see [`Levels::starts`].
    pub const fn new(levels: &[i8; 16], starts: [f32; STARTS]) -> Self {
        const { assert!(STARTS.is_multiple_of(LANES)) };
        let mut grid = Grid { levels: [0.0; 16], codes: [0; 512], starts };
        let mut code = 0;
        while code < 16 {
            grid.levels[code] = levels[code] as f32;
            code += 1;
        }
        let mut i = 0;
        while i < 512 {
            // In quarters, the middle between two halves.
            let x = 2 * i as i32 + 1 - 512;
            let (mut code, mut least) = (0, i32::MAX);
            while code < 16 {
                let distance = (4 * levels[code] as i32 - x).abs();
                if distance < least {
                    (grid.codes[i], least) = (code as u8, distance);
                }
                code += 1;
            }
            i += 1;
        }
        grid
    }
}

impl<const STARTS: usize> Levels for &Grid<STARTS> {
    #[inline(always)]
    fn nearest(self, x: f32) -> f32 {
        self.levels[usize::from(self.code(x) & 15)]
    }

    #[inline(always)]
    fn code(self, x: f32) -> u8 {
        let halves = within(2.0 * x - 0.5, -256.0, 255.0) + 256.0;
        self.codes[((halves + ROUND).to_bits() & 511) as usize]
    }

    fn starts(&self) -> &[Lanes] {
        self.starts.as_chunks::<LANES>().0
    }

    fn end(self) -> f32 {
        self.levels[0]
    }
}
