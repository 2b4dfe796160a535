/* fz_http1_body.c - The body reader. Holds that pieces do not matter, that
 * data are slices of the input in order, and that limits and the bound on
 * framing are kept.
 *
 * Input: a byte of framing, a byte for the size of the pieces, two bytes of
 * limit and length, then the body. */
#include "wire/http1.h"

#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    enum err e;
    size_t used;
    size_t len;
    char *data; /* owned */
};

/* Offer <piece> once. */
static void offer(struct http1_body *b, struct result *o, struct str piece)
{
    struct str got = {NULL, 0};
    size_t used = 0;

    while (o->e == ERR_AGAIN && piece.len > 0) {
        o->e = http1_body_feed(b, piece.p, piece.len, &used, &got);
        if (o->e != ERR_OK && o->e != ERR_AGAIN)
            return;
        CHECK(used <= piece.len && (used > 0 || o->e == ERR_OK));
        CHECK(got.len == 0 ||
              (got.p >= piece.p && got.p + got.len <= piece.p + used));
        if (got.len > 0)
            memcpy(o->data + o->len, got.p, got.len);
        o->len += got.len;
        o->used += used;
        piece = str_skip(piece, used);
    }
}

static struct result read_in_pieces(const struct http1_head *head,
                                    struct str in, size_t step, size_t limit)
{
    struct result o = {.e = ERR_AGAIN, .data = malloc(in.len + 1)};
    struct http1_body b;
    size_t at = 0;

    CHECK(o.data);
    o.e = http1_body_start(&b, head, limit);
    if (o.e != ERR_OK)
        return o;
    o.e = http1_body_is_done(&b) ? ERR_OK : ERR_AGAIN;
    while (o.e == ERR_AGAIN && at < in.len) {
        size_t n = in.len - at < step ? in.len - at : step;

        offer(&b, &o, str_of(in.p + at, n));
        at += n;
    }
    CHECK(http1_body_is_done(&b) == (o.e == ERR_OK));
    if (o.e == ERR_OK || o.e == ERR_AGAIN) {
        CHECK(o.len <= limit && http1_body_bytes(&b) == o.len);
        CHECK(o.used <= o.len * (HTTP1_OVERHEAD_RATIO + 1) +
                            HTTP1_OVERHEAD_BASE_BYTES + HTTP1_TRAILER_BYTES +
                            limit * HTTP1_OVERHEAD_RATIO + 1024);
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http1_head head = {0};
    struct result whole, pieces;
    struct str in;
    size_t limit;

    if (size < 4)
        return 0;
    head.framing = (enum http1_framing)(data[0] & 3);
    limit = (size_t)(data[2] << 8 | data[3]);
    head.content_length = head.framing == HTTP1_LENGTH ? limit / 2 : 0;
    in = str_of(data + 4, size - 4);
    whole = read_in_pieces(&head, in, in.len + 1, limit);
    pieces = read_in_pieces(&head, in, 1u + data[1], limit);
    CHECK(whole.e == pieces.e);
    if (whole.e == ERR_OK || whole.e == ERR_AGAIN) {
        CHECK(whole.used == pieces.used && whole.len == pieces.len);
        CHECK(memcmp(whole.data, pieces.data, whole.len) == 0);
    }
    if (whole.e == ERR_OK && head.framing == HTTP1_LENGTH)
        CHECK(whole.len == head.content_length && whole.used == whole.len);
    free(whole.data);
    free(pieces.data);
    return 0;
}
