//! The files of a split model become one: NAME-00001-of-00003.gguf and so on.
//!
//! The parts are mapped and copied piece by piece. All metadata but `split.*` is that of the first;
//! tensors come in the order of the parts.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mote_formats::Mapping;
use mote_formats::gguf::{BuildError, Builder, Gguf, checksum};

use super::llama2c::check_other_file;
use super::{Command, finish, input, metadata};
use crate::failure::{Code, Failure, Result};
use crate::output;
use crate::source;
use crate::streams::Streams;

/// The most parts that are joined. All are open at a time.
const MAX_PARTS: u64 = 1000;
/// Bytes that are written at a time.
const PIECE: usize = 1 << 22;

/// Whether a file says that it is one of several.
pub fn is_part(path: &Path) -> bool {
    let mut magic = [0; 4];
    let mut starts = || File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    // Nothing is read from a pipe.
    if !path.is_file() || starts().is_err() || magic != *b"GGUF" {
        return false;
    }
    let Ok(file) = Mapping::open(path) else { return false };
    Gguf::parse_part(&file).is_ok_and(|part| number(&part, "split.count") > Some(1))
}

/// Joins the parts of which the input is one.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    input::check_output(command)?;
    if command.kind.0.is_some() {
        let sentence = "the parts of a split model are joined as they are; mote quantize changes \
                        the types of the whole";
        return Err(Failure::new(Code::Usage, sentence));
    }
    let paths = paths(&command.input)?;
    for path in &paths {
        check_other_file(path, &command.output)?;
    }
    let mut files = Vec::new();
    for path in &paths {
        files.push(source::map(path)?);
    }
    let mut parts = Vec::new();
    for (file, path) in files.iter().zip(&paths) {
        let part = Gguf::parse_part(file).map_err(|error| Failure::from(error).in_file(path))?;
        check(&part, parts.len(), paths.len()).map_err(|failure| failure.in_file(path))?;
        parts.push(part);
    }
    check_tensors(&parts).map_err(|failure| failure.in_file(&command.input))?;
    let index = index(&parts, command.name.as_deref());
    let index = index.map_err(|error| Failure::new(Code::Format, error).in_file(&command.input))?;
    let tensors = || parts.iter().flat_map(Gguf::tensors);
    let data_bytes = tensors().map(|tensor| tensor.data().len() as u64).sum();
    let existing = output::existing(command.force);
    let bytes =
        output::write_gguf(&command.output, existing, &index, data_bytes, streams, |sink| {
            tensors().flat_map(|tensor| tensor.data().chunks(PIECE)).try_for_each(sink)
        })?;
    let text = |key| {
        let value = parts.first().and_then(|part| part.get(key));
        value.and_then(|value| value.as_str().map(String::from))
    };
    let stem = || metadata::name(Path::new(command.output.file_stem().unwrap_or_default()));
    let architecture = text("general.architecture").unwrap_or_else(|| "unknown".into());
    let name = command.name.clone().or_else(|| text("general.name")).unwrap_or_else(stem);
    let facts = tensors().map(|tensor| {
        (tensor.tensor_type().name(), tensor.n_elements(), tensor.data().len() as u64)
    });
    finish(command, (architecture, name), facts, (bytes, 0), start, streams)
}

/// The names of all parts.
fn paths(part: &Path) -> Result<Vec<PathBuf>> {
    let wrong = || {
        let sentence = "is one of several files, but its name does not end in -00001-of-00002.gguf \
                        or the like: which are the others?";
        Failure::new(Code::Usage, sentence).in_file(part)
    };
    let name = part.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    let (rest, count) =
        name.strip_suffix(".gguf").and_then(|name| name.rsplit_once("-of-")).ok_or_else(wrong)?;
    let (base, _) = rest.rsplit_once('-').ok_or_else(wrong)?;
    let is_number = !count.is_empty() && count.bytes().all(|digit| digit.is_ascii_digit());
    let n = count.parse::<u64>().ok().filter(|_| is_number).ok_or_else(wrong)?;
    if n > MAX_PARTS {
        let sentence = format!("{n} files; at most {MAX_PARTS} are joined");
        return Err(Failure::new(Code::Format, sentence).in_file(part));
    }
    let name = |i: u64| part.with_file_name(format!("{base}-{i:05}-of-{count}.gguf"));
    let paths: Vec<PathBuf> = (1..=n).map(name).collect();
    // It has a number of its own, which is none of 0 and none behind the last.
    if paths.iter().any(|path| path == part) { Ok(paths) } else { Err(wrong()) }
}

/// Whether a part is the one that its name says.
fn check(part: &Gguf<'_>, place: usize, count: usize) -> Result<()> {
    let (found, of) = (number(part, "split.no"), number(part, "split.count"));
    if (found, of) == (Some(place as u64), Some(count as u64)) {
        return Ok(());
    }
    let shown = |n: Option<u64>| n.map_or("unknown".into(), |n| n.to_string());
    let sentence = format!(
        "part {} of {} by its name, but split.no is {} (from 0) and split.count {}",
        place + 1,
        count,
        shown(found),
        shown(of)
    );
    Err(Failure::new(Code::Format, sentence))
}

/// Whether the parts have all tensors together.
fn check_tensors(parts: &[Gguf<'_>]) -> Result<()> {
    let found: usize = parts.iter().map(Gguf::n_tensors).sum();
    let said = parts.iter().find_map(|part| number(part, "split.tensors.count"));
    match said {
        Some(said) if said != found as u64 => {
            let sentence = format!("the parts have {found} tensors, but the model has {said}");
            Err(Failure::new(Code::Format, sentence))
        }
        _ => Ok(()),
    }
}

fn number(part: &Gguf<'_>, key: &str) -> Option<u64> {
    let value = part.get(key)?;
    value.as_u64().or_else(|| u64::try_from(value.as_i64()?).ok())
}

/// Everything before the data.
fn index(parts: &[Gguf<'_>], name: Option<&str>) -> std::result::Result<Builder, BuildError> {
    let mut file = Builder::new();
    for (key, value) in parts.iter().take(1).flat_map(Gguf::metadata) {
        let replaced = key.starts_with("split.")
            || [checksum::CHECKSUMS_KEY, checksum::VERSION_KEY].contains(&key)
            || name.is_some() && key == "general.name";
        if !replaced {
            file.set(key, value)?;
        }
    }
    if let Some(name) = name {
        file.set("general.name", name)?;
    }
    file.set(checksum::VERSION_KEY, env!("CARGO_PKG_VERSION"))?;
    file.add_checksums()?;
    for tensor in parts.iter().flat_map(Gguf::tensors) {
        file.add_tensor(tensor.name(), tensor.dims(), tensor.tensor_type())?;
    }
    Ok(file)
}
