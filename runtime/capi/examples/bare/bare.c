/* bare.c: a completion without operating system and C library, with the libmote that needs neither
 * (install.sh --no-std). What it prints is the same on every machine: run.sh compares.
 *
 * model.h is made of a GGUF file by ../embed.sh; on a board it lies in flash. Of the board two
 * functions are needed: see mps2_an500.c for a Cortex-M7, and posix.c for a desktop. */
#define MOTE_NO_STD
#include "model.h"

#include <mote.h>

void board_write(const char *text, size_t size);
void board_exit(int failed);

static uint64_t tables[(1 << 18) / 8]; /* what mote_model_memory asks for */
static uint64_t memory[(1 << 20) / 8]; /* what mote_session_plan asks for */
static uint8_t scratch[1 << 14];

static void say(const char *text)
{
    size_t size = 0;
    while (text[size] != 0) size++;
    board_write(text, size);
}

/* The library's last words. It must not return. */
void mote_panic(const char *message)
{
    say(message);
    say("\n");
    board_exit(1);
}

static void check(mote_status status, const char *detail)
{
    if (status == MOTE_OK) return;
    say(mote_status_text(status));
    say(": ");
    say(detail);
    say("\n");
    board_exit(1);
}

static void say_hexadecimal(uint64_t number)
{
    char digits[16];
    int i;
    for (i = 15; i >= 0; i--, number >>= 4) digits[i] = "0123456789abcdef"[number & 15];
    board_write(digits, sizeof digits);
}

/* FNV-1a of the logits' bits. */
static uint64_t hash_of(const float *logits, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u;
    size_t i;
    for (i = 0; i < n * sizeof *logits; i++) {
        hash = (hash ^ ((const unsigned char *)logits)[i]) * 0x100000001b3u;
    }
    return hash;
}

int main(void)
{
    static const char prompt[] = "In the flash of a microcontroller";
    char error[256] = "";
    mote_model_options mo = MOTE_MODEL_OPTIONS_INIT;
    mote_session_options so = MOTE_SESSION_OPTIONS_INIT;
    mote_writing_options wo = MOTE_WRITING_OPTIONS_INIT;
    mote_piece piece = MOTE_PIECE_INIT;
    mote_model *handle;
    mote_session *session;
    const float *logits;
    uint32_t ids[64];
    size_t n;

    mo.error = so.error = error;
    mo.error_size = so.error_size = sizeof error;
    mo.memory = tables;
    mo.memory_size = sizeof tables;
    check(mote_model_from_memory(model, model_size, &mo, &handle), error);
    so.n_ctx = 64;
    so.batch = 16;
    so.threads = 1;
    so.memory = memory;
    so.memory_size = sizeof memory;
    check(mote_session_new(handle, &so, &session), error);

    check(mote_tokenize_in(handle, prompt, sizeof prompt - 1, MOTE_ADD_BOS, scratch, sizeof scratch,
                           ids, 64, &n), "tokenize");
    check(mote_session_feed(session, ids, n, MOTE_PROMPT), mote_session_error(session));
    check(mote_session_logits(session, &logits, &n), mote_session_error(session));
    say("logits ");
    say_hexadecimal(hash_of(logits, n));
    wo.max_tokens = 24;
    check(mote_session_begin(session, &wo), mote_session_error(session));
    say("\ntext ");
    do {
        check(mote_session_next(session, &piece), mote_session_error(session));
        board_write(piece.text, piece.text_size);
    } while (piece.stop == MOTE_STOP_NONE);
    say("\n");
    check(mote_session_free(session), "free");
    check(mote_model_free(handle), "free");
    board_exit(0);
    return 0;
}
