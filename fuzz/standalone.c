/* SPDX-License-Identifier: MIT */
/* standalone.c -- a main for a fuzz target where there is no libFuzzer: runs files, folders of files, or standard
 * input, and seeded mutations of them.
 *
 *   fuzz_block [--mutations N] [--seconds N] [--seed N] [--bytes-max N] [FILE | FOLDER]...
 *
 * Without a file the one input is standard input: `afl-fuzz -i fuzz/corpus/block -o findings -- fuzz_block`, or with
 * `@@` as argument. The same seed and the same files in one order (folders are read by name) give the same inputs on
 * every machine. BOLE_TEST_SEED and BOLE_TEST_EFFORT count as with the tests.
 *
 * When the process dies, the input that it died of is in crash-TARGET in the present folder. An input that takes more
 * than SLOW_SECONDS of processor time is a failure, too.
 *
 * THREADS One. */
#include "fuzz.h"

#include "base/prng.h"
#include "base/sanitizer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(BL_ADDRESS_SANITIZER) || defined(BL_THREAD_SANITIZER)
enum { SLOW_SECONDS = 10 };
#else
enum { SLOW_SECONDS = 1 };
#endif
enum { FILES_MAX = 4096, FILE_BYTES_MAX = 1 << 20 };

__attribute__((weak)) int LLVMFuzzerInitialize(int *count, char ***arguments);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

typedef struct seed_file {
    uint8_t *data;
    size_t size;
} seed_file;

static seed_file files[FILES_MAX];
static size_t file_count;
static uint64_t runs;

/* ---- The input that is being run, for who dies of it ---- */

static const uint8_t *running;
static size_t running_size;
static char crash_path[128];

static void keep_input(void)
{
    if (running_size == 0 || crash_path[0] == '\0')
        return;
    int file = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file >= 0 && write(file, running, running_size) == (ssize_t)running_size)
        dprintf(STDERR_FILENO, "the input is kept in %s\n", crash_path);
    if (file >= 0)
        close(file);
    crash_path[0] = '\0';
}

static void on_signal(int number)
{
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}

static void watch_for_death(const char *program)
{
    const char *slash = strrchr(program, '/');
    snprintf(crash_path, sizeof crash_path, "crash-%.100s", slash == NULL ? program : slash + 1);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(keep_input);
    static const int numbers[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        signal(numbers[i], on_signal);
}

static double processor_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A copy of exactly that size, so that a sanitizer sees a read behind it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    fuzz_check(copy != NULL);
    if (size != 0)
        memcpy(copy, data, size);
    running = copy;
    running_size = size;
    double begin = processor_seconds();
    LLVMFuzzerTestOneInput(copy, size);
    if (processor_seconds() - begin > SLOW_SECONDS) {
        fprintf(stderr, "an input of %zu bytes took %.1f s\n", size, processor_seconds() - begin);
        abort();
    }
    running_size = 0;
    runs++;
    free(copy);
}

/* ---- Files ---- */

static void add_stream(FILE *stream, const char *name)
{
    uint8_t *data = malloc(FILE_BYTES_MAX);
    fuzz_check(data != NULL && file_count < FILES_MAX);
    size_t size = fread(data, 1, FILE_BYTES_MAX, stream);
    if (ferror(stream)) {
        fprintf(stderr, "%s: %s\n", name, strerror(errno));
        exit(2);
    }
    files[file_count++] = (seed_file){ realloc(data, size == 0 ? 1 : size), size };
}

static void add_path(const char *path);

static void add_folder(const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            add_path(below);
        free(names[i]);
    }
    free(names);
}

static void add_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        add_folder(path);
        return;
    }
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    add_stream(stream, path);
    fclose(stream);
}

/* ---- Mutations ---- */

/* The place at which lengths, counts and checks stand or fall. */
static void put_interesting(bl_prng *prng, uint8_t *at, size_t room)
{
    static const uint64_t values[] = { 0,       1,      2,          0x7f,       0x80,       0xff,
                                       0x100,   0x7fff, 0x8000,     0xffff,     0x10000,    0x7fffffff,
                                       1 << 30, 4096,   0x80000000, 0xffffffff, UINT64_MAX, INT64_MAX };
    uint64_t value = values[bl_prng_below(prng, sizeof values / sizeof values[0])];
    size_t width = (size_t)1 << bl_prng_below(prng, 4);
    for (size_t i = 0; i < width && i < room; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void mutate_once(bl_prng *prng, uint8_t *data, size_t *size, size_t bytes_max)
{
    size_t at = *size == 0 ? 0 : bl_prng_below(prng, *size);
    size_t span = 1 + bl_prng_below(prng, bl_prng_chance(prng, 4) ? 256 : 8);
    if (span > *size - at)
        span = *size - at;
    switch (bl_prng_below(prng, 9)) {
    case 0:
        if (*size != 0)
            data[at] ^= (uint8_t)(1u << bl_prng_below(prng, 8));
        break;
    case 1: bl_prng_fill(prng, data + at, span); break;
    case 2: put_interesting(prng, data + at, *size - at); break;
    case 3:
        if (*size != 0)
            data[at] = (uint8_t)(data[at] + bl_prng_below(prng, 17) - 8);
        break;
    case 4: /* cut out */
        memmove(data + at, data + at + span, *size - at - span);
        *size -= span;
        break;
    case 5: /* put in: twice the same, to be changed by a later turn */
        if (*size + span <= bytes_max) {
            memmove(data + at + span, data + at, *size - at);
            *size += span;
        }
        break;
    case 6: { /* one place over another */
        size_t from = *size == 0 ? 0 : bl_prng_below(prng, *size);
        span = span < *size - from ? span : *size - from;
        memmove(data + at, data + from, span);
        break;
    }
    case 7: { /* a piece of another file */
        const seed_file *other = &files[bl_prng_below(prng, file_count)];
        size_t from = other->size == 0 ? 0 : bl_prng_below(prng, other->size);
        span = span < other->size - from ? span : other->size - from;
        memcpy(data + at, other->data + from, span);
        break;
    }
    default: /* the end is missing */
        if (bl_prng_chance(prng, 4))
            *size = at;
        break;
    }
}

static void run_mutation(bl_prng *prng, uint8_t *buffer, size_t bytes_max)
{
    const seed_file *from = &files[bl_prng_below(prng, file_count)];
    size_t size = from->size < bytes_max ? from->size : bytes_max;
    memcpy(buffer, from->data, size);
    for (uint64_t turns = 1 + bl_prng_below(prng, bl_prng_chance(prng, 8) ? 16 : 4); turns > 0; turns--)
        mutate_once(prng, buffer, &size, bytes_max);
    run(buffer, size);
}

static void run_mutations(uint64_t count, double seconds, uint64_t seed, size_t bytes_max)
{
    bl_prng prng;
    bl_prng_init(&prng, seed);
    uint8_t *buffer = malloc(bytes_max + 256); /* a piece of another file may reach beyond; it is cut off */
    fuzz_check(buffer != NULL && file_count != 0);
    double begin = processor_seconds();
    for (uint64_t i = 0; i < count; i++)
        run_mutation(&prng, buffer, bytes_max);
    while (seconds > 0 && processor_seconds() - begin < seconds)
        run_mutation(&prng, buffer, bytes_max);
    free(buffer);
}

static uint64_t number_of(const char *text)
{
    char *end = NULL;
    uint64_t number = text == NULL ? 0 : strtoull(text, &end, 0);
    if (text == NULL || end == text || *end != '\0') {
        fprintf(stderr,
                "usage: fuzz_TARGET [--mutations N] [--seconds N] [--seed N] [--bytes-max N] [PATH]...\n");
        exit(2);
    }
    return number;
}

int main(int count, char **arguments)
{
    uint64_t mutations = 0, seed = 1, bytes_max = 16384;
    double seconds = 0;
    const char *effort = getenv("BOLE_TEST_EFFORT");
    if (getenv("BOLE_TEST_SEED") != NULL)
        seed = number_of(getenv("BOLE_TEST_SEED"));
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&count, &arguments);
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--mutations") == 0)
            mutations = number_of(arguments[++i]);
        else if (strcmp(arguments[i], "--seconds") == 0)
            seconds = (double)number_of(arguments[++i]);
        else if (strcmp(arguments[i], "--seed") == 0)
            seed = number_of(arguments[++i]);
        else if (strcmp(arguments[i], "--bytes-max") == 0)
            bytes_max = number_of(arguments[++i]);
        else
            add_path(arguments[i]);
    }
    if (file_count == 0)
        add_stream(stdin, "standard input");
    watch_for_death(arguments[0]);
    for (size_t i = 0; i < file_count; i++)
        run(files[i].data, files[i].size);
    mutations *= effort == NULL ? 1 : number_of(effort);
    if (mutations != 0 || seconds > 0) {
        printf("[   SEED   ] BOLE_TEST_SEED=%" PRIu64 "\n", seed);
        fflush(stdout);
        run_mutations(mutations, seconds, seed, bytes_max);
    }
    printf("%zu files, %" PRIu64 " inputs, %.1f s\n", file_count, runs, processor_seconds());
    for (size_t i = 0; i < file_count; i++)
        free(files[i].data);
    return 0;
}
