/* fz_delay.c - Any text as a time to wait: refused and nothing written, or a
 * bounded time that grows no longer as time goes by. */
#include "base/panic.h"
#include "serve/delay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sat, 21 Nov 2026 21:20:00 GMT: no year ends soon. */
#define NOW_MS UINT64_C(1795296000000)

static void read_as(struct str text, enum delay_unit unit)
{
    uint64_t first_ms = 4711, later_ms = 4711;

    if (!delay_parse(text, unit, NOW_MS, &first_ms)) {
        BUG_ON(first_ms != 4711);
        return;
    }
    BUG_ON(first_ms > DELAY_MAX_MS);
    BUG_ON(!delay_parse(text, unit, NOW_MS + 999, &later_ms));
    BUG_ON(later_ms > first_ms || first_ms - later_ms > 999);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(str_of(data, size), DELAY_UNIT_S);
    read_as(str_of(data, size), DELAY_UNIT_MS);
    return 0;
}
