/* Loaded before a program's C library: writes and reads take a part of what they are given, and every
 * third call is interrupted by a signal that did not come. The same in every run. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

static atomic_uint calls;

/* Bytes that the next call may move; 0: it is interrupted. */
static size_t share(size_t n)
{
    unsigned call = atomic_fetch_add(&calls, 1);
    if (call % 3 == 0) return 0;
    size_t part = 1 + (call * 7919u) % 4093u;
    return n < part ? n : part;
}

ssize_t write(int file, const void *bytes, size_t n)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    size_t part = share(n);
    if (part == 0 && n > 0) {
        errno = EINTR;
        return -1;
    }
    return next(file, bytes, part);
}

ssize_t read(int file, void *bytes, size_t n)
{
    static ssize_t (*next)(int, void *, size_t);
    if (!next) next = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    size_t part = share(n);
    if (part == 0 && n > 0) {
        errno = EINTR;
        return -1;
    }
    return next(file, bytes, part);
}

ssize_t writev(int file, const struct iovec *pieces, int n)
{
    for (int i = 0; i < n; i++) {
        if (pieces[i].iov_len > 0) return write(file, pieces[i].iov_base, pieces[i].iov_len);
    }
    return 0;
}
