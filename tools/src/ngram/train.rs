//! `mote ngram train`: text to a model.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use mote_formats::Mapping;
use mote_formats::file::{self, Existing};
use mote_formats::gguf::{Builder, Gguf};
use mote_formats::ngram::{Header, NEVER, Smoothing as Kind};
use mote_runtime::Tokenizer;

use super::estimate::arpa::{Arpa, Head};
use super::estimate::gguf::{Histograms, Levels};
use super::estimate::lexicon::{Lexicon, read_bytes, read_ids, read_tokens};
use super::estimate::text::{Rules, Spool, Tokens, WordReader};
use super::estimate::vocabulary::Words;
use super::estimate::{
    Discounts, Error, Fallback, Gram, Ids, Settings, Sink, Smoothing, Told, estimate,
};
use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::Memory;
use crate::streams::Streams;

mod options;
mod report;

pub use options::Command;
use options::{Units, ValueBits};
use report::Report;

/// The factor of stupid backoff, as its authors chose it.
const ALPHA: f32 = 0.4;

/// Estimates a model and writes it.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    command.check()?;
    let Some(path) = command.tokenizer() else { return train(command, None, streams) };
    let file = Mapping::open(path).map_err(|error| Failure::from(error).in_file(path))?;
    let gguf = Gguf::parse(&file).map_err(|error| Failure::from(error).in_file(path))?;
    let refused = |error: mote_runtime::tokenizer::LoadError| {
        Failure::load(error.into(), &gguf).in_file(path)
    };
    let mut tables = Memory::new(Tokenizer::bytes_needed(&gguf).map_err(refused)?)?;
    let tokenizer = Tokenizer::new(&gguf, &mut tables).map_err(refused)?;
    train(command, Some((&gguf, &tokenizer)), streams)
}

/// A vocabulary that exists, and its file.
type Given<'a> = Option<(&'a Gguf<'a>, &'a Tokenizer<'a>)>;

fn train(command: &Command, tokenizer: Given<'_>, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    let mut settings = command.settings();
    let (tokens, lexicon, ids) = read(command, tokenizer, &settings, streams)?;
    let mut report = Report::new(&tokens, &settings, start);
    settings.memory = settings.memory.saturating_sub(lexicon.bytes());
    let coded = command.output.is_some() && command.value_bits != ValueBits::Exact;
    let mut values = Histograms::new(settings.order, coded);
    let clock = RefCell::new(report.stages());
    let bar = |name: &'static str, len| {
        clock.borrow_mut().begin(name);
        streams.steps(name, len)
    };
    let estimated = estimate(tokens, &ids, &settings, &mut values, &bar).map_err(failure)?;
    for (order, why) in &estimated.fallen_back {
        let Fallback::Discounts(Discounts([a, b, c])) = settings.fallback else { continue };
        let n = if settings.smoothing == Smoothing::Plain {
            format!("{a}")
        } else {
            format!("{a} {b} {c}")
        };
        streams.note(format_args!(
            "the {order}-grams have the discounts {n}, because the text gives none ({why})"
        ));
    }
    report.estimated(&estimated);

    let stupid = settings.smoothing == Smoothing::Stupid;
    let books = values.books(settings.order, command.value_bits.bits(), stupid);
    let buffer = (settings.memory / (8 * settings.order)).clamp(1 << 12, 1 << 18);
    let levels = command.output.is_some().then(|| Levels::new(&books, &settings.folder, buffer));
    let arpa = command.arpa.as_ref();
    let arpa = arpa.map(|_| Arpa::new(&lexicon, settings.order, &settings.folder, buffer));
    let mut sink = Outputs {
        levels: levels.transpose().map_err(temporary)?,
        arpa: arpa.transpose().map_err(temporary)?,
    };
    let mut head = Head::new(&estimated, &ids);
    let probability = probabilities(&estimated.unigrams, estimated.unknown, &ids, &lexicon);
    clock.borrow_mut().begin("writing");
    let longer = estimated.counts.iter().skip(1).sum();
    let writing = streams.steps("writing", longer);
    let unigrams = estimated.emit(&mut sink, &Told(&writing)).map_err(failure)?;
    writing.finish_and_clear();
    report.estimating(clock.into_inner());
    let Outputs { levels, arpa } = sink;
    if let (Some(levels), Some(path)) = (levels, &command.output) {
        let len = lexicon.len(&ids);
        let mut builder = Builder::new();
        let described = lexicon.describe(len, &mut builder);
        described.map_err(|error| Failure::new(Code::Text, error))?;
        let alpha = if stupid { ALPHA } else { 1.0 };
        let value_bits = command.value_bits.bits();
        let header = Header { smoothing: kind(settings.smoothing), alpha, value_bits };
        let probability = &probability[..len as usize];
        write(path, |out| levels.finish(out, builder, &header, probability, &unigrams))?;
        report.written(path, start);
    }
    if let (Some(arpa), Some(path)) = (arpa, &command.arpa) {
        head.unigrams = Some(&unigrams);
        write(path, |out| {
            if path.extension().is_some_and(|extension| extension == "gz") {
                let level = flate2::Compression::default();
                let mut packed = flate2::write::GzEncoder::new(out, level);
                arpa.finish(&mut packed, &head)?;
                return packed.finish().map(|_| ());
            }
            arpa.finish(out, &head)
        })?;
        report.arpa(path, start);
    }
    report.finish(start);
    if command.json {
        return write_json(&report, streams);
    }
    report.tell(streams);
    Ok(())
}

fn write(path: &Path, fill: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>) -> Result<()> {
    file::write(path, Existing::Replace, fill).map_err(|error: io::Error| {
        Failure::new(Code::Io, format_args!("cannot be written: {error}")).in_file(path)
    })
}

fn kind(smoothing: Smoothing) -> Kind {
    match smoothing {
        Smoothing::Modified => Kind::ModifiedKneserNey,
        Smoothing::Plain => Kind::KneserNey,
        Smoothing::Stupid => Kind::StupidBackoff,
    }
}

/// Whoever wants n-grams.
struct Outputs<'a> {
    levels: Option<Levels<'a>>,
    arpa: Option<Arpa<'a>>,
}

impl Sink for Outputs<'_> {
    #[inline]
    fn gram(&mut self, gram: &Gram<'_>) -> io::Result<()> {
        if let Some(levels) = &mut self.levels {
            levels.gram(gram)?;
        }
        self.arpa.as_mut().map_or(Ok(()), |arpa| arpa.gram(gram))
    }
}

/// log10 of every id's probability. Where all ids are known from the start, those that the text
/// does not have share what is left for the unknown.
fn probabilities(seen: &[Option<f32>], unknown: f32, ids: &Ids, lexicon: &Lexicon<'_>) -> Vec<f32> {
    let closed = !matches!(lexicon, Lexicon::Words { .. });
    let waits = |(id, p): (u32, &Option<f32>)| {
        let never = (id == ids.begin && ids.begin != ids.end) || ids.unknown == Some(id);
        p.is_none() && !never
    };
    let unseen = (0..).zip(seen).filter(|it| waits(*it)).count();
    let share =
        if closed && unseen > 0 { unknown - libm::log10(unseen as f64) as f32 } else { NEVER };
    let of = |it: (u32, &Option<f32>)| match it {
        (_, Some(log10)) => *log10,
        (id, None) if ids.unknown == Some(id) && share == NEVER => unknown,
        it if waits(it) => share,
        _ => NEVER,
    };
    (0..).zip(seen).map(|it| of(it).max(NEVER)).collect()
}

fn failure(error: Error) -> Failure {
    let code = match error {
        Error::Input(_) | Error::File(_) => Code::Io,
        _ => Code::Text,
    };
    Failure::new(code, error)
}

fn temporary(error: io::Error) -> Failure {
    failure(Error::File(error))
}

/// The text's tokens, and what they are.
fn read<'a>(
    command: &Command,
    tokenizer: Given<'a>,
    settings: &Settings,
    streams: &mut Streams<'_>,
) -> Result<(Tokens, Lexicon<'a>, Ids)> {
    let rules = command.rules();
    let buffer = (settings.memory / 16).clamp(1 << 12, 1 << 20);
    let mut spool = Spool::new(&settings.folder, buffer).map_err(temporary)?;
    let inputs = Inputs::new(&command.inputs, streams)?;
    let (lexicon, ids) = match (command.units(), tokenizer) {
        (Units::Bytes, _) => {
            let (lexicon, ids) = Lexicon::of_bytes();
            inputs.each(|input| read_bytes(input, rules, &mut spool), streams)?;
            spool.end_stream(ids.end).map_err(temporary)?;
            (lexicon, ids)
        }
        (units, Some((gguf, tokenizer))) => {
            let none = "the tokenizer has no token that begins or ends a text";
            let (lexicon, ids) =
                Lexicon::of_tokens(gguf, tokenizer).ok_or(Failure::new(Code::Model, none))?;
            inputs.each(
                |input| match units {
                    Units::Ids => read_ids(input, rules, &ids, &mut spool),
                    _ => read_tokens(input, rules, tokenizer, ids.end, &mut spool),
                },
                streams,
            )?;
            spool.end_stream(ids.end).map_err(temporary)?;
            (lexicon, ids)
        }
        _ => {
            let mut words = Words::new();
            let mut reader = WordReader::new(rules, &mut words, &mut spool);
            inputs.each(|input| reader.read(input), streams)?;
            reader.finish().map_err(failure)?;
            let list = command.vocab_limit().map(|path| read_list(path)).transpose()?;
            Lexicon::of_words(words, list.as_ref())
        }
    };
    Ok((spool.finish().map_err(temporary)?, lexicon, ids))
}

/// The words of a file, divided by blanks.
fn read_list(path: &Path) -> Result<Words> {
    let text = crate::input::read_file(path)?;
    let mut words = Words::new();
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    for word in text.split(blank).filter(|word| !word.is_empty()) {
        words.insert(word);
    }
    Ok(words)
}

/// Files, or standard input if there are none.
struct Inputs<'a> {
    files: Vec<(&'a Path, File)>,
    bar: ProgressBar,
}

impl<'a> Inputs<'a> {
    fn new(paths: &'a [PathBuf], streams: &Streams<'_>) -> Result<Self> {
        let unreadable =
            |path: &Path, error: io::Error| Failure::new(Code::Io, error).in_file(path);
        let (mut files, mut bytes) = (Vec::new(), 0);
        for path in paths {
            let file = File::open(path).map_err(|error| unreadable(path, error))?;
            bytes += file.metadata().map_err(|error| unreadable(path, error))?.len();
            files.push((path.as_path(), file));
        }
        if files.is_empty() && streams.terminal.input {
            let sentence = "no text: name files, or give it on standard input";
            return Err(Failure::new(Code::Usage, sentence));
        }
        Ok(Inputs { files, bar: streams.bytes_progress(bytes) })
    }

    /// Hands every input over, unpacked if it is packed.
    fn each(
        self,
        mut read: impl FnMut(&mut dyn Read) -> std::result::Result<(), Error>,
        streams: &mut Streams<'_>,
    ) -> Result<()> {
        if self.files.is_empty() {
            let input = BufReader::with_capacity(1 << 16, &mut *streams.input);
            unpacked(input, &mut read).map_err(failure)?;
        }
        for (path, file) in self.files {
            let input = BufReader::with_capacity(1 << 16, self.bar.wrap_read(file));
            unpacked(input, &mut read).map_err(|error| failure(error).in_file(path))?;
        }
        self.bar.finish_and_clear();
        Ok(())
    }
}

fn unpacked(
    mut input: impl BufRead,
    read: &mut dyn FnMut(&mut dyn Read) -> std::result::Result<(), Error>,
) -> std::result::Result<(), Error> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    let packed = input.fill_buf().map_err(Error::Input)?.starts_with(GZIP);
    if packed { read(&mut MultiGzDecoder::new(input)) } else { read(&mut input) }
}
