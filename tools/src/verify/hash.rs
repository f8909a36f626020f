//! BLAKE3 by pieces that threads hash on their own: its tree joins them to the hash of the whole.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use blake3::{Hash, Hasher};

/// Bytes of a piece, a power of two: a subtree of its own.
pub const PIECE: usize = 1 << 20;

/// What a piece comes to.
#[derive(Clone, Copy, Debug)]
pub enum Piece {
    /// There is no other.
    Whole(Hash),
    /// A node of the tree.
    Node(ChainingValue),
}

/// Pieces of so many bytes.
pub fn n_pieces(bytes: usize) -> usize {
    bytes.div_ceil(PIECE).max(1)
}

/// The range of a piece in the file.
fn piece(file: &[u8], index: usize) -> &[u8] {
    let start = (index * PIECE).min(file.len());
    &file[start..(start + PIECE).min(file.len())]
}

/// Hashes one piece of the file.
pub fn hash_piece(file: &[u8], index: usize) -> Piece {
    if n_pieces(file.len()) == 1 {
        return Piece::Whole(blake3::hash(file));
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset((index * PIECE) as u64);
    hasher.update(piece(file, index));
    Piece::Node(hasher.finalize_non_root())
}

/// The hash of a file of so many bytes.
pub fn join(pieces: &[Piece], bytes: u64) -> Hash {
    if let [Piece::Whole(hash)] = pieces {
        return *hash;
    }
    let left = left_subtree_len(bytes);
    let (a, b) = pieces.split_at((left as usize / PIECE).min(pieces.len()));
    merge_subtrees_root(&node(a, left), &node(b, bytes - left), Mode::Hash)
}

fn node(pieces: &[Piece], bytes: u64) -> ChainingValue {
    match pieces {
        [Piece::Node(node)] => *node,
        [Piece::Whole(_)] | [] => ChainingValue::default(),
        _ => {
            let left = left_subtree_len(bytes);
            let (a, b) = pieces.split_at((left as usize / PIECE).min(pieces.len()));
            merge_subtrees_non_root(&node(a, left), &node(b, bytes - left), Mode::Hash)
        }
    }
}

/// A hash in hexadecimal digits.
pub fn parse(text: &str) -> Result<Hash, String> {
    Hash::from_hex(text.trim()).map_err(|_| "a BLAKE3 hash has 64 hexadecimal digits".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_pieces_are_the_hash_of_the_whole() {
        let file: Vec<u8> = (0..5 * PIECE + 3000).map(|i| (i % 251) as u8).collect();
        let lengths = [0, 1, 1024, 1025, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 5];
        for len in lengths.into_iter().chain([4 * PIECE, file.len()]) {
            let file = &file[..len];
            let pieces: Vec<_> = (0..n_pieces(len)).map(|i| hash_piece(file, i)).collect();
            assert_eq!(join(&pieces, len as u64), blake3::hash(file), "{len}");
        }
    }
}
