//! What is accepted runs: a model of either kind says some tokens.

use mote_formats::Gguf;
use mote_runtime::executor::Serial;
use mote_runtime::{AnyModel, AnySession, Options, Origin, SessionError};

use crate::equal::canonical;

/// Tables may take as much beside the file's own bytes.
const MOST_TABLES: usize = 64 << 20;
/// Larger sessions are not run: they would be slow, and are no other code.
const MOST_SESSION: usize = 4 << 20;
/// Tokens that are fed.
const TOKENS: usize = 8;

/// Loads a file, if it is a model, and runs it twice, with other batches: the same bits. Whether it ran.
pub fn play(gguf: &Gguf<'_>) -> bool {
    let Ok(needed) = AnyModel::bytes_needed(gguf) else { return false };
    assert!(needed <= gguf.bytes().len() + MOST_TABLES, "{needed} bytes of tables");
    let mut tables = vec![0; needed];
    let Ok(model) = AnyModel::new(gguf, &mut tables) else { return false };
    let (Some(whole), Some(parts)) = (logits(&model, TOKENS), logits(&model, 3)) else {
        return false;
    };
    assert_eq!(whole, parts, "logits depend on the size of a batch");
    true
}

/// The bits of the logits after some tokens; `None` where a session would be large. An encoder's are none.
fn logits(model: &AnyModel<'_>, batch: usize) -> Option<Result<Vec<u32>, SessionError>> {
    let n_ctx = TOKENS.min(model.n_ctx_train());
    let options = Options { n_ctx, batch, ..Options::default() };
    let plan = AnySession::plan(model, &options).ok()?;
    if plan.total_bytes > MOST_SESSION {
        return None;
    }
    // Whoever reads what was not written gets NaN.
    let mut memory = vec![0xff; plan.total_bytes];
    let kernels = mote_kernels::arch::best();
    let mut session = AnySession::new(model, &options, kernels, &Serial, &mut memory).ok()?;
    let session = session.as_model_mut();
    let n_vocab = session.n_vocab() as u32;
    let ids: Vec<u32> = (0..n_ctx as u32).map(|i| i * 5 % n_vocab).collect();
    let (prompt, generated) = ids.split_at(n_ctx / 2);
    let mut feed = |ids: &[u32], origin| {
        let fed = session.feed_with(ids, origin, &mut |_| true)?;
        assert_eq!(fed, ids.len());
        Ok(())
    };
    let fed = feed(prompt, Origin::Prompt).and_then(|()| match generated {
        [] => Ok(()),
        ids => feed(ids, Origin::Generated),
    });
    if let Err(error) = fed {
        return Some(Err(error));
    }
    let logits = session.logits()?;
    assert_eq!(logits.len(), n_vocab as usize);
    Some(Ok(logits.iter().map(|&x| canonical(x)).collect()))
}
