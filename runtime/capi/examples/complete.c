/* complete.c: continues a text.  usage: complete MODEL.gguf TEXT */
#include <mote.h>
#include <stdio.h>
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
    mote_model *model;
    mote_session *session;

    if (argc != 3) return fail("usage", "complete MODEL.gguf TEXT");
    model_options.error = session_options.error = error;
    model_options.error_size = session_options.error_size = sizeof error;
    if (mote_model_open(argv[1], &model_options, &model)) return fail(argv[1], error);
    if (mote_session_new(model, &session_options, &session)) return fail("session", error);
    if (mote_session_feed_text(session, argv[2], strlen(argv[2]), MOTE_ADD_BOS))
        return fail("prompt", mote_session_error(session));
    do {
        if (mote_session_next(session, &piece)) return fail("next", mote_session_error(session));
        fwrite(piece.text, 1, piece.text_size, stdout);
    } while (piece.stop == MOTE_STOP_NONE);
    putchar('\n');
    mote_session_free(session);
    mote_model_free(model);
    return 0;
}
