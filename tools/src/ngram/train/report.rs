//! What is told about a model that was made.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::super::estimate::{Estimated, Settings, Smoothing, Source};
use crate::streams::Streams;

/// What `--json` prints.
#[derive(Serialize)]
pub struct Report {
    order: usize,
    smoothing: &'static str,
    tokens: u64,
    sentences: u64,
    orders: Vec<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arpa_bytes: Option<u64>,
    seconds: Seconds,
    tokens_per_second: f64,
}

/// 1-grams that the text does not have: `<unk>` and `<s>`.
const UNCOUNTED: u64 = 2;

#[derive(Serialize)]
struct Order {
    ngrams: u64,
    different: u64,
    counts_of_counts: [u64; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    discounts: Option<[f64; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
}

#[derive(Default, Serialize)]
struct Seconds {
    read: f64,
    estimate: Vec<(&'static str, f64)>,
    write: f64,
    arpa: f64,
    total: f64,
}

/// When the stages of estimation began.
pub struct Stages {
    begun: Vec<(&'static str, Instant)>,
}

impl Stages {
    /// One ends, another begins.
    pub fn begin(&mut self, name: &'static str) {
        self.begun.push((name, Instant::now()));
    }

    fn seconds(self) -> Vec<(&'static str, f64)> {
        let ends = self.begun.iter().skip(1).map(|(_, begin)| *begin).chain([Instant::now()]);
        self.begun
            .iter()
            .zip(ends)
            .map(|((name, begin), end)| (*name, (end - *begin).as_secs_f64()))
            .collect()
    }
}

impl Report {
    /// The text has been read.
    pub fn new(source: &Source, settings: &Settings, start: Instant) -> Report {
        let read = start.elapsed().as_secs_f64();
        Report {
            order: settings.order,
            smoothing: match settings.smoothing {
                Smoothing::Modified => "modified-kneser-ney",
                Smoothing::Plain => "kneser-ney",
                Smoothing::Stupid => "stupid-backoff",
            },
            tokens: source.predicted(),
            sentences: source.sentences(),
            orders: Vec::new(),
            model_bytes: None,
            arpa_bytes: None,
            seconds: Seconds { read, ..Seconds::default() },
            tokens_per_second: 0.0,
        }
    }

    /// The model is estimated.
    pub fn estimated(&mut self, model: &Estimated) {
        let orders = model.counts.iter().zip(&model.tallies).enumerate();
        self.orders = orders
            .map(|(i, (&ngrams, tally))| Order {
                ngrams: ngrams + if i == 0 { UNCOUNTED } else { 0 },
                different: tally.different + if i == 0 { UNCOUNTED } else { 0 },
                counts_of_counts: tally.of,
                discounts: model.discounts.get(i).map(|discounts| discounts.0),
                fallback: model
                    .fallen_back
                    .iter()
                    .find(|(order, _)| *order == i + 1)
                    .map(|(_, why)| why.to_string()),
            })
            .collect();
    }

    /// No stage has begun.
    pub fn stages(&self) -> Stages {
        Stages { begun: Vec::new() }
    }

    /// The last stage of estimation is over.
    pub fn estimating(&mut self, stages: Stages) {
        self.seconds.estimate = stages.seconds();
    }

    /// The model file is written.
    pub fn written(&mut self, path: &Path, start: Instant) {
        self.model_bytes = bytes(path);
        self.seconds.write = self.since(start);
    }

    /// The ARPA file is written.
    pub fn arpa(&mut self, path: &Path, start: Instant) {
        self.arpa_bytes = bytes(path);
        self.seconds.arpa = self.since(start);
    }

    /// All is done.
    pub fn finish(&mut self, start: Instant) {
        self.seconds.total = start.elapsed().as_secs_f64();
        self.tokens_per_second = self.tokens as f64 / self.seconds.total;
    }

    fn since(&self, start: Instant) -> f64 {
        let Seconds { read, estimate, write, arpa, .. } = &self.seconds;
        let estimate: f64 = estimate.iter().map(|(_, seconds)| seconds).sum();
        start.elapsed().as_secs_f64() - read - estimate - write - arpa
    }

    /// The same for people.
    pub fn tell(&self, streams: &mut Streams<'_>) {
        let Report { tokens, sentences, .. } = self;
        streams.fact("text", format_args!("{tokens} tokens in {sentences} sentences"));
        for (order, it) in (1..).zip(&self.orders) {
            let discounts = it
                .discounts
                .map_or_else(String::new, |[a, b, c]| format!(", discounts {a:.6} {b:.6} {c:.6}"));
            let left_out = match it.different.saturating_sub(it.ngrams) {
                0 => String::new(),
                _ => format!(" of {}", it.different),
            };
            let label = format!("{order}-grams");
            streams.fact(&label, format_args!("{}{left_out}{discounts}", it.ngrams));
        }
        let ngrams: u64 = self.orders.iter().map(|order| order.ngrams).sum();
        if let Some(bytes) = self.model_bytes {
            let each = bytes as f64 / ngrams as f64;
            streams.fact("model", format_args!("{bytes} bytes, {each:.3} for each n-gram"));
        }
        let Seconds { total, .. } = self.seconds;
        let speed = self.tokens_per_second / 1e6;
        streams.fact("time", format_args!("{total:.2} s, {speed:.3} million tokens a second"));
    }
}

fn bytes(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|it| it.len())
}
