//! Writing on: feeding tokens, drawing the next one, and its text in pieces.

use core::ffi::c_char;

use mote_kernels::Candidate;
use mote_runtime::memory::{Carver, Measure};
use mote_runtime::speculate::{Drafter, Lookup, Speculation};
use mote_runtime::tokenizer::{DecodeOptions, Decoder, Tokenizer};
use mote_runtime::{LanguageModel, Origin, Pieces, StopReason, sample};

use crate::argument::{Out, room, slice, string};
use crate::failure::{Failure, Result};
use crate::host::CLOCK;
use crate::options::{self, LogitBias, OutStruct, Piece, SessionOptions, WritingOptions};
use crate::session::{Control, SessionHandle, State, with_state};
#[cfg(feature = "std")]
use crate::tokens;

const DEFAULT_STOP_BYTES: u32 = 256;
const DEFAULT_BIASES: u32 = 64;
/// Largest bias: the sum with a logit stays finite.
const MAX_BIAS: f32 = 1e30;

/// How much may be asked of writing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    candidates: usize,
    biases: usize,
    stop_bytes: usize,
    /// Tokens are drafted.
    drafts: bool,
}

impl Rooms {
    pub fn new(n_vocab: usize, asked: &SessionOptions) -> Result<Rooms> {
        let or = |value: u32, default: u32| if value == 0 { default } else { value } as usize;
        let rooms = Rooms {
            candidates: or(asked.max_top_k, u32::MAX).min(n_vocab),
            biases: or(asked.max_biases, DEFAULT_BIASES),
            stop_bytes: or(asked.max_stop_bytes, DEFAULT_STOP_BYTES),
            drafts: asked.drafts > 0,
        };
        if rooms.biases > 1 << 20 {
            return Err(Failure::invalid("max_biases is more than 1048576"));
        }
        if rooms.stop_bytes > 1 << 20 {
            return Err(Failure::invalid("max_stop_bytes is more than 1048576"));
        }
        Ok(rooms)
    }

    /// Bytes that [`Writing::new`] needs.
    pub fn bytes(&self, tokenizer: &Tokenizer<'_>, n_ctx: usize) -> usize {
        let mut measure = Measure::default();
        measure.add::<Candidate>(self.candidates).add::<f32>(n_ctx + self.biases);
        measure.add::<u32>(self.biases).add::<f32>(self.biases).add::<u8>(self.stop_bytes);
        measure.add::<u8>(self.text_bytes(tokenizer)).add::<u8>(self.lookup_bytes(n_ctx));
        measure.bytes()
    }

    fn lookup_bytes(&self, n_ctx: usize) -> usize {
        if self.drafts { Lookup::bytes_needed(n_ctx) } else { 0 }
    }

    fn text_bytes(&self, tokenizer: &Tokenizer<'_>) -> usize {
        let decoder = Decoder::new(tokenizer, DecodeOptions::default());
        Pieces::bytes_needed(&decoder, self.stop_bytes)
    }
}

/// How the text goes on, and how far it is.
pub(crate) struct Writing {
    sampling: sample::Options,
    max_tokens: usize,
    ignore_eos: bool,
    show_special: bool,
    candidates: &'static mut [Candidate],
    /// Logits that penalties and biases changed, as they were.
    spare: &'static mut [f32],
    bias_ids: &'static mut [u32],
    bias_values: &'static mut [f32],
    n_biases: usize,
    /// Stop strings, each with a NUL behind it.
    stops: &'static mut [u8],
    stop_bytes: usize,
    pieces: Pieces<'static, 'static>,
    /// The next token begins a text of its own.
    is_fresh: bool,
    /// Drawn, but not fed yet, so that its text is not held up by it.
    pub unfed: Option<u32>,
    written: usize,
    stopped: Option<StopReason>,
    lookup: Option<Lookup<'static>>,
    speculation: Speculation,
}

impl Writing {
    pub fn new(
        tokenizer: &Tokenizer<'static>,
        rooms: Rooms,
        n_ctx: usize,
        memory: &'static mut [u8],
    ) -> Result<Writing> {
        let mut carver = Carver::new(memory);
        let candidates = carver.take(rooms.candidates)?;
        let spare = carver.take(n_ctx + rooms.biases)?;
        let (bias_ids, bias_values) = (carver.take(rooms.biases)?, carver.take(rooms.biases)?);
        let stops = carver.take(rooms.stop_bytes)?;
        let text = carver.take(rooms.text_bytes(tokenizer))?;
        let lookup = carver.take(rooms.lookup_bytes(n_ctx))?;
        let mut lookup = if rooms.drafts { Some(Lookup::new(n_ctx, lookup)?) } else { None };
        let drafters = [lookup.as_mut().map(|lookup| lookup as &mut dyn Drafter), None];
        let speculation = Speculation::new(&drafters, CLOCK);
        let decoder = Decoder::new(tokenizer, DecodeOptions::default());
        let defaults = WritingOptions::default();
        let mut sampling = sampling(&defaults)?;
        // The default top-k is a wish.
        sampling.top_k = sampling.top_k.min(candidates.len().max(1));
        Ok(Writing {
            sampling,
            max_tokens: usize::MAX,
            ignore_eos: false,
            show_special: false,
            candidates,
            spare,
            bias_ids,
            bias_values,
            n_biases: 0,
            stops,
            stop_bytes: 0,
            pieces: Pieces::new(decoder, text),
            is_fresh: true,
            unfed: None,
            written: 0,
            stopped: None,
            lookup,
            speculation,
        })
    }

    /// Ends the text that was being written: another one begins with the next token.
    pub fn restart(&mut self) {
        (self.is_fresh, self.written, self.stopped) = (true, 0, None);
    }

    /// Takes all options, or none if one of them cannot be.
    ///
    /// # Safety
    /// The pointers in the options are what mote.h demands.
    unsafe fn set(&mut self, n_vocab: usize, asked: &WritingOptions) -> Result<()> {
        options::reserved(asked.reserved)?;
        let sampling = sampling(asked)?;
        sampling.check()?;
        if sampling.candidates(n_vocab) > self.candidates.len() {
            return Err(Failure::invalid("top_k is more than the session's max_top_k"));
        }
        let ignore_eos = options::flag(asked.ignore_eos, "ignore_eos")?;
        let show_special = options::flag(asked.show_special, "show_special")?;
        let (mut stops, mut biases): (&[*const c_char], &[LogitBias]) = (&[], &[]);
        // SAFETY: as mote.h demands.
        unsafe {
            if asked.n_stops > 0 {
                stops = slice(asked.stops, asked.n_stops)?;
            }
            if asked.n_biases > 0 {
                biases = slice(asked.biases, asked.n_biases)?;
            }
        }
        check_biases(biases, n_vocab, self.bias_ids.len())?;
        let mut stop_bytes = 0;
        for &stop in stops {
            // SAFETY: as mote.h demands.
            let stop = unsafe { string(stop, self.stops.len()) }?;
            if stop.is_empty() || core::str::from_utf8(stop).is_err() {
                return Err(Failure::invalid("a stop string is empty, or not UTF-8"));
            }
            stop_bytes += stop.len() + 1;
            if stop_bytes > self.stops.len() {
                return Err(Failure::invalid("more stop strings than max_stop_bytes has room for"));
            }
        }
        let mut at = 0;
        for &stop in stops {
            // SAFETY: as above.
            let stop = unsafe { string(stop, self.stops.len()) }?;
            let places = self.stops.iter_mut().skip(at);
            places.zip(stop.iter().chain(&[0])).for_each(|(place, byte)| *place = *byte);
            at += stop.len() + 1;
        }
        self.stop_bytes = at;
        self.n_biases = biases.len();
        let places = self.bias_ids.iter_mut().zip(&mut *self.bias_values);
        places.zip(biases).for_each(|((id, value), bias)| (*id, *value) = (bias.id, bias.value));
        (self.sampling, self.ignore_eos, self.show_special) = (sampling, ignore_eos, show_special);
        self.max_tokens = match asked.max_tokens {
            0 => usize::MAX,
            most => most as usize,
        };
        self.restart();
        Ok(())
    }

    /// The token for the next position. The logits stay as they are.
    fn draw(&mut self, model: &mut dyn LanguageModel<'static>) -> Result<u32> {
        let kernels = model.kernels();
        let Some((logits, recent)) = model.logits_and_tokens() else {
            return Err(mote_runtime::SessionError::Empty.into());
        };
        let window = self.sampling.penalty_window.min(recent.len());
        let changed = recent.iter().skip(recent.len() - window);
        let biased = self.bias_ids.get(..self.n_biases).unwrap_or_default();
        let changed = || changed.clone().chain(biased).map(|&id| id as usize);
        for (id, spare) in changed().zip(self.spare.iter_mut()) {
            *spare = logits.get(id).copied().unwrap_or_default();
        }
        for (&id, value) in biased.iter().zip(&*self.bias_values) {
            logits.get_mut(id as usize).into_iter().for_each(|logit| *logit += value);
        }
        let picked = sample::pick(kernels, &self.sampling, logits, recent, self.candidates);
        for (id, spare) in changed().zip(self.spare.iter()) {
            logits.get_mut(id).into_iter().for_each(|logit| *logit = *spare);
        }
        Ok(picked?)
    }

    /// Decodes a token that was drawn, and decides whether the text ends with it.
    fn show(&mut self, tokenizer: &Tokenizer<'_>, id: u32, has_room: bool) -> Result<()> {
        if !self.ignore_eos && tokenizer.is_end_of_generation(id) {
            self.stopped = Some(StopReason::Eos);
        } else if !has_room {
            self.stopped = Some(StopReason::Length);
        }
        let stops = self.stops.get(..self.stop_bytes).unwrap_or_default();
        let stops = stops.split(|&byte| byte == 0);
        let stops = stops.filter(|stop| !stop.is_empty());
        if self.pieces.push(id, stops, self.stopped.is_some())? {
            self.stopped = Some(StopReason::Stop);
        }
        Ok(())
    }
}

fn sampling(asked: &WritingOptions) -> Result<sample::Options> {
    let sampling = sample::Options {
        temperature: asked.temperature,
        top_k: asked.top_k as usize,
        top_p: asked.top_p,
        min_p: asked.min_p,
        repetition_penalty: asked.repetition_penalty,
        frequency_penalty: asked.frequency_penalty,
        presence_penalty: asked.presence_penalty,
        penalty_window: asked.penalty_window as usize,
        seed: asked.seed,
    };
    Ok(sampling)
}

fn check_biases(biases: &[LogitBias], n_vocab: usize, most: usize) -> Result<()> {
    if biases.len() > most {
        return Err(Failure::invalid("more biases than the session's max_biases"));
    }
    for (i, bias) in biases.iter().enumerate() {
        if bias.id as usize >= n_vocab {
            return Err(mote_runtime::SessionError::Token(bias.id).into());
        }
        // Written so that NaN fails.
        let is_sound = bias.value.abs() <= MAX_BIAS;
        if !is_sound {
            return Err(Failure::invalid("a bias is not between -1e30 and 1e30"));
        }
        if biases.iter().take(i).any(|other| other.id == bias.id) {
            return Err(Failure::invalid("a token has two biases"));
        }
    }
    Ok(())
}

impl State {
    /// Tokens of the text, the last one of which may not be fed yet.
    pub fn len(&self) -> usize {
        self.context().position() + usize::from(self.writing.unfed.is_some())
    }

    /// Feeds the token that was drawn last.
    pub fn feed_drawn(&mut self, control: &mut Control<'_>) -> Result<()> {
        let Some(id) = self.writing.unfed else { return Ok(()) };
        let late = control.late;
        let (mut model, writing) = self.parts(late);
        let mut go_on = |done| control.go_on(done, 1);
        let fed = match &mut writing.lookup {
            Some(lookup) => {
                let wanted = writing.max_tokens - writing.written.min(writing.max_tokens);
                let drafters = &mut [Some(lookup as &mut dyn Drafter), None];
                writing.speculation.feed(drafters, &mut *model, (id, wanted), &mut go_on)?
            }
            None => model.feed_with(&[id], Origin::Generated, &mut go_on)?,
        };
        if fed == 0 {
            return Err(control.ended());
        }
        writing.unfed = None;
        Ok(())
    }

    fn feed(&mut self, ids: &[u32], origin: Origin, control: &mut Control<'_>) -> Result<()> {
        let late = control.late;
        let mut go_on = |done| control.go_on(done, ids.len());
        match self.model(late).feed_with(ids, origin, &mut go_on)? {
            fed if fed == ids.len() => Ok(()),
            _ => Err(control.ended()),
        }
    }

    /// Feeds tokens of the caller's, which end the text that was being written.
    fn feed_given(&mut self, ids: &[u32], origin: Origin, control: &mut Control<'_>) -> Result<()> {
        self.feed_drawn(control)?;
        self.writing.restart();
        self.feed(ids, origin, control)
    }

    /// Sees to it that there are logits.
    fn recall(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.feed_drawn(control)?;
        let late = control.late;
        match self.model(late).recall(&mut || control.go_on(0, 1))? {
            true => Ok(()),
            false => Err(control.ended()),
        }
    }

    fn has_room(&self) -> bool {
        self.writing.written < self.writing.max_tokens && self.len() < self.context().capacity()
    }

    /// Writes one more token; `None` when the text has ended.
    fn next(&mut self, control: &mut Control<'_>) -> Result<Option<u32>> {
        if self.writing.stopped.is_none() && !self.has_room() {
            self.writing.stopped = Some(StopReason::Length);
        }
        if self.writing.stopped.is_some() {
            return Ok(None);
        }
        if !control.go_on(0, 1) {
            return Err(control.ended());
        }
        self.recall(control)?;
        let id = self.draw(control)?;
        let tokenizer = self.context().tokenizer();
        if core::mem::take(&mut self.writing.is_fresh) {
            let bos = tokenizer.bos();
            let options = DecodeOptions {
                skip_special: !self.writing.show_special,
                text_start: self.context().tokens().iter().all(|&id| Some(id) == bos),
                raw: false,
            };
            self.writing.pieces.restart(Decoder::new(tokenizer, options));
        }
        self.writing.unfed = Some(id);
        self.writing.written += 1;
        let has_room = self.has_room();
        self.writing.show(tokenizer, id, has_room)?;
        Ok(Some(id))
    }

    /// The token for the next position, where there are logits.
    fn draw(&mut self, control: &Control<'_>) -> Result<u32> {
        let (mut model, writing) = self.parts(control.late);
        writing.draw(&mut *model)
    }

    /// ln p of each of the ids, given all before it.
    fn score(&mut self, ids: &[u32], out: &mut [f64], control: &mut Control<'_>) -> Result<()> {
        self.feed_drawn(control)?;
        self.context().check(ids)?;
        self.writing.restart();
        out.fill(0.0);
        let late = control.late;
        let mut go_on = |done| control.go_on(done, ids.len());
        let mut set = |i: usize, ln| {
            if let Some(place) = out.get_mut(i) {
                *place = ln;
            }
        };
        let done = self.model(late).score_tokens(ids, Origin::Prompt, &mut go_on, &mut set)?;
        if done < ids.len() { Err(control.ended()) } else { Ok(()) }
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_begin(
    session: *mut SessionHandle,
    options: *const WritingOptions,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let n_vocab = state.context().n_vocab();
            state.writing.set(n_vocab, &options::read(options)?)?;
            control.forget_cancel();
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_feed(
    session: *mut SessionHandle,
    ids: *const u32,
    n_ids: usize,
    origin: u32,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let origin = match origin {
                0 => Origin::Prompt,
                1 => Origin::Generated,
                _ => return Err(Failure::invalid("origin is none of MOTE_PROMPT, MOTE_GENERATED")),
            };
            state.feed_given(slice(ids, n_ids)?, origin, control)
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_feed_text(
    session: *mut SessionHandle,
    text: *const c_char,
    text_size: usize,
    flags: u32,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let tokenizer = state.context().tokenizer();
            let text = slice(text.cast::<u8>(), text_size)?;
            let mut options = tokens::encode_options(tokenizer, flags)?;
            options.bos &= state.len() == 0;
            tokens::encode(tokenizer, text, options, |ids| {
                state.feed_given(ids, Origin::Prompt, control)
            })
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_next(session: *mut SessionHandle, piece: *mut Piece) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let out = OutStruct::new(piece)?;
            let empty = Piece { text: c"".as_ptr(), id: u32::MAX, ..Piece::default() };
            out.set(&empty);
            let id = state.next(control)?;
            let stop = match state.writing.stopped {
                None => 0,
                Some(StopReason::Eos) => 1,
                Some(StopReason::Stop) => 2,
                Some(StopReason::Length | StopReason::Complete) => 3,
            };
            out.set(&match id {
                None => Piece { stop, ..empty },
                Some(id) => {
                    let text = state.writing.pieces.text();
                    let start = if text.is_empty() { empty.text } else { text.as_ptr().cast() };
                    let degraded = state.degraded();
                    Piece { text: start, text_size: text.len(), id, stop, degraded, ..empty }
                }
            });
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_sample(session: *mut SessionHandle, id: *mut u32) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let id = Out::new(id)?;
            if !control.go_on(0, 1) {
                return Err(control.ended());
            }
            state.recall(control)?;
            id.set(state.draw(control)?);
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_logits(
    session: *mut SessionHandle,
    logits: *mut *const f32,
    n_logits: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let (logits, n_logits) = (Out::new(logits)?, Out::new(n_logits)?);
            logits.set(core::ptr::null());
            n_logits.set(0);
            state.recall(control)?;
            let mut model = state.model(control.late);
            let found = model.logits().unwrap_or_default();
            n_logits.set(found.len());
            logits.set(found.as_ptr());
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_score(
    session: *mut SessionHandle,
    ids: *const u32,
    n_ids: usize,
    log_probabilities: *mut f64,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let (ids, out) = (slice(ids, n_ids)?, room(log_probabilities, n_ids)?);
            state.score(ids, out, control)
        })
    }
}
