/* mote.h: language models on small machines, from C and C++.
 *
 * A model is loaded once and shared; a session is one text in the making.
 *
 *     mote_model_options  mo = MOTE_MODEL_OPTIONS_INIT;
 *     mote_session_options so = MOTE_SESSION_OPTIONS_INIT;
 *     mote_model *model;  mote_session *session;  mote_piece piece = MOTE_PIECE_INIT;
 *     if (mote_model_open("model.gguf", &mo, &model) != MOTE_OK) ...
 *     if (mote_session_new(model, &so, &session) != MOTE_OK) ...
 *     mote_session_feed_text(session, "Once upon", 9, MOTE_ADD_BOS);
 *     do {
 *         if (mote_session_next(session, &piece) != MOTE_OK) ...
 *         fwrite(piece.text, 1, piece.text_size, stdout);
 *     } while (piece.stop == MOTE_STOP_NONE);
 *
 * RULES FOR ALL FUNCTIONS
 *
 * Errors.    A function returns MOTE_OK (0) or a status of `enum mote_status_code`. Nothing aborts,
 *            throws or prints. A NULL pointer as an argument gives MOTE_NULL, also for options
 *            (use the ..._INIT macros) and where the size beside it is 0. Pointers inside option
 *            structs may be NULL where it says so. On failure results are 0, NULL or untouched, and
 *            the session stays as it was, unless it says otherwise. mote_status_text gives one
 *            sentence; mote_session_error has the detail, and so has the `error` buffer of options.
 * Ownership. What is passed in is borrowed for the call, unless it says otherwise. Handles come from
 *            ..._open, ..._from_memory and ..._new and go back by ..._free.
 * Threads.   A model may be used by any number of threads at once. A session is for one thread at a
 *            time: a call while another one is at work on it (from another thread, or from a
 *            callback) returns MOTE_BUSY and does nothing. mote_session_cancel alone may be called
 *            at any time. Nobody may use a handle while it is being freed, or afterwards; as far as
 *            its memory is still there, that is MOTE_BAD_HANDLE.
 * Memory.    After mote_session_new, nothing is allocated, except for a while by mote_tokenize and
 *            mote_session_feed_text (mote_tokenize_in takes lent scratch instead).
 * Callbacks  must return: a C++ exception or a longjmp through the library is undefined. The library
 *            holds no lock while it calls. A progress callback runs in the caller's floating-point
 *            state.
 * State      of the caller is left alone: errno, locale, signal handlers (but SIGBUS's, by
 *            mote_guard_files), current directory, standard streams, the floating-point environment (results do not depend on it either).
 * fork().    A session with one thread works in the child. One with more gives MOTE_INVALID there;
 *            it can be freed.
 * Stack.     64 KiB are enough.
 * Structs    begin with their size, so that they may grow: a program compiled with an older header
 *            goes on working; fields that this library does not know yet must be 0.
 *
 * WITHOUT OPERATING SYSTEM (install.sh --no-std: a static library that needs no C library either, but
 * memcpy, memmove, memset and memcmp where the compiler's target is an operating system's)
 *
 * There are no files, threads, clock and allocator. With MOTE_NO_STD defined, this header declares what
 * there is: all functions but mote_guard_files, mote_model_open, mote_tokenize, mote_session_feed_text
 * and mote_session_set_deadline. `memory` of models and sessions must be lent (else MOTE_NO_MEMORY),
 * sessions have one thread, and mote_detokenize returns MOTE_NO_MEMORY for tokens of more than 512
 * bytes. Panics, which are bugs of mote, cannot become MOTE_INTERNAL: the program supplies mote_panic.
 */
#ifndef MOTE_H
#define MOTE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Versions ------------------------------------------------------------------------------ */

/* Changes when a program compiled with an older header would no longer work; part of the soname. */
#define MOTE_ABI_VERSION 0

/* The library's version, "0.1.0". The text lives for ever. */
const char *mote_version(void);

/* MOTE_ABI_VERSION of the library that is running. */
uint32_t mote_abi_version(void);

/* ---- Status -------------------------------------------------------------------------------- */

typedef int32_t mote_status;

enum mote_status_code {
    MOTE_OK = 0,
    MOTE_NULL = 1,          /* an argument is NULL */
    MOTE_INVALID = 2,       /* an argument or option is out of its range */
    MOTE_BAD_HANDLE = 3,    /* not a handle of this kind, or freed */
    MOTE_BUSY = 4,          /* the session is in use by another call */
    MOTE_CANCELLED = 5,     /* by mote_session_cancel, or by the progress callback */
    MOTE_DEADLINE = 6,      /* the deadline has passed */
    MOTE_IO = 7,            /* the file cannot be opened or read */
    MOTE_FORMAT = 8,        /* the bytes are not a sound GGUF file */
    MOTE_UNSUPPORTED = 9,   /* the model is of a kind that is not supported */
    MOTE_NO_MEMORY = 10,    /* the system has no memory left */
    MOTE_TOO_SMALL = 11,    /* a buffer is too small */
    MOTE_CONTEXT_FULL = 12, /* the context has no room for so many tokens */
    MOTE_TOKEN = 13,        /* a token id is not in the vocabulary */
    MOTE_EMPTY = 14,        /* there is no token to continue from */
    MOTE_NOT_FINITE = 15,   /* the logits are not finite: broken weights */
    MOTE_STATE = 16,        /* the saved session does not fit this one, or is damaged */
    MOTE_BUDGET = 17,       /* the memory budget is too small for a session */
    MOTE_TEXT = 18,         /* the text cannot be tokenised */
    MOTE_INTERNAL = 19      /* a bug of mote: the session can only be freed */
};

/* One sentence for a status; for a number that is none, one that says so. Lives for ever. */
const char *mote_status_text(mote_status status);

#ifdef MOTE_NO_STD
/* Defined by the program. The library calls it with a message (NUL-terminated, at most 255 bytes, valid
 * during the call) when it finds a bug in itself. It should not return: it stops or resets the board.
 * If it does return, the library waits for ever; nothing of it may be used again. */
void mote_panic(const char *message);
#endif

/* ---- Models -------------------------------------------------------------------------------- */

typedef struct mote_model mote_model;

typedef struct mote_model_options {
    size_t size;       /* sizeof(mote_model_options) */
    void *memory;      /* mote_model_from_memory only: memory for the model's handle and tables, from a
                          multiple of 8 on, lent until the model and all its sessions are freed. NULL:
                          allocated. */
    size_t memory_size;
    char *error;       /* receives a sentence if the function fails; may be NULL */
    size_t error_size; /* 256 is enough for any; shorter buffers get its beginning */
    void (*log)(void *user, const char *message); /* hears of oddities; may be NULL. Called by
                          functions that make models and sessions, on their thread. */
    void *log_user;
    uint32_t copy;     /* mote_model_open only: 1 reads the file into memory instead of mapping it,
                          for files that may change */
    uint32_t reserved; /* 0 */
} mote_model_options;

#define MOTE_MODEL_OPTIONS_INIT { sizeof(mote_model_options), NULL, 0, NULL, 0, NULL, NULL, 0, 0 }

#ifndef MOTE_NO_STD
/* From now on a model's file that is cut short by a page or more while it is mapped, or that its medium no
 * longer gives, is an error of the sessions that use it (MOTE_IO, for good), not the end of the process by
 * SIGBUS. (What is missing within the last page that is left reads as zeros, as if the file had been
 * overwritten: `copy` is safe from both.) For that the process gets a handler of SIGBUS, which hands on what
 * lies elsewhere to the handler that was there before: set yours first. 64 mapped files are guarded at a
 * time. Calls after the first do nothing. Errors: MOTE_IO, also where there is no such signal. */
mote_status mote_guard_files(void);
#endif

/* Opens a GGUF file (path: NUL-terminated, at most 4096 bytes), of a Transformer or an n-gram model, and
 * checks all of it. The weights stay
 * in the mapped file: it must not be overwritten while the model lives, nor shortened (unless `copy`, or
 * after mote_guard_files); replacing it by renaming is harmless.
 * Result: *model, a handle to be freed. Errors: MOTE_IO, MOTE_FORMAT, MOTE_UNSUPPORTED,
 * MOTE_NO_MEMORY, MOTE_INVALID. */
#ifndef MOTE_NO_STD
mote_status mote_model_open(const char *path, const mote_model_options *options,
                            mote_model **model);
#endif

/* The same for a file's bytes in memory, which are used where they lie, never copied: they must begin
 * at a multiple of 4 and stay, unchanged, until the model and all its sessions are freed.
 * Errors: as above without MOTE_IO; MOTE_TOO_SMALL for the lent memory. */
mote_status mote_model_from_memory(const void *bytes, size_t size,
                                   const mote_model_options *options, mote_model **model);

/* Bytes that mote_model_options.memory must have for these bytes of a file. */
mote_status mote_model_memory(const void *bytes, size_t size, size_t *needed);

/* Another handle of the same model (the same pointer), to be freed as well. */
mote_status mote_model_retain(mote_model *model);

/* Gives a handle back. The model itself goes with its last handle and its last session: sessions keep
 * it alive. NULL is no error. */
mote_status mote_model_free(mote_model *model);

/* No token has this id. */
#define MOTE_NO_TOKEN UINT32_MAX

typedef struct mote_model_info {
    size_t size;
    uint64_t file_bytes;   /* of the file: weights and vocabulary */
    uint64_t table_bytes;  /* of the tables in memory */
    uint64_t n_parameters; /* numbers in all tensors; of an n-gram model: n-grams of all lengths */
    uint32_t n_vocab;      /* tokens; ids are below it */
    uint32_t n_ctx_train;  /* positions that the model was trained with; UINT32_MAX: any number */
    uint32_t n_layers;     /* 0 for an n-gram model */
    uint32_t n_embd;       /* likewise */
    uint32_t bos;          /* the token that begins a text, or MOTE_NO_TOKEN */
    uint32_t eos;          /* the token that ends a text, or MOTE_NO_TOKEN */
    uint32_t eot;          /* the token that ends a turn by the file's keys, or MOTE_NO_TOKEN;
                              mote_token_ends knows more of them */
    uint32_t adds_bos;     /* 1 if the model expects bos before a text */
    uint32_t order;        /* of an n-gram model: tokens of the longest n-grams; 0: a Transformer */
    uint32_t reserved;
} mote_model_info;

#define MOTE_MODEL_INFO_INIT { sizeof(mote_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Fills *info (but for `size`, which says how much of it there is). */
mote_status mote_model_get_info(const mote_model *model, mote_model_info *info);

/* ---- Text and tokens ----------------------------------------------------------------------- */

/* Texts are bytes with a length. What is not UTF-8 gets the tokens of its bytes. A byte that the
 * vocabulary lacks becomes the unknown token, as in the tokenizer that the model was trained with; it may
 * be a control token (SmolLM2: "<|endoftext|>"). */

enum mote_text_flags {
    MOTE_ADD_BOS = 1,       /* begin with the bos token, if the model expects one */
    MOTE_PARSE_SPECIAL = 2, /* control tokens that the text spells ("<|im_end|>") are taken as such: not
                               for what a stranger wrote, who could forge turns */
    MOTE_SHOW_SPECIAL = 4,  /* control tokens are written as text */
    MOTE_ADD_EOS = 8        /* end with the eos token, if the model expects one: for mote_session_embed */
};

/* Writes the ids of a text to ids[0..capacity], their number to *n_ids. More than text_size + 2 (+ 3 with
 * MOTE_ADD_EOS) are possible only where the vocabulary normalises the text first. flags: MOTE_ADD_BOS |
 * MOTE_ADD_EOS | MOTE_PARSE_SPECIAL. Allocates for a while.
 * Errors: MOTE_TOO_SMALL (*n_ids has the number needed, nothing is written), MOTE_TEXT (more than 1
 * GiB, or a byte without token), MOTE_NO_MEMORY. */
#ifndef MOTE_NO_STD
mote_status mote_tokenize(const mote_model *model, const char *text, size_t text_size,
                          uint32_t flags, uint32_t *ids, size_t capacity, size_t *n_ids);
#endif

/* The same with lent scratch (of any alignment), allocating nothing. MOTE_TOO_SMALL with *n_ids == 0
 * means that the scratch is too small; mote_tokenize_scratch gives a size that is always enough. */
mote_status mote_tokenize_in(const mote_model *model, const char *text, size_t text_size,
                             uint32_t flags, uint8_t *scratch, size_t scratch_size,
                             uint32_t *ids, size_t capacity, size_t *n_ids);

/* Scratch that is enough for every text of text_size bytes. */
mote_status mote_tokenize_scratch(const mote_model *model, size_t text_size,
                                  size_t *scratch_size);

/* Writes the text of ids, which begin a text (for others join mote_token_bytes), to text[0..capacity],
 * its length to *text_size; no NUL is added. Always UTF-8: bytes that are not become U+FFFD. flags: MOTE_SHOW_SPECIAL.
 * Errors: MOTE_TOO_SMALL (*text_size has the length needed), MOTE_TOKEN. */
mote_status mote_detokenize(const mote_model *model, const uint32_t *ids, size_t n_ids,
                            uint32_t flags, char *text, size_t capacity, size_t *text_size);

/* Writes the bytes that one token stands for; they need not be UTF-8. Errors: MOTE_TOO_SMALL (*size
 * has the number needed), MOTE_TOKEN. */
mote_status mote_token_bytes(const mote_model *model, uint32_t id, char *bytes, size_t capacity,
                             size_t *size);

/* *ends = 1 if a model stops when it produces this token, else 0. Errors: MOTE_TOKEN. */
mote_status mote_token_ends(const mote_model *model, uint32_t id, uint32_t *ends);

/* ---- Sessions ------------------------------------------------------------------------------ */

typedef struct mote_session mote_session;

/* How keys and values are stored. Q8_0 takes 17 bytes for every 32 of F16, is a little less exact, and
 * is for models whose heads are a multiple of 32 values wide. */
enum mote_cache {
    MOTE_CACHE_AUTO = 0,
    MOTE_CACHE_F32 = 1,
    MOTE_CACHE_F16 = 2,
    MOTE_CACHE_Q8_0 = 3
};

/* Bits of an activation that meets quantised weights; MIXED: 8 for the prompt, 16 for what is
 * written. */
enum mote_activations {
    MOTE_ACTIVATIONS_8 = 0,
    MOTE_ACTIVATIONS_16 = 1,
    MOTE_ACTIVATIONS_MIXED = 2
};

/* Called before every layer of whatever a session computes, so often: `done` of `total` tokens. 0 goes
 * on; anything else ends the call with MOTE_CANCELLED. It may call mote_session_cancel and functions of
 * models; others on the same session return MOTE_BUSY. */
typedef int (*mote_progress)(void *user, size_t done, size_t total);

typedef struct mote_session_options {
    size_t size;              /* sizeof(mote_session_options) */
    uint32_t n_ctx;           /* tokens that the context holds, at most 2^24; 0: what the model was
                                 trained with, at most 4096 */
    uint32_t n_ctx_least;     /* with a budget: fewer are of no use; 0: 128 */
    uint32_t batch;           /* tokens that pass the layers together, at most 65536; 0: 512. Changes
                                 speed and memory, never results */
    uint32_t threads;         /* 0: one for each CPU, of which fewer decode where that is faster; more
                                 than this process has CPUs: one for each CPU. To start others the
                                 system needs a little memory; if it has none at all, it aborts */
    uint32_t cache;           /* enum mote_cache; AUTO: F16, or F32 for models of floats alone */
    uint32_t activations;     /* enum mote_activations */
    uint32_t max_top_k;       /* largest top_k that will be asked for (8 bytes each); 0: any */
    uint32_t max_biases;      /* most logit biases; 0: 64 */
    uint32_t max_stop_bytes;  /* stop strings together, each with a NUL; 0: 256 */
    uint32_t drafts;          /* tokens that mote_session_next may guess from what the text had before,
                                 to be checked in one pass, at most 7; 0: none. Faster where a text
                                 repeats itself, the same text everywhere. Memory: 4 bytes times
                                 vocabulary for each, 12 to 20 for each token of the context */
    uint64_t memory_budget;   /* most bytes that the session may take (the model's not counted); 0: no
                                 limit. Drafts, batch, cache type (AUTO: F16, then Q8_0) and context
                                 are made to fit, in this order */
    void *memory;             /* memory of mote_session_plan_info.total_bytes, from a multiple of 8 on,
                                 lent until the session is freed. NULL: allocated. Threads beyond the
                                 first need some of the system's memory all the same */
    size_t memory_size;
    mote_progress progress;   /* may be NULL */
    void *progress_user;
    char *error;              /* as in mote_model_options; may be NULL */
    size_t error_size;
    uint32_t degraded;        /* not 0: the model is a fallback for one that is not there, for want of
                                 which this is the status. mote_piece.degraded says it, and no deadline
                                 counts */
    uint32_t reserved_2;      /* 0 */
} mote_session_options;

#define MOTE_SESSION_OPTIONS_INIT \
    { sizeof(mote_session_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, NULL, NULL, NULL, 0, 0, 0 }

typedef struct mote_session_plan_info {
    size_t size;
    uint64_t total_bytes;      /* everything that the session will ever use, threads' stacks excepted */
    uint64_t cache_bytes;      /* of these: keys and values */
    uint64_t activation_bytes; /* what a batch passes through */
    uint64_t logit_bytes;
    uint64_t scratch_bytes;    /* each thread's own */
    uint64_t writing_bytes;    /* candidates, stop strings, text held back */
    uint32_t n_ctx;            /* what was chosen */
    uint32_t batch;
    uint32_t threads;
    uint32_t cache;
} mote_session_plan_info;

#define MOTE_SESSION_PLAN_INFO_INIT { sizeof(mote_session_plan_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Says how many bytes a session with these options would take, and what a budget leads to. Makes
 * nothing. Errors: MOTE_INVALID, MOTE_BUDGET, MOTE_CONTEXT_FULL (n_ctx is more than the model's learned
 * positions, where it has such). */
mote_status mote_session_plan(const mote_model *model, const mote_session_options *options,
                              mote_session_plan_info *plan);

/* Makes a session, which keeps the model alive. Result: *session, a handle to be freed.
 * Errors: those of mote_session_plan, MOTE_TOO_SMALL (the lent memory), MOTE_NO_MEMORY. */
mote_status mote_session_new(const mote_model *model, const mote_session_options *options,
                             mote_session **session);

/* Gives everything back. NULL is no error. MOTE_BUSY: a call is at work, nothing is freed. */
mote_status mote_session_free(mote_session *session);

/* The sentence of the last failure on this session; "" if there was none. The text lives until the
 * next call on the session. NULL, and a session that another thread computes on, get the sentence of that
 * mistake; so does a freed handle in lent memory. */
const char *mote_session_error(const mote_session *session);

/* ---- Going on ------------------------------------------------------------------------------ */

/* Calls that compute (feed, feed_text, next, sample, logits, score, embed, saved_size after next, and save
 * after next or, of a model with recurrent states, after a rewind) ask before every layer whether they are cancelled or the deadline has passed. Ended so, they
 * return MOTE_CANCELLED or MOTE_DEADLINE; batches that were finished stay in the context
 * (mote_session_position), and the session can go on from there with the results that it would have
 * had: feed or score the ids from the first one that is not in the context. (After feed_text these are
 * known only to who called mote_tokenize. Of a score that was ended, the values of tokens in the context
 * are written.) */

/* What a token is fed as: with MOTE_ACTIVATIONS_MIXED the results depend on it. */
enum mote_origin { MOTE_PROMPT = 0, MOTE_GENERATED = 1 };

/* Appends tokens to the context. n_ids must not be 0. The text that mote_session_next was writing ends
 * here: what it held back is dropped, and the next call begins another one.
 * Errors: MOTE_CONTEXT_FULL, MOTE_TOKEN, MOTE_EMPTY (n_ids is 0), MOTE_CANCELLED, MOTE_DEADLINE, MOTE_IO
 * (see mote_guard_files). */
mote_status mote_session_feed(mote_session *session, const uint32_t *ids, size_t n_ids,
                              uint32_t origin);

/* mote_tokenize, then mote_session_feed as MOTE_PROMPT; MOTE_ADD_BOS counts only where the context is
 * empty. A text fed in parts is tokenised in parts, and vocabularies of SentencePiece put a space before
 * each. Allocates for a while. Errors of both. */
#ifndef MOTE_NO_STD
mote_status mote_session_feed_text(mote_session *session, const char *text, size_t text_size,
                                   uint32_t flags);
#endif

typedef struct mote_logit_bias {
    uint32_t id;
    float value; /* added to the token's logit, within 1e30: -1e9 forbids it, but for temperatures beyond
                    a million */
} mote_logit_bias;

typedef struct mote_writing_options {
    size_t size;              /* sizeof(mote_writing_options) */
    uint64_t seed;            /* the same seed gives the same text, on every machine. A draw depends on
                                 it and on the position: after mote_session_rewind begin with another
                                 seed for another text */
    float temperature;        /* 0: the most probable token, 1: as trained, INFINITY: any */
    float top_p;              /* only the most probable tokens with this probability together; 1: all */
    float min_p;              /* only tokens with this share of the best one's probability; 0: all */
    float repetition_penalty; /* divides positive logits of recent tokens, more than 0; 1: none */
    float frequency_penalty;  /* subtracted for each time that a recent token occurs */
    float presence_penalty;   /* subtracted from every recent token */
    uint32_t top_k;           /* only so many of the most probable tokens; 0: all */
    uint32_t penalty_window;  /* how many of the last tokens are recent */
    uint32_t max_tokens;      /* then the text ends with MOTE_STOP_LENGTH; counted anew for each text, so
                                 after each feed; 0: no limit */
    uint32_t ignore_eos;      /* 1: go on where the model would end the text */
    uint32_t show_special;    /* 1: control tokens are shown in the text */
    uint32_t reserved;        /* 0 */
    const char *const *stops; /* n_stops strings, not empty: the text ends before the first one. Copied.
                                 May be NULL if n_stops is 0 */
    size_t n_stops;
    const mote_logit_bias *biases; /* copied; may be NULL if n_biases is 0 */
    size_t n_biases;
} mote_writing_options;

#define MOTE_WRITING_OPTIONS_INIT \
    { sizeof(mote_writing_options), 0, 0.8f, 0.95f, 0.05f, 1.0f, 0.0f, 0.0f, 40, 64, 0, 0, 0, 0, \
      NULL, 0, NULL, 0 }

/* Says how text is written from now on, and begins another text; a mote_session_cancel that came too late
 * for the last one is forgotten. A session that was told nothing
 * writes as MOTE_WRITING_OPTIONS_INIT says. Errors: MOTE_INVALID, MOTE_TOKEN (a bias); the options
 * stay as they were then, except that after an unsound stop string there is none. */
mote_status mote_session_begin(mote_session *session, const mote_writing_options *options);

/* Why a text ended. */
enum mote_stop {
    MOTE_STOP_NONE = 0,   /* it goes on */
    MOTE_STOP_EOS = 1,    /* the model ended it, by a token that is in the context */
    MOTE_STOP_STRING = 2, /* a stop string came, which is not part of the text; its tokens are in the
                             context, up to the piece's `id` */
    MOTE_STOP_LENGTH = 3  /* max_tokens, or (mote_session_position tells) the context is full */
};

typedef struct mote_piece {
    size_t size;
    const char *text; /* whole UTF-8 characters, not NUL-terminated; until the next call on the session */
    size_t text_size; /* often 0: what could become a stop string, or half a character, waits; at the
                         end of the text half a character becomes U+FFFD */
    uint32_t id;      /* the token, or MOTE_NO_TOKEN if the text had ended before */
    uint32_t stop;    /* enum mote_stop */
    uint32_t degraded; /* not 0: the token is the fallback's, and this is why (mote_session_degraded) */
    uint32_t reserved;
} mote_piece;

#define MOTE_PIECE_INIT { sizeof(mote_piece), NULL, 0, 0, 0, 0, 0 }

/* Draws the next token and gives the text that is certain by now. The token is fed by whichever call
 * needs it, so that its text is not held up. When the text has ended, further calls return MOTE_OK with
 * an empty piece and the same `stop`, until feed or begin start another one.
 * Errors: MOTE_EMPTY (nothing was fed), MOTE_NOT_FINITE, MOTE_IO (see mote_guard_files), MOTE_CANCELLED,
 * MOTE_DEADLINE: call again to go on. */
mote_status mote_session_next(mote_session *session, mote_piece *piece);

/* Draws a token for the next position and does nothing else: drawn again, it is the same. For programs
 * that write their own loop with mote_session_feed. Errors: as mote_session_next. */
mote_status mote_session_sample(mote_session *session, uint32_t *id);

/* *logits: n_vocab floats for the next position, of the session's own memory, until the next call on
 * it. Before biases and penalties. Errors: as mote_session_next. */
mote_status mote_session_logits(mote_session *session, const float **logits, size_t *n_logits);

/* Appends tokens to the context and writes to log_probabilities[i], of n_ids, ln p(ids[i] | everything
 * before it). The first token of a text, which nothing predicts, gets 0. Errors: as
 * mote_session_feed, MOTE_NOT_FINITE. */
mote_status mote_session_score(mote_session *session, const uint32_t *ids, size_t n_ids,
                               double *log_probabilities);

/* How the states of a text's tokens become one vector. */
enum mote_pooling {
    MOTE_POOLING_AUTO = 0,  /* as the file says; else MEAN for an encoder, LAST for a decoder */
    MOTE_POOLING_MEAN = 1,
    MOTE_POOLING_FIRST = 2, /* the first token's ("cls") */
    MOTE_POOLING_LAST = 3
};

enum mote_embedding_flags {
    MOTE_RAW_LENGTH = 1     /* as it comes; else it is scaled to length 1 */
};

/* Writes the embedding of a text to embedding[0..n_embedding], n_embedding being mote_model_info.n_embd:
 * near that of a text about the same. The text stands alone: the context is forgotten, before and
 * afterwards. An encoder (BERT) can do nothing else: the functions that feed, draw and score return
 * MOTE_UNSUPPORTED for it. Of its tokens n_ctx go through the layers together, whatever `batch` says.
 * flags: MOTE_RAW_LENGTH. Errors: as mote_session_feed, MOTE_NOT_FINITE, MOTE_UNSUPPORTED (an n-gram
 * model). */
mote_status mote_session_embed(mote_session *session, const uint32_t *ids, size_t n_ids,
                               uint32_t pooling, uint32_t flags, float *embedding,
                               size_t n_embedding);

/* ---- State --------------------------------------------------------------------------------- */

/* Tokens of the text so far (of the prompt, and drawn by mote_session_next), and how many the context
 * holds. */
mote_status mote_session_position(mote_session *session, size_t *position, size_t *capacity);

/* Writes their ids to ids[0..capacity], their number to *n_ids. Errors: MOTE_TOO_SMALL (*n_ids has
 * the number). */
mote_status mote_session_tokens(mote_session *session, uint32_t *ids, size_t capacity,
                                size_t *n_ids);

/* Forgets every token from `position` on, and begins another text there (and forgets a
 * mote_session_cancel that came too late); 0 forgets all. What is fed
 * then gives the same results as if the forgotten tokens had never been. MOTE_INVALID: not so far
 * yet. */
mote_status mote_session_rewind(mote_session *session, size_t position);

/* Bytes that mote_session_save writes. Feeds a token that mote_session_next has drawn. MOTE_DEADLINE,
 * MOTE_NOT_FINITE: the model has not taken in what its fallback went on with. */
mote_status mote_session_saved_size(mote_session *session, size_t *size);

/* Writes the context to bytes[0..capacity], its size to *size. Text that is held back is not part of
 * it. Errors: MOTE_TOO_SMALL (*size has the size needed); those of feeding a token. */
mote_status mote_session_save(mote_session *session, uint8_t *bytes, size_t capacity,
                              size_t *size);

/* Goes back to a saved context: of the same model, n_ctx, cache type and activations, on whatever
 * machine. What follows is the same to the bit. Options of mote_session_begin stay as they are;
 * another text begins. The bytes are not trusted: MOTE_STATE if anything does not fit, and the session
 * stays as it was. */
mote_status mote_session_restore(mote_session *session, const uint8_t *bytes, size_t size);

/* No deadline. */
#define MOTE_NO_DEADLINE UINT64_MAX

/* Calls that compute end with MOTE_DEADLINE so many microseconds from now, within one layer; until
 * another deadline is set they do. With a fallback they are answered by it instead. */
#ifndef MOTE_NO_STD
mote_status mote_session_set_deadline(mote_session *session, uint64_t microseconds);
#endif

/* An n-gram model of the same vocabulary, which answers in the session's place, within a millisecond,
 * after the deadline, where the model's logits are not finite and where its file is gone (MOTE_DEADLINE,
 * MOTE_NOT_FINITE and, after mote_guard_files, MOTE_IO are then no failures any more, but what mote_session_degraded says). It is kept alive; its text is the
 * session's, whichever of the two wrote it. After a deadline the model takes in what it has missed with
 * the next tokens, 8 at a time, when another deadline gives it time, and then goes on with the results
 * that it would always have had. After logits that are not finite it is left alone until
 * mote_session_rewind goes back to before the tokens that were fed then; after MOTE_IO for good.
 * fallback: NULL takes it away again, if the model has taken everything in (else MOTE_INVALID).
 * memory: lent until then, or until the session is freed, from a multiple of 8 on; what
 * mote_session_plan says for the fallback and the session's n_ctx is enough. NULL: allocated.
 * Errors: MOTE_INVALID (no n-gram model, or another vocabulary), MOTE_TOO_SMALL, MOTE_NO_MEMORY; the
 * session then has no fallback. Where the model itself cannot be opened, or its session not be made,
 * make one of the fallback, with mote_session_options.degraded. */
mote_status mote_session_set_fallback(mote_session *session, const mote_model *fallback, void *memory,
                                      size_t memory_size);

/* *why: MOTE_OK if the last results are the model's own. Else they are the fallback's, and this is what
 * there would have been instead: MOTE_DEADLINE, MOTE_NOT_FINITE, MOTE_IO (its file), or
 * mote_session_options.degraded. */
mote_status mote_session_degraded(mote_session *session, mote_status *why);

/* Ends the call that is computing, within one layer, with MOTE_CANCELLED; if none is, the next one that
 * computes, unless mote_session_begin or mote_session_rewind comes before it.
 * May be called from any thread, from signal handlers and callbacks, while the session lives. */
mote_status mote_session_cancel(const mote_session *session);

#ifdef __cplusplus
}
#endif

#endif
