//! What is sorted: big numbers of `W` words of 64 bits, the most significant first. The words of an
//! n-gram stand in the highest bits, so that numbers compare as n-grams do; what belongs to the
//! n-gram stands in the lowest.

use std::cmp::Ordering;

/// A big number.
pub type Record<const W: usize> = [u64; W];

/// Compares as numbers.
#[inline(always)]
pub fn compare<const W: usize>(a: &Record<W>, b: &Record<W>) -> Ordering {
    if W == 2 {
        let wide = |x: &Record<W>| u128::from(x[0]) << 64 | u128::from(x[W - 1]);
        return wide(a).cmp(&wide(b));
    }
    a.cmp(b)
}

/// The `width` bits, 32 at most, that begin `at` bits below the top.
#[inline(always)]
pub fn get<const W: usize>(record: &Record<W>, at: u32, width: u32) -> u32 {
    let (i, shift) = ((at / 64) as usize, at % 64);
    let high = record.get(i).copied().unwrap_or(0);
    let low = record.get(i + 1).copied().unwrap_or(0);
    let both = u128::from(high) << 64 | u128::from(low);
    ((both << shift) >> (128 - width)) as u32
}

/// Sets these bits, which are 0.
#[inline(always)]
pub fn put<const W: usize>(record: &mut Record<W>, at: u32, width: u32, value: u32) {
    let (i, shift) = ((at / 64) as usize, at % 64);
    let both = u128::from(value) << (128 - width) >> shift;
    if let Some(high) = record.get_mut(i) {
        *high |= (both >> 64) as u64;
    }
    if let Some(low) = record.get_mut(i + 1) {
        *low |= both as u64;
    }
}

/// Moves every bit down by 1 to 63; the highest become 0.
#[inline(always)]
pub fn shift<const W: usize>(record: &mut Record<W>, by: u32) {
    for i in (1..W).rev() {
        record[i] = record[i] >> by | record[i - 1] << (64 - by);
    }
    record[0] >>= by;
}

/// Ones in the `bits` highest places.
pub fn mask<const W: usize>(bits: u32) -> Record<W> {
    std::array::from_fn(|i| match bits.saturating_sub(64 * i as u32) {
        0 => 0,
        n if n >= 64 => u64::MAX,
        n => u64::MAX << (64 - n),
    })
}

/// The bits that the mask has.
#[inline(always)]
pub fn and<const W: usize>(record: &Record<W>, mask: &Record<W>) -> Record<W> {
    std::array::from_fn(|i| record[i] & mask[i])
}

/// Whether two records agree where the mask has ones.
#[inline(always)]
pub fn agree<const W: usize>(a: &Record<W>, b: &Record<W>, mask: &Record<W>) -> bool {
    let mut different = 0;
    for i in 0..W {
        different |= (a[i] ^ b[i]) & mask[i];
    }
    different == 0
}

/// How many of the highest bits two different records have in common.
#[inline(always)]
pub fn common<const W: usize>(a: &Record<W>, b: &Record<W>) -> u32 {
    for i in 0..W {
        if a[i] != b[i] {
            return 64 * i as u32 + (a[i] ^ b[i]).leading_zeros();
        }
    }
    64 * W as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_wherever_they_lie() {
        for width in [1, 7, 19, 31, 32] {
            for at in 0..=(192 - width) {
                let value = 0xdead_beef >> (32 - width);
                let mut record = [0; 3];
                put(&mut record, at, width, value);
                assert_eq!(get(&record, at, width), value, "{width} bits at {at}");
                let ones: u32 = record.iter().map(|word| word.count_ones()).sum();
                assert_eq!(ones, value.count_ones());
            }
        }
    }

    #[test]
    fn shifting_moves_fields() {
        let mut record = [0; 3];
        put(&mut record, 3, 20, 0xabcde);
        shift(&mut record, 45);
        assert_eq!(get(&record, 48, 20), 0xabcde);
        assert_eq!(record[0] >> 16, 0);
    }

    #[test]
    fn masks_and_what_is_common() {
        assert_eq!(mask::<2>(0), [0, 0]);
        assert_eq!(mask::<2>(64), [u64::MAX, 0]);
        assert_eq!(mask::<2>(68), [u64::MAX, 0xf << 60]);
        assert!(agree(&[7, 1 << 63], &[7, 3 << 62], &mask(65)));
        assert_eq!(common(&[7, 1 << 63], &[7, 3 << 62]), 65);
    }
}
