/* fz_usage.c - Usage of whatever bodies: counts stay in their bounds, and a
 * body read twice says nothing new. */
#include "wire/openai_err.h"
#include "wire/usage.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bounds(const struct usage *u)
{
    const int64_t n[] = {u->input,     u->cache_read, u->cache_write_5m,
                         u->audio_in,  u->output,     u->cache_write_1h,
                         u->reasoning, u->audio_out};

    for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++)
        CHECK(n[i] >= 0 && n[i] <= 2 * USAGE_MAX);
    CHECK(u->duration_ms >= 0);
    CHECK(usage_input_total(u) <= 8 * USAGE_MAX);
    CHECK(usage_output_total(u) <= 3 * USAGE_MAX);
    CHECK(u->present == (u->said != 0));
    CHECK(memchr(u->finish, '\0', sizeof(u->finish)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = str_of(data, size);
    struct err_reply r = {.code = ERR_UP_BAD, .message = body};
    struct usage once, twice;
    struct buf out;

    usage_from_body(&once, body);
    check_bounds(&once);
    CHECK(!once.present || jscan_is_valid(body));
    twice = once;
    CHECK(usage_from_event(&twice, body) == once.present);
    CHECK(memcmp(&twice, &once, sizeof(once)) == 0);
    /* whatever text an upstream sends, an error about it is JSON */
    buf_init(&out, (size_t)1 << 24);
    CHECK(err_body_put(&out, &r) == ERR_OK);
    CHECK(jscan_is_valid(buf_str(&out)));
    buf_fini(&out);
    return 0;
}
