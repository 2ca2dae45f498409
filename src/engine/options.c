/* SPDX-License-Identifier: MIT */
/* options.c -- a field of bole_options by its name in bole.conf. */
#include "core/config.h"

#include "base/status.h"

/* The number that the field holds for a value of the setting: the inverse of what open reads from the options. False:
 * the setting has no field. */
static bool store(bole_options *options, bl_setting setting, uint64_t value)
{
    switch (setting) {
    case BL_SETTING_MEMORY_LIMIT: options->memory_limit = value; break;
    case BL_SETTING_MEMTABLE_BYTES: options->memtable_bytes = value; break;
    case BL_SETTING_SEGMENT_BYTES: options->segment_bytes = value; break;
    case BL_SETTING_BLOCK_BYTES: options->block_bytes = (uint32_t)value; break;
    case BL_SETTING_FILTER_BITS_PER_KEY:
        options->filter_bits_per_key = value == 0 ? UINT32_MAX : (uint32_t)value;
        break;
    case BL_SETTING_LARGE_VALUE_BYTES: options->large_value_bytes = value == 0 ? UINT64_MAX : value; break;
    case BL_SETTING_LEVEL0_RUNS: options->level0_runs = (uint32_t)value; break;
    case BL_SETTING_BACKGROUND_THREADS: options->background_threads = (uint32_t)value; break;
    case BL_SETTING_DURABILITY: options->durability = (bole_durability)value; break;
    case BL_SETTING_SYNC_INTERVAL_MS: options->sync_interval_ms = (uint32_t)value; break;
    case BL_SETTING_COMPRESSION: options->compression = (bole_compression)value; break;
    case BL_SETTING_COMPRESSION_UPPER: options->compression_upper = (bole_compression)value; break;
    case BL_SETTING_COMPRESSION_LEVEL: options->compression_level = (int32_t)(int64_t)value; break;
    case BL_SETTING_MAP_LOGS:
        if (value == 0)
            options->flags |= BOLE_NO_SIGBUS_HANDLER;
        else
            options->flags &= ~(uint32_t)BOLE_NO_SIGBUS_HANDLER;
        break;
    case BL_SETTING_OPEN_FILES_MAX: options->open_files_max = (uint32_t)value; break;
    case BL_SETTING_SCRUB_RATE: options->scrub_rate = value == 0 ? UINT64_MAX : value; break;
    case BL_SETTING_RESERVE_BYTES: options->reserve_bytes = value == 0 ? UINT64_MAX : value; break;
    case BL_SETTING_ENTRY_CHECKSUMS: options->entry_checksums = value == 0 ? UINT32_MAX : 1; break;
    case BL_SETTING_DIRECT_READS: options->direct_reads = value == 0 ? UINT32_MAX : 1; break;
    case BL_SETTING_DIRECT_WRITES: options->direct_writes = value == 0 ? UINT32_MAX : 1; break;
    case BL_SETTING_LOG_LEVEL: options->log_level = (bole_log_level)value; break;
    case BL_SETTING_EVENTS_BYTES:
    case BL_SETTINGS: return false;
    }
    return true;
}

BOLE_API bole_status bole_options_set(bole_options *options, const char *name, const char *value,
                                      bole_error *error)
{
    if (options->size != sizeof(*options))
        return bl_fail(error, BOLE_INVALID, "bole_options of %u bytes; this library has %zu", options->size,
                       sizeof(*options));
    bl_config config;
    bl_config_init(&config);
    bole_status status = bl_config_set(&config, name, value, BL_ORIGIN_OPTION, NULL, error);
    if (status != BOLE_OK)
        return status;
    bl_setting setting = bl_config_find(name);
    if (!store(options, setting, config.asked[setting]))
        return bl_fail(error, BOLE_INVALID, "%s has no field in bole_options: set it in bole.conf", name);
    return BOLE_OK;
}
