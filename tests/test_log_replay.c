/* SPDX-License-Identifier: MIT */
/* test_log_replay.c -- what replay accepts, drops as torn, and reports as corrupt; scan and settle. */
#include "log_fixture.h"

#include "log/log_reader.h"

enum { ROOM = 8192, START = 5000 };

/* A log of a dozen records with claims that lag behind, in a memory file of its own. Closed. */
static void make_small(log_model *model, bole_vfs *disk, bl_log_way way, uint64_t seed)
{
    bl_prng prng;
    bl_prng_init(&prng, seed);
    bl_log_parameters parameters = log_parameters(disk, 1, START, ROOM, way);
    parameters.synced = START - 100;
    log_make(model, &parameters);
    uint64_t claim = parameters.synced;
    for (int i = 0; i < 12; i++) {
        assert_true(log_append(model, 1 + bl_prng_below(&prng, 60), claim));
        if (bl_prng_chance(&prng, 2))
            log_publish(model);
        if (bl_prng_chance(&prng, 4)) {
            log_publish(model);
            claim = bl_log_published(model->log);
            if (bl_prng_chance(&prng, 2))
                log_mark(model, claim);
        }
    }
    log_publish(model);
    log_close(model);
}

/* What must come of damage to the record `bad` (the model's count: damage behind them all)? */
static bole_status verdict(const log_model *model, size_t bad, uint64_t known)
{
    if (bad == model->count)
        return BOLE_OK;
    for (size_t i = 0; i < model->count; i++)
        if (i != bad && model->records[i].claim > known)
            known = model->records[i].claim;
    return known > model->records[bad].position ? BOLE_CORRUPT : BOLE_OK;
}

static size_t record_at(const log_model *model, uint64_t offset)
{
    size_t i = 0;
    while (i < model->count && LOG_OFFSET(model, model->records[i].end) <= offset)
        i++;
    return i;
}

static void check_verdict(const log_model *model, size_t bad, uint64_t known)
{
    bl_log_expectation expectation = log_expect(model);
    expectation.synced = known;
    bole_error error = BOLE_ERROR_INIT;
    bl_log_replayed replayed;
    bole_status wanted = verdict(model, bad, known);
    assert_status(wanted, log_replay(model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.records, bad);
    if (wanted == BOLE_CORRUPT) {
        assert_string_equal(error.file, model->path);
        assert_int_equal(error.offset, LOG_OFFSET(model, model->records[bad].position));
    } else if (bad < model->count) {
        assert_true(replayed.torn);
    }
}

/* Goal (REPLAY-1, REPLAY-2): one bit anywhere is torn, corrupt or harmless, as the claims of the others say. Method:
 * every bit of small logs, with and without knowledge of the manifest, against the model's verdict. */
static void every_changed_bit_is_classified_rightly(void **state)
{
    (void)state;
    size_t torn = 0, corrupt = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        bole_vfs *disk = log_disk(seed);
        log_model model;
        make_small(&model, disk, log_ways[seed & 1], seed);
        uint64_t length = 0;
        uint8_t *bytes = log_file_bytes(disk, model.path, &length);
        uint64_t last = LOG_OFFSET(&model, model.records[model.count - 1].end) + 40;
        uint64_t known = seed % 3 == 0 ? model.records[model.count / 2].position : 0;
        for (uint64_t offset = 0; offset < last; offset += offset < 4000 && offset > 100 ? 97 : 1) {
            for (unsigned bit = 0; bit < 8; bit += seed == 1 ? 1 : 3) {
                uint8_t changed = bytes[offset] ^ (uint8_t)(1u << bit);
                log_file_write(disk, model.path, offset, &changed, 1);
                if (offset < BL_LOG_FILE_HEADER_BYTES) {
                    bl_log_expectation expectation = log_expect(&model);
                    bl_log_replayed replayed;
                    assert_int_equal(log_replay(&model, &expectation, &replayed, NULL), BOLE_CORRUPT);
                } else {
                    size_t bad = record_at(&model, offset);
                    check_verdict(&model, bad, known);
                    torn += bad < model.count && verdict(&model, bad, known) == BOLE_OK;
                    corrupt += verdict(&model, bad, known) == BOLE_CORRUPT;
                }
            }
            log_file_write(disk, model.path, offset, &bytes[offset], 1);
        }
        check_verdict(&model, model.count, known);
        free(bytes);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
    print_message("%zu torn, %zu corrupt\n", torn, corrupt);
    assert_true(torn > 1000 && corrupt > 1000);
}

/* Goal: coarser damage is judged as finely. Method: zeros, noise and old bytes over random ranges: the first record
 * that is touched is the bad one, and the claims of those that are whole decide. */
static void damaged_ranges_are_classified_rightly(void **state)
{
    (void)state;
    bl_prng prng;
    bl_prng_init(&prng, test_seed(11));
    for (int round = 0; round < 600; round++) {
        bole_vfs *disk = log_disk(9);
        log_model model;
        make_small(&model, disk, log_ways[round & 1], (uint64_t)round);
        uint64_t length = 0;
        uint8_t *bytes = log_file_bytes(disk, model.path, &length);
        uint64_t records = LOG_OFFSET(&model, model.records[model.count - 1].end);
        uint64_t from = BL_LOG_FILE_HEADER_BYTES + bl_prng_below(&prng, records - BL_LOG_FILE_HEADER_BYTES);
        uint64_t size = 1 + bl_prng_below(&prng, 300);
        size = size < length - from ? size : length - from;
        uint8_t *damage = calloc(1, size);
        assert_non_null(damage);
        if (bl_prng_chance(&prng, 2))
            bl_prng_fill(&prng, damage, size);
        else if (bl_prng_chance(&prng, 2)) /* misdirected: bytes of another place */
            memcpy(damage, bytes + BL_LOG_FILE_HEADER_BYTES, size);
        log_file_write(disk, model.path, from, damage, size);
        size_t bad = model.count;
        uint64_t known = 0;
        for (size_t i = 0; i < model.count; i++) {
            uint64_t begin = LOG_OFFSET(&model, model.records[i].position),
                     end = LOG_OFFSET(&model, model.records[i].end);
            bool touched = false;
            for (uint64_t at = begin > from ? begin : from; at < end && at < from + size; at++)
                touched = touched || bytes[at] != damage[at - from];
            if (touched && bad == model.count)
                bad = i;
            if (!touched && model.records[i].claim > known)
                known = model.records[i].claim;
        }
        bl_log_expectation expectation = log_expect(&model);
        bl_log_replayed replayed;
        bole_error error = BOLE_ERROR_INIT;
        bool corrupt = bad < model.count && known > model.records[bad].position;
        assert_status(corrupt ? BOLE_CORRUPT : BOLE_OK, log_replay(&model, &expectation, &replayed, &error),
                      &error);
        assert_int_equal(replayed.records, bad);
        free(damage);
        free(bytes);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal (REPLAY-4): a file that is shorter than it was made is damaged, even if no record is missing;
 * unless its end is
 * known and it reaches there. Method: every length. */
static void every_truncation_is_found(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        bole_vfs *disk = log_disk(3);
        log_model model;
        make_small(&model, disk, log_ways[way], 3);
        uint64_t end = model.records[model.count - 1].end;
        bl_log_expectation open = log_expect(&model), ended = log_expect(&model);
        ended.end = end;
        bl_log_replayed replayed;
        bole_error error = BOLE_ERROR_INIT;
        for (uint64_t length = BL_LOG_FILE_HEADER_BYTES + ROOM - 1; length < UINT64_MAX; length--) {
            log_file_truncate(disk, model.path, length);
            assert_status(BOLE_CORRUPT, log_replay(&model, &open, &replayed, &error), &error);
            assert_string_equal(error.file, model.path);
            bool whole = length >= LOG_OFFSET(&model, end);
            bole_status status = log_replay(&model, &ended, &replayed, &error);
            assert_status(whole ? BOLE_OK : BOLE_CORRUPT, status, &error);
            if (whole)
                assert_int_equal(replayed.records, model.count);
        }
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal: claims before and behind, in a mark, in the manifest and in the header decide; one that ends at the damage does
 * not. Method: a hand-made log of three records, damaged in turn. */
static void who_says_that_it_was_synced_decides(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        bole_vfs *disk = log_disk(3);
        bl_log_parameters parameters = log_parameters(disk, 1, START, ROOM, log_ways[variant & 1]);
        log_model model;
        log_make(&model, &parameters);
        log_append(&model, 100, 0);
        log_append(&model, 100, 0);
        uint64_t second = model.records[1].position, third = model.records[1].end;
        if (variant == 0)
            log_append(&model, 100, second); /* claims the first only */
        if (variant == 1)
            log_append(&model, 100, second + 1);
        if (variant == 2)
            log_mark(&model, third);
        if (variant == 3) { /* the claim stands two records later */
            log_append(&model, 100, 0);
            log_append(&model, 100, third);
        }
        log_publish(&model);
        log_close(&model);
        uint8_t garbage[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
        log_file_write(disk, model.path, LOG_OFFSET(&model, second) + 50, garbage, sizeof garbage);
        bl_log_expectation expectation = log_expect(&model);
        if (variant == 4)
            expectation.synced = second;
        if (variant == 5)
            expectation.synced = second + 1;
        if (variant == 6)
            expectation.from = second;
        if (variant == 7)
            expectation.from = third;
        bool corrupt = (1u << variant & 0xae) != 0; /* 1, 2, 3, 5, 7 */
        bl_log_replayed replayed;
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = bl_log_replay(&expectation, NULL, NULL, &replayed, &error);
        assert_status(corrupt ? BOLE_CORRUPT : BOLE_OK, status, &error);
        assert_int_equal(replayed.records, 1);
        assert_int_equal(replayed.end, second);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal (REPLAY-3). Method: each record's end in turn as the accepted one, with garbage behind; then ends that are none,
 * and damage below the end. */
static void an_accepted_end_is_reached_and_not_passed(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    log_model model;
    make_small(&model, disk, BL_LOG_WRITTEN, 8);
    bl_log_expectation expectation = log_expect(&model);
    bl_log_replayed replayed;
    bole_error error = BOLE_ERROR_INIT;
    uint8_t noise[ROOM];
    memset(noise, 0xa5, sizeof noise);
    for (size_t i = model.count; i > 0; i--) {
        uint64_t end = model.records[i - 1].end, offset = LOG_OFFSET(&model, end);
        expectation.end = end;
        log_file_write(disk, model.path, offset, noise, BL_LOG_FILE_HEADER_BYTES + ROOM - offset);
        assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
        assert_int_equal(replayed.records, i);
        assert_false(replayed.torn);
        expectation.synced = UINT64_MAX; /* of later logs */
        assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
        expectation.synced = 0;
        expectation.end = end - 1;
        assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
        expectation.end = end + 1;
        assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    }
    expectation.end = START;
    assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.end, START);
    expectation.end = START - 1;
    assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    expectation.end = START + ROOM + 1;
    assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: with a later log, reaching its start is the end, whatever later logs say was synced; falling short is torn or
 * corrupt; and a log that is flushed through need not be there any more. Method: each case by hand. */
static void a_followed_log_ends_where_the_next_begins(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    log_model model;
    make_small(&model, disk, BL_LOG_MAPPED, 8);
    uint64_t end = model.records[model.count - 1].end;
    bl_log_expectation expectation = log_expect(&model);
    bl_log_replayed replayed;
    bole_error error = BOLE_ERROR_INIT;
    expectation.synced = end + 1000;
    assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    expectation.followed = true;
    expectation.next_start = end;
    assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.records, model.count);
    assert_false(replayed.torn);

    log_file_truncate(disk, model.path, LOG_OFFSET(&model, end)); /* what is missing is not needed */
    assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
    log_file_truncate(disk, model.path, LOG_OFFSET(&model, end) - 1);
    assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    log_free(&model);
    bole_vfs_destroy(disk);

    disk = log_disk(3);
    make_small(&model, disk, BL_LOG_MAPPED, 8);
    expectation.vfs = disk;
    expectation.id = model.id;
    expectation.next_start = end + 50; /* records are missing */
    assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    expectation.synced = end;
    assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.end, end);
    assert_true(replayed.torn);

    expectation.from = end + 50; /* nobody needs it */
    assert_ok(bl_log_replay(&expectation, NULL, NULL, &replayed, &error), &error);
    assert_int_equal(replayed.end, end + 50);
    assert_int_equal(replayed.records, 0);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: what lies below `from` is verified and not visited. Method: every position as `from`. */
static void records_that_end_below_from_are_not_visited(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    log_model model;
    make_small(&model, disk, BL_LOG_MAPPED, 21);
    bl_log_expectation expectation = log_expect(&model);
    bl_log_replayed replayed;
    for (expectation.from = START - 1; expectation.from <= model.records[model.count - 1].end;
         expectation.from++) {
        assert_ok(log_replay(&model, &expectation, &replayed, NULL), NULL); /* compares the visits */
        assert_int_equal(replayed.records, model.count);
    }
    log_free(&model);
    bole_vfs_destroy(disk);
}

static bole_status refuse_third(void *context, uint64_t position, bole_slice payload, bole_error *error)
{
    (void)position, (void)payload;
    int *visits = context;
    return ++*visits == 3 ? bl_fail(error, BOLE_CANCELLED, "enough") : BOLE_OK;
}

static void a_visit_that_fails_ends_replay(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    bl_log_parameters parameters = log_parameters(disk, 1, START, ROOM, BL_LOG_MAPPED);
    log_model model;
    log_make(&model, &parameters);
    for (int i = 0; i < 5; i++)
        log_append(&model, 10, 0);
    log_publish(&model);
    bl_log_expectation expectation = log_expect(&model);
    bl_log_replayed replayed;
    int visits = 0;
    assert_int_equal(bl_log_replay(&expectation, refuse_third, &visits, &replayed, NULL), BOLE_CANCELLED);
    assert_int_equal(visits, 3);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: a file that is not the log expected is refused by name. Method: each expectation wrong in turn. */
static void another_file_in_the_place_of_a_log_is_corrupt(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    log_model model;
    make_small(&model, disk, BL_LOG_MAPPED, 5);
    for (int wrong = 0; wrong < 6; wrong++) {
        bl_log_expectation expectation = log_expect(&model);
        bl_log_replayed replayed;
        bole_error error = BOLE_ERROR_INIT;
        if (wrong == 0)
            expectation.path = LOG_DIRECTORY "/000002.log";
        if (wrong == 1)
            expectation.number = 2;
        if (wrong == 2)
            expectation.id.bytes[3] ^= 1;
        if (wrong == 3)
            expectation.store_id.bytes[15] ^= 1;
        if (wrong == 4)
            expectation.start = START + 1;
        if (wrong == 5)
            log_file_truncate(disk, model.path, 4000);
        assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
        assert_string_equal(error.file, expectation.path);
        assert_int_equal(replayed.records, 0);
    }
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Put a record of any kind at the end of a closed log, with the checksum it should have. */
static void forge(const log_model *model, uint64_t position, const void *payload, size_t size, uint64_t claim)
{
    uint8_t record[200] = { 0 };
    memcpy(record + BL_LOG_RECORD_HEADER_BYTES, payload, size);
    uint64_t seed = bl_checksum_seed(model->id);
    bl_log_record_seal(record, size, claim < position ? claim : position, seed, position);
    bl_put_u64(record + BL_LOG_RECORD_SYNCED_AT, claim);
    bl_put_u64(record, bl_checksum(seed, position, record + 8, 16 + size));
    log_file_write(model->vfs, model->path, LOG_OFFSET(model, position), record,
                   BL_LOG_RECORD_HEADER_BYTES + size);
}

/* Goal: what verifies and makes no sense is not passed over. Method: forged records. */
static void records_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *payload;
        size_t size;
        uint64_t beyond; /* the claim, above the position */
        bole_status status;
    } cases[] = {
        { "\x01 batch", 7, 0, BOLE_OK },
        { "\x01 batch", 7, 1, BOLE_CORRUPT },
        { "\x02", 1, 0, BOLE_OK },
        { "\x02?", 2, 0, BOLE_CORRUPT },
        { "\x04later", 6, 0, BOLE_UNSUPPORTED },
        { "\x00zero", 5, 0, BOLE_UNSUPPORTED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bole_vfs *disk = log_disk(3);
        log_model model;
        make_small(&model, disk, BL_LOG_MAPPED, 5);
        uint64_t position = model.records[model.count - 1].end;
        forge(&model, position, cases[i].payload, cases[i].size, position + cases[i].beyond);
        bl_log_expectation expectation = log_expect(&model);
        bl_log_replayed replayed;
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = bl_log_replay(&expectation, NULL, NULL, &replayed, &error);
        assert_status(cases[i].status, status, &error);
        assert_int_equal(replayed.records, model.count + (status == BOLE_OK));
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal: records of an earlier life of the file never replay. Method: a written log is recycled again and again by logs
 * with the same sizes, start and store, so that only the id tells old records from new ones at the
 * same place, also where the old claim more. */
static void records_of_an_earlier_life_never_replay(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        bole_vfs *disk = log_disk(17);
        log_model models[6];
        for (size_t life = 0; life < 6; life++) {
            log_model *model = &models[life];
            bl_log_parameters parameters = log_parameters(disk, 1 + life, START, ROOM, log_ways[way]);
            parameters.recycle_path = life > 0 ? models[life - 1].path : NULL;
            log_make(model, &parameters);
            for (size_t i = 0; i < (life % 2 == 0 ? 64 : 32) - life / 4; i++)
                assert_true(log_append(model, 128 - BL_LOG_RECORD_HEADER_BYTES,
                                       i > 2 ? model->records[i - 2].end : 0));
            log_publish(model);
            bl_log_expectation expectation = log_expect(model);
            bl_log_replayed replayed;
            bole_error error = BOLE_ERROR_INIT;
            assert_ok(log_replay(model, &expectation, &replayed, &error), &error);
            assert_int_equal(replayed.records, model->count);
            /* 32 records end with a page: right behind them stand those of the life before, if nothing was zeroed. */
            assert_int_equal(replayed.torn, log_ways[way] == BL_LOG_WRITTEN && life % 2 == 1 && life < 4);
            log_close(model);
        }
        for (size_t life = 0; life < 6; life++)
            log_free(&models[life]);
        bole_vfs_destroy(disk);
    }
}

/* Goal: the content's checksum is the same from the log and from replay, and is compared. Method: a clean close. */
static void the_content_checksum_binds_the_whole_log(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    bl_log_parameters parameters = log_parameters(disk, 1, START, ROOM, BL_LOG_WRITTEN);
    log_model model;
    log_make(&model, &parameters);
    uint64_t empty = 0, checksum = 0;
    assert_ok(bl_log_content_checksum(model.log, &empty, NULL), NULL);
    for (int i = 0; i < 9; i++)
        log_append(&model, 100, 0);
    log_publish(&model);
    bl_log_seal(model.log);
    assert_ok(bl_log_content_checksum(model.log, &checksum, NULL), NULL);
    assert_true(checksum != empty);
    bl_log_expectation expectation = log_expect(&model);
    expectation.end = bl_log_published(model.log);
    expectation.end_checksum_known = true;
    expectation.end_checksum = checksum;
    bl_log_replayed replayed;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.content_checksum, checksum);
    expectation.end_checksum ^= 1;
    assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    uint8_t noise = 0xee;
    log_file_write(disk, model.path, LOG_OFFSET(&model, model.records[4].position) + 40, &noise, 1);
    assert_status(BOLE_CORRUPT, bl_log_content_checksum(model.log, &checksum, &error), &error);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal (REPLAY-5): a read that fails is an error, a lack of memory too; neither is the end of the log, and nothing
 * leaks. Method: every call and every allocation fails in turn. */
static void a_read_that_fails_is_not_the_end_of_the_log(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3), *fault = NULL;
    bole_fault_plan plan = { .at = UINT64_MAX };
    log_model model;
    make_small(&model, disk, BL_LOG_MAPPED, 5);
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    bl_log_expectation expectation = log_expect(&model);
    expectation.vfs = fault;
    size_t failed = 0;
    for (uint64_t i = 0; i < 24; i++) { /* once, and for good */
        plan = (bole_fault_plan){ .at = i / 2, .count = i % 2 == 0 ? 1 : UINT64_MAX };
        bl_log_replayed replayed;
        bole_status status = log_replay(&model, &expectation, &replayed, NULL);
        assert_true(status == BOLE_OK ? replayed.records == model.count : status == BOLE_IO);
        failed += status != BOLE_OK;
    }
    assert_true(failed >= 8); /* open, header, length, records */
    plan = (bole_fault_plan){ .at = UINT64_MAX };
    for (uint64_t at = 0; at < 5; at++) {
        int64_t live = bl_alloc_live();
        bl_log_replayed replayed;
        bl_alloc_fail_at(at, UINT64_MAX);
        bole_status status = log_replay(&model, &expectation, &replayed, NULL);
        bl_alloc_fail_at(UINT64_MAX, 0);
        assert_true(status == BOLE_OK ? replayed.records == model.count : status == BOLE_NO_MEMORY);
        assert_int_equal(bl_alloc_live(), live);
    }
    bole_vfs_destroy(fault);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal (LOG-READER-2): bytes made to look like records behind a bad one do not take for ever, and what cannot be told
 * is refused, not dropped. Method: a file full of words that are plausible lengths and claims. */
static void a_file_made_to_look_like_records_is_refused_in_time(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    bole_vfs *disk = log_disk(3);
    bl_log_parameters parameters = log_parameters(disk, 1, 0, BYTES, BL_LOG_WRITTEN);
    log_model model;
    log_make(&model, &parameters);
    log_close(&model);
    uint8_t *words = malloc(BYTES);
    assert_non_null(words);
    for (size_t i = 0; i < BYTES; i += 8)
        bl_put_u64(words + i, 300000);
    log_file_write(disk, model.path, BL_LOG_FILE_HEADER_BYTES, words, BYTES);
    bl_log_expectation expectation = log_expect(&model);
    bl_log_replayed replayed;
    bole_error error = BOLE_ERROR_INIT;
    assert_status(BOLE_CORRUPT, bl_log_replay(&expectation, NULL, NULL, &replayed, &error), &error);
    assert_non_null(strstr(error.message, "imitates"));
    free(words);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: a record longer than the window is read, and search passes the window's borders. Method: records of 3 MiB, and
 * damage in the first whose witness stands 5 MiB behind at an odd offset. */
static void records_and_searches_cross_the_window(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    bl_log_parameters parameters = log_parameters(disk, 1, START, 8 << 20, BL_LOG_MAPPED);
    log_model model;
    log_make(&model, &parameters);
    log_append(&model, 77, 0);
    log_append(&model, 3 << 20, 0);
    log_append(&model, (2 << 20) + 1, 0);
    log_append(&model, 5, 0);
    log_publish(&model);
    bl_log_expectation expectation = log_expect(&model);
    bl_log_replayed replayed;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.records, 4);
    uint8_t noise[3] = { 9, 9, 9 };
    log_file_write(disk, model.path, LOG_OFFSET(&model, START) + 1, noise, sizeof noise);
    assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
    assert_int_equal(replayed.records, 0);
    bole_vfs *fault;
    bole_fault_plan plan = { .at = UINT64_MAX };
    assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
    expectation.vfs = fault;
    uint64_t told = 0;
    for (uint64_t at = 0, more = 1; more != 0; at++) { /* a search whose read fails is no end of the log */
        plan = (bole_fault_plan){ .at = at, .count = 1, .system_errno = 5 };
        bole_status status = bl_log_replay(&expectation, NULL, NULL, &replayed, NULL);
        more = plan.failed;
        assert_true(status == BOLE_OK || (status == BOLE_IO && more));
        told += status != BOLE_OK;
    }
    assert_true(told >= 8); /* open, header, length, and a window a MiB */
    expectation.vfs = disk;
    bole_vfs_destroy(fault);
    log_mark(&model, START + 1);
    log_publish(&model);
    log_file_write(disk, model.path, LOG_OFFSET(&model, START) + 1, noise, sizeof noise);
    assert_status(BOLE_CORRUPT, log_replay(&model, &expectation, &replayed, &error), &error);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: a witness whose header is cut by the border of two windows is found. Method: no record at the start, and one
 * far behind that claims it, at each place about the border. */
static void a_witness_on_the_border_of_two_windows_is_found(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    bl_log_parameters parameters = log_parameters(disk, 1, START, 2 << 20, BL_LOG_WRITTEN);
    log_model model;
    log_make(&model, &parameters);
    log_close(&model);
    bl_log_expectation expectation = log_expect(&model);
    for (uint64_t back = 0; back < 60; back++) {
        static const uint8_t nothing[200];
        uint64_t position = START + BL_LOG_WINDOW_BYTES + 10 - back;
        forge(&model, position, "\x01 witness", 9, START + 1);
        bl_log_replayed replayed;
        bole_error error = BOLE_ERROR_INIT;
        assert_status(BOLE_CORRUPT, bl_log_replay(&expectation, NULL, NULL, &replayed, &error), &error);
        log_file_write(disk, model.path, LOG_OFFSET(&model, position), nothing, sizeof nothing);
    }
    log_free(&model);
    bole_vfs_destroy(disk);
}

typedef struct live_writer {
    log_model *model;
    size_t visits;
} live_writer;

/* The writer goes on by 2 MiB, synced and claimed, while the reader holds the window that ends with the 10th record. */
static bole_status write_on(void *context, uint64_t position, bole_slice payload, bole_error *error)
{
    (void)position, (void)payload, (void)error;
    live_writer *writer = context;
    if (++writer->visits == 10) {
        for (int i = 0; i < 20; i++) {
            assert_true(log_append(writer->model, 100000, bl_log_synced(writer->model->log)));
            log_publish(writer->model);
            log_sync(writer->model);
        }
    }
    return BOLE_OK;
}

static bole_status write_on_item(void *context, const bl_log_item *item, bole_error *error)
{
    live_writer *writer = context;
    assert_int_not_equal(item->kind, BL_LOG_ITEM_DAMAGE);
    return item->kind == BL_LOG_ITEM_RECORD ? write_on(writer, 0, item->payload, error) : BOLE_OK;
}

/* Goal (REPLAY-7): who reads the log of a living writer sees no corruption that is none. Method: the log grows in the
 * middle of the reading, far beyond the reader's window, with claims that reach past the end that the reader saw. */
static void a_log_that_grows_while_it_is_read_is_not_corrupt(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        bole_vfs *disk = log_disk(3);
        bl_log_parameters parameters = log_parameters(disk, 1, START, 4 << 20, log_ways[variant & 1]);
        log_model model;
        log_make(&model, &parameters);
        for (int i = 0; i < 10; i++)
            log_append(&model, 100, 0);
        log_publish(&model);
        live_writer writer = { .model = &model };
        bole_error error = BOLE_ERROR_INIT;
        if (variant < 2) {
            bl_log_expectation expectation = log_expect(&model);
            bl_log_replayed replayed;
            assert_ok(bl_log_replay(&expectation, write_on, &writer, &replayed, &error), &error);
            assert_int_equal(replayed.records, 30);
        } else {
            bl_log_scanned scanned;
            assert_ok(bl_log_scan(disk, model.path, write_on_item, &writer, &scanned, &error), &error);
            assert_int_equal(scanned.records, 30);
        }
        assert_string_equal(error.message, "");
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Goal: a second look is a look at the file. Method: a record that arrives after the window was read. */
static void a_second_look_does_not_trust_the_window(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    bl_log_parameters parameters = log_parameters(disk, 1, START, ROOM, BL_LOG_WRITTEN);
    log_model model;
    log_make(&model, &parameters);
    bole_file *file = NULL;
    bl_log_header header;
    bl_log_reader reader;
    bl_log_record record;
    bool found = true;
    assert_ok(disk->open(disk, model.path, BOLE_VFS_READ, &file, NULL), NULL);
    assert_ok(bl_log_file_read_header(file, model.path, &header, NULL), NULL);
    bl_log_reader_init(&reader, file, model.path, &header, BL_LOG_FILE_HEADER_BYTES + ROOM);
    assert_ok(bl_log_reader_record(&reader, BL_LOG_FILE_HEADER_BYTES, &record, &found, NULL), NULL);
    assert_false(found);
    log_append(&model, 10, 0);
    log_publish(&model);
    assert_ok(bl_log_reader_record_anew(&reader, BL_LOG_FILE_HEADER_BYTES, &record, &found, NULL), NULL);
    assert_true(found);
    assert_int_equal(record.position, START);
    bl_log_reader_deinit(&reader);
    assert_ok(disk->close(file, NULL), NULL);
    log_free(&model);
    bole_vfs_destroy(disk);
}

/* Goal: what replay accepted of a log that only the page cache held is durable after settle, even when an earlier sync
 * failed and the kernel forgot the pages. Method: the process dies, with or without a failed sync; recovery accepts;
 * the power is cut. Without settle the accepted end is not reached: the test's own control. */
static void what_was_accepted_is_durable_after_settle(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        bool settle = (variant & 1) != 0, forgotten = (variant & 2) != 0;
        bole_vfs *disk = log_disk(3), *fault = NULL, *left = NULL;
        bole_fault_plan plan = { .at = UINT64_MAX };
        assert_ok(bole_vfs_fault_create(disk, &plan, &fault), NULL);
        bl_log_parameters parameters = log_parameters(fault, 1, START, ROOM, log_ways[variant >> 2]);
        log_model model;
        log_make(&model, &parameters);
        log_append(&model, 100, 0);
        log_publish(&model);
        log_sync(&model);
        log_append(&model, 5000, 0);
        log_publish(&model);
        if (forgotten) {
            plan = (bole_fault_plan){ .at = plan.calls, .count = 1, .calls = plan.calls };
            assert_int_equal(bl_log_sync(model.log, bl_log_published(model.log), NULL), BOLE_IO);
        }
        log_close(&model);
        model.vfs = disk;
        bl_log_expectation expectation = log_expect(&model);
        bl_log_replayed replayed;
        bole_error error = BOLE_ERROR_INIT;
        assert_ok(log_replay(&model, &expectation, &replayed, &error), &error);
        assert_int_equal(replayed.records, 2);
        expectation.end = replayed.end;
        if (settle) {
            assert_status(BOLE_INVALID,
                          bl_log_settle(disk, model.path, model.records[0].end, UINT64_MAX, &error), &error);
            assert_ok(bl_log_settle(disk, model.path, model.records[0].end, replayed.end, &error), &error);
        }
        assert_ok(bole_vfs_memory_crash(disk, BOLE_CRASH_LOSE_ALL, 1, &left), NULL);
        expectation.vfs = left;
        bole_status status = log_replay(&model, &expectation, &replayed, &error);
        assert_status(settle ? BOLE_OK : BOLE_CORRUPT, status, &error);
        bole_vfs_destroy(left);
        bole_vfs_destroy(fault);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* ---- Scan ------------------------------------------------------------------------------------------------------ */

typedef struct item_list {
    bl_log_item items[64];
    size_t count;
} item_list;

static bole_status collect_item(void *context, const bl_log_item *item, bole_error *error)
{
    (void)error;
    item_list *list = context;
    assert_true(list->count < 64);
    list->items[list->count++] = *item;
    return BOLE_OK;
}

/* Goal (LOG-SCAN-1, -2): items cover the file; records beyond damage are shown, and the tail is told. Method: a log
 * damaged in one record at a time, and cut short. */
static void a_scan_shows_all_that_can_be_decoded(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        bole_vfs *disk = log_disk(3);
        log_model model;
        make_small(&model, disk, log_ways[way], 33);
        for (size_t bad = 0; bad <= model.count; bad++) {
            uint8_t byte = 0;
            uint64_t offset = bad < model.count ? LOG_OFFSET(&model, model.records[bad].end) - 1 : 0;
            uint64_t length = 0;
            uint8_t *bytes = log_file_bytes(disk, model.path, &length);
            byte = bytes[offset] ^ 0x40;
            if (offset != 0)
                log_file_write(disk, model.path, offset, &byte, 1);
            item_list list = { .count = 0 };
            bl_log_scanned scanned;
            bole_error error = BOLE_ERROR_INIT;
            assert_ok(bl_log_scan(disk, model.path, collect_item, &list, &scanned, &error), &error);
            uint64_t at = BL_LOG_FILE_HEADER_BYTES;
            size_t record = 0;
            for (size_t i = 0; i < list.count; i++) {
                const bl_log_item *item = &list.items[i];
                assert_int_equal(item->offset, at);
                assert_int_equal(item->position, START + at - BL_LOG_FILE_HEADER_BYTES);
                at += item->bytes;
                if (item->kind == BL_LOG_ITEM_TAIL) {
                    assert_int_equal(i, list.count - 1);
                    assert_true(item->searched);
                    assert_int_equal(item->zero, bad != model.count - 1);
                    continue;
                }
                bool is_bad = record == bad;
                assert_int_equal(item->kind, is_bad ? BL_LOG_ITEM_DAMAGE : BL_LOG_ITEM_RECORD);
                assert_int_equal(item->position, model.records[record].position);
                assert_int_equal(item->bytes, model.records[record].end - model.records[record].position);
                if (!is_bad) {
                    assert_int_equal(item->type, model.records[record].type);
                    assert_int_equal(item->synced, model.records[record].claim);
                }
                record++;
            }
            assert_int_equal(at, BL_LOG_FILE_HEADER_BYTES + ROOM);
            assert_int_equal(scanned.records, bad < model.count ? model.count - 1 : model.count);
            assert_int_equal(scanned.damages, bad + 1 < model.count);
            if (offset != 0)
                log_file_write(disk, model.path, offset, &bytes[offset], 1);
            free(bytes);
        }
        log_file_truncate(disk, model.path, LOG_OFFSET(&model, model.records[3].end) + 10);
        item_list list = { .count = 0 };
        bl_log_scanned scanned;
        assert_ok(bl_log_scan(disk, model.path, collect_item, &list, &scanned, NULL), NULL);
        assert_int_equal(scanned.records, 4);
        assert_int_equal(list.items[4].kind, BL_LOG_ITEM_TAIL);
        assert_int_equal(list.items[4].bytes, 10);
        log_file_truncate(disk, model.path, 100);
        assert_int_equal(bl_log_scan(disk, model.path, collect_item, &list, &scanned, NULL), BOLE_CORRUPT);
        log_free(&model);
        bole_vfs_destroy(disk);
    }
}

/* Changes what follows the damage, as soon as it is told of it. */
static bole_status spoil_what_follows(void *context, const bl_log_item *item, bole_error *error)
{
    (void)error;
    const log_model *model = context;
    uint8_t byte = model->records[1].payload[0] ^ 1;
    if (item->kind == BL_LOG_ITEM_DAMAGE)
        log_file_write(model->vfs, model->path,
                       LOG_OFFSET(model, model->records[1].end) - model->records[1].size, &byte, 1);
    return BOLE_OK;
}

/* Goal: a record that was found and is not there any more when it is read, is told and not shown. Method: it stands
 * beyond the window of the damage before it, and changes when that is shown. */
static void a_record_that_changes_while_it_is_read_is_told(void **state)
{
    (void)state;
    bole_vfs *disk = log_disk(3);
    bl_log_parameters parameters = log_parameters(disk, 1, START, 4 << 20, BL_LOG_WRITTEN);
    log_model model;
    log_make(&model, &parameters);
    log_append(&model, 2 << 20, 0);
    log_append(&model, 100, 0);
    log_append(&model, 100, 0);
    log_publish(&model);
    uint8_t byte = model.records[0].payload[1000] ^ 1;
    log_file_write(disk, model.path, LOG_OFFSET(&model, model.records[0].end) - model.records[0].size + 1000,
                   &byte, 1);
    item_list list = { .count = 0 };
    bl_log_scanned scanned;
    bole_error error = BOLE_ERROR_INIT;
    assert_ok(bl_log_scan(disk, model.path, collect_item, &list, &scanned, &error), &error);
    assert_int_equal(scanned.records, 2);
    assert_int_equal(scanned.damages, 1);
    assert_status(BOLE_CORRUPT, bl_log_scan(disk, model.path, spoil_what_follows, &model, &scanned, &error),
                  &error);
    assert_non_null(strstr(error.message, "changed while it was read"));
    assert_int_equal(error.offset, LOG_OFFSET(&model, model.records[1].position));
    assert_int_equal(scanned.records, 0);
    log_free(&model);
    bole_vfs_destroy(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_bit_is_classified_rightly),
        cmocka_unit_test(damaged_ranges_are_classified_rightly),
        cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(who_says_that_it_was_synced_decides),
        cmocka_unit_test(an_accepted_end_is_reached_and_not_passed),
        cmocka_unit_test(a_followed_log_ends_where_the_next_begins),
        cmocka_unit_test(records_that_end_below_from_are_not_visited),
        cmocka_unit_test(a_visit_that_fails_ends_replay),
        cmocka_unit_test(another_file_in_the_place_of_a_log_is_corrupt),
        cmocka_unit_test(records_that_make_no_sense_are_refused),
        cmocka_unit_test(records_of_an_earlier_life_never_replay),
        cmocka_unit_test(the_content_checksum_binds_the_whole_log),
        cmocka_unit_test(a_read_that_fails_is_not_the_end_of_the_log),
        cmocka_unit_test(a_file_made_to_look_like_records_is_refused_in_time),
        cmocka_unit_test(records_and_searches_cross_the_window),
        cmocka_unit_test(a_witness_on_the_border_of_two_windows_is_found),
        cmocka_unit_test(a_log_that_grows_while_it_is_read_is_not_corrupt),
        cmocka_unit_test(a_second_look_does_not_trust_the_window),
        cmocka_unit_test(what_was_accepted_is_durable_after_settle),
        cmocka_unit_test(a_scan_shows_all_that_can_be_decoded),
        cmocka_unit_test(a_record_that_changes_while_it_is_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
