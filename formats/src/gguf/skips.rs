//! Where the largest string arrays end. An array of strings has no length in bytes, so stepping
//! over one takes a walk over its strings: milliseconds for a vocabulary, which every look-up of
//! a later key would pay again.

/// The largest string arrays of a file: (offset of the first string, offset after the last).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skips {
    spans: [(u32, u32); Skips::CAPACITY],
}

impl Skips {
    /// A model has tokens, merges, and some short lists (languages, tags).
    const CAPACITY: usize = 8;

    /// Keeps the span if it is among the longest so far.
    pub fn add(&mut self, start: usize, end: usize) {
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else { return };
        let shortest = self.spans.iter_mut().min_by_key(|span| span.1.saturating_sub(span.0));
        if let Some(span) = shortest
            && span.1.saturating_sub(span.0) < end.saturating_sub(start)
        {
            *span = (start, end);
        }
    }

    /// Where the array whose first string stands at `start` ends.
    pub fn end_of(&self, start: usize) -> Option<usize> {
        // A start of 0 is no array's: the magic stands there.
        let start = u32::try_from(start).ok().filter(|&start| start != 0)?;
        self.spans.iter().find(|span| span.0 == start).map(|span| span.1 as usize)
    }
}
