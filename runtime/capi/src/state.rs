//! Where a session stands: position, tokens, going back, saving, deadlines.

use crate::argument::{Out, room, slice, too_small};
use crate::failure::{Code, Failure};
#[cfg(feature = "std")]
use crate::host::Deadline;
use crate::session::{SessionHandle, with_state};

use mote_runtime::AnySession;

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_position(
    session: *mut SessionHandle,
    position: *mut usize,
    capacity: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, _| {
            let (position, capacity) = (Out::new(position)?, Out::new(capacity)?);
            position.set(state.len());
            capacity.set(state.context().capacity());
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_tokens(
    session: *mut SessionHandle,
    ids: *mut u32,
    capacity: usize,
    n_ids: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, _| {
            let (ids, n_ids) = (room(ids, capacity)?, Out::new(n_ids)?);
            let (fed, drawn) = (state.context().tokens(), state.writing.unfed);
            let len = state.len();
            n_ids.set(len);
            let Some(ids) = ids.get_mut(..len) else {
                return Err(too_small(len, capacity));
            };
            let all = fed.iter().copied().chain(drawn);
            ids.iter_mut().zip(all).for_each(|(place, id)| *place = id);
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_rewind(session: *mut SessionHandle, position: usize) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            if position > state.len() {
                let sentence = format_args!(
                    "position {position} is beyond the {} tokens of the session",
                    state.len()
                );
                return Err(Failure::new(Code::Invalid, sentence));
            }
            control.forget_cancel();
            if position < state.len() {
                state.writing.unfed = None;
                state.model(control.late).rewind(position);
            }
            state.writing.restart();
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_saved_size(
    session: *mut SessionHandle,
    size: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let size = Out::new(size)?;
            state.feed_drawn(control)?;
            size.set(state.whole_session()?.saved_bytes());
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_save(
    session: *mut SessionHandle,
    bytes: *mut u8,
    capacity: usize,
    size: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let (bytes, size) = (room(bytes, capacity)?, Out::new(size)?);
            state.feed_drawn(control)?;
            let session = state.whole_session()?;
            size.set(session.saved_bytes());
            let AnySession::Transformer(session) = session else {
                session.save(bytes)?;
                return Ok(());
            };
            let total = session.position();
            let saved = session.save_with(bytes, &mut || control.go_on(0, total))?;
            saved.map(|_| ()).ok_or_else(|| control.ended())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_restore(
    session: *mut SessionHandle,
    bytes: *const u8,
    size: usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, _| {
            state.session.restore(slice(bytes, size)?)?;
            if let Some(spare) = &mut state.spare {
                spare.follow(state.session.as_model_mut())?;
            }
            state.writing.unfed = None;
            state.writing.restart();
            Ok(())
        })
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_set_deadline(
    session: *mut SessionHandle,
    microseconds: u64,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, _| {
            state.deadline = Deadline::after(microseconds);
            if let Some(spare) = &mut state.spare {
                spare.try_again();
            }
            Ok(())
        })
    }
}
