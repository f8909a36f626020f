//! Whether names are unique, without a heap.
//!
//! Each pass keeps the smallest names that are above the last pass's largest, sorted, in a table
//! on the stack; equal names meet in the same pass. One pass does for real files. For n names
//! there are n/TABLE passes, and no choice of names makes it slower than that (a hash table of
//! fixed size would have to trust its hash function).

use super::cursor::Cursor;

/// Names a pass can tell apart: 3 KiB of stack.
const TABLE: usize = 768;

/// The first name found to stand twice, and where it stands again. `offsets` gives, on every
/// call, where the names' strings stand in `bytes`.
pub(super) fn first_duplicate<I>(bytes: &[u8], offsets: impl Fn() -> I) -> Option<(usize, &[u8])>
where
    I: Iterator<Item = usize>,
{
    // Every name up to this one is known to be unique.
    let mut bound: Option<&[u8]> = None;
    loop {
        let mut table = SmallestNames { bytes, offsets: [0; TABLE], len: 0, dropped: false };
        for offset in offsets() {
            let name = name_at(bytes, offset);
            if bound.is_some_and(|bound| name <= bound) {
                continue;
            }
            if table.insert(offset, name) == Inserted::Duplicate {
                return Some((offset, name));
            }
        }
        if !table.dropped {
            return None;
        }
        bound = table.largest();
    }
}

#[derive(PartialEq)]
enum Inserted {
    New,
    Duplicate,
}

/// Offsets of the smallest names seen in a pass, sorted by name.
struct SmallestNames<'a> {
    bytes: &'a [u8],
    /// A name's string begins in the file's first 4 GiB.
    offsets: [u32; TABLE],
    len: usize,
    /// Whether there was a name too many.
    dropped: bool,
}

impl<'a> SmallestNames<'a> {
    fn insert(&mut self, offset: usize, name: &[u8]) -> Inserted {
        if self.len == TABLE && self.largest().is_some_and(|largest| name > largest) {
            self.dropped = true;
            return Inserted::New;
        }
        let kept = self.offsets.get(..self.len).unwrap_or_default();
        let place = kept.binary_search_by(|&kept| name_at(self.bytes, kept as usize).cmp(name));
        let Err(place) = place else { return Inserted::Duplicate };
        if self.len == TABLE {
            self.dropped = true;
        } else {
            self.len = self.len.saturating_add(1);
        }
        // The last of these is unused, or the largest name, which gives way.
        if let Some(from_place) = self.offsets.get_mut(place..self.len) {
            from_place.rotate_right(1);
            if let Some(slot) = from_place.first_mut() {
                *slot = offset as u32;
            }
        }
        Inserted::New
    }

    fn largest(&self) -> Option<&'a [u8]> {
        let last = self.offsets.get(self.len.checked_sub(1)?)?;
        Some(name_at(self.bytes, *last as usize))
    }
}

fn name_at(bytes: &[u8], offset: usize) -> &[u8] {
    Cursor::new(bytes, offset).string().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use std::format;

    use super::*;

    /// The strings of a file, and where they stand.
    fn file_of(names: impl Iterator<Item = std::string::String>) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut offsets = Vec::new();
        for name in names {
            offsets.push(bytes.len());
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend(name.as_bytes());
        }
        (bytes, offsets)
    }

    #[test]
    fn every_pair_of_equal_names_is_found() {
        // Around the table's size, in rising, falling and mixed order (7 divides none of the lengths).
        for n in [0, 1, 2, TABLE - 1, TABLE, TABLE + 1, 2 * TABLE, 2 * TABLE + 1, 2000] {
            for order in 0..3 {
                let name = |i: usize| match order {
                    0 => format!("{i:06}"),
                    1 => format!("{:06}", n - i),
                    _ => format!("{:06}", i * 7 % n.max(1)),
                };
                let (bytes, offsets) = file_of((0..n).map(name));
                let found = first_duplicate(&bytes, || offsets.iter().copied());
                assert_eq!(found, None, "{n} names, order {order}");
                for twin in [0, n / 3, n / 2, n.saturating_sub(1)].into_iter().filter(|_| n > 0) {
                    let (bytes, offsets) = file_of((0..n).map(name).chain([name(twin)]));
                    let found = first_duplicate(&bytes, || offsets.iter().copied());
                    let expected = (offsets[n], name(twin));
                    let found = found.map(|(at, name)| (at, name.to_vec()));
                    assert_eq!(found, Some((expected.0, expected.1.into_bytes())));
                }
            }
        }
    }
}
