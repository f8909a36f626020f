//! Sequences of calls of the C ABI, as the bytes have them: what a program in another language may do
//! that keeps to the rules of mote.h about memory, and to no other.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use mote::{Info, LogitBias, ModelOptions, Piece, PlanInfo, SessionOptions, WritingOptions};

use crate::fuzz::input::Input;
use crate::models::{fixture, llama};
use crate::ngrams::ngram;

/// What a C program knows of a model.
#[repr(C)]
struct ModelHandle([u8; 0]);

/// What it knows of a session.
#[repr(C)]
struct SessionHandle([u8; 0]);

#[rustfmt::skip]
unsafe extern "C" {
    fn mote_status_text(status: i32) -> *const c_char;
    fn mote_model_from_memory(bytes: *const c_void, size: usize, options: *const ModelOptions,
        model: *mut *mut ModelHandle) -> i32;
    fn mote_model_memory(bytes: *const c_void, size: usize, needed: *mut usize) -> i32;
    fn mote_model_retain(model: *mut ModelHandle) -> i32;
    fn mote_model_free(model: *mut ModelHandle) -> i32;
    fn mote_model_get_info(model: *const ModelHandle, info: *mut Info) -> i32;
    fn mote_tokenize(model: *const ModelHandle, text: *const c_char, text_size: usize, flags: u32,
        ids: *mut u32, capacity: usize, n_ids: *mut usize) -> i32;
    fn mote_tokenize_in(model: *const ModelHandle, text: *const c_char, text_size: usize, flags: u32,
        scratch: *mut u8, scratch_size: usize, ids: *mut u32, capacity: usize, n_ids: *mut usize) -> i32;
    fn mote_tokenize_scratch(model: *const ModelHandle, text_size: usize, size: *mut usize) -> i32;
    fn mote_detokenize(model: *const ModelHandle, ids: *const u32, n_ids: usize, flags: u32,
        text: *mut c_char, capacity: usize, text_size: *mut usize) -> i32;
    fn mote_token_bytes(model: *const ModelHandle, id: u32, bytes: *mut c_char, capacity: usize,
        size: *mut usize) -> i32;
    fn mote_token_ends(model: *const ModelHandle, id: u32, ends: *mut u32) -> i32;
    fn mote_session_plan(model: *const ModelHandle, options: *const SessionOptions,
        plan: *mut PlanInfo) -> i32;
    fn mote_session_new(model: *const ModelHandle, options: *const SessionOptions,
        session: *mut *mut SessionHandle) -> i32;
    fn mote_session_free(session: *mut SessionHandle) -> i32;
    fn mote_session_error(session: *const SessionHandle) -> *const c_char;
    fn mote_session_feed(session: *mut SessionHandle, ids: *const u32, n_ids: usize, origin: u32) -> i32;
    fn mote_session_feed_text(session: *mut SessionHandle, text: *const c_char, text_size: usize,
        flags: u32) -> i32;
    fn mote_session_begin(session: *mut SessionHandle, options: *const WritingOptions) -> i32;
    fn mote_session_next(session: *mut SessionHandle, piece: *mut Piece) -> i32;
    fn mote_session_sample(session: *mut SessionHandle, id: *mut u32) -> i32;
    fn mote_session_logits(session: *mut SessionHandle, logits: *mut *const f32, n: *mut usize) -> i32;
    fn mote_session_score(session: *mut SessionHandle, ids: *const u32, n_ids: usize,
        log_probabilities: *mut f64) -> i32;
    fn mote_session_embed(session: *mut SessionHandle, ids: *const u32, n_ids: usize, pooling: u32,
        flags: u32, embedding: *mut f32, n_embedding: usize) -> i32;
    fn mote_session_position(session: *mut SessionHandle, position: *mut usize,
        capacity: *mut usize) -> i32;
    fn mote_session_tokens(session: *mut SessionHandle, ids: *mut u32, capacity: usize,
        n_ids: *mut usize) -> i32;
    fn mote_session_rewind(session: *mut SessionHandle, position: usize) -> i32;
    fn mote_session_saved_size(session: *mut SessionHandle, size: *mut usize) -> i32;
    fn mote_session_save(session: *mut SessionHandle, bytes: *mut u8, capacity: usize,
        size: *mut usize) -> i32;
    fn mote_session_restore(session: *mut SessionHandle, bytes: *const u8, size: usize) -> i32;
    fn mote_session_set_deadline(session: *mut SessionHandle, microseconds: u64) -> i32;
    fn mote_session_set_fallback(session: *mut SessionHandle, fallback: *const ModelHandle,
        memory: *mut c_void, memory_size: usize) -> i32;
    fn mote_session_degraded(session: *mut SessionHandle, why: *mut i32) -> i32;
    fn mote_session_cancel(session: *const SessionHandle) -> i32;
}

/// A call, of which mote.h promises that it fails by a status, whatever it is given.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: handles are NULL or alive, and buffers as long as their sizes say.
        let status = unsafe { $function($($argument),*) };
        let internal = mote::Code::Internal as i32;
        assert!((0..internal).contains(&status), "{}: {status}", stringify!($function));
        assert!(!text(status).is_empty());
        status
    }};
}

const OK: i32 = 0;
const BUSY: i32 = 4;
/// Calls of a sequence.
const MOST_CALLS: usize = 48;
const PLACES: usize = 3;

/// The sentence of a status.
fn text(status: i32) -> &'static CStr {
    // SAFETY: a text that lives for ever.
    unsafe { CStr::from_ptr(mote_status_text(status)) }
}

/// A file where a C program would have it: aligned.
struct File {
    words: Vec<u64>,
    len: usize,
}

impl File {
    fn new(bytes: &[u8]) -> File {
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        File { words, len: bytes.len() }
    }

    fn start(&self) -> *const c_void {
        self.words.as_ptr().cast()
    }
}

/// A Transformer, an n-gram model of the same vocabulary, others with states; and a file that is none.
fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let qwen = fixture("models/qwen2.gguf");
        let ids: Vec<u32> = (0..200).map(|i| (i * i + i / 7) % 23 + 3).collect();
        let small = ngram(&qwen, &ids, 3);
        let others = ["models/nplm.gguf", "models/mamba.gguf"].map(fixture);
        let cut = llama()[..20_000].to_vec();
        [qwen, small].iter().chain(&others).chain([&cut]).map(|bytes| File::new(bytes)).collect()
    })
}

/// What a progress callback knows.
#[derive(Default)]
struct Watched {
    calls: Cell<u32>,
    stops_at: Cell<u32>,
    session: Cell<*mut SessionHandle>,
}

/// Ends the call some time, and tries to use the session meanwhile.
extern "C" fn progress(user: *mut c_void, done: usize, total: usize) -> c_int {
    assert!(done <= total);
    // SAFETY: what was given as `progress_user`, which lives as long as the sequence.
    let watched = unsafe { &*user.cast_const().cast::<Watched>() };
    watched.calls.set(watched.calls.get() + 1);
    let session = watched.session.get();
    if !session.is_null() {
        let (mut position, mut capacity) = (0, 0);
        let status = call!(mote_session_position(session, &mut position, &mut capacity));
        // The call may be at work on another session, which has the same callback.
        assert!(status == OK || status == BUSY);
    }
    (watched.calls.get() == watched.stops_at.get()).into()
}

/// A program: handles in places, and memory that is lent until the end.
struct Program<'a> {
    input: Input<'a>,
    models: [*mut ModelHandle; PLACES],
    sessions: [*mut SessionHandle; PLACES],
    lent: Vec<Vec<u64>>,
    saved: Vec<u8>,
    watched: Box<Watched>,
}

/// Does what the bytes say, and frees everything.
pub fn run(bytes: &[u8]) {
    let mut program = Program {
        input: Input::new(bytes),
        models: [null_mut(); PLACES],
        sessions: [null_mut(); PLACES],
        lent: Vec::new(),
        saved: Vec::new(),
        watched: Box::default(),
    };
    // A sequence without a model reaches nothing.
    program.open_model(0, &ModelOptions::default());
    program.make_session(0);
    for _ in 0..MOST_CALLS {
        if program.input.is_empty() {
            break;
        }
        program.step();
    }
    program.watched.session.set(null_mut());
    for session in program.sessions {
        assert_eq!(call!(mote_session_free(session)), OK);
    }
    for model in program.models {
        assert_eq!(call!(mote_model_free(model)), OK);
    }
}

impl Program<'_> {
    fn step(&mut self) {
        match self.input.below(24) {
            0 => {
                let options = self.model_options();
                let file = self.input.below(files().len());
                self.open_model(file, &options);
            }
            1 => self.move_models(),
            2 => {
                let place = self.input.below(PLACES);
                self.make_session(place);
            }
            3 => self.ask_model(),
            4 => self.tokenize(),
            5 => self.detokenize(),
            6..=8 => self.feed(),
            9 => self.begin(),
            10..=13 => self.next(),
            14 => self.look(),
            15 => self.embed(),
            16 => self.rewind(),
            17 => self.save(),
            18 => self.restore(),
            19 => self.limit(),
            20 => self.fall_back(),
            _ => self.tokens(),
        }
    }

    fn session(&mut self) -> *mut SessionHandle {
        let session = self.sessions[self.input.below(PLACES + 5).saturating_sub(5)];
        self.watched.session.set(session);
        if !session.is_null() {
            // SAFETY: alive, and nobody computes on it.
            let sentence = unsafe { CStr::from_ptr(mote_session_error(session)) };
            assert!(sentence.to_str().is_ok());
        }
        session
    }

    fn model(&mut self) -> *mut ModelHandle {
        self.models[self.input.below(PLACES + 5).saturating_sub(5)]
    }

    /// The pointer, or NULL now and then.
    fn or_null<T>(&mut self, pointer: *mut T) -> *mut T {
        if self.input.below(32) == 31 { null_mut() } else { pointer }
    }

    /// Zeroed memory of so many bytes from a multiple of 8 on, or of one byte less, or not aligned.
    fn lend(&mut self, bytes: usize) -> (*mut c_void, usize) {
        let mut words: Vec<u64> = vec![0; bytes / 8 + 2];
        // Where the words stay, when the vector is moved.
        let start = words.as_mut_ptr().cast::<u8>();
        self.lent.push(words);
        match self.input.below(8) {
            0 => (start.cast(), bytes.saturating_sub(1)),
            1 => (start.wrapping_add(1).cast(), bytes),
            _ => (start.cast(), bytes),
        }
    }

    // ---- Models

    fn model_options(&mut self) -> ModelOptions {
        let mut options = ModelOptions::default();
        let flags = self.input.byte();
        if flags & 1 == 1 {
            let mut needed = 0;
            let file = &files()[usize::from(flags >> 4) % files().len()];
            call!(mote_model_memory(file.start(), file.len, &mut needed));
            (options.memory, options.memory_size) = self.lend(needed.min(1 << 20));
        }
        if flags & 2 == 2 {
            let (error, size) = self.lend(usize::from(flags));
            (options.error, options.error_size) = (error.cast(), size);
        }
        if flags & 4 == 4 {
            options.size = usize::from(self.input.byte()).min(size_of::<ModelOptions>());
        }
        if flags & 8 == 8 {
            (options.copy, options.reserved) =
                (self.input.below(3) as u32, self.input.below(2) as u32);
        }
        options
    }

    fn open_model(&mut self, file: usize, options: &ModelOptions) {
        let Some(place) = self.models.iter().position(|model| model.is_null()) else { return };
        let file = &files()[file];
        let out = &raw mut self.models[place];
        let status = call!(mote_model_from_memory(file.start(), file.len, options, out));
        assert_eq!(status == OK, !self.models[place].is_null());
    }

    /// A handle more, or one less.
    fn move_models(&mut self) {
        let from = self.input.below(PLACES);
        match self.models.iter().position(|model| model.is_null()) {
            Some(to) if self.input.below(2) == 0 => {
                if call!(mote_model_retain(self.models[from])) == OK {
                    self.models[to] = self.models[from];
                }
            }
            _ => {
                assert_eq!(call!(mote_model_free(self.models[from])), OK);
                self.models[from] = null_mut();
            }
        }
    }

    fn ask_model(&mut self) {
        let model = self.model();
        let mut info = Info::default();
        if self.input.below(4) == 0 {
            info.size = self.input.byte().into();
            info.size = info.size.min(size_of::<Info>());
        }
        let info = &raw mut info;
        let info = self.or_null(info);
        call!(mote_model_get_info(model, info));
        let (id, mut ends) = (self.id(), 0);
        if call!(mote_token_ends(model, id, &mut ends)) == OK {
            assert!(ends <= 1);
        }
        let mut bytes = vec![0_u8; self.input.below(24)];
        let mut size = 0;
        let (start, capacity) = (bytes.as_mut_ptr().cast(), bytes.len());
        if call!(mote_token_bytes(model, id, start, capacity, &mut size)) == OK {
            assert!(size <= capacity);
        }
    }

    /// Mostly an id that there is.
    fn id(&mut self) -> u32 {
        match self.input.byte() {
            byte @ 0..240 => u32::from(byte) % 32,
            byte @ 240..250 => u32::from(byte),
            _ => u32::MAX,
        }
    }

    fn ids(&mut self) -> Vec<u32> {
        (0..self.input.below(12)).map(|_| self.id()).collect()
    }

    fn tokenize(&mut self) {
        let (model, flags) = (self.model(), u32::from(self.input.byte()) % 18);
        let mut ids = vec![0_u32; self.input.below(20)];
        let scratch = self.input.below(400);
        let written = self.input.string();
        let (start, len) = (written.as_ptr().cast(), written.len());
        let (mut n, mut needed) = (0, 0);
        let out = ids.as_mut_ptr();
        let status = call!(mote_tokenize(model, start, len, flags, out, ids.len(), &mut n));
        assert!(status != OK || n <= ids.len());
        call!(mote_tokenize_scratch(model, len, &mut needed));
        let mut scratch = vec![0_u8; if scratch == 0 { needed } else { scratch }];
        let (out, room) = (ids.as_mut_ptr(), scratch.as_mut_ptr());
        let room = (room, scratch.len());
        let lent = call!(mote_tokenize_in(
            model,
            start,
            len,
            flags,
            room.0,
            room.1,
            out,
            ids.len(),
            &mut n
        ));
        assert!(lent != OK || n <= ids.len());
        assert!(scratch.len() < needed || lent == status, "{lent}, not {status}");
    }

    fn detokenize(&mut self) {
        let (model, ids, flags) = (self.model(), self.ids(), self.input.below(6) as u32);
        let mut text = vec![0_u8; self.input.below(64)];
        let (start, mut n) = (text.as_mut_ptr().cast(), 0);
        let status = call!(mote_detokenize(
            model,
            ids.as_ptr(),
            ids.len(),
            flags,
            start,
            text.len(),
            &mut n
        ));
        assert!(status != OK || std::str::from_utf8(&text[..n]).is_ok(), "{text:?}");
    }

    // ---- Sessions

    fn session_options(&mut self) -> SessionOptions {
        let mut options =
            SessionOptions { n_ctx: 24, batch: 5, threads: 1, ..SessionOptions::default() };
        let flags = self.input.byte();
        if flags & 1 == 1 {
            (options.n_ctx, options.batch) = (self.input.byte().into(), self.input.byte().into());
            (options.n_ctx_least, options.drafts) =
                (self.input.below(40) as u32, self.input.below(9) as u32);
        }
        if flags & 2 == 2 {
            (options.cache, options.activations) =
                (self.input.below(5) as u32, self.input.below(4) as u32);
            (options.max_top_k, options.max_biases) =
                (self.input.byte().into(), self.input.byte().into());
            options.max_stop_bytes = self.input.byte().into();
        }
        if flags & 4 == 4 {
            options.memory_budget = u64::from(self.input.word()) >> 8;
        }
        if flags & 8 == 8 {
            options.size = usize::from(self.input.byte()).min(size_of::<SessionOptions>());
        }
        if flags & 16 == 16 {
            options.degraded = self.input.below(22) as u32;
        }
        if flags & 32 == 32 {
            options.progress = Some(progress);
            options.progress_user = (&raw const *self.watched).cast_mut().cast();
            self.watched.stops_at.set(self.watched.calls.get() + u32::from(self.input.byte()));
        }
        options
    }

    fn make_session(&mut self, place: usize) {
        if !self.sessions[place].is_null() {
            assert_eq!(call!(mote_session_free(self.sessions[place])), OK);
            self.sessions[place] = null_mut();
        }
        self.watched.session.set(null_mut());
        let (model, mut options) = (self.model(), self.session_options());
        let mut plan = PlanInfo::default();
        let planned = call!(mote_session_plan(model, &options, &mut plan));
        if plan.total_bytes > 16 << 20 {
            return;
        }
        if planned == OK && self.input.below(3) == 0 {
            (options.memory, options.memory_size) = self.lend(plan.total_bytes as usize);
        }
        let out = &raw mut self.sessions[place];
        let made = call!(mote_session_new(model, &options, out));
        assert_eq!(made == OK, !self.sessions[place].is_null());
        assert!(planned == OK || made != OK, "made, but not to be planned: {planned}");
    }

    fn feed(&mut self) {
        let session = self.session();
        match self.input.below(3) {
            0 => {
                let text = self.input.string();
                let flags = self.input.below(18) as u32;
                call!(mote_session_feed_text(session, text.as_ptr().cast(), text.len(), flags));
            }
            1 => {
                let ids = self.ids();
                let mut scores = vec![0.0; ids.len()];
                let out = scores.as_mut_ptr();
                if call!(mote_session_score(session, ids.as_ptr(), ids.len(), out)) == OK {
                    assert!(scores.iter().all(|score| !score.is_nan() && *score <= 1e-6));
                }
            }
            _ => {
                let (ids, origin) = (self.ids(), self.input.below(3) as u32);
                call!(mote_session_feed(session, ids.as_ptr(), ids.len(), origin));
            }
        }
    }

    fn begin(&mut self) {
        let session = self.session();
        let mut options = WritingOptions { seed: self.input.byte().into(), ..Default::default() };
        let flags = self.input.byte();
        if flags & 1 == 1 {
            options.temperature = f32::from_bits(self.input.word());
            options.top_p = f32::from(self.input.byte()) / 200.0;
            options.top_k = self.input.byte().into();
        }
        if flags & 2 == 2 {
            options.min_p = f32::from_bits(self.input.word());
            options.repetition_penalty = f32::from_bits(self.input.word());
            options.frequency_penalty = f32::from_bits(self.input.word());
            options.penalty_window = self.input.byte().into();
        }
        if flags & 4 == 4 {
            (options.max_tokens, options.ignore_eos) =
                (self.input.byte().into(), self.input.below(3) as u32);
            options.show_special = self.input.below(3) as u32;
        }
        // Strings as C has them: what is behind a NUL is not there.
        let mut stops = Vec::new();
        for _ in 0..self.input.below(if flags & 8 == 8 { 4 } else { 1 }) {
            stops.push([self.input.string(), b"\0"].concat());
        }
        let stops: Vec<*const c_char> = stops.iter().map(|stop| stop.as_ptr().cast()).collect();
        (options.stops, options.n_stops) = (stops.as_ptr(), stops.len());
        let mut biases = Vec::new();
        for _ in 0..self.input.below(if flags & 16 == 16 { 4 } else { 1 }) {
            biases.push(LogitBias { id: self.id(), value: f32::from_bits(self.input.word()) });
        }
        (options.biases, options.n_biases) = (biases.as_ptr(), biases.len());
        call!(mote_session_begin(session, &options));
    }

    fn next(&mut self) {
        let session = self.session();
        let mut piece = Piece::default();
        if call!(mote_session_next(session, &mut piece)) == OK && !piece.text.is_null() {
            // SAFETY: the session's text, until the next call.
            let text = unsafe { std::slice::from_raw_parts(piece.text.cast(), piece.text_size) };
            assert!(std::str::from_utf8(text).is_ok(), "{text:?}");
        }
        let mut ids = [0; 2];
        let drawn = ids.each_mut().map(|id| call!(mote_session_sample(session, id)));
        if drawn == [OK, OK] {
            assert_eq!(ids[0], ids[1], "drawn again, another token");
        }
    }

    fn look(&mut self) {
        let session = self.session();
        let (mut logits, mut n) = (null(), 0);
        if call!(mote_session_logits(session, &mut logits, &mut n)) == OK {
            // SAFETY: the session's logits, until the next call.
            let logits: &[f32] = unsafe { std::slice::from_raw_parts(logits, n) };
            assert!(logits.iter().all(|logit| !logit.is_nan()));
        }
        let mut why = 0;
        call!(mote_session_degraded(session, &mut why));
    }

    fn embed(&mut self) {
        let (session, ids) = (self.session(), self.ids());
        let mut vector = vec![0.0; *self.input.one_of(&[32, 16, 64, 0, 33])];
        let (pooling, flags) = (self.input.below(5) as u32, self.input.below(3) as u32);
        let (out, n) = (vector.as_mut_ptr(), vector.len());
        call!(mote_session_embed(session, ids.as_ptr(), ids.len(), pooling, flags, out, n));
    }

    fn tokens(&mut self) {
        let session = self.session();
        let (mut position, mut capacity, mut n) = (0, 0, 0);
        let known = call!(mote_session_position(session, &mut position, &mut capacity));
        let mut ids = vec![0_u32; position];
        let status = call!(mote_session_tokens(session, ids.as_mut_ptr(), ids.len(), &mut n));
        assert!(known != OK || (status, n) == (OK, position));
        assert!(position <= capacity);
    }

    fn rewind(&mut self) {
        let (session, to) = (self.session(), self.input.below(30));
        call!(mote_session_rewind(session, to));
    }

    fn save(&mut self) {
        let session = self.session();
        let (mut size, mut written) = (0, 0);
        if call!(mote_session_saved_size(session, &mut size)) != OK {
            return;
        }
        let mut bytes = vec![0; size];
        let room = size - self.input.below(2).min(size);
        if call!(mote_session_save(session, bytes.as_mut_ptr(), room, &mut written)) == OK {
            assert_eq!(written, size);
            self.saved = bytes;
        }
    }

    fn restore(&mut self) {
        let session = self.session();
        let mut bytes = self.saved.clone();
        if self.input.below(3) == 0 && !bytes.is_empty() {
            let at = self.input.below(bytes.len());
            bytes[at] ^= self.input.byte();
        }
        call!(mote_session_restore(session, bytes.as_ptr(), bytes.len()));
    }

    /// Deadlines that have passed, that never pass; cancelled before it begins.
    fn limit(&mut self) {
        let session = self.session();
        match self.input.below(4) {
            0 => call!(mote_session_set_deadline(session, 0)),
            1 => call!(mote_session_set_deadline(session, u64::MAX)),
            2 => call!(mote_session_set_deadline(session, u64::MAX - 1)),
            _ => call!(mote_session_cancel(session)),
        };
    }

    fn fall_back(&mut self) {
        let (session, model) = (self.session(), self.model());
        let (memory, size) = match self.input.below(3) {
            0 => self.lend(4096),
            _ => (null_mut(), 0),
        };
        call!(mote_session_set_fallback(session, model, memory, size));
    }
}
