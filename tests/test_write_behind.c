/* SPDX-License-Identifier: MIT */
/* test_write_behind.c -- files that are written past the system's cache, behind their writer: the bytes are there when
 * a sync has said so, and a write that failed meanwhile is told, and never forgotten.
 *
 * This program has functions of its own in the place of the C library's asynchronous writes: one of them can be
 * refused, cut short, or fail. Where the file system of the tests has no direct writes, all goes through its cache, and
 * only the bytes are looked at. */
#include "test.h"

#include "base/alloc.h"
#include "base/prng.h"
#include "base/slice.h"
#include "platform/posix_write_behind.h"

#include <aio.h>
#include <bole/bole_inspect.h>
#include <bole/bole_vfs.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { PIECE = BL_WRITE_BEHIND_BYTES, PIECES = 5 };

typedef enum odd { NOTHING, REFUSED, SHORT, INVALID, FAILED } odd;

static struct {
    uint32_t writes, pass; /* asked for; that go through before the odd one */
    odd next, meant;       /* what the next answer but `pass` will be; what it is of `request` */
    const struct aiocb *request;
} asynchronous;

#define NEXT(name) ((__typeof__(&(name)))(uintptr_t)dlsym(RTLD_NEXT, #name))

int aio_write(struct aiocb *request)
{
    asynchronous.writes++;
    assert_int_equal((request->aio_nbytes | (size_t)request->aio_offset | (uintptr_t)request->aio_buf) %
                         BL_DIRECT_BYTES,
                     0);
    if (asynchronous.request == request)
        asynchronous.request = NULL;
    if (asynchronous.next == NOTHING || asynchronous.pass-- != 0)
        return NEXT(aio_write)(request);
    asynchronous.meant = asynchronous.next;
    asynchronous.next = NOTHING;
    if (asynchronous.meant == REFUSED) {
        errno = EAGAIN;
        return -1;
    }
    if (asynchronous.meant == SHORT) {
        request->aio_nbytes -= BL_DIRECT_BYTES;
        return NEXT(aio_write)(request);
    }
    asynchronous.request = request;
    return 0;
}

int aio_error(const struct aiocb *request)
{
    if (request != asynchronous.request)
        return NEXT(aio_error)(request);
    return asynchronous.meant == INVALID ? EINVAL : EIO;
}

ssize_t aio_return(struct aiocb *request)
{
    if (request != asynchronous.request)
        return NEXT(aio_return)(request);
    asynchronous.request = NULL;
    return -1;
}

static uint32_t refused_flags; /* so many calls that change what kind of descriptor it is fail */

int fcntl(int descriptor, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (command == F_SETFL && refused_flags != 0) {
        refused_flags--;
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_fcntl, descriptor, command, argument);
}

static void odd_answer(odd what, uint32_t pass)
{
    asynchronous.next = what;
    asynchronous.pass = pass;
}

typedef enum any_call { READ, LENGTH, REWRITE, TRUNCATE, ALLOCATE, MAP, SYNC, ANY_CALLS } any_call;

static bole_vfs *posix;
static test_directory directory;
static uint8_t *bytes; /* PIECES + 1 pieces */

static int set_up(void **state)
{
    (void)state;
    posix = bole_vfs_posix();
    directory = test_directory_make();
    memset(&asynchronous, 0, sizeof asynchronous);
    bytes = malloc((size_t)(PIECES + 1) * PIECE);
    assert_non_null(bytes);
    for (size_t i = 0; i < (size_t)(PIECES + 1) * PIECE; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251 + i / PIECE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(bytes);
    return 0;
}

static bool writes_past_the_cache(void)
{
    int descriptor = open(test_path(&directory, "any"), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (descriptor >= 0)
        close(descriptor);
    return descriptor >= 0;
}

static bole_file *open_as(uint32_t flags)
{
    bole_error error = BOLE_ERROR_INIT;
    bole_file *file;
    assert_ok(posix->open(posix, test_path(&directory, "file"), flags, &file, &error), &error);
    return file;
}

static bole_file *open_past(void)
{
    return open_as(BOLE_VFS_WRITE | BOLE_VFS_CREATE | BOLE_VFS_TRUNCATE | BOLE_VFS_DIRECT);
}

static void write_pieces(bole_file *file, uint32_t first, uint32_t count)
{
    bole_error error = BOLE_ERROR_INIT;
    for (uint32_t i = first; i < first + count; i++)
        assert_ok(posix->write(file, (uint64_t)i * PIECE, bytes + (size_t)i * PIECE, PIECE, &error), &error);
}

/* What another handle sees is the first `size` of the bytes, and no more. */
static void assert_file_is(size_t size)
{
    bole_file *file = open_as(BOLE_VFS_READ);
    uint8_t *seen = malloc(size + 1);
    assert_non_null(seen);
    size_t got = 0;
    assert_ok(posix->read(file, 0, seen, size + 1, &got, NULL), NULL);
    assert_int_equal(got, size);
    assert_memory_equal(seen, bytes, size);
    free(seen);
    assert_ok(posix->close(file, NULL), NULL);
}

/* Goal: pieces and a tail of any size are the file, when it was synced. */
static void pieces_and_a_tail_are_the_file(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(7));
    for (uint32_t round = 0; round < 12; round++) {
        uint32_t pieces = (uint32_t)bl_prng_below(&prng, PIECES + 1);
        size_t whole = (size_t)pieces * PIECE, tail = (size_t)bl_prng_below(&prng, PIECE);
        asynchronous.writes = 0;
        bole_file *file = open_past();
        write_pieces(file, 0, pieces);
        assert_int_equal(asynchronous.writes, writes_past_the_cache() ? pieces : 0);
        if (tail != 0)
            assert_ok(posix->write(file, whole, bytes + whole, tail, NULL), NULL);
        assert_ok(posix->sync(file, NULL), NULL);
        assert_file_is(whole + tail);
        assert_ok(posix->close(file, NULL), NULL);
        assert_file_is(whole + tail);
    }
}

/* Goal: whatever else is asked of the file waits for the pieces, and it is an ordinary one from then on. */
static void any_other_call_settles_the_file(void **state)
{
    (void)state;
    enum { CLOSE = ANY_CALLS };
    for (int call = 0; call <= CLOSE; call++) {
        bole_file *file = open_past();
        write_pieces(file, 0, 3);
        uint8_t seen[100];
        size_t got;
        uint64_t length;
        void *map;
        switch (call) {
        case SYNC: assert_ok(posix->sync(file, NULL), NULL); break;
        case READ:
            assert_ok(posix->read(file, 2 * PIECE + 17, seen, sizeof seen, &got, NULL), NULL);
            assert_memory_equal(seen, bytes + 2 * PIECE + 17, sizeof seen);
            break;
        case LENGTH:
            assert_ok(posix->length(file, &length, NULL), NULL);
            assert_int_equal(length, 3 * PIECE);
            break;
        case REWRITE: assert_ok(posix->write(file, 5, bytes + 5, 10, NULL), NULL); break;
        case TRUNCATE: assert_ok(posix->truncate(file, 3 * PIECE, NULL), NULL); break;
        case ALLOCATE: assert_ok(posix->allocate(file, PIECE, PIECE, false, NULL), NULL); break;
        case MAP:
            assert_ok(posix->map(file, 0, 3 * PIECE, &map, NULL), NULL);
            assert_memory_equal(map, bytes, 3 * PIECE);
            assert_ok(posix->unmap(file, map, 3 * PIECE, NULL), NULL);
            break;
        default: break;
        }
        if (call != CLOSE) {
            uint32_t before = asynchronous.writes;
            write_pieces(file, 3, 1);
            assert_int_equal(asynchronous.writes, before);
        }
        assert_ok(posix->close(file, NULL), NULL);
        assert_file_is((size_t)(call != CLOSE ? 4 : 3) * PIECE);
    }
}

/* Goal: what the system does not take in this way goes through its cache, whole. */
static void odd_answers_lose_nothing(void **state)
{
    (void)state;
    const odd answers[] = { REFUSED, SHORT, INVALID };
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t at = 0; at < PIECES; at++) {
            bole_file *file = open_past();
            odd_answer(answers[i], at);
            write_pieces(file, 0, PIECES);
            assert_ok(posix->sync(file, NULL), NULL);
            assert_int_equal(asynchronous.next, writes_past_the_cache() ? NOTHING : answers[i]);
            assert_ok(posix->close(file, NULL), NULL);
            assert_file_is((size_t)PIECES * PIECE);
        }
    }
}

/* Goal: a failure is told by a later write or by the sync, by name, and again by each call after it (BEHIND-1). */
static void a_failure_is_told_and_not_forgotten(void **state)
{
    (void)state;
    if (!writes_past_the_cache())
        skip();
    for (uint32_t at = 0; at < PIECES; at++) {
        bole_error error = BOLE_ERROR_INIT;
        bole_file *file = open_past();
        odd_answer(FAILED, at);
        bole_status status = BOLE_OK;
        uint32_t taken = 0;
        for (; taken < PIECES && status == BOLE_OK; taken++)
            status = posix->write(file, (uint64_t)taken * PIECE, bytes + (size_t)taken * PIECE, PIECE,
                                  &error);
        assert_true(status == BOLE_OK || taken > at + 1);
        if (status == BOLE_OK)
            status = posix->sync(file, &error);
        assert_status(BOLE_IO, status, &error);
        assert_int_equal(error.system_errno, EIO);
        assert_non_null(strstr(error.message, "/file"));
        assert_status(BOLE_IO, posix->sync(file, &error), &error);
        assert_status(BOLE_IO, posix->write(file, 0, bytes, 10, &error), &error);
        assert_status(BOLE_IO, posix->close(file, &error), &error);
    }
}

static bole_status ask(bole_file *file, any_call call, bole_error *error)
{
    uint8_t seen[100];
    size_t got = 0;
    uint64_t length = 0;
    void *map = NULL;
    bole_status status = BOLE_OK;
    switch (call) {
    case READ: status = posix->read(file, 0, seen, sizeof seen, &got, error); break;
    case LENGTH: status = posix->length(file, &length, error); break;
    case REWRITE: return posix->write(file, 0, bytes, 10, error);
    case TRUNCATE: return posix->truncate(file, PIECE, error);
    case ALLOCATE: return posix->allocate(file, 0, PIECE, false, error);
    case MAP: status = posix->map(file, 0, PIECE, &map, error); break;
    default: return posix->sync(file, error);
    }
    assert_int_equal(got, 0);
    assert_true(length == 0 && map == NULL);
    return status;
}

/* Goal: whichever call is the next one tells that a write has failed, and so does each one after it (BEHIND-1); also
 * where the file could not be made an ordinary one, be it when a piece had to go through the cache or when the file
 * was settled. */
static void any_other_call_tells_the_failure(void **state)
{
    (void)state;
    static const struct {
        odd answer;
        uint32_t refused;
        int system_errno;
    } cases[] = {
        { FAILED, 0, EIO }, { NOTHING, 1, EINVAL }, { REFUSED, 1, EINVAL }, { INVALID, 1, EINVAL }
    };
    if (!writes_past_the_cache())
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (any_call call = 0; call < ANY_CALLS; call++) {
            bole_error error = BOLE_ERROR_INIT;
            bole_file *file = open_past();
            odd_answer(cases[i].answer, 1);
            if (cases[i].answer != REFUSED)
                write_pieces(file, 0, 2);
            else
                write_pieces(file, 0, 1);
            refused_flags = cases[i].refused;
            if (cases[i].answer == REFUSED)
                assert_status(BOLE_IO, posix->write(file, PIECE, bytes + PIECE, PIECE, &error), &error);
            for (int again = 0; again < 2; again++) {
                error = (bole_error)BOLE_ERROR_INIT;
                assert_status(BOLE_IO, ask(file, call, &error), &error);
                assert_int_equal(error.system_errno, cases[i].system_errno);
                assert_non_null(strstr(error.message, "/file"));
            }
            assert_int_equal(refused_flags, 0);
            assert_status(BOLE_IO, posix->close(file, &error), &error);
        }
}

/* Goal: without memory for pieces the file is written all the same. */
static void without_memory_the_cache_is_used(void **state)
{
    (void)state;
    for (uint64_t nth = 0; nth < 2; nth++) {
        asynchronous.writes = 0;
        bole_file *file = open_past();
        bl_alloc_fail_at(nth, 1);
        bole_status status = posix->write(file, 0, bytes, PIECE, NULL);
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_int_equal(status, BOLE_OK);
        write_pieces(file, 1, 2);
        assert_int_equal(asynchronous.writes, 0);
        assert_ok(posix->sync(file, NULL), NULL);
        assert_ok(posix->close(file, NULL), NULL);
        assert_file_is((size_t)3 * PIECE);
    }
}

/* Goal: a store writes its segments past the cache while they are small beside memory_limit, unless it is told not to;
 * and a merge whose write fails tells it, keeps its inputs, and comes to its end later. */
static void a_store_writes_past_the_cache_as_it_is_told(void **state)
{
    (void)state;
    enum { KEYS = 60000 };
    static const struct {
        const char *name;
        uint64_t memory_limit;
        uint32_t direct_writes;
        bool past;
    } cases[] = { { "default", 64 << 20, 0, true },
                  { "off", 64 << 20, UINT32_MAX, false },
                  { "large", 16 << 20, 0, false }, /* as a whole */
                  { "failing", 64 << 20, 1, true } };
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bole_db *db;
        bole_error error = BOLE_ERROR_INIT;
        bole_options options = BOLE_OPTIONS_INIT;
        options.flags = BOLE_CREATE | BOLE_NO_SIGBUS_HANDLER;
        options.memory_limit = cases[i].memory_limit;
        options.direct_reads = UINT32_MAX;
        options.direct_writes = cases[i].direct_writes;
        options.compression = BOLE_COMPRESSION_NONE;
        asynchronous.writes = 0;
        bool fails = strcmp(cases[i].name, "failing") == 0 && writes_past_the_cache();
        char value[200] = { 0 };
        assert_ok(bole_open(test_path(&directory, cases[i].name), &options, &db, &error), &error);
        for (uint32_t key = 0; key < KEYS; key++) {
            memset(value, (int)(key % 251), sizeof value);
            assert_ok(bole_put(db, NULL, BOLE_SLICE(&key, sizeof key), BOLE_SLICE(value, sizeof value)),
                      NULL);
        }
        if (fails) {
            assert_ok(bole_flush(db, &error), &error);
            odd_answer(FAILED, 1);
            assert_status(BOLE_IO, bole_compact(db, NULL, bl_slice(NULL, 0), bl_slice(NULL, 0), &error),
                          &error);
            assert_non_null(strstr(error.message, ".seg"));
        }
        assert_ok(bole_compact(db, NULL, bl_slice(NULL, 0), bl_slice(NULL, 0), &error), &error);
        if (strcmp(cases[i].name, "large") == 0) {
            asynchronous.writes = 0; /* what it wrote when it was small */
            for (uint32_t key = 1; key < 3; key++) {
                memset(value, (int)key, sizeof value);
                assert_ok(bole_put(db, NULL, BOLE_SLICE(&key, sizeof key), BOLE_SLICE(value, sizeof value)),
                          NULL);
                assert_ok(bole_flush(db, &error), &error);
            }
            assert_ok(bole_compact(db, NULL, bl_slice(NULL, 0), bl_slice(NULL, 0), &error), &error);
        }
        assert_int_equal(asynchronous.writes > 0, cases[i].past && writes_past_the_cache());
        assert_ok(bole_close(db, &error), &error);
        bole_verify_report report;
        assert_ok(bole_verify(test_path(&directory, cases[i].name), NULL, NULL, NULL, &report, &error),
                  &error);
        bole_buffer got = BOLE_BUFFER_INIT;
        assert_ok(bole_open(test_path(&directory, cases[i].name), &options, &db, &error), &error);
        for (uint32_t key = 0; key < KEYS; key += 7) {
            assert_ok(bole_get(db, NULL, BOLE_SLICE(&key, sizeof key), &got), NULL);
            memset(value, (int)(key % 251), sizeof value);
            assert_int_equal(got.size, sizeof value);
            assert_memory_equal(got.data, value, sizeof value);
        }
        bole_buffer_free(&got);
        assert_ok(bole_close(db, &error), &error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_and_a_tail_are_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_other_call_settles_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_answers_lose_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_told_and_not_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_other_call_tells_the_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_the_cache_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_store_writes_past_the_cache_as_it_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
