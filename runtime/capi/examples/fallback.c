/* fallback.c: continues a text in time, whatever becomes of the model.
 * usage: fallback MODEL.gguf LM.gguf TEXT MICROSECONDS */
#include <mote.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv)
{
    char error[256] = "";
    mote_model_options model_options = MOTE_MODEL_OPTIONS_INIT;
    mote_session_options session_options = MOTE_SESSION_OPTIONS_INIT;
    mote_piece piece = MOTE_PIECE_INIT;
    mote_model *model = NULL, *lm = NULL;
    mote_session *session = NULL;
    mote_status status, degraded = MOTE_OK;
    int tokens = 0, degraded_tokens = 0;

    if (argc != 5) return fail("usage", "fallback MODEL.gguf LM.gguf TEXT MICROSECONDS");
    model_options.error = session_options.error = error;
    model_options.error_size = session_options.error_size = sizeof error;
    session_options.n_ctx = 100;
    if (mote_model_open(argv[2], &model_options, &lm)) return fail(argv[2], error);

    status = mote_model_open(argv[1], &model_options, &model);
    if (status == MOTE_OK) status = mote_session_new(model, &session_options, &session);
    if (status == MOTE_OK) {
        if (mote_session_set_fallback(session, lm, NULL, 0))
            return fail("fallback", mote_session_error(session));
    } else { /* missing, damaged, too large: the n-gram model alone */
        fprintf(stderr, "%s: %s\n", argv[1], error);
        session_options.degraded = (uint32_t)status;
        if (mote_session_new(lm, &session_options, &session)) return fail("session", error);
    }
    mote_session_set_deadline(session, (uint64_t)strtoul(argv[4], NULL, 10));

    if (mote_session_feed_text(session, argv[3], strlen(argv[3]), MOTE_ADD_BOS))
        return fail("prompt", mote_session_error(session));
    do {
        if (mote_session_next(session, &piece)) return fail("next", mote_session_error(session));
        fwrite(piece.text, 1, piece.text_size, stdout);
        tokens++;
        if (piece.degraded != MOTE_OK) {
            degraded_tokens++;
            degraded = (mote_status)piece.degraded;
        }
    } while (piece.stop == MOTE_STOP_NONE);
    putchar('\n');
    if (degraded_tokens > 0)
        fprintf(stderr, "degraded: %d of %d tokens: %s\n", degraded_tokens, tokens,
                mote_status_text(degraded));
    mote_session_free(session);
    mote_model_free(model);
    mote_model_free(lm);
    return 0;
}
