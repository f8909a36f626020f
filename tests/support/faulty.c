/* Loaded before a program's C library: one of its calls fails, as the environment says. What the C library
 * calls inside itself, and what is called before `main`, goes by untouched.
 *
 *   FAULT_LOG      a file that gets a line for every operation on files, and in the end the allocations
 *   FAULT_CALL     the operation on files that fails, counted from 0
 *   FAULT_ERROR    by which errno; 0: it moves half of the bytes. A disk that is full stays full
 *   FAULT_MEMORY   the allocation that fails, counted from 0
 *   FAULT_THREADS  so many threads can be made, and no more
 *   FAULT_CLOCK    the clock of the day leaps by so many seconds, to and fro at every look
 *   FAULT_HIDDEN   folders, each with a colon behind it, in which there is nothing
 *   FAULT_READ_ONLY  nothing can be created, changed or removed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static struct {
    int armed, log, error, read_only;
    long call, memory, threads, clock;
    const char *hidden;
} asked = {.log = -1, .call = -1, .memory = -1, .threads = -1};

static atomic_long calls, allocations, threads, looks;

/* The function behind the one of that name here. */
#define NEXT(name)                                 \
    static __typeof__(&name) next;                 \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* ---- From main to the end */

static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static void note(const char *text)
{
    if (asked.log >= 0) syscall(SYS_write, asked.log, text, strlen(text));
}

static void end(void)
{
    char line[64];
    snprintf(line, sizeof line, "%ld allocations\n", atomic_load(&allocations));
    note(line);
}

static int (*real_main)(int, char **, char **);

static int main_with_faults(int n, char **words, char **environment)
{
    const char *log = getenv("FAULT_LOG");
    if (log) asked.log = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    asked.error = (int)number("FAULT_ERROR", EIO);
    asked.call = number("FAULT_CALL", -1);
    asked.memory = number("FAULT_MEMORY", -1);
    asked.threads = number("FAULT_THREADS", -1);
    asked.clock = number("FAULT_CLOCK", 0);
    asked.hidden = getenv("FAULT_HIDDEN");
    asked.read_only = getenv("FAULT_READ_ONLY") != NULL;
    if (log) atexit(end);
    asked.armed = 1;
    return real_main(n, words, environment);
}

int __libc_start_main(int (*program)(int, char **, char **), int n, char **words, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack)
{
    static int (*next)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                       void (*)(void), void *);
    *(void **)&next = dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = program;
    return next(main_with_faults, n, words, init, fini, rtld_fini, stack);
}

/* ---- Operations on files */

enum { GOES_ON = -1, HALF = 0 };

/* Counts an operation: by which errno it is to fail, or one of those above. */
static int fault(const char *name)
{
    if (!asked.armed) return GOES_ON;
    long call = atomic_fetch_add(&calls, 1);
    int full = asked.error == ENOSPC && asked.call >= 0 && call > asked.call && strstr(name, "write");
    if (call != asked.call && !full) {
        note(name);
        note("\n");
        return GOES_ON;
    }
    note("failed: ");
    note(name);
    note("\n");
    return asked.error;
}

/* Messages get out, and how threads wake each other is no file's matter. */
static int is_counted(int file)
{
    struct stat facts;
    if (file == STDERR_FILENO || file == asked.log) return 0;
    return file <= 2 || syscall(SYS_fstat, file, &facts) != 0 || !S_ISFIFO(facts.st_mode);
}

static int fault_at(const char *name, int file)
{
    return is_counted(file) ? fault(name) : GOES_ON;
}

#define FAIL(error)          \
    do {                     \
        errno = (error);     \
        return -1;           \
    } while (0)

/* What moves no bytes does not stop half-way. */
#define WHOLE(found)                                       \
    do {                                                   \
        int error = (found);                               \
        if (error > 0) FAIL(error);                        \
    } while (0)

#define MOVE(name, file, bytes, size, ...)                             \
    NEXT(name);                                                        \
    int error = fault_at(#name, file);                                 \
    if (error > 0) FAIL(error);                                        \
    return next(file, bytes, error == HALF ? (size + 1) / 2 : size, ##__VA_ARGS__)

ssize_t read(int file, void *bytes, size_t size) { MOVE(read, file, bytes, size); }
ssize_t pread64(int file, void *bytes, size_t size, off64_t at) { MOVE(pread64, file, bytes, size, at); }
ssize_t write(int file, const void *bytes, size_t size) { MOVE(write, file, bytes, size); }
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at)
{
    MOVE(pwrite64, file, bytes, size, at);
}

ssize_t writev(int file, const struct iovec *pieces, int n)
{
    NEXT(writev);
    int error = fault_at("writev", file);
    if (error > 0) FAIL(error);
    return next(file, pieces, error == HALF ? (n + 1) / 2 : n);
}

/* Whether the path is in a folder in which there is to be nothing. (Rust asks for facts about NULL, to see
 * whether statx is there.) */
static int is_hidden(const char *path)
{
    for (const char *folder = asked.armed && path ? asked.hidden : NULL; folder && *folder;) {
        size_t length = strcspn(folder, ":");
        if (strncmp(path, folder, length) == 0) return 1;
        folder += length + (folder[length] == ':');
    }
    return 0;
}

static int is_changed(int flags)
{
    return asked.read_only && (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0;
}

#define OPEN(name, path, ...)                                            \
    NEXT(name);                                                          \
    va_list rest;                                                        \
    va_start(rest, flags);                                               \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                        \
    if (is_hidden(path)) FAIL(ENOENT);                                   \
    if (is_changed(flags)) FAIL(EROFS);                                  \
    WHOLE(fault(#name));                                                 \
    return next(__VA_ARGS__, flags, mode)

int open(const char *path, int flags, ...) { OPEN(open, path, path); }
int open64(const char *path, int flags, ...) { OPEN(open64, path, path); }
int openat(int folder, const char *path, int flags, ...) { OPEN(openat, path, folder, path); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(openat64, path, folder, path); }

#define ASK(name, path, ...)                  \
    NEXT(name);                               \
    if (is_hidden(path)) FAIL(ENOENT);        \
    WHOLE(fault(#name));                      \
    return next(__VA_ARGS__)

int stat64(const char *path, struct stat64 *facts) { ASK(stat64, path, path, facts); }
int lstat64(const char *path, struct stat64 *facts) { ASK(lstat64, path, path, facts); }
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *facts)
{
    ASK(statx, path, folder, path, flags, mask, facts);
}

#define CHANGE(name, ...)                     \
    NEXT(name);                               \
    if (asked.read_only) FAIL(EROFS);         \
    WHOLE(fault(#name));                      \
    return next(__VA_ARGS__)

int rename(const char *from, const char *to) { CHANGE(rename, from, to); }
int link(const char *from, const char *to) { CHANGE(link, from, to); }
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    CHANGE(linkat, from_folder, from, to_folder, to, flags);
}
int unlink(const char *path) { CHANGE(unlink, path); }
int mkdir(const char *path, mode_t mode) { CHANGE(mkdir, path, mode); }

#define PLAIN(name, file, ...)           \
    NEXT(name);                          \
    WHOLE(fault_at(#name, file));        \
    return next(__VA_ARGS__)

int fstat64(int file, struct stat64 *facts) { PLAIN(fstat64, file, file, facts); }
off64_t lseek64(int file, off64_t at, int whence) { PLAIN(lseek64, file, file, at, whence); }
int ftruncate64(int file, off64_t size) { PLAIN(ftruncate64, file, file, size); }
int fdatasync(int file) { PLAIN(fdatasync, file, file); }
int flock(int file, int operation) { PLAIN(flock, file, file, operation); }

/* That a folder's names reach the medium is a wish, and a file's contents are a promise. */
int fsync(int file)
{
    NEXT(fsync);
    struct stat facts;
    int folder = syscall(SYS_fstat, file, &facts) == 0 && S_ISDIR(facts.st_mode);
    WHOLE(fault(folder ? "fsync of a folder" : "fsync"));
    return next(file);
}

/* Linux closes the file all the same. */
int close(int file)
{
    NEXT(close);
    int error = fault_at("close", file);
    int status = next(file);
    if (error > 0) FAIL(error);
    return status;
}

/* Not the stacks on which Rust's standard library handles signals, without which it aborts by itself. */
#define MAP(name)                                                            \
    NEXT(name);                                                              \
    int error = flags & MAP_STACK ? GOES_ON : fault(#name);                  \
    if (error > 0) {                                                         \
        errno = error;                                                       \
        return MAP_FAILED;                                                   \
    }                                                                        \
    return next(at, size, protection, flags, file, offset)

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) { MAP(mmap); }
void *mmap64(void *at, size_t size, int protection, int flags, int file, off64_t offset) { MAP(mmap64); }

int mprotect(void *at, size_t size, int protection)
{
    NEXT(mprotect);
    if (protection != PROT_NONE) WHOLE(fault("mprotect"));
    return next(at, size, protection);
}

int madvise(void *at, size_t size, int advice)
{
    NEXT(madvise);
    WHOLE(fault("madvise"));
    return next(at, size, advice);
}

int mlock(const void *at, size_t size)
{
    NEXT(mlock);
    WHOLE(fault("mlock"));
    return next(at, size);
}

/* ---- Memory: glibc's own allocator stands behind these names, too */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

static int has_memory(void)
{
    if (!asked.armed || atomic_fetch_add(&allocations, 1) != asked.memory) return 1;
    errno = ENOMEM;
    return 0;
}

void *malloc(size_t size) { return has_memory() ? __libc_malloc(size) : NULL; }
void *calloc(size_t n, size_t size) { return has_memory() ? __libc_calloc(n, size) : NULL; }
void *realloc(void *old, size_t size) { return has_memory() ? __libc_realloc(old, size) : NULL; }
void *aligned_alloc(size_t alignment, size_t size)
{
    return has_memory() ? __libc_memalign(alignment, size) : NULL;
}
int posix_memalign(void **place, size_t alignment, size_t size)
{
    void *memory = has_memory() ? __libc_memalign(alignment, size) : NULL;
    if (memory) *place = memory;
    return memory ? 0 : ENOMEM;
}

/* ---- Threads and clocks */

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*body)(void *), void *with)
{
    NEXT(pthread_create);
    if (asked.threads >= 0 && atomic_fetch_add(&threads, 1) >= asked.threads) return EAGAIN;
    return next(thread, how, body, with);
}

static long leap(void)
{
    return asked.clock && atomic_fetch_add(&looks, 1) % 2 ? -asked.clock : asked.clock;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    NEXT(clock_gettime);
    int status = next(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += leap();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    NEXT(gettimeofday);
    int status = next(now, zone);
    now->tv_sec += leap();
    return status;
}

time_t time(time_t *place)
{
    NEXT(time);
    time_t now = next(NULL) + leap();
    if (place) *place = now;
    return now;
}
