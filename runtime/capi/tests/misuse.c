/* misuse.c: what only a C program shows: threads, signals, fork, small stacks, floating-point states,
 * locales. Numbers are those of the project's catalogue of bad input.
 * usage: misuse MODEL.gguf */
#define _GNU_SOURCE
#include <mote.h>

#include <errno.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUIRE(condition)                                                       \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition);      \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

static const char *path;

static mote_model *load(void)
{
    mote_model_options options = MOTE_MODEL_OPTIONS_INIT;
    mote_model *model;
    REQUIRE(mote_model_open(path, &options, &model) == MOTE_OK);
    return model;
}

/* Text of 30 tokens, ids and bytes. */
typedef struct { uint32_t ids[30]; size_t size; char text[4096]; float first[4]; } written;

static void write_with(const mote_model *model, uint32_t threads, written *out)
{
    mote_session_options options = MOTE_SESSION_OPTIONS_INIT;
    mote_writing_options writing = MOTE_WRITING_OPTIONS_INIT;
    mote_piece piece = MOTE_PIECE_INIT;
    mote_session *session;
    const float *logits;
    size_t i, n;
    memset(out, 0, sizeof *out);
    options.n_ctx = 64;
    options.batch = 4;
    options.threads = threads;
    writing.ignore_eos = 1;
    writing.seed = 7;
    writing.repetition_penalty = 1.1f;
    REQUIRE(mote_session_new(model, &options, &session) == MOTE_OK);
    REQUIRE(mote_session_begin(session, &writing) == MOTE_OK);
    REQUIRE(mote_session_feed_text(session, "a b c", 5, MOTE_ADD_BOS) == MOTE_OK);
    REQUIRE(mote_session_logits(session, &logits, &n) == MOTE_OK && n > 4);
    memcpy(out->first, logits, sizeof out->first);
    for (i = 0; i < 30; i++) {
        REQUIRE(mote_session_next(session, &piece) == MOTE_OK);
        out->ids[i] = piece.id;
        memcpy(out->text + out->size, piece.text, piece.text_size);
        out->size += piece.text_size;
    }
    REQUIRE(mote_session_free(session) == MOTE_OK);
}

static written expected;

static void same(const mote_model *model, uint32_t threads)
{
    written found;
    write_with(model, threads, &found);
    REQUIRE(memcmp(&found, &expected, sizeof found) == 0);
}

static void *many(void *model)
{
    int i;
    for (i = 0; i < 10; i++) same(model, 1);
    return NULL;
}

static void case_370_sessions_of_one_model_in_16_threads(void)
{
    mote_model *model = load();
    pthread_t threads[16];
    int i, n;
    for (n = 2; n <= 16; n *= 2) {
        for (i = 0; i < n; i++) REQUIRE(pthread_create(&threads[i], NULL, many, model) == 0);
        for (i = 0; i < n; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
    }
    mote_model_free(model);
}

static int in_child(mote_session *session)
{
    uint32_t id = 3;
    mote_status status = mote_session_feed(session, &id, 1, MOTE_PROMPT);
    if (mote_session_free(session) != MOTE_OK) return 100;
    return status;
}

static void case_372_fork(void)
{
    mote_model *model = load();
    uint32_t threads;
    for (threads = 1; threads <= 2; threads++) {
        mote_session_options options = MOTE_SESSION_OPTIONS_INIT;
        mote_session_plan_info plan = MOTE_SESSION_PLAN_INFO_INIT;
        mote_session *session;
        uint32_t id = 3;
        int status;
        pid_t child;
        options.n_ctx = 64;
        options.threads = threads;
        REQUIRE(mote_session_plan(model, &options, &plan) == MOTE_OK);
        REQUIRE(mote_session_new(model, &options, &session) == MOTE_OK);
        REQUIRE(mote_session_feed(session, &id, 1, MOTE_PROMPT) == MOTE_OK);
        child = fork();
        if (child == 0) {
            alarm(20);
            _exit(in_child(session));
        }
        REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) == (plan.threads > 1 ? MOTE_INVALID : MOTE_OK));
        REQUIRE(mote_session_feed(session, &id, 1, MOTE_PROMPT) == MOTE_OK);
        mote_session_free(session);
    }
    mote_model_free(model);
}

static volatile sig_atomic_t alarms;
static void on_alarm(int signal) { (void)signal; alarms++; }

static void case_373_signals(void)
{
    struct sigaction action, before;
    struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    int i;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm; /* without SA_RESTART */
    REQUIRE(sigaction(SIGALRM, &action, &before) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &every, NULL) == 0);
    for (i = 0; i < 200 || alarms < 20; i++) {
        mote_model_options options = MOTE_MODEL_OPTIONS_INIT;
        mote_model *model;
        options.copy = (uint32_t)(i % 2);
        REQUIRE(mote_model_open(path, &options, &model) == MOTE_OK);
        same(model, 1 + (uint32_t)(i % 3 == 0));
        mote_model_free(model);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
}

static void *whole_life(void *unused)
{
    mote_model *model = load();
    (void)unused;
    same(model, 1);
    mote_model_free(model);
    return NULL;
}

static void case_374_a_stack_of_64_kib(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    REQUIRE(pthread_attr_setstacksize(&attributes, 64 << 10) == 0);
    REQUIRE(pthread_create(&thread, &attributes, whole_life, NULL) == 0);
    REQUIRE(pthread_join(thread, NULL) == 0);
}

static int in_callback(void *user, size_t done, size_t total)
{
    (void)done, (void)total;
    REQUIRE(fegetround() == *(int *)user);
    return 0;
}

static void case_375_floating_point_states(void)
{
    mote_model *model = load();
    const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    size_t i;
    fenv_t usual;
    fegetenv(&usual);
    for (i = 0; i < 3; i++) {
        mote_session_options options = MOTE_SESSION_OPTIONS_INIT;
        mote_session *session;
        uint32_t id = 3;
        int mode = modes[i];
        REQUIRE(fesetround(mode) == 0);
        same(model, 1 + (uint32_t)i % 2);
        REQUIRE(fegetround() == mode);
        options.n_ctx = 8;
        options.progress = in_callback;
        options.progress_user = &mode;
        REQUIRE(mote_session_new(model, &options, &session) == MOTE_OK);
        REQUIRE(mote_session_feed(session, &id, 1, MOTE_PROMPT) == MOTE_OK);
        mote_session_free(session);
    }
    fesetenv(&usual);
#ifdef __x86_64__
    {   /* Denormals to zero, and every exception unmasked. */
        unsigned set = 0x8040, now;
        __asm__ volatile("ldmxcsr %0" : : "m"(set));
        same(model, 2);
        __asm__ volatile("stmxcsr %0" : "=m"(now));
        fesetenv(&usual);
        REQUIRE(now == set);
    }
#endif
    mote_model_free(model);
}

static void case_376_locale(void)
{
    mote_model *model = load();
    const char *names[] = {"de_DE.UTF-8", "de_DE", "C.UTF-8", "C"};
    size_t i;
    for (i = 0; i < 4; i++) {
        if (setlocale(LC_ALL, names[i])) same(model, 1);
    }
    mote_model_free(model);
}

static void case_377_the_callers_state(void)
{
    char before[4096], after[4096], locale[256];
    struct sigaction handlers[32], now;
    mote_model_options options = MOTE_MODEL_OPTIONS_INIT;
    mote_model *model, *none;
    int signal, out[2];
    REQUIRE(getcwd(before, sizeof before));
    snprintf(locale, sizeof locale, "%s", setlocale(LC_ALL, NULL));
    for (signal = 1; signal < 32; signal++) sigaction(signal, NULL, &handlers[signal]);
    /* Standard output and error go into a pipe meanwhile, and nothing may come out of it. */
    fflush(NULL);
    REQUIRE(pipe(out) == 0);
    {
        int stdout_fd = dup(1), stderr_fd = dup(2);
        char byte;
        mote_status missing;
        int error, error_later;
        dup2(out[1], 1), dup2(out[1], 2);
        errno = 1234;
        model = load();
        missing = mote_model_open("no such file", &options, &none);
        error = errno;
        same(model, 2);
        mote_model_free(model);
        error_later = errno;
        dup2(stdout_fd, 1), dup2(stderr_fd, 2);
        close(stdout_fd), close(stderr_fd), close(out[1]);
        REQUIRE(read(out[0], &byte, 1) == 0);
        close(out[0]);
        REQUIRE(missing == MOTE_IO && error == 1234 && error_later == 1234);
    }
    REQUIRE(getcwd(after, sizeof after) && strcmp(before, after) == 0);
    REQUIRE(strcmp(locale, setlocale(LC_ALL, NULL)) == 0);
    for (signal = 1; signal < 32; signal++) {
        sigaction(signal, NULL, &now);
        REQUIRE(signal == SIGKILL || signal == SIGSTOP ||
                now.sa_handler == handlers[signal].sa_handler);
    }
}

static void on_bus_error(int signal) { (void)signal, _exit(42); }

/* The file is cut to nothing while a session uses it. Faults elsewhere are the program's own as before. */
static void case_413_a_model_cut_short(void)
{
    char copy[] = "/tmp/mote-misuse-XXXXXX", buffer[4096];
    const uint32_t ids[] = { 1, 2, 3 };
    mote_session_options options = MOTE_SESSION_OPTIONS_INIT;
    mote_model_options model_options = MOTE_MODEL_OPTIONS_INIT;
    mote_session *session;
    mote_model *model, *other = load();
    FILE *in = fopen(path, "rb");
    int out = mkstemp(copy), status;
    size_t n;
    pid_t child;
    REQUIRE(in && out >= 0);
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0) REQUIRE(write(out, buffer, n) == (ssize_t)n);
    fclose(in);
    signal(SIGBUS, on_bus_error);
    REQUIRE(mote_guard_files() == MOTE_OK && mote_guard_files() == MOTE_OK);
    REQUIRE(mote_model_open(copy, &model_options, &model) == MOTE_OK);
    options.n_ctx = 64;
    REQUIRE(mote_session_new(model, &options, &session) == MOTE_OK);
    REQUIRE(mote_session_feed(session, ids, 3, MOTE_PROMPT) == MOTE_OK);
    REQUIRE(ftruncate(out, 0) == 0);
    REQUIRE(mote_session_feed(session, ids, 3, MOTE_PROMPT) == MOTE_IO);
    REQUIRE(mote_session_feed(session, ids, 1, MOTE_PROMPT) == MOTE_IO);
    same(other, 2);
    mote_session_free(session);
    mote_model_free(model);
    mote_model_free(other);
    child = fork();
    if (child == 0) {
        char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, out, 0);
        _exit(page == MAP_FAILED ? 1 : *(volatile char *)page);
    }
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42);
    close(out);
    unlink(copy);
}

int main(int argc, char **argv)
{
    mote_model *model;
    if (argc != 2) return 2;
    path = argv[1];
    model = load();
    write_with(model, 1, &expected);
    mote_model_free(model);
    case_370_sessions_of_one_model_in_16_threads();
    case_372_fork();
    case_373_signals();
    case_374_a_stack_of_64_kib();
    case_375_floating_point_states();
    case_376_locale();
    case_377_the_callers_state();
    case_413_a_model_cut_short();
    puts("test result: ok. 8 passed;");
    return 0;
}
