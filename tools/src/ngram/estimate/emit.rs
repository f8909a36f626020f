//! All n-grams in the order of their words, all orders in step, to whoever writes them.

use std::io;

use super::gram::{Grams, Layout};
use super::record::{Record, agree, mask};
use super::sort::Records;
use super::{Settings, Told};

/// An n-gram of two or more words.
#[derive(Debug)]
pub struct Gram<'a> {
    /// Its words' ids.
    pub words: &'a [u32],
    /// The last word's id for two words; for more its place among the successors of the context
    /// without the first word.
    pub key: u32,
    /// log10 of its probability.
    pub probability: f32,
    /// log10 of its backoff, 0 if it has no successors.
    pub backoff: f32,
    /// Successors.
    pub children: u32,
}

/// Takes n-grams.
pub trait Sink {
    /// All of the same order come sorted by ids.
    fn gram(&mut self, gram: &Gram<'_>) -> io::Result<()>;
}

/// What is known of single words only when all n-grams have been seen, by id.
pub struct Unigrams {
    pub backoff: Vec<f32>,
    pub children: Vec<u32>,
}

struct Emitter<'a, 'b, const W: usize> {
    orders: Vec<Order<W>>,
    layout: Layout,
    words: Vec<u32>,
    sink: &'a mut dyn Sink,
    told: &'a Told<'b>,
    seen: u64,
}

/// The n-grams of one order.
struct Order<const W: usize> {
    records: Records<W>,
    next: Option<Record<W>>,
    /// The words of the context.
    context: Record<W>,
}

/// Reads what the walk has sorted.
pub fn emit<const W: usize>(
    grams: Grams<W>,
    settings: &Settings,
    memory: usize,
    sink: &mut dyn Sink,
    told: &Told<'_>,
) -> io::Result<Unigrams> {
    let layout = grams.layout;
    let n_words = grams.words as usize;
    let n_orders = grams.longer.len();
    let mut orders = Vec::new();
    for (i, sorted) in grams.longer.into_iter().enumerate() {
        let mut records = sorted.read(memory / n_orders, settings.threads > 1)?;
        let next = records.next()?;
        orders.push(Order { records, next, context: mask((i as u32 + 1) * layout.bits) });
    }
    let words = vec![0; n_orders + 1];
    let mut emitter = Emitter { orders, layout, words, sink, told, seen: 0 };
    let mut unigrams = Unigrams { backoff: vec![0.0; n_words], children: vec![0; n_words] };
    while let Some(first) = emitter.orders.first().and_then(|order| order.next) {
        let word = layout.word(&first, 0);
        let (children, backoff) = emitter.successors(0, &first)?;
        unigrams.children[word as usize] = children;
        unigrams.backoff[word as usize] = backoff;
    }
    Ok(unigrams)
}

impl<const W: usize> Emitter<'_, '_, W> {
    /// The successors of the context with which `record` begins: one word more than `i`. How many
    /// there are, and the context's backoff.
    fn successors(&mut self, i: usize, record: &Record<W>) -> io::Result<(u32, f32)> {
        let (mut children, mut context_backoff) = (0, 0.0);
        let layout = self.layout;
        while let Some(order) = self.orders.get_mut(i)
            && let Some(next) = order.next
            && agree(&next, record, &order.context)
        {
            order.next = order.records.next()?;
            let fields = layout.fields(&next);
            context_backoff = fields.backoff;
            children += 1;
            let (grandchildren, backoff) = self.successors(i + 1, &next)?;
            for (place, word) in self.words[..i + 2].iter_mut().enumerate() {
                *word = layout.word(&next, place);
            }
            self.sink.gram(&Gram {
                words: &self.words[..i + 2],
                key: fields.key,
                probability: fields.probability,
                backoff,
                children: grandchildren,
            })?;
            self.seen += 1;
            if self.seen >= 1 << 16 {
                self.told.inc(std::mem::take(&mut self.seen))?;
            }
        }
        Ok((children, context_backoff))
    }
}
