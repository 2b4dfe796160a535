/* t_http1_vectors.c - Runs every vector of tests/lib/http1_vectors.json as a
 * connection would: whole, a byte at a time, and cut in two at every place.
 *
 * A vector has `raw`: code points stand for bytes; an array holds strings and
 * {repeat, times}. `expect` is "accept", with the `bodies` of the messages in
 * order and `keep_alive` of the last; or "refuse", with the `status` that
 * answers and `where` the fault is: in the first message's "head" or "body",
 * or in a "later" head. */
#include "wire/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/err.h"

#define BODY_LIMIT   (1u << 20)
#define OUTPUT_BYTES (1u << 20)
#define MESSAGES_MAX 16

/* Vectors longer than this are cut only here and there. */
#define EVERY_CUT_BYTES 2000

struct bytes {
    char *p;
    size_t len;
};

/* A connection under test. */
struct link {
    struct http1_scan scan;
    struct http1_body body;
    bool in_body;
    bool in_head; /* bytes of a head were seen */
    char *held;   /* head bytes not yet complete */
    size_t held_len;
    char *out; /* all data, in order */
    size_t out_len;
    size_t ends[MESSAGES_MAX]; /* of each message's data in <out> */
    size_t messages;
    bool keep_alive;
    bool body_failed;
    enum err e;
};

static json_t *vectors;

/* Append the string <s>, a code point a byte, <times> times. */
static void add_text(struct bytes *b, const json_t *s, json_int_t times)
{
    const unsigned char *u = (const unsigned char *)json_string_value(s);
    size_t len = json_string_length(s);
    char *one = malloc(len + 1);
    size_t n = 0;

    assert_non_null(one);
    for (size_t i = 0; i < len; i++) {
        if (u[i] < 0x80) {
            one[n++] = (char)u[i];
        } else {
            assert_true(u[i] <= 0xc3 && i + 1 < len);
            one[n++] = (char)((u[i] & 3) << 6 | (u[i + 1] & 63));
            i++;
        }
    }
    b->p = realloc(b->p, b->len + n * (size_t)times + 1);
    assert_non_null(b->p);
    for (; times > 0; times--) {
        memcpy(b->p + b->len, one, n);
        b->len += n;
    }
    free(one);
}

static struct bytes bytes_of(const json_t *raw)
{
    struct bytes b = {malloc(1), 0};
    const json_t *part;
    size_t i;

    if (json_is_string(raw))
        add_text(&b, raw, 1);
    json_array_foreach(raw, i, part)
    {
        if (json_is_string(part))
            add_text(&b, part, 1);
        else
            add_text(&b, json_object_get(part, "repeat"),
                     json_integer_value(json_object_get(part, "times")));
    }
    return b;
}

/* Head bytes: hold them until the scanner says that they are complete.
 * Gives how many of the new bytes were used. */
static size_t feed_head(struct link *k, const char *p, size_t len)
{
    static struct http1_header table[HTTP1_FIELDS];
    struct http1_head head;
    size_t before = k->held_len, used = 0;

    memcpy(k->held + k->held_len, p, len);
    k->held_len += len;
    k->in_head = true;
    k->e = http1_scan(&k->scan, k->held, k->held_len, NULL, &used);
    if (k->e != ERR_OK)
        return len;
    assert_true(used > before && used <= k->held_len);
    k->e = http1_parse(str_of(k->held, used), table, HTTP1_FIELDS, &head);
    if (k->e != ERR_OK)
        return len;
    k->e = http1_body_start(&k->body, &head, BODY_LIMIT);
    k->body_failed = k->e != ERR_OK;
    k->in_body = true;
    k->in_head = false;
    k->keep_alive = head.keep_alive;
    k->held_len = 0;
    memset(&k->scan, 0, sizeof(k->scan));
    return used - before;
}

static size_t feed_body(struct link *k, const char *p, size_t len)
{
    struct str data = {NULL, 0};
    size_t used = 0;

    k->e = http1_body_feed(&k->body, p, len, &used, &data);
    if (k->e != ERR_OK && k->e != ERR_AGAIN) {
        k->body_failed = true;
        return len;
    }
    assert_true(used > 0 || len == 0 || k->e == ERR_OK);
    memcpy(k->out + k->out_len, data.p, data.len);
    k->out_len += data.len;
    if (k->e == ERR_OK) {
        assert_true(k->messages < MESSAGES_MAX);
        k->ends[k->messages++] = k->out_len;
        k->in_body = false;
    }
    return used;
}

static bool is_failed(const struct link *k)
{
    return k->e != ERR_OK && k->e != ERR_AGAIN;
}

static void feed(struct link *k, const char *p, size_t len)
{
    size_t used;

    while (!is_failed(k) && (len > 0 || k->in_body)) {
        used = k->in_body ? feed_body(k, p, len) : feed_head(k, p, len);
        p += used;
        len -= used;
        if (len == 0 && k->e == ERR_AGAIN)
            break;
    }
}

static void link_reset(struct link *k)
{
    *k = (struct link){.held = k->held, .out = k->out};
}

/* Compare what came out with the vector. */
static void judge(const struct link *k, const json_t *v, const char *how)
{
    const char *name = json_string_value(json_object_get(v, "name"));
    const json_t *bodies = json_object_get(v, "bodies"), *body;
    struct bytes all = {malloc(1), 0};
    size_t i;

    if (!bodies) {
        int want = (int)json_integer_value(json_object_get(v, "status"));
        const char *where = json_string_value(json_object_get(v, "where"));

        if (!is_failed(k) || err_row(k->e)->status != want ||
            k->body_failed != (strcmp(where, "body") == 0))
            fail_msg("%s (%s): %s", name, how, err_name(k->e));
        free(all.p);
        return;
    }
    if (is_failed(k) || k->in_body || k->in_head ||
        k->messages != json_array_size(bodies) ||
        k->keep_alive != json_is_true(json_object_get(v, "keep_alive")))
        fail_msg("%s (%s): %s, %zu messages", name, how, err_name(k->e),
                 k->messages);
    json_array_foreach(bodies, i, body)
    {
        add_text(&all, body, 1);
        assert_int_equal(all.len, k->ends[i]);
    }
    assert_int_equal(all.len, k->out_len);
    assert_memory_equal(all.p, k->out, all.len);
    free(all.p);
}

/* Call <run> for each vector. */
static void each(void (*run)(struct link *, struct bytes, const json_t *))
{
    struct link k = {.held = malloc(OUTPUT_BYTES), .out = malloc(OUTPUT_BYTES)};
    const json_t *v;
    size_t i;

    assert_non_null(k.held);
    assert_non_null(k.out);
    json_array_foreach(vectors, i, v)
    {
        struct bytes b = bytes_of(json_object_get(v, "raw"));

        assert_true(b.len < OUTPUT_BYTES);
        link_reset(&k);
        run(&k, b, v);
        free(b.p);
    }
    free(k.held);
    free(k.out);
}

static void run_whole(struct link *k, struct bytes b, const json_t *v)
{
    feed(k, b.p, b.len);
    judge(k, v, "whole");
}

static void run_bytewise(struct link *k, struct bytes b, const json_t *v)
{
    for (size_t i = 0; i < b.len && !is_failed(k); i++)
        feed(k, b.p + i, 1);
    judge(k, v, "a byte at a time");
}

static void run_cuts(struct link *k, struct bytes b, const json_t *v)
{
    size_t step = b.len > EVERY_CUT_BYTES ? b.len / 97 : 1;
    char how[40];

    for (size_t cut = 1; cut < b.len; cut += step) {
        link_reset(k);
        feed(k, b.p, cut);
        if (!is_failed(k))
            feed(k, b.p + cut, b.len - cut);
        (void)snprintf(how, sizeof(how), "cut at %zu", cut);
        judge(k, v, how);
    }
}

/* The parser refuses by itself what the scanner refuses. */
static void run_parse(struct link *k, struct bytes b, const json_t *v)
{
    struct http1_header table[HTTP1_FIELDS];
    struct http1_head head;
    const char *where = json_string_value(json_object_get(v, "where"));
    struct str all = {b.p, b.len};
    size_t end;

    (void)k;
    if (!where || strcmp(where, "head") != 0 || b.len > 8000)
        return;
    end = str_find(all, STR("\r\n\r\n"));
    if (end < b.len)
        all.len = end + 4;
    if (str_starts(str_skip(str_of(b.p, b.len), end), STR("\r\n\r\n\r\n")))
        all.len = b.len; /* empty lines come first */
    if (http1_parse(all, table, HTTP1_FIELDS, &head) == ERR_OK)
        fail_msg("%s: parsed", json_string_value(json_object_get(v, "name")));
}

static void test_whole(void **state)
{
    (void)state;
    each(run_whole);
}

static void test_a_byte_at_a_time(void **state)
{
    (void)state;
    each(run_bytewise);
}

static void test_cut_at_every_place(void **state)
{
    (void)state;
    each(run_cuts);
}

static void test_parser_alone_refuses(void **state)
{
    (void)state;
    each(run_parse);
}

static int load(void **state)
{
    json_error_t why;

    (void)state;
    vectors = json_load_file(TG_TESTS_DIR "/lib/http1_vectors.json",
                             JSON_ALLOW_NUL, &why);
    if (!vectors || json_array_size(vectors) < 300) {
        print_error("%s: %s\n", why.source, why.text);
        return -1;
    }
    return 0;
}

static int unload(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_a_byte_at_a_time),
        cmocka_unit_test(test_cut_at_every_place),
        cmocka_unit_test(test_parser_alone_refuses),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
