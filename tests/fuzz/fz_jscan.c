/* fz_jscan.c - The scanner against jansson: verdict, duplicate keys, and every
 * value of the tree. Known differences, all of them meant:
 *  - an escape of half a surrogate pair: we accept, so it is replaced first;
 *  - \u0000 in a key, a real number out of range: we accept;
 *  - depth: ours is checked up to 1,024, jansson's to 2,048;
 *  - a NUL byte right after a number at the end: jansson accepts. */
#include "wire/jscan.h"

#include <jansson.h>
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

static const struct jtable unique_keys = {.unique = true};

/* The code unit of an escape at <p>, or -1. */
static int unit_at(const char *p, const char *end)
{
    char hex[5] = {0};

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    memcpy(hex, p + 2, 4);
    if (strspn(hex, "0123456789abcdefABCDEF") != 4)
        return -1;
    return (int)strtol(hex, NULL, 16);
}

/* Make half pairs U+FFFD in place; tells whether there were any. */
static bool replace_halves(char *p, char *end)
{
    bool any = false;

    while (p < end) {
        int unit = unit_at(p, end);
        if (*p != '\\') {
            p++;
        } else if (unit < 0) {
            p += end - p < 2 ? 1 : 2;
        } else {
            int low = unit_at(p + 6, end);
            bool high = unit >= 0xD800 && unit < 0xDC00;
            if (high && low >= 0xDC00 && low < 0xE000) {
                p += 12;
                continue;
            }
            if (unit >= 0xD800 && unit < 0xE000) {
                memcpy(p, "\\ufffd", 6);
                any = true;
            }
            p += 6;
        }
    }
    return any;
}

/* A member whose key both sides know. */
static json_t *get_member(json_t *object, const struct jmember *m, char *room,
                          size_t cap)
{
    struct jmember key = {.value = m->key, .type = JT_STRING};
    size_t len;

    if (jval_copy(&key, room, cap, &len) != ERR_OK)
        return NULL;
    return json_object_getn(object, room, len);
}

static void compare_scalar(const struct jmember *m, json_t *v, char *room,
                           size_t cap)
{
    int64_t n;
    size_t len;

    switch (m->type) {
    case JT_STRING:
        CHECK(json_is_string(v));
        CHECK(jval_copy(m, room, cap, &len) == ERR_OK);
        CHECK(len == json_string_length(v));
        CHECK(memcmp(room, json_string_value(v), len) == 0);
        break;
    case JT_NUMBER:
        CHECK(json_is_real(v));
        if (jval_uint(m, &n) == ERR_OK && n < INT64_C(1) << 53)
            CHECK((double)n == json_real_value(v));
        break;
    case JT_TRUE:
        CHECK(json_is_true(v));
        break;
    case JT_FALSE:
        CHECK(json_is_false(v));
        break;
    default:
        CHECK(m->type == JT_NULL && json_is_null(v));
        break;
    }
}

/* Compare two trees; of equal keys only the last is in jansson's. */
static void compare(const struct jmember *m, json_t *v, char *room, size_t cap)
{
    struct jmember inner;
    struct jiter it;
    size_t n = 0;

    if (m->type != JT_OBJECT && m->type != JT_ARRAY) {
        compare_scalar(m, v, room, cap);
        return;
    }
    CHECK(m->type == JT_OBJECT ? json_is_object(v) : json_is_array(v));
    jiter_init(&it, m->value);
    while (jiter_next(&it, &inner)) {
        json_t *w = m->type == JT_ARRAY ? json_array_get(v, n)
                                        : get_member(v, &inner, room, cap);
        CHECK(w);
        n++;
        if (m->type == JT_ARRAY)
            compare(&inner, w, room, cap);
    }
    CHECK(m->type == JT_ARRAY ? n == json_array_size(v)
                              : n >= json_object_size(v));
    if (m->type == JT_ARRAY || n != json_object_size(v))
        return; /* with equal keys the members are not paired */
    jiter_init(&it, m->value);
    while (jiter_next(&it, &inner))
        compare(&inner, get_member(v, &inner, room, cap), room, cap);
}

/* Duplicates at the top: jansson keeps one of each. */
static void compare_keys(struct str text, json_t *root, bool halves)
{
    struct jscan s;
    struct jmember m;
    struct jiter it;
    size_t n = 0;
    enum err e = jscan_run(&s, text, &unique_keys, NULL);

    if (e == ERR_BAD_JSON) { /* deeper than the default */
        CHECK(strcmp(s.reason, "nested too deeply") == 0);
        return;
    }
    if (s.root.type != JT_OBJECT || halves)
        return;
    jiter_init(&it, s.root.value);
    while (jiter_next(&it, &m))
        n++;
    if (n > JSCAN_KEYS_MAX)
        CHECK(e == ERR_BAD_PARAM);
    else
        CHECK((e == ERR_BAD_PARAM) == (n != json_object_size(root)));
}

static void check_refused(const struct jscan *s, struct str text, json_t *root)
{
    CHECK(s->reason && s->err_at <= text.len);
    if (strcmp(s->reason, "nested too deeply") == 0)
        return;
    CHECK(!root || memchr(text.p, '\0', text.len));
}

static void check_accepted(struct str text, const struct jscan *s, json_t *root,
                           const json_error_t *error, bool halves)
{
    enum json_error_code code = json_error_code(error);
    char *room;

    if (!root) {
        CHECK(code == json_error_null_byte_in_key ||
              code == json_error_numeric_overflow);
        return;
    }
    room = malloc(text.len + 1);
    CHECK(room);
    compare(&s->root, root, room, text.len);
    compare_keys(text, root, halves);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct jscan_limits limits = {.depth = JSCAN_DEPTH_MAX};
    struct jscan s;
    json_error_t error = {0};
    char *text = malloc(size ? size : 1);
    json_t *root;
    bool halves;
    enum err e;

    CHECK(text);
    memcpy(text, data, size);
    e = jscan_run(&s, str_of(text, size), NULL, &limits);
    CHECK(e == ERR_OK || e == ERR_BAD_JSON);
    halves = replace_halves(text, text + size);
    root = json_loadb(
        text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
        &error);
    if (e == ERR_OK)
        check_accepted(str_of(text, size), &s, root, &error, halves);
    else
        check_refused(&s, str_of(text, size), root);
    json_decref(root);
    /* the tables must never change the verdict of the grammar */
    enum err f = jscan_run(&s, str_of(text, size), &jscan_reply, &limits);
    CHECK(f == e);
    f = jscan_run(&s, str_of(text, size), &jscan_request, &limits);
    CHECK(f == e || (e == ERR_OK && f == ERR_BAD_PARAM) ||
          (e == ERR_BAD_JSON && f == ERR_BAD_PARAM));
    free(text);
    return 0;
}
