/* t_record.c - Records of replies: what is put is read again, and nothing that
 * is not whole is believed. */
#include "recall/record.h"

#include "unit/tape_kit.h"

#include <stdio.h>
#include <stdlib.h>

static const struct tape_sum full_sum = {
    .id = "01kb6fz3ep2x1q9w8e7r6t5y4u",
    .made_wall_ms = 1790000000123,
    .tok = {1, 2, 3, 4, 5, 6, 7, 8},
    .cost_nusd = -1,
    .target = STR("east"),
    .target_model = STR("big-1"),
    .finish = "stop",
    .usage_source = ROW_SOURCE_UPSTREAM,
    .flags = ROW_STREAM | ROW_STALE_PRICE,
    .estimated = true,
};

/* A tape of <n> frames, complete. */
static struct tape *tape_made(bool events, unsigned n,
                              const struct tape_sum *sum)
{
    const struct tape_head head = {.status = events ? 200 : 201,
                                   .type = STR("application/x"),
                                   .events = events};
    struct tape *t = tape_new(1 << 24, 1);

    tape_start(t, &head);
    for (unsigned i = 0; i < n; i++) {
        char text[64];
        const int len = snprintf(text, sizeof(text), "data: %u\n\n", i * 7919);

        tape_put_at(t, str_of(text, (size_t)len), i * 5);
    }
    tape_end(t, true, sum);
    return t;
}

static struct buf record_of(const struct tape *t)
{
    struct buf b;

    buf_init(&b, 1 << 26);
    assert_int_equal(record_put(t, &b), ERR_OK);
    assert_true(b.len <= tape_bytes(t) + record_extra_bytes(t));
    return b;
}

static void assert_same_sum(const struct tape_sum *a, const struct tape_sum *b)
{
    assert_string_equal(a->id, b->id);
    assert_int_equal(a->made_wall_ms, b->made_wall_ms);
    assert_memory_equal(a->tok, b->tok, sizeof(a->tok));
    assert_int_equal(a->cost_nusd, b->cost_nusd);
    assert_true(str_eq(a->target, b->target));
    assert_true(str_eq(a->target_model, b->target_model));
    assert_string_equal(a->finish, b->finish);
    assert_int_equal(a->usage_source, b->usage_source);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->estimated, b->estimated);
}

static void stream_comes_back_frame_by_frame(void **state)
{
    struct tape *t = tape_made(true, 1000, &full_sum), *back;
    struct buf b = record_of(t);
    struct tape_pos pa = {.at = 0}, pb = {.at = 0};
    struct record_pos pos = {.index = 0};
    struct record_view v;
    struct str fa, fb, fc;
    uint32_t ma, mb, mc;

    (void)state;
    assert_int_equal(record_view(buf_str(&b), &v), ERR_OK);
    assert_int_equal(v.head.status, 200);
    assert_true(v.head.events);
    assert_true(str_eq(v.head.type, STR("application/x")));
    assert_int_equal(v.frames, 1000);
    assert_int_equal(v.body.len, tape_bytes(t));
    assert_true(v.has_sum);
    assert_same_sum(&v.sum, &full_sum);
    assert_int_equal(record_open(buf_str(&b), 1, &back), ERR_OK);
    assert_int_equal(tape_state(back), TAPE_COMPLETE);
    assert_true(tape_is_open(back));
    assert_same_sum(tape_sum(back), &full_sum);
    while (tape_scan(t, &pa, &fa, &ma)) {
        assert_true(tape_scan(back, &pb, &fb, &mb));
        assert_true(record_next(&v, &pos, &fc, &mc));
        assert_true(str_eq(fa, fb) && str_eq(fa, fc));
        assert_true(ma == mb && ma == mc);
    }
    assert_false(tape_scan(back, &pb, &fb, &mb));
    assert_false(record_next(&v, &pos, &fc, &mc));
    tape_unref(t);
    tape_unref(back);
    buf_fini(&b);
}

static void plain_body_is_one_frame(void **state)
{
    struct tape *t = tape_made(false, 100, NULL);
    struct buf b = record_of(t);
    struct record_pos pos = {.index = 0};
    struct record_view v;
    struct str frame;
    uint32_t ms;

    (void)state;
    assert_int_equal(record_view(buf_str(&b), &v), ERR_OK);
    assert_int_equal(v.head.status, 201);
    assert_false(v.head.events);
    assert_false(v.has_sum);
    assert_int_equal(v.frames, 1);
    assert_true(record_next(&v, &pos, &frame, &ms));
    assert_int_equal(frame.len, tape_bytes(t));
    assert_int_equal(ms, 99 * 5);
    assert_true(str_starts(frame, STR("data: 0\n\ndata: 7919\n\n")));
    assert_false(record_next(&v, &pos, &frame, &ms));
    tape_unref(t);
    buf_fini(&b);
}

static void empty_body_is_no_frame(void **state)
{
    for (unsigned events = 0; events < 2; events++) {
        struct tape *t = tape_made(events, 0, NULL), *back;
        struct buf b = record_of(t);
        struct record_view v;

        (void)state;
        assert_int_equal(record_view(buf_str(&b), &v), ERR_OK);
        assert_int_equal(v.frames, 0);
        assert_int_equal(v.body.len, 0);
        assert_int_equal(record_open(buf_str(&b), 1, &back), ERR_OK);
        tape_unref(t);
        tape_unref(back);
        buf_fini(&b);
    }
}

static void only_complete_tapes_are_put(void **state)
{
    const struct tape_head head = {.status = 200};
    struct tape *t = tape_new(4, 1);
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(record_put(t, &b), ERR_NOT_FOUND);
    tape_start(t, &head);
    tape_put(t, STR("abcd"));
    assert_int_equal(record_put(t, &b), ERR_NOT_FOUND);
    tape_end(t, false, NULL);
    assert_int_equal(record_put(t, &b), ERR_NOT_FOUND);
    tape_unref(t);
    t = tape_new(4, 1);
    tape_start(t, &head);
    tape_put(t, STR("abcde"));
    tape_end(t, true, NULL);
    assert_int_equal(record_put(t, &b), ERR_NOT_FOUND);
    tape_unref(t);
    t = tape_made(true, 100, NULL);
    assert_int_equal(record_put(t, &b), ERR_NOMEM);
    assert_int_equal(b.len, 0);
    tape_unref(t);
    buf_fini(&b);
}

/* Every cut is refused; the beginning of a record tells what it can. */
static void cuts_are_refused(void **state)
{
    struct tape *t = tape_made(true, 5, &full_sum);
    struct buf b = record_of(t);
    const size_t before = b.len - (size_t)tape_bytes(t);
    struct record_view v;

    (void)state;
    for (size_t n = 0; n < b.len; n++) {
        struct str cut = {b.p, n};
        const enum err want = n < before ? ERR_AGAIN : ERR_OK;

        assert_int_equal(record_view(cut, &v), ERR_CORRUPT);
        assert_int_equal(record_view_part(cut, b.len, &v), want);
        if (want != ERR_OK)
            continue;
        assert_int_equal(v.body.len, n - before);
        assert_int_equal(v.body_bytes, tape_bytes(t));
    }
    assert_int_equal(buf_put(&b, "x", 1), ERR_OK);
    assert_int_equal(record_view(buf_str(&b), &v), ERR_CORRUPT);
    tape_unref(t);
    buf_fini(&b);
}

/* A flipped bit is refused, or the lengths still agree: nothing is read that
 * is not there (the sanitizers tell). */
static void flips_do_no_harm(void **state)
{
    struct tape *t = tape_made(true, 20, &full_sum), *back;
    struct buf b = record_of(t);
    unsigned refused = 0;

    (void)state;
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        char *copy = malloc(b.len);

        memcpy(copy, b.p, b.len);
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        if (record_open(str_of(copy, b.len), 1, &back) == ERR_OK)
            tape_unref(back);
        else
            refused++;
        free(copy);
    }
    assert_true(refused > 20 * 32); /* each bit of each frame's length */
    tape_unref(t);
    buf_fini(&b);
}

/* Fixed places: reserved bytes that are not 0, a frame without bytes. */
static void what_is_never_written_is_refused(void **state)
{
    struct tape *t = tape_made(true, 2, NULL);
    struct buf b = record_of(t);
    const size_t table = b.len - (size_t)tape_bytes(t) - 16;
    struct record_view v;

    (void)state;
    for (size_t i = 12; i < 16; i++) {
        b.p[i] = 1;
        assert_int_equal(record_view(buf_str(&b), &v), ERR_CORRUPT);
        b.p[i] = 0;
    }
    assert_int_equal(record_view(buf_str(&b), &v), ERR_OK);
    b.p[table] = (char)(b.p[table] + b.p[table + 8]);
    b.p[table + 8] = 0;
    assert_int_equal(record_view(buf_str(&b), &v), ERR_CORRUPT);
    tape_unref(t);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_comes_back_frame_by_frame),
        cmocka_unit_test(plain_body_is_one_frame),
        cmocka_unit_test(empty_body_is_no_frame),
        cmocka_unit_test(only_complete_tapes_are_put),
        cmocka_unit_test(cuts_are_refused),
        cmocka_unit_test(what_is_never_written_is_refused),
        cmocka_unit_test(flips_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
