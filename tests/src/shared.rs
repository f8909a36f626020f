//! What the repository is too small for: the large reference sets that lie beside it (../shared, or
//! `MOTE_SHARED`), and real models (models/, or `MOTE_MODELS`). Tests run with them where they are;
//! with `MOTE_REQUIRE_SHARED=1` and `MOTE_REQUIRE_MODELS=1` (CI) a missing one fails.

use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// `name` in the reference sets; `None` where they are not.
pub fn shared(name: &str) -> Option<PathBuf> {
    required(folder("MOTE_SHARED", "../shared").join(name), "MOTE_REQUIRE_SHARED")
}

/// A model that models/fetch.sh gets; `None` where it was not fetched.
pub fn real_model(file: &str) -> Option<PathBuf> {
    required(folder("MOTE_MODELS", "models").join(file), "MOTE_REQUIRE_MODELS")
}

/// The folder that an environment variable names, or its usual place.
fn folder(variable: &str, usual: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| root().join(usual), PathBuf::from)
}

fn required(path: PathBuf, variable: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    let demanded = std::env::var_os(variable).is_some_and(|value| value != "0");
    assert!(!demanded, "{variable} is set and {} is missing", path.display());
    eprintln!("not there, not run: {}", path.display());
    None
}

/// A JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
