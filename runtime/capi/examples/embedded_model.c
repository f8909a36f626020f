/* embedded_model.c: a model that is part of the program, in memory of the program's own. Nothing is
 * allocated: malloc and its kin are replaced by functions that count (and refuse) every call.
 *
 * model.h is made of a GGUF file by embed.sh: `static const uint64_t model[]`, words so that it is
 * aligned, and `model_size` in bytes. On a board it lies in flash. */
#include "model.h"

#include <mote.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t tables[(1 << 20) / 8]; /* what mote_model_memory asks for: about 10 KiB here */
static uint64_t memory[(2 << 20) / 8]; /* what mote_session_plan asks for */
static uint8_t scratch[1 << 16];

static int refuses;
static unsigned refused;

/* The C library's own, under which the functions below are put. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t n) { return refuses ? (refused++, NULL) : __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return refuses ? (refused++, NULL) : __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return refuses ? (refused++, NULL) : __libc_realloc(p, n); }
int posix_memalign(void **p, size_t align, size_t n)
{
    if (refuses) return refused++, 12;
    return (*p = __libc_memalign(align, n)) ? 0 : 12;
}

#define CHECK(call)                                                               \
    do {                                                                          \
        mote_status status = (call);                                              \
        if (status) {                                                             \
            fprintf(stderr, "%s: %s %s\n", #call, mote_status_text(status), error); \
            return 1;                                                             \
        }                                                                         \
    } while (0)

int main(void)
{
    char error[256] = "", text[4096];
    mote_model_options mo = MOTE_MODEL_OPTIONS_INIT;
    mote_session_options so = MOTE_SESSION_OPTIONS_INIT;
    mote_session_plan_info plan = MOTE_SESSION_PLAN_INFO_INIT;
    mote_writing_options wo = MOTE_WRITING_OPTIONS_INIT;
    mote_piece piece = MOTE_PIECE_INIT;
    mote_model *handle;
    mote_session *session;
    uint32_t ids[64];
    size_t n, i, needed, length = 0;

    refuses = 1;
    mo.error = so.error = error;
    mo.error_size = so.error_size = sizeof error;
    CHECK(mote_model_memory(model, model_size, &needed));
    mo.memory = tables;
    mo.memory_size = sizeof tables;
    CHECK(mote_model_from_memory(model, model_size, &mo, &handle));

    so.n_ctx = 64;
    so.batch = 16;
    so.threads = 1; /* more would need the system's memory */
    CHECK(mote_session_plan(handle, &so, &plan));
    so.memory = memory;
    so.memory_size = sizeof memory;
    CHECK(mote_session_new(handle, &so, &session));

    CHECK(mote_tokenize_in(handle, "abc", 3, MOTE_ADD_BOS, scratch, sizeof scratch, ids, 64, &n));
    CHECK(mote_session_feed(session, ids, n, MOTE_PROMPT));
    wo.max_tokens = 20;
    wo.ignore_eos = 1;
    CHECK(mote_session_begin(session, &wo));
    do {
        CHECK(mote_session_next(session, &piece));
        for (i = 0; i < piece.text_size && length < sizeof text; i++) text[length++] = piece.text[i];
    } while (piece.stop == MOTE_STOP_NONE);
    CHECK(mote_session_free(session));
    CHECK(mote_model_free(handle));
    refuses = 0; /* printing may allocate */

    printf("%.*s\n", (int)length, text);
    printf("model %lu bytes, tables %lu, session %lu, allocations %u\n", (unsigned long)model_size,
           (unsigned long)needed, (unsigned long)plan.total_bytes, refused);
    return refused != 0;
}
