//! Rows of a recurrent state: what a token makes of one, and what it reads there. Plain loops, without fused
//! multiply-add, are the definition on every target.
//!
//! They are here, and not where states are, because this crate is optimised for speed in every profile. None
//! is inlined, and the tree is a call of its own: inlined behind the loop, it made the compiler take the lanes
//! apart and put them together again in every turn, which doubled the instructions.

use super::{LANES, tree};

/// The dot product of two rows of one length: in 16 lanes by index, then halved.
#[inline(never)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    a.iter().zip(b).for_each(|(a, b)| add(&mut lanes, a, b));
    finish(&mut lanes, a_rest, b_rest)
}

/// `row *= decay`; then its dot product with `read`, of the same length.
#[inline(never)]
pub fn fade(row: &mut [f32], decay: f32, read: &[f32]) -> f32 {
    let change = |row: &mut [f32]| row.iter_mut().for_each(|x| *x *= decay);
    let mut lanes = [0.0; LANES];
    let ((row, row_rest), (read, read_rest)) = (row.as_chunks_mut::<LANES>(), read.as_chunks());
    for (row, read) in row.iter_mut().zip(read) {
        change(row);
        add(&mut lanes, row, read);
    }
    change(row_rest);
    finish(&mut lanes, row_rest, read_rest)
}

/// `row = row * decay + added * written`; then its dot product with `read`. All are of one length.
#[inline(never)]
pub fn renew(row: &mut [f32], (decay, added): (f32, f32), written: &[f32], read: &[f32]) -> f32 {
    let change = |row: &mut [f32], written: &[f32]| {
        row.iter_mut().zip(written).for_each(|(x, written)| *x = *x * decay + added * written);
    };
    let mut lanes = [0.0; LANES];
    let (row, row_rest) = row.as_chunks_mut::<LANES>();
    let ((written, written_rest), (read, read_rest)) =
        (written.as_chunks::<LANES>(), read.as_chunks());
    for (row, (written, read)) in row.iter_mut().zip(written.iter().zip(read)) {
        change(row, written);
        add(&mut lanes, row, read);
    }
    change(row_rest, written_rest);
    finish(&mut lanes, row_rest, read_rest)
}

/// Products of sixteen numbers.
#[inline(always)]
fn add(lanes: &mut [f32; LANES], a: &[f32; LANES], b: &[f32; LANES]) {
    lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
}

/// The last products, and the sum.
#[inline(never)]
fn finish(lanes: &mut [f32; LANES], a: &[f32], b: &[f32]) -> f32 {
    lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    tree(*lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, step: usize) -> [f32; 70] {
        core::array::from_fn(|i| if i < n { (i * step % 31) as f32 / 7.0 - 2.1 } else { 0.0 })
    }

    fn summed(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            lanes[i % LANES] += a * b;
        }
        tree(lanes)
    }

    #[test]
    fn rows_of_every_length() {
        for n in 0..70 {
            let (row, written, read) = (numbers(n, 11), numbers(n, 5), numbers(n, 17));
            let (row, written, read) = (&row[..n], &written[..n], &read[..n]);
            assert_eq!(dot(row, read).to_bits(), summed(row, read).to_bits());
            let mut expected = numbers(n, 11);
            let mut found = expected;
            expected[..n].iter_mut().zip(written).for_each(|(x, w)| *x = *x * 0.7 + 0.3 * w);
            let sum = renew(&mut found[..n], (0.7, 0.3), written, read);
            assert!(found == expected && sum.to_bits() == summed(&expected[..n], read).to_bits());
            expected[..n].iter_mut().for_each(|x| *x *= 0.9);
            let sum = fade(&mut found[..n], 0.9, read);
            assert!(found == expected && sum.to_bits() == summed(&expected[..n], read).to_bits());
        }
    }
}
