//! Numbers of any width, packed bit by bit, the lowest first.

/// Bytes that must follow the last number, so that eight can be read at once.
pub(super) const SLACK: usize = 8;

/// The `width` bits from bit `at` on, of at most 57; 0 past the end.
#[inline(always)]
pub(super) fn read(bytes: &[u8], at: u64, width: u32) -> u64 {
    let Some(rest) = usize::try_from(at >> 3).ok().and_then(|byte| bytes.get(byte..)) else {
        return 0;
    };
    let Some((word, _)) = rest.split_first_chunk::<8>() else { return 0 };
    (u64::from_le_bytes(*word) >> (at & 7)) & ((1 << width) - 1)
}

/// Packs numbers.
#[cfg(feature = "std")]
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: alloc::vec::Vec<u8>,
    /// Bits that wait for a whole byte, and how many.
    pending: u128,
    n_pending: u32,
}

#[cfg(feature = "std")]
impl Writer {
    /// Appends the lowest `width` bits of `value`; the others are 0.
    pub(super) fn push(&mut self, value: u32, width: u32) {
        self.pending |= u128::from(value) << self.n_pending;
        self.n_pending += width;
        while self.n_pending >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.n_pending -= 8;
        }
    }

    /// Fills up to a multiple of `unit` bytes and hands over what was packed.
    pub(super) fn flush(&mut self, unit: usize) -> alloc::vec::Vec<u8> {
        if self.n_pending > 0 {
            self.bytes.push(self.pending as u8);
            (self.pending, self.n_pending) = (0, 0);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(unit), 0);
        core::mem::take(&mut self.bytes)
    }
}

/// Bits that `value` takes.
#[cfg(feature = "std")]
pub(super) fn width(value: u32) -> u32 {
    u32::BITS - value.leading_zeros()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers: [(u32, u32); 7] =
            [(5, 3), (0, 0), (1, 1), (u32::MAX, 32), (0x3fffff, 22), (0, 31), (77, 7)];
        let mut writer = Writer::default();
        for (value, width) in numbers {
            writer.push(value, width);
        }
        let mut bytes = writer.flush(2);
        assert_eq!(bytes.len(), 12);
        bytes.extend([0; SLACK]);
        let mut at = 0;
        for (value, width) in numbers {
            assert_eq!(read(&bytes, at, width), u64::from(value));
            at += u64::from(width);
        }
        assert_eq!(read(&bytes, 12 * 8 + 64, 5), 0, "past the end");
        assert_eq!(read(&bytes, u64::MAX, 5), 0, "past every end");
    }

    #[test]
    fn widths() {
        assert_eq!([0, 1, 2, 255, 256, u32::MAX].map(width), [0, 1, 2, 8, 9, 32]);
    }
}
