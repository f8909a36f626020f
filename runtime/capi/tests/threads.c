/* threads.c: case 370 of the project's catalogue: two threads on one session, and sessions of one
 * model in many threads, for a while, under ThreadSanitizer. It sees this program, and what of the
 * library's goes through the C library; Rust's own code is not instrumented on stable.
 * usage: threads MODEL.gguf SECONDS */
#define _GNU_SOURCE
#include <mote.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REQUIRE(condition)                                                       \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition);      \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

enum { TOKENS = 24, OWN = 6 };

static time_t end;

static mote_session *session_of(const mote_model *model)
{
    mote_session_options options = MOTE_SESSION_OPTIONS_INIT;
    mote_writing_options writing = MOTE_WRITING_OPTIONS_INIT;
    mote_session *session;
    options.n_ctx = 64;
    options.batch = 4;
    options.threads = 1;
    writing.ignore_eos = 1;
    REQUIRE(mote_session_new(model, &options, &session) == MOTE_OK);
    REQUIRE(mote_session_begin(session, &writing) == MOTE_OK);
    return session;
}

static void write_text(mote_session *session, uint32_t *ids)
{
    static const uint32_t prompt[] = {3, 4, 5, 6, 7};
    mote_piece piece = MOTE_PIECE_INIT;
    int i;
    REQUIRE(mote_session_rewind(session, 0) == MOTE_OK);
    REQUIRE(mote_session_feed(session, prompt, 5, MOTE_PROMPT) == MOTE_OK);
    for (i = 0; i < TOKENS; i++) {
        REQUIRE(mote_session_next(session, &piece) == MOTE_OK);
        ids[i] = piece.id;
    }
}

static uint32_t expected[TOKENS];

/* A session of its own: the same text as alone, again and again. */
static void *alone(void *model)
{
    mote_session *session = session_of(model);
    uint32_t ids[TOKENS];
    while (time(NULL) < end) {
        write_text(session, ids);
        REQUIRE(memcmp(ids, expected, sizeof ids) == 0);
    }
    REQUIRE(mote_session_free(session) == MOTE_OK);
    return NULL;
}

struct shared { mote_session *session; unsigned seed; long done, busy; };

/* A session that another thread uses, too: each call does its work, or nothing at all. */
static void *together(void *with)
{
    struct shared *shared = with;
    mote_session *session = shared->session;
    while (time(NULL) < end) {
        mote_piece piece = MOTE_PIECE_INIT;
        uint32_t id = 3;
        size_t position, capacity;
        mote_status status;
        switch (rand_r(&shared->seed) % 8) {
        case 0: status = mote_session_rewind(session, 0); break;
        case 1: status = mote_session_feed(session, &id, 1, MOTE_PROMPT); break;
        case 2: status = mote_session_sample(session, &id); break;
        case 3: status = mote_session_position(session, &position, &capacity); break;
        case 4: status = mote_session_cancel(session); break;
        case 5:
            if (mote_session_error(session) == NULL) exit(1);
            status = MOTE_OK;
            break;
        default: status = mote_session_next(session, &piece); break;
        }
        switch (status) {
        case MOTE_BUSY: shared->busy++; break;
        case MOTE_OK: case MOTE_CANCELLED: case MOTE_EMPTY: case MOTE_CONTEXT_FULL: shared->done++; break;
        case MOTE_INVALID: /* rewound by the other one in between */ shared->done++; break;
        default: REQUIRE(!"another status");
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    mote_model_options options = MOTE_MODEL_OPTIONS_INIT;
    struct shared shared[2];
    pthread_t threads[OWN + 2];
    uint32_t ids[TOKENS];
    mote_model *model;
    mote_session *session;
    mote_piece piece = MOTE_PIECE_INIT;
    int i;
    REQUIRE(argc == 3);
    REQUIRE(mote_model_open(argv[1], &options, &model) == MOTE_OK);
    session = session_of(model);
    write_text(session, expected);
    end = time(NULL) + atoi(argv[2]);
    for (i = 0; i < 2; i++) {
        shared[i].session = session;
        shared[i].seed = (unsigned)i;
        shared[i].done = shared[i].busy = 0;
        REQUIRE(pthread_create(&threads[i], NULL, together, &shared[i]) == 0);
    }
    for (; i < OWN + 2; i++) REQUIRE(pthread_create(&threads[i], NULL, alone, model) == 0);
    for (i = 0; i < OWN + 2; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    /* A cancellation may be left over; then the session is as good as new. */
    mote_session_next(session, &piece);
    write_text(session, ids);
    REQUIRE(memcmp(ids, expected, sizeof ids) == 0);
    printf("%ld and %ld calls at work, %ld and %ld refused\n", shared[0].done, shared[1].done,
           shared[0].busy, shared[1].busy);
    REQUIRE(shared[0].done > 0 && shared[1].done > 0 && shared[0].busy + shared[1].busy > 0);
    REQUIRE(mote_session_free(session) == MOTE_OK);
    REQUIRE(mote_model_free(model) == MOTE_OK);
    return 0;
}
