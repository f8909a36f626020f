//! A plan for at most so many bytes.

use core::fmt;

use mote_kernels::CacheType;

use crate::config::Config;
use crate::error::SessionError;
use crate::plan::{Options, Plan};

/// Batches are not made smaller than this: prefill would be slow, and little memory saved.
const LEAST_BATCH: usize = 32;

/// Memory for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes at most: [`Plan::total_bytes`] and what the program needs beside them.
    pub bytes: usize,
    /// A context of fewer positions is of no use.
    pub least_ctx: usize,
    /// Whether a narrower cache will do than the options ask for: F16, or at last Q8_0 where the heads
    /// fit it.
    pub may_narrow: bool,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BudgetError {
    /// Too little memory.
    TooSmall {
        /// Bytes that there are.
        budget: usize,
        /// Bytes that the smallest acceptable context needs.
        needed: usize,
        /// Its positions.
        n_ctx: usize,
    },
    /// The options cannot be, whatever the memory.
    Options(SessionError),
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BudgetError::TooSmall { budget, needed, n_ctx } => write!(
                f,
                "a context of {n_ctx} tokens needs {needed} bytes of memory, the budget is {budget}"
            ),
            BudgetError::Options(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for BudgetError {}

impl From<SessionError> for BudgetError {
    fn from(error: SessionError) -> Self {
        BudgetError::Options(error)
    }
}

impl Plan {
    /// The options nearest to `wanted` that fit a budget, and their plan. What is given up, in this
    /// order: rows of logits but one, then batches are halved, down to 32 tokens (both change speed, not
    /// results); an F32 cache becomes F16, and that Q8_0; the context becomes shorter. `beside` says what the program itself needs with some
    /// options, in bytes; more for a longer context, if that.
    pub fn within(
        config: &Config,
        wanted: &Options,
        budget: &Budget,
        beside: impl Fn(&Options) -> usize,
    ) -> Result<(Options, Plan), BudgetError> {
        Plan::fitting(&|options| Plan::new(config, options), wanted, budget, &beside)
    }

    /// The same for any kind of model.
    pub(crate) fn fitting(
        plan_of: &dyn Fn(&Options) -> Result<Plan, SessionError>,
        wanted: &Options,
        budget: &Budget,
        beside: &dyn Fn(&Options) -> usize,
    ) -> Result<(Options, Plan), BudgetError> {
        let fits = |options: &Options| -> Result<Option<(Options, Plan)>, SessionError> {
            let plan = plan_of(options)?;
            let bytes = plan.total_bytes.saturating_add(beside(options));
            Ok((bytes <= budget.bytes).then_some((*options, plan)))
        };
        let narrower = |cache| {
            let bytes = |cache| plan_of(&Options { cache, ..*wanted }).map(|plan| plan.cache_bytes);
            let saves = bytes(cache).is_ok_and(|n| bytes(wanted.cache).is_ok_and(|all| n < all));
            (budget.may_narrow && saves).then_some(cache)
        };
        let narrow = [CacheType::F16, CacheType::Q8_0].into_iter().filter_map(narrower);
        if let Some(found) = fits(wanted)? {
            return Ok(found);
        }
        let mut options = Options { logit_rows: 1, ..*wanted };
        for cache in [wanted.cache].into_iter().chain(narrow) {
            (options.cache, options.batch) = (cache, wanted.batch);
            loop {
                if let Some(found) = fits(&options)? {
                    return Ok(found);
                }
                if options.batch <= LEAST_BATCH {
                    break;
                }
                options.batch = (options.batch / 2).max(LEAST_BATCH);
            }
        }
        // The largest context that fits lies in low..high: plans grow with it.
        let (mut low, mut high) = (budget.least_ctx.min(wanted.n_ctx).max(1), wanted.n_ctx);
        let least = Options { n_ctx: low, ..options };
        let Some(mut found) = fits(&least)? else {
            let needed = plan_of(&least)?.total_bytes.saturating_add(beside(&least));
            return Err(BudgetError::TooSmall { budget: budget.bytes, needed, n_ctx: low });
        };
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match fits(&Options { n_ctx: middle, ..options })? {
                Some(better) => (low, found) = (middle, better),
                None => high = middle,
            }
        }
        Ok(found)
    }
}
