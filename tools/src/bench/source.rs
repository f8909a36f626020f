//! The model that is measured: a file, or one of random weights that is made for it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Instant;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::facts::Bytes;
use crate::failure::{Code, Failure, Result};
use crate::host::with_gguf;
use crate::interrupt::Stoppable;
use crate::output::{self, Existing};
use crate::streams::Streams;
use crate::synthetic::{Recipe, Shape, Types};

/// Temporary files that processes with this one's id may have left.
const MOST_LEFT: u32 = 1 << 10;

#[derive(Args, Debug)]
pub struct Source {
    /// The model: a GGUF file; several for a comparison
    #[arg(short, long = "model", value_name = "FILE", required_unless_present = "synthetic")]
    models: Vec<PathBuf>,
    /// Instead of a file: a llama of this size with random weights
    #[arg(long, value_name = "SHAPE", value_enum, conflicts_with = "models")]
    synthetic: Option<Shape>,
    /// Encoding of its matrices, or llama.cpp's mix of this name
    #[arg(long = "type", value_name = "TYPE", value_parser = types(), default_value = "q4_k_m",
          requires = "synthetic", conflicts_with = "models")]
    types: Types,
    /// Which random weights
    #[arg(
        long,
        value_name = "N",
        default_value = "0",
        requires = "synthetic",
        conflicts_with = "models"
    )]
    seed: u64,
    /// Keep the synthetic model in this file; one that is there is used again
    #[arg(short, long, value_name = "FILE", requires = "synthetic", conflicts_with = "models")]
    output: Option<PathBuf>,
}

fn types() -> impl TypedValueParser<Value = Types> {
    PossibleValuesParser::new(Types::all().map(|(name, _)| name)).try_map(|name| {
        let known = Types::all().find(|(known, _)| *known == name);
        known.map(|(_, types)| types).ok_or("no such type")
    })
}

impl Source {
    /// Works with the files. One of random weights is made first, and removed in the end unless it
    /// has a name to be kept under.
    pub fn with_files<R>(
        &self,
        streams: &mut Streams<'_>,
        work: impl FnOnce(&[PathBuf], &mut Streams<'_>) -> Result<R>,
    ) -> Result<R> {
        let recipe = |shape| Recipe { shape, types: self.types, seed: self.seed };
        match (self.synthetic.map(recipe), &self.output) {
            // clap demands one of the two.
            (None, _) if self.models.is_empty() => {
                Err(Failure::new(Code::Usage, "--model FILE is missing"))
            }
            (None, _) => work(&self.models, streams),
            (Some(recipe), Some(path)) => {
                keep(&recipe, path, streams)?;
                work(std::slice::from_ref(path), streams)
            }
            (Some(recipe), None) => {
                let file = Temporary::new(&recipe, streams)?;
                work(std::slice::from_ref(&file.0), streams)
            }
        }
    }
}

/// Makes the file unless it is there. Nothing else that has the name is touched.
fn keep(recipe: &Recipe, path: &Path, streams: &mut Streams<'_>) -> Result<()> {
    if path.symlink_metadata().is_err() {
        let fill = |out: &mut dyn Write| write(recipe, out, streams).map_err(Failure::io);
        return output::write(path, Existing::Keep, fill);
    }
    let is_same = with_gguf(path, |gguf| Ok(recipe.made(gguf)));
    if is_same == Ok(true) {
        return Ok(());
    }
    let sentence = format!("the file is there and is not the synthetic model {recipe}");
    Err(Failure::new(Code::Usage, sentence).in_file(path))
}

/// Writes the model, with a bar, and says so.
fn write(recipe: &Recipe, out: impl Write, streams: &mut Streams<'_>) -> io::Result<()> {
    let start = Instant::now();
    let bytes = recipe.bytes();
    let bar = streams.bytes_progress(bytes);
    let result = recipe.write(out, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    result?;
    let (bytes, seconds) = (Bytes(bytes), start.elapsed().as_secs_f64());
    streams.fact("synthetic", format_args!("{recipe}: {bytes}, made in {seconds:.1} s"));
    Ok(())
}

/// A model in the folder of temporary files, until this is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new(recipe: &Recipe, streams: &mut Streams<'_>) -> Result<Temporary> {
        let folder = std::env::temp_dir();
        let failure = |path: &Path, error| Failure::io(error).in_file(path);
        let (path, file) = create(&folder).map_err(|error| failure(&folder, error))?;
        let temporary = Temporary(path);
        // Not forced to the medium, which would take longer than making it.
        let written = write(recipe, Stoppable::new(BufWriter::new(file)), streams);
        written.map_err(|error| failure(&temporary.0, error))?;
        Ok(temporary)
    }
}

/// A new file; never one that somebody has put there.
fn create(folder: &Path) -> io::Result<(PathBuf, File)> {
    for n in 0..MOST_LEFT {
        let path = folder.join(format!("mote-synthetic-{}-{n}.gguf", process::id()));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
