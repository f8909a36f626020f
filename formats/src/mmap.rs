//! The bytes of a file, mapped or copied.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use memmap2::{Mmap, MmapMut};

/// The bytes of a regular file. It dereferences to them.
///
/// [`open`](Self::open) maps the file: nothing is read before it is touched, and processes that
/// map one file share its memory. The file must then stay as it is: if another program shortens
/// it, touching the missing part ends the process (SIGBUS), unless the program has called
/// `guard::install`; if one overwrites it, the bytes here change. Replacing a file by renaming a new one
/// over it is harmless.
/// [`read`](Self::read) copies the file into memory of its own and has none of these troubles.
#[derive(Debug)]
pub struct Mapping {
    /// Of a file that is mapped. Dropped before it.
    #[cfg(unix)]
    guarded: Option<crate::guard::Guarded>,
    /// `None` for an empty file, which systems refuse to map.
    memory: Option<Mmap>,
}

/// Why a file could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A directory, or a device, socket or pipe, on which reading could wait for ever.
    NotAFile {
        /// Whether it is a directory.
        directory: bool,
    },
    /// The file's size changed while it was being opened.
    SizeChanged {
        /// Bytes at first.
        before: u64,
        /// Bytes afterwards, as far as they were seen.
        after: u64,
    },
    /// Larger than an address space of this machine's pointers: its size in bytes.
    TooLarge(u64),
    /// The system refused.
    Io {
        /// What it was asked to do: "open", "map", ...
        action: &'static str,
        /// What it answered.
        error: io::Error,
    },
}

impl Mapping {
    /// Maps a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Mapping, OpenError> {
        let (file, size, len) = open_regular(path.as_ref())?;
        if len == 0 {
            return Ok(Mapping::empty());
        }
        // SAFETY: The map is private to this value and read-only, `file` is a regular file of
        // `len` bytes. What remains is that another program may write to the file while it is
        // mapped. No unsafe code of mote relies on the contents of a file: lengths and offsets
        // that are read from it again are checked again (`gguf`), and kernels accept any bytes.
        // A file cut short while mapped is the documented limit of this mode.
        let memory = unsafe { memmap2::MmapOptions::new().len(len).map(&file) };
        let memory = memory.map_err(|error| OpenError::Io { action: "map", error })?;
        // A file cut short before it was mapped would fault at the first touch of its end.
        let after = metadata(&file)?.len();
        if after != size {
            return Err(OpenError::SizeChanged { before: size, after });
        }
        // Every token reads the weights from end to end: larger pages cost fewer look-ups. A wish.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Mapping {
            #[cfg(unix)]
            guarded: crate::guard::Guarded::new(&memory),
            memory: Some(memory),
        })
    }

    /// Copies a file into memory: for files that may change, and media that may fail.
    pub fn read(path: impl AsRef<Path>) -> Result<Mapping, OpenError> {
        let (mut file, size, len) = open_regular(path.as_ref())?;
        if len == 0 {
            return Ok(Mapping::empty());
        }
        // An anonymous map, not a `Vec`: a size that memory does not have is then an error.
        let memory = MmapMut::map_anon(len);
        let mut memory = memory.map_err(|error| OpenError::Io { action: "copy", error })?;
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        let n_read = read_up_to(&mut file, &mut memory)?;
        let more = read_up_to(&mut file, &mut [0])?;
        if n_read != len || more != 0 {
            return Err(OpenError::SizeChanged { before: size, after: (n_read + more) as u64 });
        }
        let memory = memory.make_read_only();
        let memory = memory.map_err(|error| OpenError::Io { action: "copy", error })?;
        Ok(Mapping { memory: Some(memory), ..Mapping::empty() })
    }

    /// A flag that is raised when the bytes stop being the file's: see `guard`. `None` of what was copied.
    pub fn damage(&self) -> Option<&AtomicBool> {
        #[cfg(unix)]
        return self.guarded.as_ref().map(|guarded| guarded.damage());
        #[cfg(not(unix))]
        None
    }

    fn empty() -> Mapping {
        Mapping {
            #[cfg(unix)]
            guarded: None,
            memory: None,
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// A regular file, its size, and the same as a length in memory.
fn open_regular(path: &Path) -> Result<(File, u64, usize), OpenError> {
    // Asked by path first: to open a pipe would wait for its writer.
    let look = path.metadata().map_err(|error| OpenError::Io { action: "find", error })?;
    check_regular(look.file_type())?;
    let file = File::open(path).map_err(|error| OpenError::Io { action: "open", error })?;
    let metadata = metadata(&file)?;
    check_regular(metadata.file_type())?;
    let size = metadata.len();
    // No slice may be longer than `isize::MAX`.
    let len = isize::try_from(size).map_err(|_| OpenError::TooLarge(size))?;
    Ok((file, size, len.unsigned_abs()))
}

fn check_regular(file_type: FileType) -> Result<(), OpenError> {
    if file_type.is_file() {
        return Ok(());
    }
    Err(OpenError::NotAFile { directory: file_type.is_dir() })
}

fn metadata(file: &File) -> Result<Metadata, OpenError> {
    file.metadata().map_err(|error| OpenError::Io { action: "ask the size of", error })
}

/// Fills `buffer` as far as the file goes.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> Result<usize, OpenError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OpenError::Io { action: "read", error }),
        }
    }
    Ok(filled)
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NotAFile { directory: true } => f.write_str("a directory, not a file"),
            OpenError::NotAFile { directory: false } => {
                f.write_str("a device, socket or pipe, not a regular file")
            }
            OpenError::SizeChanged { before, after } => {
                write!(f, "the file changed from {before} to {after} bytes while it was opened")
            }
            OpenError::TooLarge(size) => {
                write!(f, "{size} bytes are more than this machine can address")
            }
            OpenError::Io { action, error } => write!(f, "cannot {action} the file: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::tests::Folder;

    #[test]
    fn mapped_and_copied_bytes_are_the_files() {
        let folder = Folder::new("mapped_and_copied");
        for len in [0, 1, 4095, 4096, 4097, 100_000] {
            let bytes: std::vec::Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let path = folder.path("file");
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(*Mapping::open(&path).unwrap(), bytes[..]);
            assert_eq!(*Mapping::read(&path).unwrap(), bytes[..]);
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = Folder::new("no_regular_file");
        type Open = fn(&Path) -> Result<Mapping, OpenError>;
        for open in [(|path| Mapping::open(path)) as Open, |path| Mapping::read(path)] {
            let error = open(folder.as_ref()).unwrap_err();
            assert!(matches!(error, OpenError::NotAFile { directory: true }));
            let error = open(&folder.path("missing")).unwrap_err();
            assert!(matches!(error, OpenError::Io { action: "find", .. }), "{error}");
            #[cfg(unix)]
            for device in ["/dev/null", "/dev/zero"] {
                let error = open(Path::new(device)).unwrap_err();
                assert!(matches!(error, OpenError::NotAFile { directory: false }));
            }
        }
    }

    /// Opening a pipe without a writer would wait for ever.
    #[cfg(unix)]
    #[test]
    fn case_354_a_pipe_is_refused_at_once() {
        let folder = Folder::new("pipe");
        let path = folder.path("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()));
        let error = Mapping::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::NotAFile { directory: false }));
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn a_file_larger_than_memory_is_mapped() {
        let folder = Folder::new("sparse");
        let path = folder.path("file");
        let file = File::create(&path).unwrap();
        // Not every file system takes a sparse file of 4 TiB; then there is nothing to show.
        if file.set_len(1 << 42).is_ok() {
            assert_eq!(Mapping::open(&path).unwrap().len(), 1 << 42);
        }
    }
}
