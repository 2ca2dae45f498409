/* SPDX-License-Identifier: MIT */
/* consumer.c -- the smallest whole program that uses an installed bole: write, close, open, read. */
#include <bole/bole.h>

#include <stdio.h>
#include <string.h>

static int fail(const bole_error *error)
{
    fprintf(stderr, "consumer: %s: %s\n", bole_status_name(error->status), error->message);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2 || strcmp(bole_version(), BOLE_VERSION_STRING) != 0)
        return 2;
    bole_error error = BOLE_ERROR_INIT;
    bole_options options = BOLE_OPTIONS_INIT;
    options.flags = BOLE_CREATE;
    bole_write_options write = BOLE_WRITE_OPTIONS_INIT;
    write.error = &error;
    bole_db *db;
    if (bole_open(argv[1], &options, &db, &error) != BOLE_OK)
        return fail(&error);
    bole_status status = bole_put(db, &write, BOLE_STR("hello"), BOLE_STR("world"));
    if (bole_close(db, &error) != BOLE_OK || status != BOLE_OK)
        return fail(&error);

    if (bole_open(argv[1], NULL, &db, &error) != BOLE_OK)
        return fail(&error);
    bole_buffer value = BOLE_BUFFER_INIT;
    status = bole_get(db, NULL, BOLE_STR("hello"), &value);
    int right = status == BOLE_OK && value.size == 5 && memcmp(value.data, "world", 5) == 0;
    bole_buffer_free(&value);
    if (bole_close(db, &error) != BOLE_OK)
        return fail(&error);
    return right ? 0 : 3;
}
