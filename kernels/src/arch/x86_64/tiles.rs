//! How the tokens of a product with panels are taken.

/// Tokens of a tile at most: with the rows of a panel their sums fill the registers.
pub(super) const TOKENS: usize = 6;

/// The first token and the number of tokens of every tile of so many tokens, at least [`TOKENS`]: six,
/// or four where that leaves less undone, or always (`four`). The last ones are taken together with
/// some that are done already, and get the same results again.
#[inline]
pub(super) fn tiles(tokens: usize, four: bool) -> impl Iterator<Item = (usize, usize)> {
    debug_assert!(tokens >= TOKENS);
    let mut done = 0;
    core::iter::from_fn(move || {
        let count = match tokens - done {
            0 => return None,
            1..=4 | 7 | 8 => 4,
            _ if four => 4,
            _ => TOKENS,
        };
        let first = done.min(tokens - count);
        done = first + count;
        Some((first, count))
    })
}
