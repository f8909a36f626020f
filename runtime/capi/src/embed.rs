//! Texts as vectors.

use mote_runtime::{AnySession, Pooling, SessionError, normalize};

use crate::argument::{room, slice};
use crate::failure::{Failure, Result};
use crate::session::{Control, SessionHandle, State, with_state};

/// `MOTE_RAW_LENGTH`.
const RAW_LENGTH: u32 = 1;

impl State {
    fn embed(
        &mut self,
        ids: &[u32],
        (pooling, flags): (u32, u32),
        embedding: &mut [f32],
        control: &mut Control<'_>,
    ) -> Result<()> {
        let AnySession::Transformer(session) = &self.session else {
            return Err(Failure::new(crate::Code::Unsupported, "an n-gram model has no states"));
        };
        let config = *session.model().config();
        let pooling = match pooling {
            0 => config.default_pooling(),
            1 => Pooling::Mean,
            2 => Pooling::First,
            3 => Pooling::Last,
            _ => return Err(Failure::invalid("pooling is none of MOTE_POOLING_...")),
        };
        if flags & !RAW_LENGTH != 0 {
            return Err(Failure::invalid("a flag that has no meaning here"));
        }
        if embedding.len() != config.n_embd {
            return Err(SessionError::Option("n_embedding is not the model's n_embd").into());
        }
        // The context, a fallback's too, is forgotten.
        self.writing.unfed = None;
        self.writing.restart();
        self.model(control.late).rewind(0);
        let AnySession::Transformer(session) = &mut self.session else { return Ok(()) };
        let go_on = |done| control.go_on_alone(done, ids.len());
        match session.embed(ids, pooling, embedding, go_on) {
            Ok(true) => {}
            ended => {
                embedding.fill(0.0);
                return Err(ended.map_or_else(Failure::from, |_| control.ended()));
            }
        }
        if flags & RAW_LENGTH == 0 {
            normalize(embedding);
        }
        Ok(())
    }
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_session_embed(
    session: *mut SessionHandle,
    ids: *const u32,
    n_ids: usize,
    pooling: u32,
    flags: u32,
    embedding: *mut f32,
    n_embedding: usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    unsafe {
        with_state(session, |state, control| {
            let (ids, embedding) = (slice(ids, n_ids)?, room(embedding, n_embedding)?);
            state.embed(ids, (pooling, flags), embedding, control)
        })
    }
}
