//! Text to token ids and back.

use core::ffi::c_char;

use mote_runtime::tokenizer::{
    DecodeOptions, Decoder, EncodeError, EncodeOptions, MAX_TEXT_BYTES, Tokenizer,
};

use crate::argument::{Out, room, slice};
use crate::call::status;
use crate::failure::{Failure, Result};
use crate::memory::Scratch;
use crate::model::{ModelHandle, alive};

/// `MOTE_ADD_BOS` and the others.
const ADD_BOS: u32 = 1;
const PARSE_SPECIAL: u32 = 2;
const SHOW_SPECIAL: u32 = 4;
const ADD_EOS: u32 = 8;

/// Flags to options; others than those allowed are refused.
pub(crate) fn encode_options(tokenizer: &Tokenizer<'_>, flags: u32) -> Result<EncodeOptions> {
    if flags & !(ADD_BOS | ADD_EOS | PARSE_SPECIAL) != 0 {
        return Err(Failure::invalid("a flag that has no meaning here"));
    }
    Ok(EncodeOptions {
        bos: flags & ADD_BOS != 0 && tokenizer.adds_bos(),
        eos: flags & ADD_EOS != 0 && tokenizer.adds_eos(),
        parse_special: flags & PARSE_SPECIAL != 0,
    })
}

/// A text that is too long is refused before anything is allocated for it.
fn check_text(bytes: usize) -> Result<()> {
    match bytes <= MAX_TEXT_BYTES {
        true => Ok(()),
        false => Err(EncodeError::TextTooLong { len: bytes }.into()),
    }
}

/// The ids of a text, in memory that is given back.
#[cfg(feature = "std")]
pub(crate) fn encode(
    tokenizer: &Tokenizer<'_>,
    text: &[u8],
    options: EncodeOptions,
    work: impl FnOnce(&[u32]) -> Result<()>,
) -> Result<()> {
    check_text(text.len())?;
    // Most texts need little of either; what the others need is in the errors.
    let mut scratch = Scratch::<u8>::new(text.len().saturating_mul(2).saturating_add(4096))?;
    let mut ids = Scratch::<u32>::new(text.len() / 2 + 16)?;
    let n = loop {
        match tokenizer.encode(text, options, scratch.as_mut(), ids.as_mut()) {
            Ok(n) => break n,
            Err(EncodeError::ScratchTooSmall(error)) => scratch = Scratch::new(error.needed)?,
            Err(EncodeError::OutputTooSmall { needed }) => ids = Scratch::new(needed)?,
            Err(error) => return Err(error.into()),
        }
    };
    work(ids.as_mut().get(..n).unwrap_or_default())
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_tokenize(
    model: *const ModelHandle,
    text: *const c_char,
    text_size: usize,
    flags: u32,
    ids: *mut u32,
    capacity: usize,
    n_ids: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let tokenizer = alive(model)?.model.tokenizer();
        let text = slice(text.cast::<u8>(), text_size)?;
        let (ids, n_ids) = (room(ids, capacity)?, Out::new(n_ids)?);
        n_ids.set(0);
        let options = encode_options(tokenizer, flags)?;
        encode(tokenizer, text, options, |found| crate::argument::give(found, ids, &n_ids))
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_tokenize_in(
    model: *const ModelHandle,
    text: *const c_char,
    text_size: usize,
    flags: u32,
    scratch: *mut u8,
    scratch_size: usize,
    ids: *mut u32,
    capacity: usize,
    n_ids: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let tokenizer = alive(model)?.model.tokenizer();
        let text = slice(text.cast::<u8>(), text_size)?;
        let (scratch, ids) = (room(scratch, scratch_size)?, room(ids, capacity)?);
        let n_ids = Out::new(n_ids)?;
        n_ids.set(0);
        let options = encode_options(tokenizer, flags)?;
        match tokenizer.encode(text, options, scratch, ids) {
            Ok(n) => n_ids.set(n),
            Err(EncodeError::OutputTooSmall { needed }) => {
                n_ids.set(needed);
                return Err(EncodeError::OutputTooSmall { needed }.into());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_tokenize_scratch(
    model: *const ModelHandle,
    text_size: usize,
    scratch_size: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let (tokenizer, out) = (alive(model)?.model.tokenizer(), Out::new(scratch_size)?);
        check_text(text_size)?;
        out.set(tokenizer.scratch_bytes(text_size));
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_detokenize(
    model: *const ModelHandle,
    ids: *const u32,
    n_ids: usize,
    flags: u32,
    text: *mut c_char,
    capacity: usize,
    text_size: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let tokenizer = alive(model)?.model.tokenizer();
        let (ids, text) = (slice(ids, n_ids)?, room(text.cast::<u8>(), capacity)?);
        let text_size = Out::new(text_size)?;
        text_size.set(0);
        if flags & !SHOW_SPECIAL != 0 {
            return Err(Failure::invalid("a flag that has no meaning here"));
        }
        let skip_special = flags & SHOW_SPECIAL == 0;
        let options = DecodeOptions { skip_special, ..DecodeOptions::default() };
        let mut decoder = Decoder::new(tokenizer, options);
        // Counted first, so that the size is known where the room is too small.
        let mut counter = decoder.clone();
        let mut needed = 0;
        for &id in ids {
            needed += pushed(&mut counter, Some(id))?;
        }
        needed += pushed(&mut counter, None)?;
        text_size.set(needed);
        if needed > text.len() {
            let given = text.len();
            return Err(mote_runtime::memory::TooSmall { needed, given }.into());
        }
        let mut at = 0;
        for &id in ids {
            at += decoder.push(id, text.get_mut(at..).unwrap_or_default())?;
        }
        decoder.finish(text.get_mut(at..).unwrap_or_default())?;
        Ok(())
    })
}

/// The bytes that a token (or the end) writes; the decoder goes on as if they had been written.
fn pushed(decoder: &mut Decoder<'_>, id: Option<u32>) -> Result<usize> {
    // One token's text, as nearly all are; longer ones get memory for a while.
    let mut small = [0; 512];
    let mut push = |out: &mut [u8]| match id {
        Some(id) => decoder.push(id, out),
        None => decoder.finish(out),
    };
    match push(&mut small) {
        Err(mote_runtime::tokenizer::DecodeError::OutputTooSmall { needed }) => {
            Ok(push(Scratch::new(needed)?.as_mut())?)
        }
        result => Ok(result?),
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_token_bytes(
    model: *const ModelHandle,
    id: u32,
    bytes: *mut c_char,
    capacity: usize,
    size: *mut usize,
) -> i32 {
    use mote_runtime::tokenizer::DecodeError;
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let tokenizer = alive(model)?.model.tokenizer();
        let (bytes, size) = (room(bytes.cast::<u8>(), capacity)?, Out::new(size)?);
        size.set(0);
        match tokenizer.token_bytes(id, bytes) {
            Ok(n) => size.set(n),
            Err(DecodeError::OutputTooSmall { needed }) => {
                size.set(needed);
                return Err(DecodeError::OutputTooSmall { needed }.into());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_token_ends(
    model: *const ModelHandle,
    id: u32,
    ends: *mut u32,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let (tokenizer, ends) = (alive(model)?.model.tokenizer(), Out::new(ends)?);
        ends.set(0);
        if id as usize >= tokenizer.len() {
            return Err(mote_runtime::SessionError::Token(id).into());
        }
        ends.set(u32::from(tokenizer.is_end_of_generation(id)));
        Ok(())
    })
}
