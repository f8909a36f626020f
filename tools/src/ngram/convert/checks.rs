//! Whether a table's probabilities can be some.

use std::ops::Range;

use super::table::{Node, Table};

/// Numbers of few digits do not sum to 1 exactly.
const TOLERANCE: f64 = 1e-2;

/// Contexts after which the probabilities of the words that the model has there are more than 1
/// together.
#[derive(Debug, Default, PartialEq)]
pub struct Excess {
    /// How many.
    pub contexts: u64,
    /// The largest sum.
    pub sum: f64,
    /// After which ids.
    pub words: Vec<u32>,
}

/// Looks at every context.
pub fn excess(table: &Table) -> Excess {
    let mut excess = Excess::default();
    let words = &table.level(1).nodes;
    excess.add(words, 0..words.len(), Vec::new);
    for length in 1..table.order() {
        let contexts = table.level(length);
        let nodes = &table.level(length + 1).nodes;
        for context in 0..contexts.nodes.len() as u32 {
            excess.add(nodes, contexts.children(context), || table.words(length, context));
        }
    }
    excess
}

impl Excess {
    fn add(&mut self, nodes: &[Node], range: Range<usize>, words: impl FnOnce() -> Vec<u32>) {
        let successors = nodes.get(range).unwrap_or_default();
        let sum: f64 = successors.iter().map(|node| 10_f64.powf(node.probability.into())).sum();
        if sum <= 1.0 + TOLERANCE {
            return;
        }
        self.contexts += 1;
        if sum > self.sum {
            (self.sum, self.words) = (sum, words());
        }
    }
}
