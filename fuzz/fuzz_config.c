/* SPDX-License-Identifier: MIT */
/* fuzz_config.c -- settings as text: bole.conf and the environment.
 *
 * INPUT       u8 flags (1: the rest is an environment, one variable a line; else it is bole.conf), then that.
 * CHECKED     What is refused says why and changes nothing. What is taken: every value is one that its setting may
 *             have, and the text of all values, written as a new bole.conf, is read as the same values. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "core/config_source.h"

#include <string.h>

static const bl_config_machine machine = { .memory_bytes = 4 * BL_GIB, .open_files = 1024 };

typedef struct range {
    int64_t min, max;
    bool zero_too; /* a word stands for it */
} range;
#define ZERO_none false
#define ZERO_automatic true
#define ZERO_nothing true
#define ZERO_never true
#define ZERO_durability false
#define ZERO_compression false
#define ZERO_toggle false
#define ZERO_off true
#define ZERO_log_level false
static const range ranges[BL_SETTINGS] = {
#define RANGE(symbol, name, type, fallback, min, max, words, applies, meaning) \
    { (int64_t)(min), (int64_t)(max), ZERO_##words },
    BL_SETTING_MAP(RANGE)
#undef RANGE
};

static void check_value(bl_setting setting, uint64_t value)
{
    int64_t number = (int64_t)value;
    const range *allowed = &ranges[setting];
    fuzz_check((number >= allowed->min && number <= allowed->max) || (number == 0 && allowed->zero_too));
}

static void apply_environment(bl_config *config, bole_slice text, bole_status *status, bole_error *error)
{
    const char *variables[65] = { NULL };
    char *copy = bl_alloc(text.size + 1), *save = NULL;
    fuzz_check(copy != NULL);
    if (text.size != 0)
        memcpy(copy, text.data, text.size);
    size_t count = 0;
    for (char *line = strtok_r(copy, "\n", &save); line != NULL && count < 64;
         line = strtok_r(NULL, "\n", &save))
        variables[count++] = line;
    *status = bl_config_apply_environment(config, variables, error);
    bl_free(copy);
}

/* All values in force, as a bole.conf. */
static void write_down(const bl_config *config, bole_buffer *out)
{
    for (unsigned i = 0; i < BL_SETTINGS; i++) {
        bl_config_entry entry;
        bl_config_describe(config, (bl_setting)i, &entry);
        fuzz_check(entry.value == bl_config_u64(config, (bl_setting)i));
        check_value((bl_setting)i, entry.value);
        fuzz_check(bl_buffer_append_format(out, "%s = %s\n", entry.name, entry.text));
    }
}

static void check_read_back(const bl_config *config)
{
    bole_buffer text = BOLE_BUFFER_INIT;
    bole_error error = BOLE_ERROR_INIT;
    bl_config again;
    write_down(config, &text);
    bl_config_init(&again);
    fuzz_check_ok(bl_config_apply_ini(&again, "bole.conf", (bole_slice){ text.data, text.size }, &error),
                  &error);
    fuzz_check_ok(bl_config_resolve(&again, &machine, &error), &error);
    for (unsigned i = 0; i < BL_SETTINGS; i++)
        fuzz_check(bl_config_u64(&again, (bl_setting)i) == bl_config_u64(config, (bl_setting)i));
    bole_buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    uint8_t flags = fuzz_u8(&input);
    bole_slice text = { input.data, input.size };
    bole_error error = BOLE_ERROR_INIT;
    bole_status status = BOLE_OK;
    bl_config config, before;
    memset(&config, 0, sizeof config);
    fuzz_memory_begin();
    bl_config_init(&config);
    memcpy(&before, &config, sizeof config);
    if ((flags & 1) != 0)
        apply_environment(&config, text, &status, &error);
    else
        status = bl_config_apply_ini(&config, "store/bole.conf", text, &error);
    fuzz_check(status == BOLE_OK || status == BOLE_INVALID);
    if (status != BOLE_OK) {
        fuzz_check(memcmp(&before, &config, sizeof config) == 0);
        fuzz_check(strncmp(error.message,
                           (flags & 1) != 0 ? "BOLE_" : "store/bole.conf:", (flags & 1) != 0 ? 5 : 16) == 0);
    } else {
        status = bl_config_resolve(&config, &machine, &error);
        fuzz_check(status == BOLE_OK || (status == BOLE_INVALID && error.message[0] != '\0'));
        if (status == BOLE_OK)
            check_read_back(&config);
    }
    fuzz_memory_end(size, 2, 64 * 1024);
    return 0;
}
