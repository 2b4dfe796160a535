/* fz_canon.c - Canonical text of whatever JSON: it is JSON, its own canonical
 * text, and that of the same JSON with its members the other way round and
 * space between everything.
 *
 * Input: the text. */
#include "wire/canon.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/jscan.h"

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

enum { DEPTH = 64, MEMBERS = 64, OUT_CAP = 1 << 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct buf *b, struct str s)
{
    CHECK(buf_put_str(b, s) == ERR_OK);
}

/* Write <value> with the members of its objects the other way round; those past
 * MEMBERS or DEPTH stay as they are. */
static void turn(struct buf *b, struct str value, unsigned depth)
{
    struct jmember m[MEMBERS + 1];
    const bool object = value.p[0] == '{';
    struct jiter it;
    unsigned n = 0;

    jiter_init(&it, value);
    while (n <= MEMBERS && jiter_next(&it, &m[n]))
        n++;
    if ((!object && value.p[0] != '[') || n > MEMBERS || depth == DEPTH) {
        put(b, value);
        return;
    }
    put(b, object ? STR("{ ") : STR("[ "));
    for (unsigned i = 0; i < n; i++) {
        const struct jmember *one = &m[object ? n - 1 - i : i];

        put(b, i > 0 ? STR("\n,\t") : STR(""));
        put(b, one->key);
        put(b, object ? STR(" :\r") : STR(""));
        turn(b, one->value, depth + 1);
    }
    put(b, object ? STR(" }") : STR(" ]"));
}

/* What is left out leaves JSON, and nothing that was not there. */
static void check_skip(struct str text)
{
    struct canon_skip skip = {0};
    struct buf out, again;

    CHECK(canon_skip_add(&skip, STR("a")) == ERR_OK);
    CHECK(canon_skip_add(&skip, STR("b[].id")) == ERR_OK);
    CHECK(canon_skip_add(&skip, STR("c.d[].e")) == ERR_OK);
    CHECK(canon_skip_add(&skip, STR("s[x]")) == ERR_OK);
    CHECK(canon_skip_add(&skip, STR("t[][]")) == ERR_OK);
    buf_init(&out, OUT_CAP);
    buf_init(&again, OUT_CAP);
    if (canon_put(text, &skip, &out) == ERR_OK) {
        CHECK(jscan_is_valid(buf_str(&out)));
        CHECK(canon_put(buf_str(&out), &skip, &again) == ERR_OK);
        CHECK(canon_put(buf_str(&out), NULL, &again) == ERR_OK);
        CHECK(again.len == 2 * out.len);
    }
    buf_fini(&out);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf one, two, turned;
    struct jscan s;
    enum err e;

    buf_init(&one, OUT_CAP);
    buf_init(&two, OUT_CAP);
    buf_init(&turned, OUT_CAP);
    if (jscan_run(&s, str_of(data, size), NULL, NULL) != ERR_OK) {
        e = canon_put(str_of(data, size), NULL, &one); /* stays inside */
        CHECK(e == ERR_OK || one.len == 0);
    } else if (canon_put(s.text, NULL, &one) == ERR_OK) {
        CHECK(jscan_is_valid(buf_str(&one)));
        CHECK(canon_put(buf_str(&one), NULL, &two) == ERR_OK);
        CHECK(str_eq(buf_str(&one), buf_str(&two)));
        turn(&turned, s.root.value, 0);
        buf_clear(&two);
        CHECK(canon_put(buf_str(&turned), NULL, &two) == ERR_OK);
        CHECK(str_eq(buf_str(&one), buf_str(&two)));
        check_skip(s.text);
    }
    buf_fini(&one);
    buf_fini(&two);
    buf_fini(&turned);
    return 0;
}
