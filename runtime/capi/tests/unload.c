/* unload.c: the library loaded and unloaded a thousand times, leaving nothing. Not linked with it.
 * usage: unload MODEL.gguf LIBMOTE.so */
#define _GNU_SOURCE
#include <mote.h>

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                       \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition);      \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

static int entries(const char *folder)
{
    DIR *open = opendir(folder);
    int n = 0;
    REQUIRE(open);
    while (readdir(open)) n++;
    closedir(open);
    return n;
}

static long resident(void)
{
    long size, pages;
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file && fscanf(file, "%ld %ld", &size, &pages) == 2);
    fclose(file);
    return pages;
}

static void case_378_dlopen_1000_times(const char *path, const char *library)
{
    int i, threads = 0, files = 0;
    long pages = 0;
    for (i = 0; i < 1000; i++) {
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        mote_status (*open)(const char *, const mote_model_options *, mote_model **);
        mote_status (*new_session)(const mote_model *, const mote_session_options *, mote_session **);
        mote_status (*feed)(mote_session *, const uint32_t *, size_t, uint32_t);
        mote_status (*free_session)(mote_session *);
        mote_status (*free_model)(mote_model *);
        mote_model_options options = MOTE_MODEL_OPTIONS_INIT;
        mote_session_options session_options = MOTE_SESSION_OPTIONS_INIT;
        mote_model *model;
        mote_session *session;
        uint32_t id = 3;
        REQUIRE(handle);
        *(void **)&open = dlsym(handle, "mote_model_open");
        *(void **)&new_session = dlsym(handle, "mote_session_new");
        *(void **)&feed = dlsym(handle, "mote_session_feed");
        *(void **)&free_session = dlsym(handle, "mote_session_free");
        *(void **)&free_model = dlsym(handle, "mote_model_free");
        session_options.n_ctx = 16;
        session_options.threads = 2;
        REQUIRE(open(path, &options, &model) == MOTE_OK);
        REQUIRE(new_session(model, &session_options, &session) == MOTE_OK);
        REQUIRE(feed(session, &id, 1, MOTE_PROMPT) == MOTE_OK);
        REQUIRE(free_session(session) == MOTE_OK && free_model(model) == MOTE_OK);
        REQUIRE(dlclose(handle) == 0);
        if (i == 100) {
            threads = entries("/proc/self/task");
            files = entries("/proc/self/fd");
            pages = resident();
        }
    }
    REQUIRE(entries("/proc/self/task") == threads && entries("/proc/self/fd") == files);
    REQUIRE(resident() < pages + 256);
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    case_378_dlopen_1000_times(argv[1], argv[2]);
    puts("test result: ok. 1 passed;");
    return 0;
}
