//! The files that are written: a GGUF file, ARPA text, or both at once.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use mote_formats::gguf::Builder;
use mote_formats::ngram::{Header, NEVER, Smoothing as Kind};

use super::super::estimate::arpa::{Arpa, Head};
use super::super::estimate::gguf::{Books, Levels};
use super::super::estimate::lexicon::Lexicon;
use super::super::estimate::{Estimated, Gram, Ids, Settings, Sink, Smoothing, Unigrams};
use super::report::Report;
use super::{Command, temporary};
use crate::failure::{Code, Failure, Result};
use crate::output;

/// The factor of stupid backoff, as its authors chose it.
const ALPHA: f32 = 0.4;

/// Whoever wants n-grams, and what they need in the end.
pub struct Outputs<'a> {
    command: &'a Command,
    lexicon: &'a Lexicon<'a>,
    ids: &'a Ids,
    smoothing: Smoothing,
    levels: Option<Levels<'a>>,
    arpa: Option<Arpa<'a>>,
    head: Head,
    /// log10 of every id's probability, for the GGUF file.
    probability: Vec<f32>,
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

impl<'a> Outputs<'a> {
    /// Of a model whose n-grams are still to come.
    pub fn new(
        command: &'a Command,
        lexicon: &'a Lexicon<'a>,
        ids: &'a Ids,
        books: &'a [Books],
        settings: &Settings,
        estimated: &Estimated,
    ) -> Result<Self> {
        let buffer = (settings.memory / (8 * settings.order)).clamp(1 << 12, 1 << 18);
        let folder = &settings.folder;
        let levels = command.output.as_ref().map(|_| Levels::new(books, folder, buffer));
        let order = settings.order;
        let arpa = command.arpa.as_ref().map(|_| Arpa::new(lexicon, order, folder, buffer));
        Ok(Outputs {
            command,
            lexicon,
            ids,
            smoothing: settings.smoothing,
            levels: levels.transpose().map_err(temporary)?,
            arpa: arpa.transpose().map_err(temporary)?,
            head: Head::new(estimated, ids),
            probability: probabilities(&estimated.unigrams, estimated.unknown, ids, lexicon),
        })
    }

    /// Puts the files together.
    pub fn finish(self, unigrams: &Unigrams, report: &mut Report, start: Instant) -> Result<()> {
        let Outputs { command, lexicon, levels, arpa, head, .. } = self;
        if let (Some(levels), Some(path)) = (levels, &command.output) {
            let len = lexicon.len(self.ids);
            let mut builder = Builder::new();
            let described = lexicon.describe(len, &mut builder);
            described.map_err(|error| Failure::new(Code::Text, error))?;
            let smoothing = kind(self.smoothing);
            let alpha = if smoothing == Kind::StupidBackoff { ALPHA } else { 1.0 };
            let header = Header { smoothing, alpha, value_bits: command.value_bits };
            let probability = self.probability.get(..len as usize).unwrap_or_default();
            write(command, path, |out| {
                levels.finish(out, builder, &header, probability, unigrams)
            })?;
            report.written(path, start);
        }
        if let (Some(arpa), Some(path)) = (arpa, &command.arpa) {
            let packed = path.extension().is_some_and(|extension| extension == "gz");
            write(command, path, |out| {
                if !packed {
                    return arpa.finish(out, &head, unigrams);
                }
                let mut packer = GzEncoder::new(out, Compression::default());
                arpa.finish(&mut packer, &head, unigrams)?;
                packer.finish().map(|_| ())
            })?;
            report.arpa(path, start);
        }
        Ok(())
    }
}

fn write(
    command: &Command,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    output::write(path, output::existing(command.force), |out| fill(out).map_err(Failure::io))
}

fn kind(smoothing: Smoothing) -> Kind {
    match smoothing {
        Smoothing::Modified => Kind::ModifiedKneserNey,
        Smoothing::Plain => Kind::KneserNey,
        Smoothing::Stupid => Kind::StupidBackoff,
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
