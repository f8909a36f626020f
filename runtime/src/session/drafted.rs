//! Tokens that may come next go through the layers together with the one that comes: its weights are
//! read anyway. What was computed for a draft lies behind the context's end, and is taken if that
//! very token is fed next; else it is as if nothing had been drafted.

use super::Session;
use crate::error::{SessionError, check_file};
use crate::precision::Origin;
use crate::speculate::MAX_DRAFTS;

impl Session<'_> {
    /// As feeding one generated token. In the same pass it computes what would follow if the `drafts`
    /// came next, so that feeding these afterwards, each as a generated token, costs nothing. The
    /// context and all results are the same as without them. As many of them count as there is room
    /// for: in the context, in a batch, and among the rows of logits ([`Options::logit_rows`] is one
    /// more than the drafts); none behind an id that is not in the vocabulary.
    ///
    /// [`Options::logit_rows`]: crate::Options::logit_rows
    pub fn feed_drafted(
        &mut self,
        token: u32,
        drafts: &[u32],
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.check(&[token])?;
        let n_vocab = self.model.config().n_vocab;
        let known = |&&id: &&u32| (id as usize) < n_vocab;
        let most = self.rows().min(self.options.n_ctx - self.position) - 1;
        let n = drafts.iter().take(most.min(MAX_DRAFTS)).take_while(known).count();
        if n == 0 {
            return self.feed_with(&[token], Origin::Generated, go_on);
        }
        let mut batch = [token; MAX_DRAFTS + 1];
        batch[1..=n].copy_from_slice(&drafts[..n]);
        self.drafted = 0;
        if !self.catch_up(&mut || go_on(0)) {
            return Ok(0);
        }
        self.threads = match self.executor.clock() {
            Some(_) => self.pace.choice(),
            None => self.executor.threads(),
        };
        let batch = &batch[..=n];
        let finished = self.layers(batch, 0, Origin::Generated, &mut || go_on(0)) && go_on(0);
        if !finished {
            return Ok(0);
        }
        self.pass(Origin::Generated, |pass, _, buffers| pass.head(0, n + 1, buffers));
        check_file(self.model.gguf())?;
        self.advance(&batch[..1], Origin::Generated);
        self.tokens[self.position..][..n].copy_from_slice(&batch[1..]);
        (self.row, self.drafted, self.has_logits) = (0, n, true);
        Ok(1)
    }

    /// Whether what follows this token has been computed already.
    pub(super) fn was_drafted(&self, tokens: &[u32], origin: Origin) -> bool {
        self.drafted > 0
            && origin == Origin::Generated
            && tokens == &self.tokens[self.position..][..1]
    }

    /// The first draft becomes part of the context.
    pub(super) fn take_draft(&mut self) {
        self.origins.set(self.position, 1, Origin::Generated);
        self.position += 1;
        self.drafted -= 1;
        self.row += 1;
        self.has_logits = true;
    }

    /// Rows of logits that can be computed together.
    pub(super) fn rows(&self) -> usize {
        self.options.logit_rows.min(self.options.batch).min(self.options.n_ctx)
    }
}
