//! A checkpoint's folder, which is never left: what its files name is a regular file in it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

use crate::gguf::Text;

/// A folder whose files are opened by plain names.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Canonical: absolute, without links.
    path: PathBuf,
    /// Where else links may lead: the store of the hub's own cache, `models--NAME/blobs` for a folder
    /// `models--NAME/snapshots/REVISION`.
    blobs: Option<PathBuf>,
}

/// Why a file of a folder was not opened.
#[derive(Debug)]
pub struct FolderError {
    /// The file's name, or the folder's path.
    pub name: String,
    /// What is wrong.
    pub reason: FolderReason,
}

/// What is wrong with a file of a folder.
#[derive(Debug)]
#[non_exhaustive]
pub enum FolderReason {
    /// The folder is no directory.
    NotAFolder,
    /// Not the name of a file in the folder: with `/`, `\`, `:` or NUL, or `.` or `..`.
    NotPlain,
    /// A link that leads out of the folder.
    Outside,
    /// A directory, device, socket or pipe.
    NotAFile,
    /// More bytes than such a file has: its size.
    TooLarge(u64),
    /// The system refused.
    Io(io::Error),
}

impl Folder {
    /// The folder of that path.
    pub fn open(path: impl AsRef<Path>) -> Result<Folder, FolderError> {
        let shown = path.as_ref().to_string_lossy().into_owned();
        let refused = |reason| FolderError { name: shown.clone(), reason };
        let path =
            path.as_ref().canonicalize().map_err(|error| refused(FolderReason::Io(error)))?;
        if !path.is_dir() {
            return Err(refused(FolderReason::NotAFolder));
        }
        let blobs = blobs_of(&path);
        Ok(Folder { path, blobs })
    }

    /// The folder's canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is something of that name. A medium that cannot tell is no "no": a checkpoint converted
    /// without a file that it has would be another model.
    pub fn has(&self, name: &str) -> Result<bool, FolderError> {
        if !is_plain(name) {
            return Ok(false);
        }
        match self.path.join(name).symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => {
                Err(FolderError { name: name.to_string(), reason: FolderReason::Io(error) })
            }
        }
    }

    /// Names in the folder that are UTF-8, sorted.
    pub fn names(&self) -> Result<Vec<String>, FolderError> {
        let refused = |error| FolderError {
            name: self.path.to_string_lossy().into_owned(),
            reason: FolderReason::Io(error),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(refused)? {
            names.extend(entry.map_err(refused)?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens a file for reading; gives its size and canonical path, too.
    pub fn file(&self, name: &str) -> Result<(File, u64, PathBuf), FolderError> {
        self.open_file(name).map_err(|reason| FolderError { name: name.to_string(), reason })
    }

    /// A whole file, or `None` if there is none of that name. More than `limit` bytes are refused.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FolderError> {
        if !self.has(name)? {
            return Ok(None);
        }
        let (file, size, _) = self.file(name)?;
        let refused = |reason| FolderError { name: name.to_string(), reason };
        if size > limit {
            return Err(refused(FolderReason::TooLarge(size)));
        }
        let mut bytes = Vec::new();
        // A file that grows meanwhile is read as far as it went.
        let read = file.take(size).read_to_end(&mut bytes);
        read.map_err(|error| refused(FolderReason::Io(error)))?;
        Ok(Some(bytes))
    }

    /// The folder of that name in this one, or `None` if there is none.
    pub fn folder(&self, name: &str) -> Result<Option<Folder>, FolderError> {
        if !self.has(name)? {
            return Ok(None);
        }
        let folder = Folder::open(self.path.join(name))?;
        if folder.path.parent() != Some(&self.path) {
            return Err(FolderError { name: name.to_string(), reason: FolderReason::Outside });
        }
        Ok(Some(Folder { blobs: self.blobs.clone(), ..folder }))
    }

    fn open_file(&self, name: &str) -> Result<(File, u64, PathBuf), FolderReason> {
        if !is_plain(name) {
            return Err(FolderReason::NotPlain);
        }
        let path = self.path.join(name).canonicalize().map_err(FolderReason::Io)?;
        let inside = path.parent() == Some(&self.path)
            || path.parent().is_some_and(|parent| Some(parent) == self.blobs.as_deref());
        if !inside {
            return Err(FolderReason::Outside);
        }
        // Asked by path first: to open a pipe would wait for its writer.
        if !path.metadata().map_err(FolderReason::Io)?.is_file() {
            return Err(FolderReason::NotAFile);
        }
        let file = File::open(&path).map_err(FolderReason::Io)?;
        let metadata = file.metadata().map_err(FolderReason::Io)?;
        if !metadata.is_file() {
            return Err(FolderReason::NotAFile);
        }
        Ok((file, metadata.len(), path))
    }
}

/// The store that the hub's cache keeps beside `snapshots`.
fn blobs_of(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.parent().filter(|parent| parent.ends_with("snapshots"))?;
    let model = snapshots.parent()?;
    let is_cache = model.file_name()?.to_str()?.starts_with("models--");
    let blobs = model.join("blobs").canonicalize().ok()?;
    (is_cache && blobs.parent() == Some(model)).then_some(blobs)
}

/// Whether a name can only be that of a file in the folder, on any system.
fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', ':', '\0'])
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Text::from(&*self.name), self.reason)
    }
}

impl fmt::Display for FolderReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderReason::NotAFolder => f.write_str("not a folder"),
            FolderReason::NotPlain => f.write_str("not the name of a file in the folder"),
            FolderReason::Outside => f.write_str("a link that leads out of the folder"),
            FolderReason::NotAFile => f.write_str("not a regular file"),
            FolderReason::TooLarge(size) => write!(f, "{size} bytes, too many for such a file"),
            FolderReason::Io(error) => write!(f, "cannot open it: {error}"),
        }
    }
}

impl std::error::Error for FolderError {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::file::tests::Folder as Temporary;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_plain_names_of_files_inside_are_opened() {
        let temporary = Temporary::new("plain_names");
        let inside = temporary.path("inside");
        fs::create_dir(&inside).unwrap();
        fs::write(temporary.path("secret"), "outside").unwrap();
        fs::write(inside.join("file"), "inside").unwrap();
        symlink("file", inside.join("link")).unwrap();
        symlink("../secret", inside.join("out")).unwrap();
        symlink("/dev/zero", inside.join("device")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        fs::create_dir(inside.join("folder")).unwrap();
        let folder = Folder::open(&inside).unwrap();
        assert_eq!(folder.read("file", 6).unwrap().unwrap(), b"inside");
        assert_eq!(folder.read("link", 6).unwrap().unwrap(), b"inside");
        assert!(folder.read("none", 6).unwrap().is_none());
        assert!(folder.read("file", 5).is_err());
        for name in ["../secret", "/dev/zero", "folder/x", "..", ".", "", "C:\\x", "a\0b"] {
            let error = folder.file(name).unwrap_err();
            assert!(matches!(error.reason, FolderReason::NotPlain), "{name}: {error}");
        }
        for name in ["out", "device"] {
            let error = folder.file(name).unwrap_err();
            assert!(matches!(error.reason, FolderReason::Outside), "{name}: {error}");
        }
        assert!(matches!(folder.file("folder").unwrap_err().reason, FolderReason::NotAFile));
        assert!(matches!(folder.file("loop").unwrap_err().reason, FolderReason::Io(_)));
        symlink("..", inside.join("above")).unwrap();
        assert!(matches!(folder.folder("above").unwrap_err().reason, FolderReason::Outside));
        assert_eq!(folder.folder("folder").unwrap().unwrap().path(), folder.path().join("folder"));
        assert!(folder.folder("none").unwrap().is_none());
    }

    #[test]
    fn links_of_the_hubs_cache_lead_into_its_store() {
        let temporary = Temporary::new("hub_cache");
        let model = temporary.path("models--org--name");
        let snapshot = model.join("snapshots/0123");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir(model.join("blobs")).unwrap();
        fs::write(model.join("blobs/abcd"), "blob").unwrap();
        fs::write(model.join("other"), "other").unwrap();
        symlink("../../blobs/abcd", snapshot.join("config.json")).unwrap();
        symlink("../../other", snapshot.join("out")).unwrap();
        let folder = Folder::open(&snapshot).unwrap();
        assert_eq!(folder.read("config.json", 9).unwrap().unwrap(), b"blob");
        assert!(matches!(folder.file("out").unwrap_err().reason, FolderReason::Outside));
    }
}
