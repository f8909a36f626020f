/* A desktop as a board: two calls of the system. */
#include <stddef.h>
#include <unistd.h>

void board_write(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(1, text, size);
        if (written <= 0) _exit(2);
        text += written;
        size -= (size_t)written;
    }
}

void board_exit(int failed) { _exit(failed); }
