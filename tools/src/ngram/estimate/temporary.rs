//! Temporary files: written once from front to back, read in pieces, gone when dropped. Filling and
//! emptying a buffer is where estimation asks for Ctrl-C.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::interrupt;

/// A file without a name where the system can do that; elsewhere it is removed when dropped.
#[derive(Debug)]
pub struct Temporary {
    file: Mutex<Place>,
    /// The name that must still be removed.
    name: Option<PathBuf>,
}

#[derive(Debug)]
struct Place {
    file: File,
    len: u64,
}

impl Temporary {
    /// An empty file in `folder`.
    pub fn new(folder: &Path) -> io::Result<Arc<Temporary>> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        loop {
            let n = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".mote-ngram-{}-{n}.tmp", std::process::id()));
            let file = match OpenOptions::new().read(true).write(true).create_new(true).open(&path)
            {
                Ok(file) => file,
                // Left by a process that had the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < u32::MAX => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            // No exit path, a signal's included, then leaves it behind.
            let name = if cfg!(unix) && fs::remove_file(&path).is_ok() { None } else { Some(path) };
            return Ok(Arc::new(Temporary { file: Mutex::new(Place { file, len: 0 }), name }));
        }
    }

    /// The end of the file, held until dropped: what is written meanwhile lies together.
    pub fn append(&self) -> io::Result<Append<'_>> {
        let mut place = self.lock()?;
        let len = place.len;
        place.file.seek(SeekFrom::Start(len))?;
        Ok(Append { place })
    }

    /// Bytes in it.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.lock()?.len)
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let mut place = self.lock()?;
        place.file.seek(SeekFrom::Start(at))?;
        place.file.read_exact(out)
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, Place>> {
        self.file.lock().map_err(|_| io::Error::other("a thread that wrote it has died"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(name);
        }
    }
}

/// See [`Temporary::append`].
pub struct Append<'a> {
    place: MutexGuard<'a, Place>,
}

impl Append<'_> {
    /// Where the next byte goes.
    pub fn at(&self) -> u64 {
        self.place.len
    }
}

impl Write for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.place.file.write(bytes)?;
        self.place.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to the end of a file through a buffer of its own. The only writer of that file.
#[derive(Debug)]
pub struct Writer {
    file: Arc<Temporary>,
    buffer: Vec<u8>,
    capacity: usize,
    emptied: u64,
}

/// The longest LEB128 form of 64 bits.
const MAX_VARINT: usize = 10;

impl Writer {
    /// With a buffer of `capacity` bytes.
    pub fn new(file: Arc<Temporary>, capacity: usize) -> Writer {
        let capacity = capacity.max(2 * MAX_VARINT);
        Writer { file, buffer: Vec::with_capacity(capacity), capacity, emptied: 0 }
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.emptied + self.buffer.len() as u64
    }

    /// A number, seven bits a byte, the lowest first.
    #[inline]
    pub fn varint(&mut self, mut x: u64) -> io::Result<()> {
        if self.buffer.len() + MAX_VARINT > self.capacity {
            self.empty()?;
        }
        while x >= 0x80 {
            self.buffer.push(x as u8 | 0x80);
            x >>= 7;
        }
        self.buffer.push(x as u8);
        Ok(())
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn word(&mut self, x: u32) -> io::Result<()> {
        if self.buffer.len() + 4 > self.capacity {
            self.empty()?;
        }
        self.buffer.extend_from_slice(&x.to_le_bytes());
        Ok(())
    }

    /// Bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > self.capacity {
            self.empty()?;
            if bytes.len() > self.capacity {
                self.emptied += bytes.len() as u64;
                return self.file.append()?.write_all(bytes);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Everything reaches the file, which is handed back.
    pub fn finish(mut self) -> io::Result<Arc<Temporary>> {
        self.empty()?;
        Ok(self.file)
    }

    fn empty(&mut self) -> io::Result<()> {
        interrupt::check_io()?;
        self.file.append()?.write_all(&self.buffer)?;
        self.emptied += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Reads a part of a file.
#[derive(Debug)]
pub struct Reader {
    file: Arc<Temporary>,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    capacity: usize,
    next: usize,
}

impl Reader {
    /// The bytes from `begin` to before `end`, through a buffer of `capacity` bytes.
    pub fn new(file: Arc<Temporary>, begin: u64, end: u64, capacity: usize) -> Reader {
        let capacity = capacity.max(2 * MAX_VARINT);
        Reader { file, at: begin, end, buffer: Vec::new(), capacity, next: 0 }
    }

    /// The whole file.
    pub fn whole(file: Arc<Temporary>, capacity: usize) -> io::Result<Reader> {
        let end = file.len()?;
        Ok(Reader::new(file, 0, end, capacity))
    }

    /// What was written by [`Writer::varint`].
    #[inline]
    pub fn varint(&mut self) -> io::Result<u64> {
        if self.buffer.len() - self.next < MAX_VARINT {
            self.fill()?;
        }
        let (mut x, mut shift) = (0, 0);
        while let Some(&byte) = self.buffer.get(self.next) {
            self.next += 1;
            x |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(x);
            }
            shift += 7;
            if shift >= 64 {
                break;
            }
        }
        Err(damaged())
    }

    /// What was written by [`Writer::word`]; none at the end.
    #[inline]
    pub fn word(&mut self) -> io::Result<Option<u32>> {
        let Some(&bytes) = self.chunk()? else { return Ok(None) };
        Ok(Some(u32::from_le_bytes(bytes)))
    }

    /// The next `N` bytes; none at the end.
    #[inline]
    pub fn chunk<const N: usize>(&mut self) -> io::Result<Option<&[u8; N]>> {
        if self.buffer.len() - self.next < N {
            self.fill()?;
            if self.buffer.len() == self.next {
                return Ok(None);
            }
        }
        let chunk = self.buffer.get(self.next..).and_then(|rest| rest.first_chunk());
        self.next += N;
        chunk.map(Some).ok_or_else(damaged)
    }

    /// At most so many bytes as `out` has, and how many; 0 at the end.
    pub fn bytes(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.next == self.buffer.len() {
            self.fill()?;
        }
        let rest = self.buffer.get(self.next..).unwrap_or_default();
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        self.next += n;
        Ok(n)
    }

    fn fill(&mut self) -> io::Result<()> {
        interrupt::check_io()?;
        self.buffer.drain(..self.next);
        self.next = 0;
        let kept = self.buffer.len();
        let more = (self.end - self.at).min((self.capacity.max(kept) - kept) as u64);
        if more > 0 {
            self.buffer.resize(kept + more as usize, 0);
            self.file.read_at(self.at, &mut self.buffer[kept..])?;
            self.at += more;
        }
        Ok(())
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a temporary file has been changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_through_small_buffers() {
        let file = Temporary::new(&std::env::temp_dir()).unwrap();
        let mut writer = Writer::new(file, 1);
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        for &x in numbers.iter().cycle().take(100) {
            writer.varint(x).unwrap();
        }
        let file = writer.finish().unwrap();
        let mut reader = Reader::whole(file, 1).unwrap();
        for &x in numbers.iter().cycle().take(100) {
            assert_eq!(reader.varint().unwrap(), x);
        }
        assert!(reader.varint().is_err(), "behind the end");
    }
}
