//! Sessions: one text each, one call at a time.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_void};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mote_kernels::{CacheType, arch};
use mote_runtime::executor::Executor;
use mote_runtime::speculate::MAX_DRAFTS;
use mote_runtime::{
    AnySession, Budget, Degraded, Fallback, LanguageModel, MAX_BATCH, Options, Plan, Precision,
};

use crate::argument::Out;
use crate::call::{self, panic_if_asked, protected, status};
use crate::failure::{Code, Failure, Result, Sentence};
use crate::fallback::{Spare, Speaker};
use crate::host::{Deadline, Threads};
use crate::memory::Block;
use crate::model::{ModelHandle, Shared, alive as alive_model};
use crate::options::{self, OutStruct, PlanInfo, Progress, SessionOptions};
use crate::system::FloatState;
use crate::write::{Rooms, Writing};

/// "moteSESS", as far as a word goes, in the first bytes of a session's handle as long as it lives.
const TAG: usize = u64::from_be_bytes(*b"moteSESS") as usize;
/// Where a handle was.
const DEAD: usize = u64::from_be_bytes(*b"moteDEAD") as usize;

/// Longest context that is believed; sizes stay far from overflowing.
const MAX_CTX: u32 = 1 << 24;
/// Context where the caller names none and the model was trained for more.
const DEFAULT_CTX: usize = 4096;
const DEFAULT_LEAST_CTX: u32 = 128;
const DEFAULT_BATCH: usize = 512;

/// `mote_session`. The tag is in the first bytes.
#[repr(C)]
pub struct SessionHandle {
    tag: AtomicUsize,
    /// A call is at work.
    busy: AtomicBool,
    /// The call at work, or else the next one, is to end.
    cancel: AtomicBool,
    /// A call panicked: nobody knows what the state is.
    broken: AtomicBool,
    /// Invariant 1: touched only by the call that made `busy` true.
    state: UnsafeCell<State>,
    /// Invariant 2: `state` borrows from these two, and is dropped before them.
    threads: ManuallyDrop<Threads>,
    model: ManuallyDrop<Shared>,
    /// Where the handle itself and everything of the session lie.
    block: ManuallyDrop<Block>,
}

/// What a call works with.
pub(crate) struct State {
    pub session: AnySession<'static>,
    /// Who answers where the session does not.
    pub spare: Option<Spare>,
    /// Why the session is of a fallback alone: a status, or 0.
    alone: u32,
    pub writing: Writing,
    pub deadline: Option<Deadline>,
    progress: Option<Progress>,
    progress_user: *mut c_void,
    error: Sentence,
}

impl State {
    /// The context, to be looked at.
    pub fn context(&self) -> &dyn LanguageModel<'static> {
        match &self.spare {
            Some(spare) => &spare.session,
            None => self.session.as_model(),
        }
    }

    /// The session and its fallback as one model; `late`: see [`Control`].
    pub fn model<'a>(&'a mut self, late: &'a dyn Fn() -> u64) -> Speaker<'a> {
        self.parts(late).0
    }

    /// The same, and how the text goes on.
    pub fn parts<'a>(&'a mut self, late: &'a dyn Fn() -> u64) -> (Speaker<'a>, &'a mut Writing) {
        let session = self.session.as_model_mut();
        let speaker = match &mut self.spare {
            None => {
                Speaker { both: Fallback::resume(None, session, Default::default()), state: None }
            }
            Some(spare) => spare.with(session, late),
        };
        (speaker, &mut self.writing)
    }

    /// The session, if its context is that of its fallback.
    pub fn whole_session(&mut self) -> Result<&mut AnySession<'static>> {
        if self.session.as_model().position() == self.context().position() {
            return Ok(&mut self.session);
        }
        let why = self.spare.as_ref().and_then(|spare| spare.state.degraded);
        Err(why.map_or(Code::Deadline, code_of).into())
    }

    /// Why the answers are not the session's: a status, or 0.
    pub fn degraded(&self) -> u32 {
        let why = self.spare.as_ref().and_then(|spare| spare.state.degraded);
        why.map_or(self.alone, |why| code_of(why) as u32)
    }
}

/// The status that the model's failure has.
pub(crate) fn code_of(why: Degraded) -> Code {
    match why {
        Degraded::Deadline => Code::Deadline,
        Degraded::Damaged => Code::Io,
        _ => Code::NotFinite,
    }
}

/// What a call is told from outside while it computes.
pub(crate) struct Control<'c> {
    float: &'c FloatState,
    cancel: &'c AtomicBool,
    deadline: Option<Deadline>,
    /// 1 when the deadline has passed, for a session with a fallback: no reason to end the call.
    pub late: &'c dyn Fn() -> u64,
    progress: Option<Progress>,
    progress_user: *mut c_void,
    /// Why it had to end.
    reason: Code,
}

impl Control<'_> {
    /// A cancellation that came after the last call had ended is for nothing that comes.
    pub fn forget_cancel(&mut self) {
        self.cancel.store(false, Ordering::Relaxed);
    }

    /// Asked before every layer.
    pub fn go_on(&mut self, done: usize, total: usize) -> bool {
        if self.cancel.swap(false, Ordering::Relaxed) {
            self.reason = Code::Cancelled;
            return false;
        }
        if self.deadline.is_some_and(|deadline| deadline.has_passed()) {
            self.reason = Code::Deadline;
            return false;
        }
        let Some(progress) = self.progress else { return true };
        // SAFETY: the caller promised in the options that the function may be called with this.
        let answer =
            self.float.with_callers(|| unsafe { progress(self.progress_user, done, total) });
        self.reason = Code::Cancelled;
        answer == 0
    }

    /// The same of what no fallback answers in the model's place: its deadline holds.
    pub fn go_on_alone(&mut self, done: usize, total: usize) -> bool {
        if (self.late)() != 0 {
            self.reason = Code::Deadline;
            return false;
        }
        self.go_on(done, total)
    }

    /// The failure of a call that was ended.
    pub fn ended(&self) -> Failure {
        self.reason.into()
    }
}

/// A handle that is alive.
///
/// # Safety
/// If the pointer is not NULL, memory is there.
unsafe fn alive<'a>(session: *const SessionHandle) -> Result<&'a SessionHandle> {
    if session.is_null() {
        return Err(Code::Null.into());
    }
    if !session.is_aligned() {
        return Err(Code::BadHandle.into());
    }
    // SAFETY: there is memory, aligned for the tag.
    let tag = unsafe { &*session.cast::<AtomicUsize>() };
    if tag.load(Ordering::Acquire) != TAG {
        return Err(Code::BadHandle.into());
    }
    // SAFETY: the tag says that a session is there.
    Ok(unsafe { &*session })
}

/// The right to touch a session's state.
struct Lock<'a>(&'a SessionHandle);

impl<'a> Lock<'a> {
    fn new(handle: &'a SessionHandle) -> Option<Lock<'a>> {
        // Made only where it is held: a lock that is dropped unlocks.
        (!handle.busy.swap(true, Ordering::Acquire)).then(|| Lock(handle))
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Runs the body of an exported function on a session's state.
///
/// # Safety
/// If the pointer is not NULL, memory is there.
pub(crate) unsafe fn with_state(
    session: *const SessionHandle,
    work: impl FnOnce(&mut State, &mut Control<'_>) -> Result<()>,
) -> i32 {
    let body = |float: &FloatState| {
        // SAFETY: promised by the caller.
        let handle = match unsafe { alive(session) } {
            Ok(handle) => handle,
            Err(failure) => return failure.code as i32,
        };
        let Some(_lock) = Lock::new(handle) else { return Code::Busy as i32 };
        if handle.broken.swap(true, Ordering::Relaxed) {
            return Code::Internal as i32;
        }
        // SAFETY: invariant 1.
        let state = unsafe { &mut *handle.state.get() };
        let deadline = state.deadline;
        let late = || u64::from(deadline.is_some_and(|deadline| deadline.has_passed()));
        let mut control = Control {
            float,
            cancel: &handle.cancel,
            deadline: deadline.filter(|_| state.spare.is_none() && state.alone == 0),
            late: &late,
            progress: state.progress,
            progress_user: state.progress_user,
            reason: Code::Internal,
        };
        panic_if_asked();
        let result = handle.check_process().and_then(|()| work(state, &mut control));
        if let Err(failure) = &result {
            state.error = failure.sentence;
        }
        handle.broken.store(false, Ordering::Relaxed);
        call::number(&result)
    };
    protected(body).unwrap_or(Code::Internal as i32)
}

impl SessionHandle {
    fn check_process(&self) -> Result<()> {
        if self.threads.are_lost() {
            return Err(Failure::invalid(
                "the session has threads, which a forked process does not have: use one thread",
            ));
        }
        Ok(())
    }
}

/// What the options come to for a model.
struct Resolved {
    options: Options,
    plan: Plan,
    rooms: Rooms,
}

impl Resolved {
    fn new(model: &ModelHandle, asked: &SessionOptions) -> Result<Resolved> {
        options::reserved(asked.reserved_2)?;
        if asked.drafts as usize > MAX_DRAFTS {
            return Err(Failure::invalid("drafts is more than 7"));
        }
        if asked.degraded != 0 && !Code::ALL.iter().any(|&code| code as u32 == asked.degraded) {
            return Err(Failure::invalid("degraded is no status"));
        }
        let model = &model.model;
        let n_ctx = match asked.n_ctx {
            0 => model.n_ctx_train().clamp(1, DEFAULT_CTX),
            n_ctx if n_ctx <= MAX_CTX => n_ctx as usize,
            _ => return Err(Failure::invalid("n_ctx is more than 16777216")),
        };
        let batch = match asked.batch {
            0 => DEFAULT_BATCH,
            batch if batch as usize <= MAX_BATCH => batch as usize,
            _ => return Err(Failure::invalid("batch is more than 65536")),
        };
        let exact = model.all_float();
        let cache = match asked.cache {
            0 if exact => CacheType::F32,
            1 => CacheType::F32,
            0 | 2 => CacheType::F16,
            3 => CacheType::Q8_0,
            _ => return Err(Failure::invalid("cache is none of MOTE_CACHE_...")),
        };
        let precision = match asked.activations {
            0 => Precision::Bits8,
            1 => Precision::Bits16,
            2 => Precision::Mixed,
            _ => return Err(Failure::invalid("activations is none of MOTE_ACTIVATIONS_...")),
        };
        // Who asks for one thread gets by without the system's lists, which take allocations.
        let threads = match asked.threads {
            1 => 1,
            0 => Threads::available(),
            threads => Threads::available().min(threads as usize),
        };
        let logit_rows = 1 + asked.drafts as usize;
        let wanted = Options { n_ctx, batch, logit_rows, precision, cache, threads };
        let rooms = Rooms::new(model.tokenizer().len(), asked)?;
        let (options, plan) = if asked.memory_budget == 0 {
            (wanted, AnySession::plan(model, &wanted)?)
        } else {
            let bytes = usize::try_from(asked.memory_budget).unwrap_or(usize::MAX);
            let least_ctx = match asked.n_ctx_least {
                0 => DEFAULT_LEAST_CTX,
                least => least,
            };
            let budget =
                Budget { bytes, least_ctx: least_ctx as usize, may_narrow: asked.cache == 0 };
            let beside =
                |options: &Options| total_bytes(rooms.bytes(model.tokenizer(), options.n_ctx), 0);
            AnySession::plan_within(model, &wanted, &budget, &beside)?
        };
        Ok(Resolved { options, plan, rooms })
    }

    fn writing_bytes(&self, model: &ModelHandle) -> usize {
        self.rooms.bytes(model.model.tokenizer(), self.options.n_ctx)
    }

    fn total_bytes(&self, model: &ModelHandle) -> usize {
        total_bytes(self.writing_bytes(model), self.plan.total_bytes)
    }
}

/// The handle, what writing needs, and the session's own memory.
fn total_bytes(writing: usize, session: usize) -> usize {
    let bytes = size_of::<SessionHandle>().saturating_add(writing).saturating_add(session);
    Block::bytes_with_room(bytes)
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_plan(
    model: *const ModelHandle,
    options: *const SessionOptions,
    plan: *mut PlanInfo,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let (model, plan) = (alive_model(model)?, OutStruct::new(plan)?);
        let asked = options::read(options)?;
        let resolved = Resolved::new(model, &asked).inspect_err(|failure| {
            options::tell(failure, asked.error, asked.error_size);
        })?;
        let Resolved { options, plan: bytes, .. } = &resolved;
        plan.set(&PlanInfo {
            total_bytes: resolved.total_bytes(model) as u64,
            cache_bytes: bytes.cache_bytes as u64,
            activation_bytes: bytes.activation_bytes as u64,
            logit_bytes: bytes.logit_bytes as u64,
            scratch_bytes: bytes.scratch_bytes as u64,
            writing_bytes: resolved.writing_bytes(model) as u64,
            n_ctx: options.n_ctx as u32,
            batch: options.batch as u32,
            threads: options.threads as u32,
            cache: match options.cache {
                CacheType::F32 => 1,
                CacheType::F16 => 2,
                CacheType::Q8_0 => 3,
            },
            ..PlanInfo::default()
        });
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_new(
    model: *const ModelHandle,
    options: *const SessionOptions,
    session: *mut *mut SessionHandle,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let session = Out::new(session)?;
        session.set(core::ptr::null_mut());
        let model = alive_model(model)?;
        let asked = options::read(options)?;
        let made = make(model, &asked).inspect_err(|failure| {
            options::tell(failure, asked.error, asked.error_size);
        })?;
        session.set(made);
        Ok(())
    })
}

/// # Safety
/// Memory and callbacks of the options are what mote.h demands.
unsafe fn make(model: &ModelHandle, asked: &SessionOptions) -> Result<*mut SessionHandle> {
    let resolved = Resolved::new(model, asked)?;
    let Resolved { options, rooms, .. } = resolved;
    let trained = model.model.n_ctx_train();
    if options.n_ctx > trained {
        let n_ctx = options.n_ctx;
        model.log(format_args!("the model was trained with {trained} positions, not {n_ctx}"));
    }
    if asked.n_ctx != 0 && options.n_ctx < asked.n_ctx as usize {
        let (n_ctx, wanted) = (options.n_ctx, asked.n_ctx);
        model.log(format_args!("a context of {n_ctx} tokens instead of {wanted}: the budget"));
    }
    let block = Block::new(asked.memory, asked.memory_size, resolved.total_bytes(model))?;
    // SAFETY: once, and used as long as the handle lives.
    let (place, memory) = unsafe { block.split::<SessionHandle>() };
    let threads = Threads::new(options.threads, asked.threads == 0);
    // SAFETY: the place was made for a handle, and these are its fields. They stay there until
    // `mote_session_free`, which drops what borrows from them first (invariant 2).
    let (executor, shared): (&'static dyn Executor, &'static ModelHandle) = unsafe {
        (&raw mut (*place).threads).write(ManuallyDrop::new(threads));
        (&raw mut (*place).model).write(ManuallyDrop::new(Shared::new(model)));
        let threads: &Threads = &(*place).threads;
        (threads.executor(), (*place).model.handle())
    };
    let (writing, memory) = memory.split_at_mut(resolved.writing_bytes(model));
    let made =
        Writing::new(shared.model.tokenizer(), rooms, options.n_ctx, writing).and_then(|writing| {
            Ok((writing, AnySession::new(&shared.model, &options, arch::best(), executor, memory)?))
        });
    let (writing, session) = match made {
        Ok(made) => made,
        Err(failure) => {
            // SAFETY: written above, and nothing borrows from them any more.
            unsafe {
                ManuallyDrop::drop(&mut (*place).threads);
                ManuallyDrop::drop(&mut (*place).model);
                block.give_back();
            }
            return Err(failure);
        }
    };
    let state = State {
        session,
        spare: None,
        alone: asked.degraded,
        writing,
        deadline: None,
        progress: asked.progress,
        progress_user: asked.progress_user,
        error: Sentence::EMPTY,
    };
    // SAFETY: the other fields of the same place; the tag last.
    unsafe {
        (&raw mut (*place).busy).write(AtomicBool::new(false));
        (&raw mut (*place).cancel).write(AtomicBool::new(false));
        (&raw mut (*place).broken).write(AtomicBool::new(false));
        (&raw mut (*place).state).write(UnsafeCell::new(state));
        (&raw mut (*place).block).write(ManuallyDrop::new(block));
        (&raw mut (*place).tag).write(AtomicUsize::new(TAG));
    }
    Ok(place)
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_free(session: *mut SessionHandle) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        if session.is_null() {
            return Ok(());
        }
        let handle = alive(session)?;
        match Lock::new(handle) {
            // There is nothing left to unlock.
            Some(lock) => core::mem::forget(lock),
            None => return Err(Code::Busy.into()),
        }
        handle.tag.store(DEAD, Ordering::Release);
        let block = ManuallyDrop::take(&mut (*session).block);
        let threads = ManuallyDrop::take(&mut (*session).threads);
        let model = ManuallyDrop::take(&mut (*session).model);
        core::ptr::drop_in_place((&raw mut (*session).state).cast::<State>());
        threads.end();
        drop(model);
        block.give_back();
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_cancel(session: *const SessionHandle) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        alive(session)?.cancel.store(true, Ordering::Relaxed);
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_error(session: *const SessionHandle) -> *const c_char {
    let text = |code: Code| Code::text_of(code as i32).as_ptr();
    // SAFETY: as mote.h demands.
    let body = |_: &FloatState| unsafe {
        panic_if_asked();
        match alive(session) {
            Err(failure) => text(failure.code),
            Ok(handle) => match Lock::new(handle) {
                None => text(Code::Busy),
                Some(_) if handle.broken.load(Ordering::Relaxed) => text(Code::Internal),
                // SAFETY: invariant 1.
                Some(_) => (*handle.state.get()).error.as_ptr(),
            },
        }
    };
    protected(body).unwrap_or(text(Code::Internal))
}
