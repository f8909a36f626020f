//! Writing a file so that a half-written one never stands under its final name.

use std::format;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and writing is an error of the kind `AlreadyExists`.
    Keep,
    /// The new file takes its place at once and whole. Who has the old one open keeps it.
    Replace,
}

/// Writes the file `path` by `fill`: under a temporary name in the same folder first, forced to
/// the medium, then moved to its name. If `fill` or the system fails, no trace is left.
///
/// A process killed meanwhile leaves a file `.mote-*.part`, and nothing under `path`.
pub fn write<T, E: From<io::Error>>(
    path: impl AsRef<Path>,
    existing: Existing,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let path = path.as_ref();
    // Before any work; asked again in the end.
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
    }
    if path.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (file, temporary) = Temporary::create(folder)?;
    let mut writer = BufWriter::new(file);
    let result = fill(&mut writer)?;
    writer.flush()?;
    let file = writer.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()?;
    drop(file);
    temporary.move_to(path, existing)?;
    sync_folder(folder);
    Ok(result)
}

/// A file that is removed unless it is moved to another name.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(folder: &Path) -> io::Result<(File, Temporary)> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        loop {
            let n = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".mote-{}-{n}.part", process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, Temporary { path })),
                // Left by a process that had the same id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < u32::MAX => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn move_to(self, path: &Path, existing: Existing) -> io::Result<()> {
        if existing == Existing::Keep {
            // Unlike renaming, linking fails if the name exists: of two writers one wins.
            match fs::hard_link(&self.path, path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                // A file system without links: look, then rename.
                Err(_) if path.symlink_metadata().is_ok() => {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Err(_) => {}
            }
        }
        // The temporary name is gone after this, and removing it again does nothing.
        fs::rename(&self.path, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The new name reaches the medium too. Not every system can; the file itself is safe by now.
fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::env;

    /// An empty folder that is removed in the end.
    pub struct Folder(PathBuf);

    impl Folder {
        pub fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("mote-formats-{}-{name}", process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        pub fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn count(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl AsRef<Path> for Folder {
        fn as_ref(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_written_file_is_whole_and_alone() {
        let folder = Folder::new("whole");
        let path = folder.path("model.gguf");
        write::<_, io::Error>(&path, Existing::Keep, |out| out.write_all(b"first")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write::<_, io::Error>(&path, Existing::Replace, |out| out.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(folder.count(), 1);
    }

    #[test]
    fn case_326_failures_leave_everything_as_it_was() {
        let folder = Folder::new("failures");
        let path = folder.path("model.gguf");
        fs::write(&path, b"old").unwrap();
        let kind = |result: io::Result<()>| result.map_err(|error| error.kind());

        let kept = write(&path, Existing::Keep, |_| Ok(()));
        assert_eq!(kind(kept), Err(io::ErrorKind::AlreadyExists));
        // The name is taken while the file is being written.
        let late = folder.path("late.gguf");
        let kept = write(&late, Existing::Keep, |_| fs::write(&late, b"theirs"));
        assert_eq!(kind(kept), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&late).unwrap(), b"theirs");
        let failed = write(&path, Existing::Replace, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(kind(failed), Err(io::ErrorKind::StorageFull));
        let a_folder = write(folder.as_ref(), Existing::Replace, |_| Ok(()));
        assert_eq!(kind(a_folder), Err(io::ErrorKind::IsADirectory));
        let nowhere = write(folder.path("none/file"), Existing::Replace, |_| Ok(()));
        assert_eq!(kind(nowhere), Err(io::ErrorKind::NotFound));

        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(folder.count(), 2);
    }
}
