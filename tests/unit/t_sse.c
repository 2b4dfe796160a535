/* t_sse.c - The event-stream splitter and writer: grammar, any cutting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/sse.h"

/* A log of events: "raw|name|data;" each, '-' for no data. */
static void note(struct buf *log, const struct sse_event *e)
{
    assert_int_equal(buf_printf(log, "%.*s|%.*s|%.*s;", STR_ARG(e->raw),
                                STR_ARG(e->name),
                                e->has_data ? (int)e->data.len : 1,
                                e->has_data ? e->data.p : "-"),
                     ERR_OK);
}

/* Feed <text> cut at <a> and <b>, and note what comes; then what is held. */
static void split(struct buf *log, struct str text, size_t a, size_t b)
{
    const size_t cuts[] = {0, a, b, text.len};
    struct sse_event e;
    struct sse_in in;

    buf_clear(log);
    sse_in_init(&in, 0, 0);
    for (int i = 0; i < 3; i++) {
        size_t len = cuts[i + 1] - cuts[i];
        char *p = malloc(len ? len : 1);
        assert_non_null(p);
        memcpy(p, text.p + cuts[i], len);
        struct str piece = str_of(p, len);
        enum err err = sse_in_next(&in, &piece, &e);
        for (; err == ERR_OK; err = sse_in_next(&in, &piece, &e))
            note(log, &e);
        assert_int_equal(err, ERR_AGAIN);
        assert_int_equal(piece.len, 0);
        free(p);
    }
    if (sse_in_end(&in, &e) == ERR_OK)
        note(log, &e);
    assert_int_equal(buf_printf(log, "held %.*s %d",
                                STR_ARG(sse_in_pending(&in)), sse_in_tail(&in)),
                     ERR_OK);
    sse_in_fini(&in);
}

static const struct {
    const char *text, *want;
} streams[] = {
    {"", "held  0"},
    {"data: a\n\n", "data: a\n\n||a;held  0"},
    {"data:a\n\ndata:  b\n\n", "data:a\n\n||a;data:  b\n\n|| b;held  0"},
    {"data: a\r\n\r\ndata: b\r\n\r\n",
     "data: a\r\n\r\n||a;data: b\r\n\r\n||b;held  0"},
    {"data: a\r\rdata: b\r\r", "data: a\r\r||a;data: b\r\r||b;held  0"},
    {"data: a\r\r\ndata: b\n\n", "data: a\r\r||a;\ndata: b\n\n||b;held  0"},
    {"data: a\r\r\n", "data: a\r\r||a;held \n 0"},
    {"data: a\n\r\ndata: b\r\n\n", "data: a\n\r\n||a;data: b\r\n\n||b;held  0"},
    {"data: a\n\rdata: b\n\n", "data: a\n\r||a;data: b\n\n||b;held  0"},
    {"data: a\n\r", "data: a\n\r||a;held  0"},
    {"data: a\r\n\r", "data: a\r\n\r||a;held  0"},
    {"data: a\rdata: b\r\n\r\n", "data: a\rdata: b\r\n\r\n||a\nb;held  0"},
    {"\n\ndata: a\n\n", "\n||-;\n||-;data: a\n\n||a;held  0"},
    {": ping\n\n", ": ping\n\n||-;held  0"},
    {": ping\ndata: a\n\n", ": ping\ndata: a\n\n||a;held  0"},
    {"event: x\ndata: a\n\n", "event: x\ndata: a\n\n|x|a;held  0"},
    {"event: x\nevent: y\ndata: a\n\n",
     "event: x\nevent: y\ndata: a\n\n|y|a;held  0"},
    {"event:x\n\n", "event:x\n\n|x|-;held  0"},
    {"data: a\ndata: b\ndata\ndata:\n\n",
     "data: a\ndata: b\ndata\ndata:\n\n||a\nb\n\n;held  0"},
    {"data\n\n", "data\n\n||;held  0"},
    {"data\ndata: x\ndata: y\n\n",
     "data\ndata: x\ndata: y\n\n||\nx\ny;held  0"},
    {"id: 1\nretry: 9\nfoo: b\nDATA: x\n data: x\n\n",
     "id: 1\nretry: 9\nfoo: b\nDATA: x\n data: x\n\n||-;held  0"},
    {"data : x\n\n", "data : x\n\n||-;held  0"},
    {"data: a:b: c\n\n", "data: a:b: c\n\n||a:b: c;held  0"},
    {"\xEF\xBB\xBF"
     "data: a\n\n",
     "\xEF\xBB\xBF"
     "data: a\n\n||a;held  0"},
    {"\xEF\xBB\xBF\n"
     "data: a\n\n",
     "\xEF\xBB\xBF\n||-;data: a\n\n||a;held  0"},
    {"\xEF\xBB"
     "data: a\n\n",
     "\xEF\xBB"
     "data: a\n\n||-;held  0"},
    {"data: x\n\n\xEF\xBB\xBF"
     "data: a\n\n",
     "data: x\n\n||x;\xEF\xBB\xBF"
     "data: a\n\n||-;held  0"},
    {"\xEF\xBB", "held \xEF\xBB 2"},
    {"data: a\n", "held data: a\n 1"},
    {"data: a\r\n", "held data: a\r\n 1"},
    {"data: a\r", "held data: a\r 2"},
    {"data: a", "held data: a 2"},
    {"data: a\n\ndata: {\"x\"", "data: a\n\n||a;held data: {\"x\" 2"},
    {"data: a\n\nevent: x\n", "data: a\n\n||a;held event: x\n 1"},
    {"data: 0123456789abcdefghijklmnop\xE2\x80\xA8\xC2\x85\n\n",
     "data: 0123456789abcdefghijklmnop\xE2\x80\xA8\xC2\x85\n\n||"
     "0123456789abcdefghijklmnop\xE2\x80\xA8\xC2\x85;held  0"},
};

static void check_cut(struct buf *log, size_t i, size_t a, size_t b)
{
    split(log, str_from(streams[i].text), a, b);
    if (!str_eq(buf_str(log), str_from(streams[i].want)))
        fail_msg("%zu cut %zu %zu: %.*s", i, a, b, STR_ARG(buf_str(log)));
}

static void streams_split_alike_however_cut(void **state)
{
    struct buf log;

    (void)state; /* cmocka's */
    buf_init(&log, 1 << 20);
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        size_t len = strlen(streams[i].text);

        for (size_t a = 0; a <= len; a++)
            for (size_t b = a; b <= len; b++)
                check_cut(&log, i, a, b);
    }
    buf_fini(&log);
}

static void whole_events_are_not_copied(void **state)
{
    static const char text[] = "event: e\ndata: abc\n\ndata: x\n\n";
    struct str rest = STR("event: e\ndata: abc\n\ndata: x\n\n");
    struct sse_event e;
    struct sse_in in;

    (void)state; /* cmocka's */
    rest.p = text;
    sse_in_init(&in, 0, 0);
    assert_int_equal(sse_in_next(&in, &rest, &e), ERR_OK);
    assert_ptr_equal(e.raw.p, text);
    assert_ptr_equal(e.data.p, text + 15);
    assert_int_equal(in.held.room + in.joined.room, 0);
    assert_int_equal(sse_in_next(&in, &rest, &e), ERR_OK);
    assert_ptr_equal(e.data.p, text + 26);
    sse_in_fini(&in);
}

/* Feed <text> whole or by single bytes: the verdict of the first failure. */
static enum err feed(struct str text, size_t step, size_t line, size_t event)
{
    struct sse_event e;
    struct sse_in in;
    enum err err = ERR_AGAIN;

    sse_in_init(&in, line, event);
    while (text.len > 0 && (err == ERR_AGAIN || err == ERR_OK)) {
        struct str piece = str_of(text.p, step < text.len ? step : text.len);
        text = str_skip(text, piece.len);
        do {
            err = sse_in_next(&in, &piece, &e);
        } while (err == ERR_OK);
    }
    sse_in_fini(&in);
    return err;
}

static void lines_and_events_are_bounded(void **state)
{
    (void)state; /* cmocka's */
    for (size_t step = 1; step < 40; step += 38) {
        assert_int_equal(feed(STR("data: 89\n\n"), step, 8, 64), ERR_AGAIN);
        assert_int_equal(feed(STR("data: 89x\n\n"), step, 8, 64),
                         ERR_TOO_LARGE);
        assert_int_equal(feed(STR("data: 89x"), step, 8, 64), ERR_TOO_LARGE);
        assert_int_equal(feed(STR("data: 89\n\n"), step, 0, 10), ERR_AGAIN);
        assert_int_equal(feed(STR("data: 89\n\n"), step, 0, 9), ERR_TOO_LARGE);
        assert_int_equal(feed(STR(":1\n:2\n:3\n:4\n"), step, 0, 9),
                         ERR_TOO_LARGE);
    }
}

static void writer_writes_what_splitter_reads(void **state)
{
    static const struct {
        const char *name, *data, *want;
    } rows[] = {
        {"", "{}", "data: {}\n\n"},
        {"error", "{}", "event: error\ndata: {}\n\n"},
        {"", "", "data: \n\n"},
        {"", "a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n\n"},
        {"", "a\n", "data: a\ndata: \n\n"},
    };
    struct buf out;

    (void)state; /* cmocka's */
    buf_init(&out, 64);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_clear(&out);
        assert_int_equal(
            sse_put(&out, str_from(rows[i].name), str_from(rows[i].data)),
            ERR_OK);
        assert_true(str_eq(buf_str(&out), str_from(rows[i].want)));
    }
    buf_clear(&out);
    assert_int_equal(sse_put_ping(&out), ERR_OK);
    assert_int_equal(sse_put_done(&out), ERR_OK);
    assert_true(str_eq(buf_str(&out), STR(": ping\ndata: [DONE]\n\n")));
    out.cap = out.len + 5;
    assert_int_equal(sse_put(&out, STR(""), STR("x")), ERR_NOMEM);
    assert_int_equal(out.len, strlen(": ping\ndata: [DONE]\n\n"));
    buf_fini(&out);
}

/* After a stream that broke off anywhere, an event of ours must be read. */
static void tail_end_makes_room_for_an_event(void **state)
{
    static const char text[] = ": c\r\nevent: x\r\ndata: ab\r\n\r\ndata: q\n\n";
    struct buf out;

    (void)state; /* cmocka's */
    buf_init(&out, 4096);
    for (size_t n = 0; n < sizeof(text); n++) {
        struct sse_in in;
        struct sse_event e = {0};
        struct str rest = str_of(text, n);
        bool seen = false;

        sse_in_init(&in, 0, 0);
        while (sse_in_next(&in, &rest, &e) == ERR_OK)
            continue;
        buf_clear(&out);
        assert_int_equal(buf_put(&out, text, n), ERR_OK);
        assert_int_equal(buf_put_str(&out, sse_tail_end(sse_in_tail(&in))),
                         ERR_OK);
        assert_int_equal(sse_put(&out, STR("error"), STR("{}")), ERR_OK);
        sse_in_fini(&in);
        sse_in_init(&in, 0, 0);
        rest = buf_str(&out);
        while (sse_in_next(&in, &rest, &e) == ERR_OK)
            seen = str_eq(e.name, STR("error")) && str_eq(e.data, STR("{}"));
        assert_true(seen);
        assert_int_equal(sse_in_pending(&in).len, 0);
        sse_in_fini(&in);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_split_alike_however_cut),
        cmocka_unit_test(whole_events_are_not_copied),
        cmocka_unit_test(lines_and_events_are_bounded),
        cmocka_unit_test(writer_writes_what_splitter_reads),
        cmocka_unit_test(tail_end_makes_room_for_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
