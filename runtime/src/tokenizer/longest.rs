//! The tokens that begin a text, found in about as many steps as the longest of them could have bytes,
//! whatever the tokens are.
//!
//! Tokens are sorted by their bytes. One binary search finds the last that is no greater than the text.
//! What it shares with its neighbours of the search is known beforehand (Manber and Myers 1993), so no
//! byte of the text is compared twice. Each token has a link to the longest other that begins it, its
//! parent; the longest that begins the text is the token found or the nearest above it that is no longer
//! than what it shares with the text, and the others are those above that one. Jumps over parents (Myers
//! 1983) keep the way to it short.

use core::cmp::Ordering;
use core::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::error::LoadError;
use crate::memory::{Carver, Measure};

/// Bytes of the longest token that a text can give. It bounds the work at each place of a text, and is
/// far above what vocabularies have: SentencePiece's pieces are of 16 characters unless told otherwise.
pub(super) const MAX_LEN: usize = 512;

/// Tokens and their bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Longest<'a> {
    bytes: &'a [u8],
    /// Sorted by their bytes, no two alike. The first is the empty text, which is no token.
    nodes: &'a [Node],
}

/// A token among those that it begins with.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
struct Node {
    id: u32,
    /// Where its bytes are.
    start: u32,
    /// The node of the longest other token that begins this one.
    parent: u32,
    /// A node above the parent, or the parent.
    jump: u32,
    len: u16,
    /// Nodes above.
    depth: u16,
    /// Bytes that the token shares with the last before and the first after those among which it is the
    /// middle when the search comes to it.
    shared: [u16; 2],
}

/// Tokens that are being collected.
pub(super) struct Builder<'a> {
    nodes: &'a mut [Node],
    len: usize,
}

/// Adds what [`Builder::new`] takes for a vocabulary of that many tokens.
pub(super) fn measure(memory: &mut Measure, tokens: usize) {
    memory.add::<Node>(tokens + 1);
}

impl<'a> Builder<'a> {
    /// Room for that many tokens.
    pub(super) fn new(tokens: usize, memory: &mut Carver<'a>) -> Result<Self, LoadError> {
        let nodes = memory.take::<Node>(tokens + 1)?;
        nodes[0] = Node::default();
        Ok(Builder { nodes, len: 1 })
    }

    /// Adds a token of which it is known where its bytes are. One without bytes, or of more than
    /// [`MAX_LEN`], is left out.
    pub(super) fn add(&mut self, id: u32, place: Range<usize>) {
        if let Ok(start) = u32::try_from(place.start)
            && let Some(node) = self.nodes.get_mut(self.len)
            && (1..=MAX_LEN).contains(&place.len())
        {
            *node = Node { id, start, len: place.len() as u16, ..Node::default() };
            self.len += 1;
        }
    }

    /// The tokens, whose bytes are in `bytes`. Of equal ones that of the least id is kept.
    pub(super) fn finish(self, bytes: &'a [u8]) -> Longest<'a> {
        let nodes = self.nodes.get_mut(..self.len).unwrap_or_default();
        // Most tokens differ in their first bytes: with those at hand, sorting hardly reads the others.
        for node in &mut *nodes {
            [node.parent, node.jump] = node.first_bytes(bytes);
        }
        nodes.sort_unstable_by(|a, b| {
            let first = [a.parent, a.jump].cmp(&[b.parent, b.jump]);
            first.then_with(|| (a.of(bytes), a.id).cmp(&(b.of(bytes), b.id)))
        });
        let mut len = 1;
        for at in 1..nodes.len() {
            if nodes[at].of(bytes) != nodes[len - 1].of(bytes) {
                nodes[len] = nodes[at];
                len += 1;
            }
        }
        let nodes = nodes.get_mut(..len).unwrap_or_default();
        link(nodes, bytes);
        Longest { bytes, nodes }
    }
}

impl Longest<'_> {
    /// The tokens that begin a text, the longest first, each with its length.
    pub(super) fn beginnings(&self, text: &[u8]) -> impl Iterator<Item = (u32, usize)> {
        let mut at = self.find(text);
        core::iter::from_fn(move || {
            let Node { id, parent, len, .. } = self.nodes[at];
            at = parent as usize;
            (len > 0).then_some((id, usize::from(len)))
        })
    }

    /// The node of the longest token that begins a text.
    fn find(&self, text: &[u8]) -> usize {
        let text = text.get(..MAX_LEN).unwrap_or(text);
        // Nodes to `low` are no greater than the text, those from `high` on are. `low` and `high` share
        // so many bytes with the text.
        let (mut low, mut high) = (0, self.nodes.len());
        let (mut low_shared, mut high_shared) = (0, 0);
        while high - low > 1 {
            let middle = low.midpoint(high);
            let node = self.nodes[middle];
            let [with_low, with_high] = node.shared.map(usize::from);
            let is_low_near = low_shared >= high_shared;
            let (near, known) =
                if is_low_near { (low_shared, with_low) } else { (high_shared, with_high) };
            let (is_greater, len) = match known.cmp(&near) {
                // It differs from the text where its neighbour does, and in the same way.
                Ordering::Greater => (!is_low_near, near),
                // It differs from its neighbour where the text does not.
                Ordering::Less => (is_low_near, known),
                Ordering::Equal => {
                    let token = node.of(self.bytes);
                    let [a, b] = [token, text].map(|text| text.get(near..).unwrap_or_default());
                    let len = near + shared(a, b);
                    (token.get(len) > text.get(len), len)
                }
            };
            if is_greater {
                (high, high_shared) = (middle, len);
            } else {
                (low, low_shared) = (middle, len);
            }
        }
        at_most(self.nodes, low, low_shared)
    }
}

impl Node {
    #[inline]
    fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + usize::from(self.len)).unwrap_or_default()
    }

    /// Two numbers that are in the order of the token's bytes, as far as they go.
    fn first_bytes(self, bytes: &[u8]) -> [u32; 2] {
        let mut first = [0; 8];
        first.iter_mut().zip(self.of(bytes)).for_each(|(place, &byte)| *place = byte);
        let first = u64::from_be_bytes(first);
        [(first >> 32) as u32, first as u32]
    }
}

/// Links sorted nodes.
fn link(nodes: &mut [Node], bytes: &[u8]) {
    for place in 1..nodes.len() {
        let node = nodes[place];
        let shared = |other: Node| shared(node.of(bytes), other.of(bytes));
        // What begins this token is the one before, or begins that one too.
        let parent = at_most(nodes, place - 1, shared(nodes[place - 1]));
        let above = |at: usize| nodes[at].jump as usize;
        let length = |at: usize| nodes[at].depth - nodes[above(at)].depth;
        let jumps_on = length(parent) == length(above(parent));
        let (mut low, mut high) = (0usize, nodes.len());
        loop {
            let middle = low.midpoint(high);
            match place.cmp(&middle) {
                Ordering::Less => high = middle,
                Ordering::Equal => break,
                Ordering::Greater => low = middle,
            }
        }
        let with_high = nodes.get(high).map_or(0, |&high| shared(high));
        nodes[place] = Node {
            parent: parent as u32,
            jump: if jumps_on { above(above(parent)) } else { parent } as u32,
            depth: nodes[parent].depth + 1,
            shared: [shared(nodes[low]) as u16, with_high as u16],
            ..node
        };
    }
}

/// The node, or the nearest above it, whose token has at most `len` bytes.
fn at_most(nodes: &[Node], mut node: usize, len: usize) -> usize {
    let is_longer = |node: usize| usize::from(nodes[node].len) > len;
    while is_longer(node) {
        let Node { parent, jump, .. } = nodes[node];
        node = if is_longer(jump as usize) { jump } else { parent } as usize;
    }
    node
}

/// Bytes that two texts have in common at their starts.
#[inline]
fn shared(a: &[u8], b: &[u8]) -> usize {
    let blocks = shared_blocks::<64>(a, b);
    let [a, b] = [a, b].map(|text| text.get(blocks..).unwrap_or_default());
    let words = shared_blocks::<8>(a, b);
    let [a, b] = [a, b].map(|text| text.get(words..).unwrap_or_default());
    blocks + words + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Bytes of the blocks that two texts have in common at their starts.
#[inline]
fn shared_blocks<const LEN: usize>(a: &[u8], b: &[u8]) -> usize {
    let ((a, _), (b, _)) = (a.as_chunks::<LEN>(), b.as_chunks::<LEN>());
    LEN * a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
