//! An n-gram model that answers where the session's own does not.

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

use mote_kernels::arch;
#[cfg(feature = "std")]
use mote_runtime::Degraded;
use mote_runtime::{AnyModel, Deadline, Fallback, FallbackState, LanguageModel, NgramSession};

use crate::argument::Out;
use crate::failure::{Failure, Result};
use crate::memory::Block;
use crate::model::{ModelHandle, Shared, alive};
use crate::session::{SessionHandle, with_state};

/// The n-gram model's session, and what it borrows from.
pub(crate) struct Spare {
    /// Invariant: borrows from the two below, and is not used after they are dropped.
    pub session: NgramSession<'static>,
    pub state: FallbackState,
    model: ManuallyDrop<Shared>,
    block: ManuallyDrop<Block>,
}

impl Spare {
    /// A session of `model` with so many positions, in lent memory or its own.
    fn new(model: &ModelHandle, n_ctx: usize, memory: (*mut c_void, usize)) -> Result<Spare> {
        let shared = Shared::new(model);
        let AnyModel::Ngram(n_grams) = &shared.handle().model else {
            return Err(Failure::invalid("the fallback is no n-gram model"));
        };
        let bytes = NgramSession::plan(n_grams, n_ctx)?.total_bytes;
        let block = Block::new(memory.0, memory.1, Block::bytes_with_room(bytes))?;
        // SAFETY: once, and the session that uses it does not outlive the block.
        let (_, memory) = unsafe { block.split::<()>() };
        let session = match NgramSession::new(n_grams, n_ctx, arch::best(), memory) {
            Ok(session) => session,
            Err(error) => {
                // SAFETY: not used any more.
                unsafe { block.give_back() };
                return Err(error.into());
            }
        };
        let (model, block) = (ManuallyDrop::new(shared), ManuallyDrop::new(block));
        Ok(Spare { session, state: FallbackState::default(), model, block })
    }

    /// As one model with the session's own.
    pub fn with<'a>(
        &'a mut self,
        main: &'a mut (dyn LanguageModel<'static> + 'static),
        late: &'a dyn Fn() -> u64,
    ) -> Speaker<'a> {
        let mut both = Fallback::resume(Some(main), &mut self.session, self.state);
        both.set_deadline(Some(Deadline { clock: late, each: u64::MAX, moment: 1 }));
        Speaker { both, state: Some(&mut self.state) }
    }

    /// There is another deadline: a model that was late may have time now.
    #[cfg(feature = "std")]
    pub fn try_again(&mut self) {
        self.state.degraded = self.state.degraded.filter(|&why| why != Degraded::Deadline);
    }

    /// Takes over the context of the session's own model.
    pub fn follow(&mut self, main: &mut (dyn LanguageModel<'static> + 'static)) -> Result<()> {
        self.state = Fallback::new(main, &mut self.session)?.state();
        Ok(())
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // SAFETY: once; the session, which has nothing to drop, is not used any more.
        unsafe {
            ManuallyDrop::drop(&mut self.model);
            ManuallyDrop::take(&mut self.block).give_back();
        }
    }
}

/// A session, with its fallback if it has one, for a call.
pub(crate) struct Speaker<'a> {
    pub both: Fallback<'a, 'static>,
    /// Where what the fallback knows goes back to.
    pub state: Option<&'a mut FallbackState>,
}

impl Drop for Speaker<'_> {
    fn drop(&mut self) {
        if let Some(state) = &mut self.state {
            **state = self.both.state();
        }
    }
}

impl<'a> Deref for Speaker<'a> {
    type Target = dyn LanguageModel<'static> + 'a;
    fn deref(&self) -> &Self::Target {
        &self.both
    }
}

impl<'a> DerefMut for Speaker<'a> {
    fn deref_mut(&mut self) -> &mut (dyn LanguageModel<'static> + 'a) {
        &mut self.both
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_set_fallback(
    session: *mut SessionHandle,
    fallback: *const ModelHandle,
    memory: *mut c_void,
    memory_size: usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, _| {
            let main = state.session.as_model().position();
            if state.context().position() != main {
                return Err(Failure::invalid("the model has not caught up with its fallback"));
            }
            // Before its memory may be used again.
            state.spare = None;
            if fallback.is_null() {
                return Ok(());
            }
            let n_ctx = state.context().capacity();
            let mut spare = Spare::new(alive(fallback)?, n_ctx, (memory, memory_size))?;
            spare.follow(state.session.as_model_mut())?;
            state.spare = Some(spare);
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_degraded(session: *mut SessionHandle, why: *mut i32) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, _| {
            Out::new(why)?.set(state.degraded() as i32);
            Ok(())
        })
    }
}
