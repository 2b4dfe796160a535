/* fz_sse.c - The splitter: whole, cut at random and byte by byte it must give
 * the same events, lose no byte, and agree with a plain reading of the WHATWG
 * text. The judge: its short cut and its scan must agree.
 *
 * Input: two bytes that seed the cutting, then the stream. */
#include "wire/sse.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

enum { LINE_MAX_HERE = 300, EVENT_MAX_HERE = 600, ROOM = 1 << 22, JUDGED = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct buf *b, struct str s)
{
    uint32_t len = (uint32_t)s.len;

    CHECK(buf_put(b, &len, sizeof(len)) == ERR_OK);
    CHECK(buf_put_str(b, s) == ERR_OK);
}

static void put_event(struct buf *b, const struct sse_event *e)
{
    put(b, e->raw);
    put(b, e->name);
    put(b, e->has_data ? e->data : STR("none"));
    put(b, e->has_data ? STR("1") : STR("0"));
}

/* Both judges on every kind: <j> takes its short cut, <k> may not. */
static void judge_both(const struct sse_event *e)
{
    struct sse_judge j, k;
    struct sse_verdict v, w;

    for (int kind = 0; kind <= ENDPOINT_END_TRANSCRIPT; kind++) {
        sse_judge_init(&j, (enum endpoint_end)kind, 2);
        k = j;
        j.content = true;
        sse_judge_event(&j, e, &v);
        sse_judge_event(&k, e, &w);
        CHECK(v.ends == w.ends && v.done == w.done && v.error == w.error);
        CHECK(v.usage == w.usage && v.usage_only == w.usage_only);
        CHECK(str_eq(v.finish, w.finish));
        CHECK(!v.ends || j.complete);
        CHECK(!v.scanned || jscan_is_valid(e->data));
        CHECK(!v.bad_json || !jscan_is_valid(e->data));
        CHECK(v.usage_null == w.usage_null || !jscan_is_valid(e->data) ||
              v.usage_null);
    }
}

/* Feed <text> in pieces of <seed> (0: whole, 1: bytes); log what comes. */
static enum err split(struct str text, unsigned seed, struct buf *log)
{
    struct sse_event e;
    struct sse_in in;
    enum err err = ERR_AGAIN;
    size_t raw = 0;
    unsigned judged = 0;
    struct str rest = text;

    sse_in_init(&in, LINE_MAX_HERE, EVENT_MAX_HERE);
    while (rest.len > 0 && err == ERR_AGAIN) {
        seed = seed > 1 ? seed * 1103515245 + 12345 : seed;
        size_t step = seed > 1 ? seed >> 16 & 31 : seed;
        if (seed == 0 || step > rest.len)
            step = rest.len;
        struct str piece = str_of(rest.p, step);
        rest = str_skip(rest, step);
        while ((err = sse_in_next(&in, &piece, &e)) == ERR_OK) {
            CHECK(memcmp(e.raw.p, text.p + raw, e.raw.len) == 0);
            raw += e.raw.len;
            put_event(log, &e);
            if (seed == 0 && e.has_data && judged++ < JUDGED)
                judge_both(&e);
        }
    }
    if (err == ERR_AGAIN) {
        if (sse_in_end(&in, &e) == ERR_OK) {
            raw += e.raw.len;
            put_event(log, &e);
        }
        struct str held = sse_in_pending(&in);
        CHECK(held.len == text.len - raw);
        CHECK(held.len == 0 || memcmp(held.p, text.p + raw, held.len) == 0);
        put(log, sse_tail_end(sse_in_tail(&in)));
    }
    sse_in_fini(&in);
    return err;
}

/* Take a line off <rest> as the WHATWG says; false when it is not complete. */
static bool take_line(struct str *rest, struct str *line_out)
{
    size_t n = 0;

    while (n < rest->len && rest->p[n] != '\n' && rest->p[n] != '\r')
        n++;
    if (n == rest->len)
        return false;
    *line_out = str_of(rest->p, n);
    if (rest->p[n] == '\r' && n + 1 < rest->len && rest->p[n + 1] == '\n')
        n++;
    *rest = str_skip(*rest, n + 1);
    return true;
}

/* The events a client sees, by the plain reading. */
static void read_plainly(struct str text, struct buf *log)
{
    struct buf data;
    struct str line, name = {0};
    bool any = false;

    buf_init(&data, ROOM);
    if (str_starts(text, STR("\xEF\xBB\xBF")))
        text = str_skip(text, 3);
    while (take_line(&text, &line)) {
        size_t colon = str_find_char(line, ':');
        struct str value = str_skip(line, colon + 1);
        struct str field = str_of(line.p, colon);
        if (line.len == 0) {
            if (any) {
                put(log, name);
                put(log, str_of(data.p, data.len - 1));
            }
            buf_clear(&data);
            any = false;
            name = (struct str){0};
            continue;
        }
        if (value.len > 0 && value.p[0] == ' ')
            value = str_skip(value, 1);
        if (str_eq(field, STR("data"))) {
            any = true;
            CHECK(buf_put_str(&data, value) == ERR_OK);
            CHECK(buf_put(&data, "\n", 1) == ERR_OK);
        } else if (str_eq(field, STR("event"))) {
            name = value;
        }
    }
    buf_fini(&data);
}

/* The same from the splitter. */
static void read_ours(struct str text, struct buf *log)
{
    struct sse_event e;
    struct sse_in in;

    sse_in_init(&in, 0, 0);
    while (sse_in_next(&in, &text, &e) == ERR_OK ||
           (text.len == 0 && sse_in_end(&in, &e) == ERR_OK)) {
        if (!e.has_data)
            continue;
        put(log, e.name);
        put(log, e.data);
    }
    sse_in_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf a, b;
    struct str text;
    enum err e;

    if (size < 2)
        return 0;
    text = str_of(data + 2, size - 2);
    buf_init(&a, ROOM);
    buf_init(&b, ROOM);
    e = split(text, 0, &a);
    for (unsigned i = 0; i < 2; i++) {
        unsigned seed = i == 0 ? 1 : 2U + data[0] + 256U * data[1];
        buf_clear(&b);
        CHECK(split(text, seed, &b) == e);
        CHECK(str_eq(buf_str(&a), buf_str(&b)));
    }
    buf_clear(&a);
    buf_clear(&b);
    read_plainly(text, &a);
    read_ours(text, &b);
    CHECK(str_eq(buf_str(&a), buf_str(&b)));
    buf_fini(&a);
    buf_fini(&b);
    return 0;
}
