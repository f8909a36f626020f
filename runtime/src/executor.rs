//! Who computes: an executor runs the items of a phase on its threads; how an item is computed
//! does not depend on it.
//!
//! This is also the one place where a buffer is cut so that several threads write to it at once:
//! [`for_each`] hands each item its own part.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, Ordering};

use mote_kernels::{Activations, ActivationsMut, Tile};

/// Runs the items of a phase.
///
/// # Safety
/// `run(items, job)`, and `run_on` likewise, must call `job(item, worker)` exactly once for each
/// `item < items`, with `worker < threads()` and never two calls at once with the same worker, and
/// must return only after all of them have returned.
pub unsafe trait Executor: Sync {
    /// Workers that may be at work at once; at least 1.
    fn threads(&self) -> usize;
    /// Runs a phase.
    fn run(&self, items: usize, job: &(dyn Fn(usize, usize) + Sync));
    /// As [`Executor::run`], by `threads` of the workers if that can be; the others are not woken.
    fn run_on(&self, threads: usize, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        let _ = threads;
        self.run(items, job);
    }
    /// Nanoseconds since some moment, for sessions to time their decoding by: they then decode on
    /// fewer threads where that is faster. `None`: every phase is for all threads.
    fn clock(&self) -> Option<u64> {
        None
    }
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

// SAFETY: a plain loop calls each item once, one after the other.
unsafe impl Executor for Serial {
    fn threads(&self) -> usize {
        1
    }
    fn run(&self, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        (0..items).for_each(|item| job(item, 0));
    }
}

/// Those of an executor's threads that are to be at work.
#[derive(Clone, Copy)]
pub struct Crew<'e> {
    executor: &'e dyn Executor,
    threads: usize,
}

impl<'e> Crew<'e> {
    /// At most `threads` of the executor's, and at least one.
    pub fn new(executor: &'e dyn Executor, threads: usize) -> Self {
        Crew { executor, threads: threads.clamp(1, executor.threads().max(1)) }
    }

    /// How many they are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        self.executor.run_on(self.threads, items, job);
    }

    /// The piece of `scratch`, of so many values, that each of the executor's workers has: workers
    /// that are not of the crew, too, because an executor need not know of crews.
    fn share<'s>(&self, scratch: &'s mut [f32]) -> (Chunks<'s, f32>, usize) {
        let each = scratch.len() / self.executor.threads().max(1);
        (Chunks::new(scratch, each), each)
    }
}

/// Something that can be cut into parts that do not overlap.
///
/// # Safety
/// Parts of different indices must not share memory that either writes.
pub unsafe trait Parts: Sync {
    /// What one item works on.
    type Part;
    /// How many parts there are.
    fn count(&self) -> usize;
    /// One of them.
    ///
    /// # Safety
    /// `index < count()`, and no index is asked for twice while an earlier part lives.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

/// Runs `work(index, part, scratch)` for every part. Each worker has its own piece of `scratch`.
pub fn for_each<P: Parts>(
    crew: Crew<'_>,
    scratch: &mut [f32],
    parts: P,
    work: impl Fn(usize, P::Part, &mut [f32]) + Sync,
) {
    let (scratch, each) = crew.share(scratch);
    crew.run(parts.count(), &|item, worker| {
        // SAFETY: the executor calls each item once, and a worker's calls one after the other.
        let (part, scratch) = unsafe { (parts.part(item), scratch.range(worker * each, each)) };
        work(item, part, scratch);
    });
}

/// As [`for_each`], for items that lie one after the other in memory. Each worker takes a run of
/// consecutive ones, so that what it asks for ahead is its own; one that is done early takes over
/// the last ones of another.
pub fn for_each_in_runs<P: Parts>(
    crew: Crew<'_>,
    scratch: &mut [f32],
    parts: P,
    work: impl Fn(usize, P::Part, &mut [f32]) + Sync,
) {
    let (items, threads) = (parts.count(), crew.threads());
    let Some(runs) = Runs::new(items, threads).filter(|_| threads > 1 && items > 1) else {
        return for_each(crew, scratch, parts, work);
    };
    let (scratch, each) = crew.share(scratch);
    crew.run(runs.count, &|run, worker| {
        while let Some(item) = runs.claim(run) {
            // SAFETY: an item is claimed once, and a worker's calls come one after the other.
            let (part, scratch) = unsafe { (parts.part(item), scratch.range(worker * each, each)) };
            work(item, part, scratch);
        }
    });
}

/// Items in runs of consecutive ones, each to be claimed once.
struct Runs {
    count: usize,
    /// What is left of each run: its first item in the low half, the end in the high half.
    left: [AtomicU32; Runs::MOST],
}

impl Runs {
    /// More threads than this share runs.
    const MOST: usize = 64;

    /// `None` if there are more items than fit.
    fn new(items: usize, threads: usize) -> Option<Runs> {
        let (items, count) = (u16::try_from(items).ok()?, threads.min(Self::MOST));
        let at = |run: usize| (usize::from(items) * run.min(count) / count) as u32;
        let left = core::array::from_fn(|run| AtomicU32::new(at(run) | at(run + 1) << 16));
        Some(Runs { count, left })
    }

    /// The next item of this run, or else the last one that is left of another.
    fn claim(&self, run: usize) -> Option<usize> {
        let next = self.take(run, |first, end| (first + 1, end)).map(|(first, _)| first);
        let mut others = (1..self.count).map(|i| (run + i) % self.count);
        let mut last =
            |other| self.take(other, |first, end| (first, end - 1)).map(|(_, end)| end - 1);
        next.or_else(|| others.find_map(&mut last))
    }

    /// Leaves `rest(first, end)` of a run that is not empty, and returns what it was.
    fn take(&self, run: usize, rest: impl Fn(u32, u32) -> (u32, u32)) -> Option<(usize, usize)> {
        let halves = |left: u32| (left & 0xffff, left >> 16);
        let update = |left| match halves(left) {
            (first, end) if first < end => {
                let (first, end) = rest(first, end);
                Some(first | end << 16)
            }
            _ => None,
        };
        // Nothing but the number of the item is handed over, so no order of memory is needed.
        let left =
            self.left[run].fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).ok()?;
        let (first, end) = halves(left);
        Some((first as usize, end as usize))
    }
}

/// A slice in chunks of one length; the first may be shorter than the others, and the last.
pub struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    first: usize,
    chunk: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for an exclusive slice, and parts go to one thread each.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    /// Chunks of `chunk`.
    pub fn new(slice: &'a mut [T], chunk: usize) -> Self {
        Self::with_first(slice, chunk, chunk)
    }

    /// The first chunk has `first` values, the others `chunk`.
    pub fn with_first(slice: &'a mut [T], first: usize, chunk: usize) -> Self {
        let (start, len) = (slice.as_mut_ptr(), slice.len());
        Chunks { start, len, first, chunk, borrow: PhantomData }
    }

    /// # Safety
    /// Ranges that live at the same time do not overlap.
    unsafe fn range(&self, from: usize, len: usize) -> &'a mut [T] {
        assert!(from <= self.len && len <= self.len - from);
        // SAFETY: inside the slice that `new` borrowed for 'a; exclusive by the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

// SAFETY: chunks are consecutive ranges.
unsafe impl<'a, T: Send> Parts for Chunks<'a, T> {
    type Part = &'a mut [T];
    fn count(&self) -> usize {
        let rest = self.len.saturating_sub(self.first);
        usize::from(self.len > 0) + rest.div_ceil(self.chunk.max(1))
    }
    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let (from, to) = match index {
            0 => (0, self.first),
            _ => (self.first + (index - 1) * self.chunk, self.first + index * self.chunk),
        };
        let (from, to) = (from.min(self.len), to.min(self.len));
        // SAFETY: ranges of different indices do not overlap.
        unsafe { self.range(from, to - from) }
    }
}

/// Two things cut alike.
// SAFETY: each half keeps its promise.
unsafe impl<A: Parts, B: Parts> Parts for (A, B) {
    type Part = (A::Part, B::Part);
    fn count(&self) -> usize {
        self.0.count().min(self.1.count())
    }
    unsafe fn part(&self, index: usize) -> Self::Part {
        // SAFETY: as promised by the caller.
        unsafe { (self.0.part(index), self.1.part(index)) }
    }
}

/// Something that a phase may lack, cut like what stands beside it.
// SAFETY: the inner one keeps its promise.
unsafe impl<A: Parts> Parts for Option<A> {
    type Part = Option<A::Part>;
    fn count(&self) -> usize {
        self.as_ref().map_or(usize::MAX, Parts::count)
    }
    unsafe fn part(&self, index: usize) -> Self::Part {
        // SAFETY: as promised by the caller.
        self.as_ref().map(|parts| unsafe { parts.part(index) })
    }
}

/// Planes of quantised activations, cut between tokens.
pub struct ActivationParts<'a> {
    tokens: usize,
    k: usize,
    chunk: usize,
    high: Chunks<'a, i8>,
    low: Option<Chunks<'a, i8>>,
    scales: Chunks<'a, f32>,
    sums: Chunks<'a, i32>,
    scaled_sums: Chunks<'a, f32>,
}

/// The lent planes that [`ActivationParts`] cuts; each exactly as long as `tokens` rows need.
pub struct Planes<'a> {
    /// The int8 plane, or the high one of two.
    pub high: &'a mut [i8],
    /// The low plane of 16-bit activations.
    pub low: Option<&'a mut [i8]>,
    /// See [`mote_kernels::Activations`], as for the two below.
    pub scales: &'a mut [f32],
    /// Sums of 16.
    pub sums: &'a mut [i32],
    /// Scaled sums of 32.
    pub scaled_sums: &'a mut [f32],
}

impl<'a> Planes<'a> {
    /// The same planes for a shorter time.
    pub fn reborrow(&mut self) -> Planes<'_> {
        Planes {
            high: self.high,
            low: self.low.as_deref_mut(),
            scales: self.scales,
            sums: self.sums,
            scaled_sums: self.scaled_sums,
        }
    }

    /// As activations (tokens × k) to be read.
    pub fn freeze(self, size: (usize, usize)) -> Activations<'a> {
        let Planes { high, low, scales, sums, scaled_sums } = self;
        ActivationsMut::new(size, (high, low), scales, sums, scaled_sums).freeze()
    }
}

impl<'a> ActivationParts<'a> {
    /// Parts of `chunk` tokens.
    pub fn new((tokens, k): (usize, usize), chunk: usize, planes: Planes<'a>) -> Self {
        let n = chunk * ActivationsMut::stride(k);
        ActivationParts {
            tokens,
            k,
            chunk,
            high: Chunks::new(planes.high, n),
            low: planes.low.map(|low| Chunks::new(low, n)),
            scales: Chunks::new(planes.scales, n / 32),
            sums: Chunks::new(planes.sums, n / 16),
            scaled_sums: Chunks::new(planes.scaled_sums, n / 32),
        }
    }
}

// SAFETY: every plane is cut at the same tokens, without overlap.
unsafe impl<'a> Parts for ActivationParts<'a> {
    type Part = ActivationsMut<'a>;
    fn count(&self) -> usize {
        self.tokens.div_ceil(self.chunk.max(1))
    }
    unsafe fn part(&self, index: usize) -> ActivationsMut<'a> {
        let tokens = self.chunk.min(self.tokens - index * self.chunk);
        // SAFETY: as promised by the caller.
        unsafe {
            ActivationsMut::new(
                (tokens, self.k),
                (self.high.part(index), self.low.part(index)),
                self.scales.part(index),
                self.sums.part(index),
                self.scaled_sums.part(index),
            )
        }
    }
}

/// Output matrices (tokens × rows each) of one phase, cut into groups of rows and tokens.
pub struct Outputs<'a, const N: usize> {
    tokens: usize,
    token_group: usize,
    row_groups: [usize; N],
    matrices: [(*mut f32, usize); N],
    borrow: PhantomData<&'a mut [f32]>,
}

/// One item of [`Outputs`].
pub struct Output<'a> {
    /// Which matrix.
    pub which: usize,
    /// Its first row.
    pub row: usize,
    /// Its first token.
    pub token: usize,
    /// Where the results go.
    pub tile: Tile<'a>,
}

// SAFETY: it stands for exclusive slices, and parts go to one thread each.
unsafe impl<const N: usize> Sync for Outputs<'_, N> {}

impl<'a, const N: usize> Outputs<'a, N> {
    /// Matrices of `tokens` rows each, with the rows that go together; `token_group` tokens go
    /// together. Panics if a length is not a multiple of `tokens`.
    pub fn new(
        tokens: usize,
        token_group: usize,
        matrices: [&'a mut [f32]; N],
        row_groups: [usize; N],
    ) -> Self {
        let matrices = matrices.map(|data| {
            let rows = data.len() / tokens.max(1);
            assert_eq!(data.len(), tokens * rows);
            (data.as_mut_ptr(), rows)
        });
        let row_groups = row_groups.map(|rows| rows.max(1));
        Outputs {
            tokens,
            token_group: token_group.max(1),
            row_groups,
            matrices,
            borrow: PhantomData,
        }
    }

    fn token_groups(&self) -> usize {
        self.tokens.div_ceil(self.token_group)
    }
}

// SAFETY: rectangles of a grid do not overlap.
unsafe impl<'a, const N: usize> Parts for Outputs<'a, N> {
    type Part = Output<'a>;
    fn count(&self) -> usize {
        let groups = |i: usize| self.matrices[i].1.div_ceil(self.row_groups[i]);
        (0..N).map(groups).sum::<usize>() * self.token_groups()
    }
    unsafe fn part(&self, index: usize) -> Output<'a> {
        // Token groups of one row group follow each other: they share its weights.
        let mut row_group = index / self.token_groups();
        let token = index % self.token_groups() * self.token_group;
        let mut which = 0;
        while row_group >= self.matrices[which].1.div_ceil(self.row_groups[which]) {
            row_group -= self.matrices[which].1.div_ceil(self.row_groups[which]);
            which += 1;
        }
        let ((start, rows), group) = (self.matrices[which], self.row_groups[which]);
        let row = row_group * group;
        let tokens = self.token_group.min(self.tokens - token);
        // SAFETY: the rectangle lies in matrix `which`, and no other index has a part of it.
        let tile = unsafe {
            Tile::from_raw(start.add(token * rows + row), tokens, group.min(rows - row), rows)
        };
        Output { which, row, token, tile }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::threads::ThreadPool;

    #[test]
    fn every_part_is_worked_on_once_by_any_number_of_threads() {
        for threads in [1, 2, 3, 8, 70] {
            let pool = ThreadPool::new(threads);
            for (items, fewer) in
                [0, 1, 2, 3, 63, 1000, 70_000].into_iter().zip([0, 1, 2].iter().cycle())
            {
                let mut counts = vec![0_u32; items];
                let mut scratch = vec![0.0; pool.threads()];
                let crew = Crew::new(&pool, threads - fewer.min(&threads));
                for_each_in_runs(crew, &mut scratch, Chunks::new(&mut counts, 1), |_, part, _| {
                    part[0] += 1;
                });
                assert_eq!(counts, vec![1; items], "{threads} threads");
            }
        }
    }

    #[test]
    fn a_run_is_taken_in_order_and_what_is_left_of_another_from_its_end() {
        let runs = Runs::new(7, 2).unwrap();
        let order: Vec<_> = core::iter::from_fn(|| runs.claim(1)).collect();
        assert_eq!(order, [3, 4, 5, 6, 2, 1, 0]);
    }
}
