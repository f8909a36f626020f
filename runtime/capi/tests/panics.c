/* panics.c: case 366 with the shared library as it is installed: a panic in any function is a status,
 * and nothing is printed. With a library of check.sh's, in which every function panics.
 * usage: panics MODEL.gguf */
#include <mote.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    mote_model_options options = MOTE_MODEL_OPTIONS_INIT;
    mote_model *model = NULL;
    int i;
    if (argc != 2) return 2;
    for (i = 0; i < 1000; i++) {
        if (mote_model_open(argv[1], &options, &model) != MOTE_INTERNAL || model) return 1;
        if (mote_model_free(NULL) != MOTE_INTERNAL) return 1;
    }
    puts(mote_status_text(MOTE_INTERNAL));
    return 0;
}
