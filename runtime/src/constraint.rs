//! What the next token may be, where somebody says so: a grammar, a schema, a list of answers.

use core::fmt::Debug;

use crate::error::SessionError;

/// Says which tokens may come next, and hears which one came. It belongs to one text.
///
/// Tokens are drawn as they always are, among those that may come: drafts
/// ([`Speculator`](crate::speculate::Speculator)) change nothing here, either.
pub trait Constraint: Debug {
    /// The tokens that may come next, a bit for each: bit `id % 32` of word `id / 32`. What lies behind
    /// the last word may not. The end of the text is a token like the others.
    fn mask(&mut self) -> Result<&[u32], SessionError>;

    /// A token was drawn; it is one of those that might come.
    fn accept(&mut self, id: u32) -> Result<(), SessionError>;

    /// Whether nothing may follow: the text ends here, without a token that says so.
    fn is_complete(&self) -> bool;
}

/// Whether a mask has the token.
pub(crate) fn allows(mask: &[u32], id: usize) -> bool {
    mask.get(id / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
}
