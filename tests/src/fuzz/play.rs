//! What is accepted runs: a model of either kind says some tokens.

use mote_formats::Gguf;
use mote_kernels::CacheType;
use mote_runtime::executor::Serial;
use mote_runtime::{AnyModel, AnySession, Options, Origin, Pooling, Precision, SessionError};

use crate::equal::canonical;

/// Tables may take as much beside the file's own bytes.
const MOST_TABLES: usize = 64 << 20;
/// Larger sessions are not run: they would be slow, and are no other code.
const MOST_SESSION: usize = 4 << 20;
/// Tokens that are fed.
const TOKENS: usize = 8;

const CACHES: [CacheType; 3] = [CacheType::F16, CacheType::F32, CacheType::Q8_0];
const PRECISIONS: [Precision; 3] = [Precision::Bits8, Precision::Bits16, Precision::Mixed];

/// Loads a file, if it is a model, and runs it twice, with other batches: the same bits. `variant` chooses how
/// it computes. Whether it ran.
pub fn play(gguf: &Gguf<'_>, variant: u8) -> bool {
    let Ok(needed) = AnyModel::bytes_needed(gguf) else { return false };
    assert!(needed <= gguf.bytes().len() + MOST_TABLES, "{needed} bytes of tables");
    let mut tables = vec![0; needed];
    let Ok(model) = AnyModel::new(gguf, &mut tables) else { return false };
    let variant = usize::from(variant);
    let options = Options {
        n_ctx: TOKENS.min(model.n_ctx_train()),
        batch: TOKENS,
        cache: CACHES[variant % 3],
        precision: PRECISIONS[variant / 3 % 3],
        ..Options::default()
    };
    let whole = results(&model, &options);
    let parts = results(&model, &Options { batch: 3, ..options });
    let (Some(whole), Some(parts)) = (whole, parts) else { return false };
    assert_eq!(whole, parts, "logits depend on the size of a batch");
    true
}

/// The bits of the logits after some tokens, or of an encoder's vector; `None` where a session would be large,
/// or cannot be.
fn results(model: &AnyModel<'_>, options: &Options) -> Option<Result<Vec<u32>, SessionError>> {
    let plan = AnySession::plan(model, options).ok()?;
    if plan.total_bytes > MOST_SESSION {
        return None;
    }
    // Whoever reads what was not written gets NaN.
    let mut memory = vec![0xff; plan.total_bytes];
    let kernels = mote_kernels::arch::best();
    let mut session = AnySession::new(model, options, kernels, &Serial, &mut memory).ok()?;
    let n_vocab = model.tokenizer().len() as u32;
    let ids: Vec<u32> = (0..options.n_ctx as u32).map(|i| i * 5 % n_vocab).collect();
    let fed = feed(&mut session, &ids);
    if let (Err(SessionError::Encoder), AnySession::Transformer(session)) = (fed, &mut session) {
        let mut vector = vec![0.0; session.model().config().n_embd];
        let embedded = session.embed(&ids, Pooling::Mean, &mut vector, |_| true);
        return Some(embedded.map(|_| bits(&vector)));
    }
    if let Err(error) = fed {
        return Some(Err(error));
    }
    let logits = session.as_model_mut().logits()?;
    assert_eq!(logits.len(), n_vocab as usize);
    Some(Ok(bits(logits)))
}

/// Half of the tokens are the prompt.
fn feed(session: &mut AnySession<'_>, ids: &[u32]) -> Result<(), SessionError> {
    let session = session.as_model_mut();
    let (prompt, generated) = ids.split_at(ids.len().div_ceil(2));
    for (ids, origin) in [(prompt, Origin::Prompt), (generated, Origin::Generated)] {
        if !ids.is_empty() {
            assert_eq!(session.feed_with(ids, origin, &mut |_| true)?, ids.len());
        }
    }
    Ok(())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|&x| canonical(x)).collect()
}
