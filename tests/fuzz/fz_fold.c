/* fz_fold.c - Whatever comes as a stream folds to JSON or to nothing; and a
 * reply that was told in events amounts to a reply again, which told once more
 * means the same. */
#include "wire/canon.h"
#include "wire/fold.h"
#include "wire/jscan.h"
#include "wire/sse.h"
#include "wire/unfold.h"

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

static const enum endpoint kinds[] = {ENDPOINT_CHAT, ENDPOINT_COMPLETIONS,
                                      ENDPOINT_RESPONSES, ENDPOINT_MESSAGES};

/* Every event of <sse> is one, and its data JSON. */
static void check_events(struct str sse)
{
    struct str rest = sse, event;
    size_t sum = 0;

    while (unfold_next(&rest, &event)) {
        struct sse_event e;
        struct sse_in in;

        sum += event.len;
        sse_in_init(&in, event.len + 1, event.len + 1);
        CHECK(sse_in_next(&in, &event, &e) == ERR_OK && event.len == 0);
        CHECK(e.has_data);
        CHECK(str_eq(e.data, STR("[DONE]")) || jscan_is_valid(e.data));
        sse_in_fini(&in);
    }
    CHECK(sum == sse.len);
}

static bool fold(enum endpoint kind, struct str sse, struct buf *out)
{
    buf_init(out, (size_t)1 << 24);
    if (fold_events(kind, sse, NULL, out) == ERR_OK) {
        CHECK(jscan_is_valid(buf_str(out)));
        return true;
    }
    CHECK(out->len == 0);
    return false;
}

static bool unfold(enum endpoint kind, struct str json, struct buf *out)
{
    buf_init(out, (size_t)1 << 26);
    if (unfold_reply(kind, json, true, out) == ERR_OK) {
        check_events(buf_str(out));
        return true;
    }
    CHECK(out->len == 0);
    return false;
}

/* Whether both mean the same, or <a> means nothing clear. */
static bool means(struct str a, struct str b)
{
    struct buf x, y;
    bool same;

    buf_init(&x, (size_t)1 << 26);
    buf_init(&y, (size_t)1 << 26);
    same =
        canon_put(a, NULL, &x) != ERR_OK ||
        (canon_put(b, NULL, &y) == ERR_OK && str_eq(buf_str(&x), buf_str(&y)));
    buf_fini(&x);
    buf_fini(&y);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data + 1, size - 1);
    struct buf once, sse, twice, again;
    enum endpoint kind;

    if (size < 1)
        return 0;
    kind = kinds[data[0] % 4];
    (void)fold(kind, in, &once);
    buf_fini(&once);
    if (unfold(kind, in, &sse) && fold(kind, buf_str(&sse), &once)) {
        CHECK(unfold(kind, buf_str(&once), &again));
        CHECK(fold(kind, buf_str(&again), &twice));
        CHECK(means(buf_str(&once), buf_str(&twice)));
        buf_fini(&twice);
        buf_fini(&again);
        buf_fini(&once);
    }
    buf_fini(&sse);
    return 0;
}
