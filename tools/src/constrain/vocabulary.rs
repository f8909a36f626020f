//! The vocabulary as a trie of bytes.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};
use mote_runtime::Tokenizer;
use mote_runtime::tokenizer::TokenKind;

use crate::failure::{Code, Failure, Result};

/// Bytes of a token that is written under a grammar; longer ones do not fit the trie, and are not
/// missed.
const LONGEST: usize = 512;

/// Bytes of all of them: what the trie has numbers for.
const MOST: usize = 4_000_000;

/// What llguidance wants to know of a vocabulary.
pub fn environment(tokenizer: &Tokenizer<'_>) -> Result<TokEnv> {
    let n = tokenizer.len();
    let mut words = vec![Vec::new(); n];
    let mut buffer = vec![0; tokenizer.max_token_bytes() + 4];
    let (mut ends, mut bytes) = (Vec::new(), 0);
    for (id, word) in words.iter_mut().enumerate() {
        let id = id as u32;
        if tokenizer.is_end_of_generation(id) {
            ends.push(id);
        }
        let kind = tokenizer.kind(id);
        let len = tokenizer.token_bytes(id, &mut buffer).unwrap_or_default();
        let text = &buffer[..len.min(LONGEST)];
        *word = match kind {
            // Places that are not in use may all have the same text.
            Some(TokenKind::Unused) | None => continue,
            _ if text.is_empty() || len > LONGEST => continue,
            // No text of a grammar has these.
            Some(TokenKind::Control | TokenKind::Unknown) => {
                let mut marked = vec![TokTrie::SPECIAL_TOKEN_MARKER];
                marked.extend_from_slice(text);
                marked
            }
            // The marker, as a byte, cannot begin a text that is UTF-8.
            _ if text.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) => continue,
            _ => text.to_vec(),
        };
        bytes += word.len();
    }
    if bytes > MOST {
        let sentence = format_args!("the vocabulary has {bytes} bytes, too many for a grammar");
        return Err(Failure::new(Code::Model, sentence));
    }
    let mut info = TokRxInfo::new(n as u32, ends.first().copied().unwrap_or(INVALID_TOKEN));
    (info.tok_bos, info.tok_pad, info.tok_unk) =
        (tokenizer.bos(), tokenizer.padding(), tokenizer.unknown());
    info.tok_end_of_turn = tokenizer.eot();
    let mut trie = TokTrie::from(&info, &words);
    if !ends.is_empty() {
        trie = trie.with_eos_tokens(&ends);
    }
    // Which tokens spell a text is left to the model: nothing is forced.
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}
