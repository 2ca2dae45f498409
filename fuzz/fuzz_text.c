/* SPDX-License-Identifier: MIT */
/* fuzz_text.c -- keys and values as people write them: escapes.
 *
 * INPUT       u8 flags (1: the rest is bytes to be escaped, else text with escapes), then that.
 * CHECKED     Text that unescapes: its bytes escape and unescape to the same bytes, and escaping again gives the
 *             same text. Any bytes escape to text in printable ASCII that unescapes to them; what does not fit is cut
 *             off. Memory follows from the size. */
#include "fuzz.h"

#include "base/buffer.h"

#include <bole/bole_inspect.h>
#include <string.h>

static bool holds(const bole_buffer *buffer, bole_slice bytes)
{
    return buffer->size == bytes.size &&
           (bytes.size == 0 || memcmp(buffer->data, bytes.data, bytes.size) == 0);
}

static void escape(bole_slice bytes, bole_buffer *out)
{
    size_t length = bole_escape(bytes, NULL, 0);
    fuzz_check(length >= bytes.size && length <= 4 * bytes.size);
    fuzz_check(bl_buffer_reserve(out, length + 1));
    fuzz_check(bole_escape(bytes, out->data, length + 1) == length);
    out->size = length;
    fuzz_check(strlen(out->data) == length);
    /* What does not fit is cut off, and nothing is written behind. */
    uint8_t cut[18];
    memset(cut, 0xee, sizeof cut);
    fuzz_check(bole_escape(bytes, (char *)cut, 16) == length);
    size_t shown = strlen((const char *)cut);
    fuzz_check(shown <= 15 && memcmp(cut, out->data, shown) == 0 && cut[16] == 0xee);
    fuzz_check(length > 15 || shown == length);
}

/* bytes -> text -> bytes -> text */
static void check_bytes(bole_slice bytes)
{
    bole_buffer text = BOLE_BUFFER_INIT, back = BOLE_BUFFER_INIT, again = BOLE_BUFFER_INIT;
    bole_error error = BOLE_ERROR_INIT;
    escape(bytes, &text);
    for (size_t i = 0; i < text.size; i++)
        fuzz_check(((uint8_t *)text.data)[i] >= 0x20 && ((uint8_t *)text.data)[i] < 0x7f);
    fuzz_check_ok(bole_unescape(text.data, text.size, &back, &error), &error);
    fuzz_check(holds(&back, bytes));
    escape((bole_slice){ back.data, back.size }, &again);
    fuzz_check(holds(&again, (bole_slice){ text.data, text.size }));
    bole_buffer_free(&text);
    bole_buffer_free(&back);
    bole_buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    uint8_t flags = fuzz_u8(&input);
    fuzz_memory_begin();
    if ((flags & 1) != 0) {
        check_bytes((bole_slice){ input.data, input.size });
    } else {
        bole_buffer bytes = BOLE_BUFFER_INIT;
        bole_error error = BOLE_ERROR_INIT;
        bole_status status = bole_unescape((const char *)input.data, input.size, &bytes, &error);
        fuzz_check(status == BOLE_OK || (status == BOLE_INVALID && error.message[0] != '\0'));
        fuzz_check(bytes.size <= input.size);
        if (status == BOLE_OK)
            check_bytes((bole_slice){ bytes.data, bytes.size });
        bole_buffer_free(&bytes);
    }
    fuzz_memory_end(size, 24, 4096);
    return 0;
}
