//! External sorting: chunks that fit the memory are sorted and spilled as runs, runs are merged.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::record::{Record, agree, and, compare, mask};
use super::temporary::{Reader, Temporary};

/// Least bytes of a chunk, and of the buffer of a run that is read.
const MIN_CHUNK: usize = 1 << 16;
const MIN_READ: usize = 1 << 13;
const MAX_READ: usize = 1 << 19;
/// Records that a merging thread hands over at once.
const BATCH: usize = 4096;

/// What equal n-grams become.
#[derive(Clone, Copy, Debug)]
pub enum Equal {
    /// They do not occur.
    Never,
    /// One, with the sum of the counts in the so many lowest bits of both. A sum that has no room
    /// there stays in pieces.
    Add(u32),
}

/// Sorts records.
pub struct Sorter<const W: usize> {
    chunk: Vec<Record<W>>,
    capacity: usize,
    equal: Equal,
    file: Arc<Temporary>,
    runs: Vec<Run>,
    helpers: Option<Helpers<W>>,
}

/// Where a run lies in a file, in bytes.
#[derive(Clone)]
struct Run {
    file: Arc<Temporary>,
    begin: u64,
    end: u64,
}

/// Threads that sort and spill full chunks.
struct Helpers<const W: usize> {
    full: Sender<Vec<Record<W>>>,
    done: Receiver<io::Result<(Run, Vec<Record<W>>)>>,
    threads: Vec<JoinHandle<()>>,
    empty: Vec<Vec<Record<W>>>,
    working: usize,
}

impl<const W: usize> Sorter<W> {
    /// Uses about `memory` bytes, and `helpers` threads beside the calling one, for about `most`
    /// records at most.
    pub fn new(
        memory: usize,
        helpers: usize,
        folder: &Path,
        equal: Equal,
        most: u64,
    ) -> io::Result<Self> {
        let file = Temporary::new(folder)?;
        let capacity = (memory / (helpers + 1)).max(MIN_CHUNK) / (8 * W);
        let capacity = capacity.min(usize::try_from(most).unwrap_or(capacity).max(16));
        let helpers = (helpers > 0).then(|| Helpers::new(helpers, &file, equal)).transpose()?;
        Ok(Sorter { chunk: Vec::new(), capacity, equal, file, runs: Vec::new(), helpers })
    }

    /// Adds a record.
    #[inline]
    pub fn push(&mut self, record: Record<W>) -> io::Result<()> {
        if self.chunk.len() == self.capacity {
            self.spill()?;
        } else if self.chunk.capacity() == 0 {
            self.allocate()?;
        }
        self.chunk.push(record);
        Ok(())
    }

    /// All at once: vectors that grow leave holes in the heap.
    #[cold]
    fn allocate(&mut self) -> io::Result<()> {
        let none = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        self.chunk.try_reserve_exact(self.capacity).map_err(none)
    }

    #[cold]
    fn spill(&mut self) -> io::Result<()> {
        if let Some(helpers) = &mut self.helpers {
            let empty = helpers.next_empty(&mut self.runs)?;
            helpers.send(std::mem::replace(&mut self.chunk, empty))?;
            return if self.chunk.capacity() == 0 { self.allocate() } else { Ok(()) };
        }
        sort(&mut self.chunk, self.equal);
        // Counting often more than halves it: then there is room for more.
        if matches!(self.equal, Equal::Add(_)) && self.chunk.len() < self.capacity / 2 {
            return Ok(());
        }
        self.runs.push(write_run(&self.file, &self.chunk)?);
        self.chunk.clear();
        Ok(())
    }

    /// All is there.
    pub fn finish(mut self) -> io::Result<Sorted<W>> {
        if let Some(mut helpers) = self.helpers.take() {
            while helpers.working > 0 {
                let empty = helpers.receive(&mut self.runs)?;
                drop(empty);
            }
            helpers.join()?;
        }
        sort(&mut self.chunk, self.equal);
        if !self.runs.is_empty() {
            self.runs.push(write_run(&self.file, &self.chunk)?);
            self.chunk = Vec::new();
        }
        let Sorter { chunk, equal, file, runs, .. } = self;
        Ok(Sorted { chunks: vec![chunk], equal, file, runs })
    }
}

impl<const W: usize> Helpers<W> {
    fn new(n: usize, file: &Arc<Temporary>, equal: Equal) -> io::Result<Self> {
        let (full, work) = channel::<Vec<Record<W>>>();
        let work = Arc::new(std::sync::Mutex::new(work));
        let (results, done) = channel();
        let threads = (0..n).map(|_| {
            let (work, results, file) = (Arc::clone(&work), results.clone(), Arc::clone(file));
            thread::Builder::new().spawn(move || {
                loop {
                    let chunk = work.lock().ok().and_then(|work| work.recv().ok());
                    let Some(mut chunk) = chunk else { return };
                    sort(&mut chunk, equal);
                    let run = write_run(&file, &chunk);
                    chunk.clear();
                    if results.send(run.map(|run| (run, chunk))).is_err() {
                        return;
                    }
                }
            })
        });
        let threads = threads.collect::<io::Result<_>>()?;
        let empty = (0..n).map(|_| Vec::new()).collect();
        Ok(Helpers { full, done, threads, empty, working: 0 })
    }

    fn next_empty(&mut self, runs: &mut Vec<Run>) -> io::Result<Vec<Record<W>>> {
        match self.empty.pop() {
            Some(empty) => Ok(empty),
            None => self.receive(runs),
        }
    }

    fn send(&mut self, chunk: Vec<Record<W>>) -> io::Result<()> {
        self.working += 1;
        self.full.send(chunk).map_err(|_| died())
    }

    fn receive(&mut self, runs: &mut Vec<Run>) -> io::Result<Vec<Record<W>>> {
        let (run, chunk) = self.done.recv().map_err(|_| died())??;
        self.working -= 1;
        runs.push(run);
        Ok(chunk)
    }

    fn join(self) -> io::Result<()> {
        drop(self.full);
        self.threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| died()))
    }
}

fn died() -> io::Error {
    io::Error::other("a sorting thread has died")
}

fn sort<const W: usize>(chunk: &mut Vec<Record<W>>, equal: Equal) {
    chunk.sort_unstable_by(compare);
    let Equal::Add(bits) = equal else { return };
    let mut adder = Adder::new(bits);
    let mut kept = 0;
    for i in 0..chunk.len() {
        if let Some(whole) = adder.push(chunk[i]) {
            chunk[kept] = whole;
            kept += 1;
        }
    }
    if let Some(last) = adder.last {
        chunk[kept] = last;
        kept += 1;
    }
    chunk.truncate(kept);
}

/// Adds the counts of neighbours that are equal.
struct Adder<const W: usize> {
    key: Record<W>,
    max: u64,
    last: Option<Record<W>>,
}

impl<const W: usize> Adder<W> {
    fn new(bits: u32) -> Self {
        Adder { key: mask(64 * W as u32 - bits), max: u64::MAX >> (64 - bits), last: None }
    }

    /// Takes a record; gives the one before if it is whole.
    #[inline]
    fn push(&mut self, record: Record<W>) -> Option<Record<W>> {
        if let Some(last) = &mut self.last
            && agree(last, &record, &self.key)
        {
            let sum = (last[W - 1] & self.max).checked_add(record[W - 1] & self.max);
            if let Some(sum) = sum.filter(|sum| *sum <= self.max) {
                *last = and(last, &self.key);
                last[W - 1] |= sum;
                return None;
            }
        }
        self.last.replace(record)
    }
}

fn write_run<const W: usize>(file: &Arc<Temporary>, chunk: &[Record<W>]) -> io::Result<Run> {
    let mut out = file.append()?;
    let begin = out.at();
    let mut bytes = Vec::with_capacity(MIN_CHUNK);
    for part in chunk.chunks(MIN_CHUNK / (8 * W)) {
        bytes.clear();
        part.iter().flatten().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(Run { file: Arc::clone(file), begin, end: out.at() })
}

/// Sorted records, in memory or as runs.
pub struct Sorted<const W: usize> {
    chunks: Vec<Vec<Record<W>>>,
    equal: Equal,
    file: Arc<Temporary>,
    runs: Vec<Run>,
}

impl<const W: usize> Sorted<W> {
    /// Adds others, as if they had been sorted with these.
    pub fn join(&mut self, other: Sorted<W>) {
        self.chunks.extend(other.chunks);
        self.runs.extend(other.runs);
    }

    /// Reads them in order with about `memory` bytes of buffers; `ahead`: in a thread of its own.
    pub fn read(mut self, memory: usize, ahead: bool) -> io::Result<Records<W>> {
        let fan_in = (memory / (2 * MIN_READ)).clamp(4, 512);
        while self.runs.len() > fan_in {
            let rest = self.runs.split_off(fan_in);
            let merged = Merge::new(self.readers(memory))?;
            let run = self.merge_to_run(merged)?;
            self.runs = rest;
            self.runs.push(run);
        }
        let mut inputs = self.readers(memory);
        let chunks = self.chunks.into_iter().filter(|chunk| !chunk.is_empty());
        inputs.extend(chunks.map(|chunk| Input::Memory(chunk.into_iter())));
        let merged = Merge::new(inputs)?;
        if !ahead || self.runs.is_empty() {
            return Ok(Records { source: Source::Here(merged) });
        }
        let (batches, received) = sync_channel(2);
        thread::Builder::new().spawn(move || send_batches(merged, &batches))?;
        Ok(Records { source: Source::Ahead(received, Vec::new().into_iter()) })
    }

    fn readers(&self, memory: usize) -> Vec<Input<W>> {
        let buffer = (memory / self.runs.len().max(1)).clamp(MIN_READ, MAX_READ);
        let reader = |run: &Run| Reader::new(Arc::clone(&run.file), run.begin, run.end, buffer);
        self.runs.iter().map(|run| Input::Run(reader(run))).collect()
    }

    /// Merges into a new run behind the others. What was read is not given back: the file grows.
    fn merge_to_run(&self, mut merged: Merge<W>) -> io::Result<Run> {
        let mut chunk = Vec::with_capacity(MIN_CHUNK / (8 * W));
        let mut run: Option<Run> = None;
        let mut write = |chunk: &mut Vec<Record<W>>| -> io::Result<()> {
            let piece = write_run(&self.file, chunk)?;
            match &mut run {
                Some(run) => run.end = piece.end,
                None => run = Some(piece),
            }
            chunk.clear();
            Ok(())
        };
        let mut adder = match self.equal {
            Equal::Add(bits) => Some(Adder::new(bits)),
            Equal::Never => None,
        };
        while let Some(record) = merged.next()? {
            let whole = match &mut adder {
                Some(adder) => adder.push(record),
                None => Some(record),
            };
            chunk.extend(whole);
            if chunk.len() == chunk.capacity() {
                write(&mut chunk)?;
            }
        }
        chunk.extend(adder.and_then(|adder| adder.last));
        write(&mut chunk)?;
        run.ok_or_else(died)
    }
}

type Batch<const W: usize> = io::Result<Vec<Record<W>>>;

fn send_batches<const W: usize>(mut merged: Merge<W>, batches: &SyncSender<Batch<W>>) {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH {
            match merged.next() {
                Ok(Some(record)) => batch.push(record),
                Ok(None) => break,
                Err(error) => {
                    let _ = batches.send(Err(error));
                    return;
                }
            }
        }
        // An empty batch is the end; a receiver that is gone, too.
        let last = batch.is_empty();
        if batches.send(Ok(batch)).is_err() || last {
            return;
        }
    }
}

/// Sorted records, one after the other.
pub struct Records<const W: usize> {
    source: Source<W>,
}

enum Source<const W: usize> {
    Here(Merge<W>),
    Ahead(Receiver<Batch<W>>, std::vec::IntoIter<Record<W>>),
}

impl<const W: usize> Records<W> {
    /// The next one; none at the end.
    #[inline]
    pub fn next(&mut self) -> io::Result<Option<Record<W>>> {
        match &mut self.source {
            Source::Here(merge) => merge.next(),
            Source::Ahead(received, batch) => {
                if let Some(record) = batch.next() {
                    return Ok(Some(record));
                }
                *batch = received.recv().map_err(|_| died())??.into_iter();
                Ok(batch.next())
            }
        }
    }
}

/// Merges runs: a heap of their heads, the least on top.
struct Merge<const W: usize> {
    heap: Vec<(Record<W>, usize)>,
    inputs: Vec<Input<W>>,
}

/// What is merged.
enum Input<const W: usize> {
    Run(Reader),
    Memory(std::vec::IntoIter<Record<W>>),
}

impl<const W: usize> Input<W> {
    #[inline]
    fn next(&mut self) -> io::Result<Option<Record<W>>> {
        match self {
            Input::Run(reader) => read_record(reader),
            Input::Memory(records) => Ok(records.next()),
        }
    }
}

impl<const W: usize> Merge<W> {
    fn new(mut inputs: Vec<Input<W>>) -> io::Result<Self> {
        let mut heap = Vec::with_capacity(inputs.len());
        for (i, input) in inputs.iter_mut().enumerate() {
            if let Some(record) = input.next()? {
                heap.push((record, i));
            }
        }
        heap.sort_unstable_by(|a, b| compare(&a.0, &b.0));
        Ok(Merge { heap, inputs })
    }

    #[inline]
    fn next(&mut self) -> io::Result<Option<Record<W>>> {
        let Some((least, i)) = self.heap.first().copied() else { return Ok(None) };
        match self.inputs[i].next()? {
            Some(record) => self.sift((record, i)),
            None => {
                let last = self.heap.pop();
                if let Some(last) = last.filter(|_| !self.heap.is_empty()) {
                    self.sift(last);
                }
            }
        }
        Ok(Some(least))
    }

    /// Puts an entry in the place of the top, and down to where it belongs.
    #[inline]
    fn sift(&mut self, entry: (Record<W>, usize)) {
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len()
                && compare(&self.heap[child + 1].0, &self.heap[child].0).is_lt()
            {
                child += 1;
            }
            if compare(&self.heap[child].0, &entry.0).is_ge() {
                break;
            }
            self.heap[at] = self.heap[child];
            at = child;
        }
        self.heap[at] = entry;
    }
}

#[inline]
fn read_record<const W: usize>(reader: &mut Reader) -> io::Result<Option<Record<W>>> {
    let mut record = [0; W];
    for (i, word) in record.iter_mut().enumerate() {
        match reader.chunk::<8>()? {
            Some(bytes) => *word = u64::from_le_bytes(*bytes),
            None if i == 0 => return Ok(None),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(memory: usize, helpers: usize, ahead: bool) -> Vec<Record<2>> {
        let mut sorter =
            Sorter::new(memory, helpers, &std::env::temp_dir(), Equal::Add(3), 50_000).unwrap();
        let mut x = 1u64;
        for _ in 0..50_000 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            sorter.push([x >> 60, (x >> 52 & 0xfff) << 3 | 1]).unwrap();
        }
        let mut records = sorter.finish().unwrap().read(1, ahead).unwrap();
        let mut all: Vec<Record<2>> = Vec::new();
        let mut pending: Vec<Record<2>> = Vec::new();
        while let Some(record) = records.next().unwrap() {
            pending.push(record);
        }
        // Sums in pieces differ with the chunks; what they add up to does not.
        assert!(pending.is_sorted_by_key(|record| [record[0], record[1] >> 3]));
        for record in pending {
            match all.last_mut() {
                Some(last) if last[0] == record[0] && last[1] >> 20 == record[1] >> 3 => {
                    last[1] += record[1] & 7;
                }
                _ => all.push([record[0], record[1] >> 3 << 20 | record[1] & 7]),
            }
        }
        assert_eq!(all.iter().map(|record| record[1] & 0xf_ffff).sum::<u64>(), 50_000);
        all
    }

    #[test]
    fn chunks_and_threads_do_not_matter() {
        let want = sorted(1 << 24, 0, false);
        for (memory, helpers, ahead) in [(1, 0, false), (1, 1, true), (1 << 19, 3, true)] {
            assert_eq!(sorted(memory, helpers, ahead), want, "{memory} {helpers}");
        }
    }
}
