/* SPDX-License-Identifier: MIT */
/* test_log_record.c -- the bytes of a log's records and of its header. */
#include "test.h"

#include "base/prng.h"
#include "log/log_file.h"
#include "log/log_record.h"

static const bl_id id_a = { { 'a', 'l', 'o', 'g' } }, id_b = { { 'b', 'l', 'o', 'g' } };

static void make_record(uint8_t *record, size_t payload_bytes, uint64_t synced, uint64_t position, bl_id id)
{
    for (size_t i = 0; i < payload_bytes; i++)
        record[BL_LOG_RECORD_HEADER_BYTES + i] = (uint8_t)(i * 7 + 1);
    bl_log_record_seal(record, payload_bytes, synced, bl_checksum_seed(id), position);
}

/* Goal (RECORD-3): a record verifies at its position of its log, and nowhere else. Method: other positions, another
 * id, and every single bit changed, for sizes in each regime of the checksum. */
static void a_record_verifies_only_where_it_was_written(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 17, 100, 130, 300 };
    uint64_t seed = bl_checksum_seed(id_a);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        uint8_t record[400];
        make_record(record, sizes[s], 90, 1000, id_a);
        assert_true(bl_log_record_verify(record, sizes[s], seed, 1000));
        assert_false(bl_log_record_verify(record, sizes[s], seed, 1001));
        assert_false(bl_log_record_verify(record, sizes[s], seed, 0));
        assert_false(bl_log_record_verify(record, sizes[s], bl_checksum_seed(id_b), 1000));
        for (size_t bit = 0; bit < 8 * (BL_LOG_RECORD_HEADER_BYTES + sizes[s]); bit++) {
            record[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(bl_log_record_verify(record, sizes[s], seed, 1000));
            record[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        if (sizes[s] > 1)
            assert_false(bl_log_record_verify(record, sizes[s] - 1, seed, 1000));
    }
}

/* Goal: bytes are fixed for good. Method: one record and the fields of a header against bytes written down,
 * checksums made with libxxhash alone. */
static void the_bytes_of_a_record_and_a_header_are_fixed(void **state)
{
    (void)state;
    uint8_t record[BL_LOG_RECORD_HEADER_BYTES + 2];
    make_record(record, 2, 0x1122, 0x334455, id_a);
    static const uint8_t wanted[] = { 0x2d, 0x05, 0xc3, 0x23, 0xea, 0xed, 0x31, 0x3d, 2, 0, 0, 0, 0,
                                      0,    0,    0,    0x22, 0x11, 0,    0,    0,    0, 0, 0, 1, 8 };
    assert_memory_equal(record, wanted, sizeof wanted);

    bl_log_header header = { .number = 7,
                             .start = 1000,
                             .id = id_a,
                             .store_id = id_b,
                             .version = 1,
                             .way = BL_LOG_WRITTEN,
                             .synced = 900,
                             .room = 8192 };
    uint8_t bytes[BL_LOG_FILE_HEADER_BYTES];
    bl_log_header_encode(&header, bytes);
    static const uint8_t begin[] = {
        'b',  'o', 'l', 'e', '.', 'l', 'o', 'g', 1,   0,    0,   0,   1, 0, 0, 0, 0,    0, 0,
        0,    0,   0,   0,   0, /* magic .. features */
        7,    0,   0,   0,   0,   0,   0,   0,   'a', 'l',  'o', 'g', 0, 0, 0, 0, 0,    0, 0,
        0,    0,   0,   0,   0, /* number, id */
        'b',  'l', 'o', 'g', 0,   0,   0,   0,   0,   0,    0,   0,   0, 0, 0, 0, 0xe8, 3, 0,
        0,    0,   0,   0,   0,                                                            /* store, start */
        0x84, 3,   0,   0,   0,   0,   0,   0,   0,   0x20, 0,   0,   0, 0, 0, 0, 0,    0, /* synced, room, 0 */
    };
    assert_memory_equal(bytes, begin, sizeof begin);
    static const uint8_t checksum[] = { 0x7d, 0x4d, 0xab, 0xa6, 0x2f, 0x90, 0x56, 0x2f };
    assert_memory_equal(bytes + BL_LOG_FILE_HEADER_BYTES - 8, checksum, sizeof checksum);
}

/* Goal: a header says what it was given; one bit changed anywhere makes it corrupt. Method: every bit. */
static void every_changed_bit_of_a_header_is_found(void **state)
{
    (void)state;
    bl_log_header header = { .number = 12,
                             .start = 5000,
                             .id = id_a,
                             .store_id = id_b,
                             .version = 1,
                             .way = BL_LOG_MAPPED,
                             .synced = 5000,
                             .room = 4096 };
    uint8_t bytes[BL_LOG_FILE_HEADER_BYTES];
    bl_log_header_encode(&header, bytes);
    bl_log_header read;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_log_header_decode(bytes, "x.log", &read, &error), &error);
    assert_int_equal(read.number, 12);
    assert_int_equal(read.start, 5000);
    assert_int_equal(read.synced, 5000);
    assert_int_equal(read.room, 4096);
    assert_int_equal(read.way, BL_LOG_MAPPED);
    assert_true(bl_id_equal(read.id, id_a) && bl_id_equal(read.store_id, id_b));
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_status(BOLE_CORRUPT, bl_log_header_decode(bytes, "x.log", &read, &error), &error);
        assert_string_equal(error.file, "x.log");
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void put_header_checksum(uint8_t *bytes, bl_id id)
{
    size_t at = BL_LOG_FILE_HEADER_BYTES - 8;
    bl_put_u64(bytes + at, bl_checksum(bl_checksum_seed(id), UINT64_MAX, bytes, at));
}

/* Goal: files of a later bole are refused as such, not called damaged; nonsense under a right checksum is damage.
 * Method: headers with one field changed and the checksum made again. */
static void a_later_format_is_unsupported_and_nonsense_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t value;
        bole_status status;
    } cases[] = {
        { 8, 2 | (uint64_t)BL_LOG_WRITTEN << 32, BOLE_UNSUPPORTED }, /* version */
        { 16, 1, BOLE_UNSUPPORTED },                                 /* feature bits */
        { 16, UINT64_C(1) << 63, BOLE_UNSUPPORTED },
        { 8, 1 | (uint64_t)2 << 32, BOLE_CORRUPT }, /* way */
        { 64, UINT64_C(1) << 56, BOLE_CORRUPT },    /* start */
        { 72, 1001, BOLE_CORRUPT },                 /* synced, beyond start */
        { 80, 4097, BOLE_CORRUPT },                 /* room, no whole pages */
        { 80, UINT64_C(1) << 56, BOLE_CORRUPT },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bl_log_header header = { .number = 7,
                                 .start = 1000,
                                 .id = id_a,
                                 .version = 1,
                                 .way = BL_LOG_WRITTEN,
                                 .synced = 1000,
                                 .room = 4096 };
        uint8_t bytes[BL_LOG_FILE_HEADER_BYTES];
        bole_error error = BOLE_ERROR_INIT;
        bl_log_header_encode(&header, bytes);
        bl_put_u64(bytes + cases[i].at, cases[i].value);
        put_header_checksum(bytes, id_a);
        assert_status(cases[i].status, bl_log_header_decode(bytes, "x.log", &header, &error), &error);
    }
}

/* What bl_log_record_search promises, in the plainest way. */
static size_t search_plainly(const uint8_t *bytes, size_t size, uint64_t position, uint64_t remaining,
                             uint64_t claim_min)
{
    for (size_t i = 0; i + BL_LOG_RECORD_HEADER_BYTES <= size && remaining - i >= BL_LOG_RECORD_BYTES_MIN;
         i++) {
        uint64_t length = bl_get_u64(bytes + i + 8), claim = bl_get_u64(bytes + i + 16);
        if (length >= 1 && length <= remaining - i - BL_LOG_RECORD_HEADER_BYTES && claim >= claim_min &&
            claim <= position + i)
            return i;
    }
    return size;
}

/* Goal: the search leaves out nothing and invents nothing. Method: mostly zero, mostly small and random bytes with
 * records strewn in, against the plain form, from every result on. */
static void the_search_finds_what_the_plain_one_finds(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(3));
    size_t found = 0;
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[700] = { 0 };
        size_t size = 1 + bl_prng_below(&prng, sizeof bytes);
        uint64_t position = 100 + bl_prng_below(&prng, 1000), claim_min = bl_prng_below(&prng, 101);
        uint64_t remaining = size + bl_prng_below(&prng, 3) * 20;
        for (uint64_t i = bl_prng_below(&prng, 30); i > 0; i--)
            bytes[bl_prng_below(&prng, size)] = (uint8_t)bl_prng_next(&prng);
        if (bl_prng_chance(&prng, 5))
            bl_prng_fill(&prng, bytes, size);
        if (size > 100 && bl_prng_chance(&prng, 2)) {
            size_t at = bl_prng_below(&prng, size - 60);
            make_record(bytes + at, 1 + bl_prng_below(&prng, 30), claim_min, position + at, id_a);
        }
        for (size_t at = 0; at < size;) {
            size_t wanted = search_plainly(bytes + at, size - at, position + at, remaining - at, claim_min);
            size_t got = bl_log_record_search(bytes + at, size - at, position + at, remaining - at,
                                              claim_min);
            assert_int_equal(got, wanted);
            found += got < size - at;
            at += got + 1;
        }
    }
    assert_true(found > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_verifies_only_where_it_was_written),
        cmocka_unit_test(the_bytes_of_a_record_and_a_header_are_fixed),
        cmocka_unit_test(every_changed_bit_of_a_header_is_found),
        cmocka_unit_test(a_later_format_is_unsupported_and_nonsense_is_corrupt),
        cmocka_unit_test(the_search_finds_what_the_plain_one_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
