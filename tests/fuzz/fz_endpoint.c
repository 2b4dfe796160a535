/* fz_endpoint.c - The route lookup, against a plain second reading of the path:
 * decode all of it, cut it at slashes, drop what is empty, then compare. An
 * operation with a price must be found whenever that reading finds it.
 *
 * Input: a byte of method, then the path. */
#include "wire/endpoint.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decode <in> into <to>, which has room for it. */
static size_t decode(struct str in, char *to)
{
    size_t n = 0;
    unsigned v;

    for (size_t i = 0; i < in.len; i++) {
        char pair[3] = {0};

        to[n] = in.p[i];
        if (in.p[i] == '%' && in.len - i > 2) {
            memcpy(pair, in.p + i + 1, 2);
            if (strspn(pair, "0123456789abcdefABCDEF") == 2 &&
                sscanf(pair, "%2x", &v) == 1) {
                to[n] = (char)v;
                i += 2;
            }
        }
        n++;
    }
    return n;
}

/* Rewrite the decoded <text> as "/seg/seg"; false for a path that no one
 * should take. <to> has room for len + 1. */
static bool plain(struct str text, char *to, size_t *len_out)
{
    struct str seg;
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.p[i] < 32 || text.p[i] == 127 ||
            text.p[i] == '\\')
            return false;
    }
    while (str_split(&text, '/', &seg)) {
        seg.len = str_find_char(seg, ';');
        if (str_eq(seg, STR(".")) || str_eq(seg, STR("..")))
            return false;
        if (seg.len == 0)
            continue;
        to[n++] = '/';
        memcpy(to + n, seg.p, seg.len);
        n += seg.len;
    }
    *len_out = n;
    return true;
}

static bool drop(struct str *s, struct str head)
{
    if (s->len < head.len || !str_ieq(str_of(s->p, head.len), head) ||
        (s->len > head.len && s->p[head.len] != '/'))
        return false;
    *s = str_skip(*s, head.len);
    return true;
}

/* The operation that a POST of the plain path is, or UNKNOWN. */
static enum endpoint expected(struct str s)
{
    const struct endpoint_row *row;
    bool openai = drop(&s, STR("/openai"));
    struct str after = s;

    if (openai && drop(&after, STR("/deployments")) && after.len > 0)
        return ENDPOINT_UNKNOWN;
    if (drop(&s, STR("/v1")))
        (void)drop(&s, STR("/v1")); /* twice is fine */
    for (int k = 0; k < ENDPOINT_COUNT; k++) {
        row = endpoint_row((enum endpoint)k);
        if (row->path && !(row->flags & ENDPOINT_LOCAL) &&
            str_ieq(s, str_from(row->path)))
            return row->kind;
    }
    return ENDPOINT_UNKNOWN;
}

static void check_match(const struct endpoint_match *m, struct str path)
{
    struct str s = m->suffix;
    char id[64];
    struct str decoded;

    CHECK(m->row && m->row == endpoint_row(m->row->kind));
    CHECK(s.len == 0 || s.p[0] == '/');
    if (m->row->flags & ENDPOINT_LOCAL)
        CHECK(s.len == 0);
    if (s.len > 0 && !m->row->path)
        CHECK(s.p >= path.p && s.p + s.len == path.p + path.len);
    if (m->model.len > 0)
        CHECK(m->model.p >= path.p &&
              m->model.p + m->model.len <= path.p + path.len);
    if (endpoint_decode(m->model, id, sizeof(id), &decoded) == ERR_OK)
        CHECK(decoded.len > 0 && decoded.len <= m->model.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct endpoint_match m = {0};
    enum endpoint want;
    char *text, *canon;
    struct str path;
    size_t len = 0;
    bool good;
    enum err e;

    if (size < 2)
        return 0;
    path = str_of(data + 1, size - 1);
    e = endpoint_lookup((enum http1_method)(data[0] % HTTP1_METHOD_COUNT), path,
                        &m);
    CHECK(e == ERR_OK || e == ERR_UNKNOWN_URL || e == ERR_METHOD);
    CHECK((e == ERR_UNKNOWN_URL) == (m.row->kind == ENDPOINT_UNKNOWN));
    CHECK(e != ERR_METHOD || m.row->allow);
    check_match(&m, path);

    text = malloc(path.len + 1);
    canon = malloc(path.len + 2);
    CHECK(text && canon);
    good = plain(str_of(text, decode(path, text)), canon, &len);
    e = endpoint_lookup(HTTP1_POST, path, &m);
    check_match(&m, path);
    if (!good || path.p[0] != '/') {
        CHECK(e == ERR_UNKNOWN_URL);
    } else {
        want = expected(str_of(canon, len));
        CHECK(want == ENDPOINT_UNKNOWN || m.row->kind == want);
    }
    free(text);
    free(canon);
    return 0;
}
