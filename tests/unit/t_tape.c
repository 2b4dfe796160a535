/* t_tape.c - Tapes: what readers get, early, late and slow; who is told when;
 * what is kept and what is lost. */
#include "exchange/tape.h"

#include "unit/tape_kit.h"

#include <stdio.h>

static const struct tape_head stream_head = {
    .status = 200, .type = STR("text/event-stream"), .events = true};

static void put(struct tape *t, const char *text)
{
    tape_put_at(t, str_from(text), 0);
}

/* <n> bytes of frames of <size> each, of bytes that tell where they stand. */
static void put_many(struct tape *t, size_t n, size_t size)
{
    static char frame[1 << 20];

    assert_true(size <= sizeof(frame));
    for (size_t at = 0; at < n; at += size) {
        for (size_t i = 0; i < size; i++)
            frame[i] = (char)((at + i) * 131 >> 3);
        tape_put(t, str_of(frame, size));
    }
}

static bool is_many(struct str got)
{
    for (size_t i = 0; i < got.len; i++)
        if (got.p[i] != (char)(i * 131 >> 3))
            return false;
    return true;
}

static void reader_follows_and_ends(void **state)
{
    struct tape *t = tape_new(1000, 1);
    struct kit_reader k;
    struct worker w;

    (void)state;
    kit_worker(&w, 0);
    kit_reader_make(&k);
    assert_int_equal(tape_state(t), TAPE_BLANK);
    assert_true(tape_is_open(t));
    assert_true(tape_attach(t, &k.r, &w));
    assert_int_equal(tape_readers(t), 1);
    assert_int_equal(kit_read(&k), TAPE_AGAIN);
    assert_int_equal(kit_mail(&w), 0);
    tape_start(t, &stream_head);
    assert_int_equal(kit_mail(&w), 1); /* told of the head */
    assert_int_equal(k.told, 1);
    assert_int_equal(k.state, TAPE_AGAIN);
    assert_true(str_eq(tape_head(t)->type, STR("text/event-stream")));
    put(t, "one");
    put(t, "two");
    assert_int_equal(kit_mail(&w), 1); /* of both at once */
    assert_true(kit_has(&k, "onetwo"));
    tape_end(t, true, NULL);
    assert_int_equal(kit_mail(&w), 1);
    assert_int_equal(k.state, TAPE_END);
    assert_int_equal(tape_state(t), TAPE_COMPLETE);
    assert_null(tape_sum(t));
    kit_reader_end(&k);
    assert_int_equal(tape_readers(t), 0);
    tape_unref(t);
    kit_worker_end(&w);
}

static void late_reader_gets_all(void **state)
{
    struct tape *t = tape_new(1 << 20, 1);
    struct kit_reader early, late, last;
    struct worker w;

    (void)state;
    kit_worker(&w, 0);
    kit_reader_make(&early);
    kit_reader_make(&late);
    kit_reader_make(&last);
    tape_start(t, &stream_head);
    put_many(t, 300000, 100);
    assert_true(tape_attach(t, &early.r, &w));
    assert_int_equal(kit_read(&early), TAPE_AGAIN);
    assert_int_equal(early.frames, 3000);
    assert_true(tape_attach(t, &late.r, &w));
    tape_put(t, STR("x"));
    assert_int_equal(kit_read(&late), TAPE_AGAIN);
    assert_int_equal(late.frames, 3001);
    assert_int_equal(early.frames, 3000);
    kit_mail(&w);
    assert_int_equal(early.frames, 3001);
    assert_int_equal(early.told, 1);
    tape_end(t, true, NULL);
    assert_true(tape_attach(t, &last.r, &w));
    assert_int_equal(kit_read(&last), TAPE_END);
    assert_true(str_eq(buf_str(&last.got), buf_str(&early.got)));
    assert_true(str_eq(buf_str(&last.got), buf_str(&late.got)));
    assert_int_equal(last.got.len, 300001);
    last.got.len--;
    assert_true(is_many(buf_str(&last.got)));
    kit_reader_end(&early);
    kit_reader_end(&late);
    kit_reader_end(&last);
    tape_unref(t);
    kit_worker_end(&w);
}

static void one_message_for_many_readers(void **state)
{
    struct tape *t = tape_new(1000, KIT_WORKERS);
    struct kit_reader k[40];
    struct worker w[KIT_WORKERS];

    (void)state;
    for (unsigned i = 0; i < KIT_WORKERS; i++)
        kit_worker(&w[i], i);
    for (unsigned i = 0; i < 40; i++) {
        kit_reader_make(&k[i]);
        assert_true(tape_attach(t, &k[i].r, &w[i % 3]));
        assert_int_equal(kit_read(&k[i]), TAPE_AGAIN);
    }
    tape_start(t, &stream_head);
    for (unsigned i = 0; i < 10; i++)
        put(t, "ab");
    for (unsigned i = 0; i < KIT_WORKERS; i++)
        assert_int_equal(kit_mail(&w[i]), i < 3 ? 1 : 0);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(k[i].told, 1);
        assert_true(kit_has(&k[i], "abababababababababab"));
    }
    put(t, "c");
    tape_end(t, false, NULL);
    for (unsigned i = 0; i < 40; i++)
        k[i].lazy = i % 2;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(kit_mail(&w[i]), 1);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(k[i].told, 2);
        assert_int_equal(kit_read(&k[i]), TAPE_END);
        assert_int_equal(k[i].frames, 11);
        kit_reader_end(&k[i]);
    }
    assert_int_equal(tape_state(t), TAPE_BROKEN);
    tape_unref(t);
    for (unsigned i = 0; i < KIT_WORKERS; i++)
        kit_worker_end(&w[i]);
}

/* Who does not read on is owed nothing. */
static void nobody_is_told_twice(void **state)
{
    struct tape *t = tape_new(1000, 1);
    struct kit_reader k;
    struct worker w;

    (void)state;
    kit_worker(&w, 0);
    kit_reader_make(&k);
    k.lazy = true;
    assert_true(tape_attach(t, &k.r, &w));
    tape_start(t, &stream_head);
    assert_int_equal(kit_mail(&w), 0); /* it has not asked yet */
    assert_int_equal(kit_read(&k), TAPE_AGAIN);
    put(t, "a");
    put(t, "b");
    assert_int_equal(kit_mail(&w), 1);
    put(t, "c");
    assert_int_equal(kit_mail(&w), 0);
    assert_int_equal(k.told, 1);
    assert_int_equal(kit_read(&k), TAPE_AGAIN);
    assert_true(kit_has(&k, "abc"));
    kit_reader_end(&k);
    put(t, "d");
    assert_int_equal(kit_mail(&w), 0);
    tape_unref(t);
    kit_worker_end(&w);
}

/* A reader frees others and itself when it is told. */
static void killer_more(struct tape_reader *r)
{
    struct kit_reader *k = (struct kit_reader *)(void *)r - 1;

    for (unsigned i = 0; i < 3; i++)
        tape_detach(&k[i].r);
}

static void readers_leave_when_told(void **state)
{
    struct tape *t = tape_new(1000, 1);
    struct kit_reader k[5];
    struct worker w;

    (void)state;
    kit_worker(&w, 0);
    for (unsigned i = 0; i < 5; i++) {
        kit_reader_make(&k[i]);
        k[i].leaves = i > 2;
        if (i == 1)
            k[i].r.more = killer_more;
        assert_true(tape_attach(t, &k[i].r, &w));
        assert_int_equal(kit_read(&k[i]), TAPE_AGAIN);
    }
    tape_start(t, &stream_head);
    tape_unref(t); /* the message under way holds it */
    assert_int_equal(kit_mail(&w), 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_null(k[i].r.tape);
        assert_int_equal(k[i].told, i > 1 ? 1 : 0);
        kit_reader_end(&k[i]);
    }
    kit_worker_end(&w);
}

static void what_outgrows_takes_no_more_readers(void **state)
{
    struct tape *t = tape_new(100, 1);
    struct kit_reader k, late;
    struct worker w;

    (void)state;
    kit_worker(&w, 0);
    kit_reader_make(&k);
    kit_reader_make(&late);
    tape_start(t, &stream_head);
    put_many(t, 100, 10);
    assert_true(tape_is_whole(t));
    assert_true(tape_attach(t, &k.r, &w));
    put_many(t, 10, 10);
    assert_false(tape_is_whole(t));
    assert_false(tape_is_open(t));
    assert_false(tape_attach(t, &late.r, &w));
    assert_int_equal(kit_read(&k), TAPE_AGAIN);
    assert_int_equal(k.frames, 11);
    tape_end(t, true, NULL);
    assert_false(tape_attach(t, &late.r, &w));
    assert_int_equal(kit_read(&k), TAPE_END);
    kit_reader_end(&k);
    kit_reader_end(&late);
    tape_unref(t);
    kit_worker_end(&w);
}

/* Who keeps within the window gets everything, who does not has lost it, and
 * the tape never keeps much more than that. */
static void window_moves_on(void **state)
{
    struct tape *t = tape_new(1000, 1);
    struct kit_reader slow, stuck;
    struct worker w;
    size_t step;

    (void)state;
    kit_worker(&w, 0);
    kit_reader_make(&slow);
    kit_reader_make(&stuck);
    tape_start(t, &stream_head);
    assert_true(tape_attach(t, &slow.r, &w));
    assert_true(tape_attach(t, &stuck.r, &w));
    for (step = 0; step < 64; step++) {
        put_many(t, TAPE_WINDOW * 3 / 4, 4096);
        assert_int_equal(kit_read(&slow), TAPE_AGAIN);
    }
    assert_int_equal(slow.got.len, 64 * (TAPE_WINDOW * 3 / 4));
    assert_int_equal(slow.got.len, tape_bytes(t));
    tape_end(t, true, NULL);
    assert_int_equal(kit_read(&slow), TAPE_END);
    assert_int_equal(kit_read(&stuck), TAPE_LOST);
    assert_int_equal(kit_read(&stuck), TAPE_LOST);
    assert_true(stuck.got.len < 2 * TAPE_WINDOW);
    kit_reader_end(&slow);
    kit_reader_end(&stuck);
    tape_unref(t);
    kit_worker_end(&w);
}

/* The bound is the window where it is larger: nobody loses by a reply's
 * outgrowing it. */
static void window_is_as_large_as_the_bound(void **state)
{
    const size_t bound = 3 * TAPE_WINDOW;
    struct tape *t = tape_new(bound, 1);
    struct kit_reader k;
    struct worker w;

    (void)state;
    kit_worker(&w, 0);
    kit_reader_make(&k);
    tape_start(t, &stream_head);
    assert_true(tape_attach(t, &k.r, &w));
    put_many(t, 200 * 1024, 4096);
    assert_int_equal(kit_read(&k), TAPE_AGAIN);
    put_many(t, bound, 4096);
    assert_false(tape_is_whole(t));
    assert_int_equal(kit_read(&k), TAPE_AGAIN);
    assert_int_equal(k.got.len, tape_bytes(t));
    put_many(t, 2 * bound, 4096);
    assert_int_equal(kit_read(&k), TAPE_LOST);
    kit_reader_end(&k);
    tape_unref(t);
    kit_worker_end(&w);
}

static void failure_is_told(void **state)
{
    const struct tape_failure why = {
        .err = ERR_UP_RESET, .text = STR("it broke"), .status = 502};
    struct tape_failure again = why;
    struct tape *t = tape_new(100, 1);
    struct kit_reader k;
    struct worker w;

    (void)state;
    again.again = true;
    kit_worker(&w, 0);
    kit_reader_make(&k);
    assert_true(tape_attach(t, &k.r, &w));
    assert_int_equal(kit_read(&k), TAPE_AGAIN);
    tape_fail(t, &why);
    assert_int_equal(kit_mail(&w), 1);
    assert_int_equal(k.state, TAPE_END);
    assert_int_equal(tape_state(t), TAPE_FAILED);
    assert_int_equal(tape_failure(t)->err, ERR_UP_RESET);
    assert_int_equal(tape_failure(t)->status, 502);
    assert_true(str_eq(tape_failure(t)->text, STR("it broke")));
    assert_false(tape_is_open(t));
    tape_detach(&k.r);
    assert_true(tape_attach(t, &k.r, &w)); /* it shares the failure */
    assert_int_equal(kit_read(&k), TAPE_END);
    tape_detach(&k.r);
    tape_unref(t);
    t = tape_new(100, 1);
    tape_fail(t, &again);
    assert_false(tape_attach(t, &k.r, &w)); /* it tries itself */
    kit_reader_end(&k);
    tape_unref(t);
    kit_worker_end(&w);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static void writer_hears_of_its_first_reader_and_its_last(void **state)
{
    struct tape *t = tape_new(100, 2);
    struct kit_reader a, b;
    struct worker w[2];
    unsigned heard = 0;

    (void)state;
    kit_worker(&w[0], 0);
    kit_worker(&w[1], 1);
    kit_reader_make(&a);
    kit_reader_make(&b);
    tape_watch(t, &w[0], count, &heard);
    assert_true(tape_attach(t, &a.r, &w[1]));
    assert_int_equal(heard, 0); /* never from inside a call */
    assert_int_equal(kit_mail(&w[0]), 1);
    assert_int_equal(heard, 1);
    assert_true(tape_attach(t, &b.r, &w[1]));
    tape_detach(&a.r);
    assert_int_equal(kit_mail(&w[0]), 0); /* neither the first nor the last */
    tape_detach(&b.r);
    assert_int_equal(kit_mail(&w[0]), 1);
    assert_int_equal(heard, 2);
    assert_true(tape_attach(t, &a.r, &w[1]));
    tape_detach(&a.r);
    assert_true(tape_attach(t, &a.r, &w[1]));
    assert_int_equal(kit_mail(&w[0]), 1); /* once for all of it */
    assert_int_equal(heard, 3);
    tape_start(t, &stream_head);
    tape_detach(&a.r);
    tape_watch(t, &w[0], NULL, NULL);
    assert_int_equal(kit_mail(&w[0]), 1); /* on its way, and not wanted */
    assert_int_equal(heard, 3);
    assert_true(tape_attach(t, &a.r, &w[1]));
    tape_watch(t, &w[0], count, &heard);
    tape_end(t, true, NULL);
    tape_detach(&a.r);
    assert_int_equal(kit_mail(&w[0]), 0); /* it has ended */
    kit_reader_end(&a);
    kit_reader_end(&b);
    tape_unref(t);
    kit_worker_end(&w[0]);
    kit_worker_end(&w[1]);
}

static void sum_is_copied(void **state)
{
    char target[] = "east", model[] = "big-1";
    struct tape_sum sum = {.id = "01abc",
                           .made_wall_ms = 77,
                           .tok = {[ROW_TOK_OUTPUT] = 9},
                           .cost_nusd = 1234,
                           .finish = "stop",
                           .target = str_from(target),
                           .target_model = str_from(model)};
    struct tape *t = tape_new(100, 1);
    const struct tape_sum *kept;

    (void)state;
    tape_start(t, &stream_head);
    assert_null(tape_sum(t));
    tape_end(t, true, &sum);
    target[0] = model[0] = 'X';
    kept = tape_sum(t);
    assert_non_null(kept);
    assert_true(str_eq(kept->target, STR("east")));
    assert_true(str_eq(kept->target_model, STR("big-1")));
    assert_string_equal(kept->id, "01abc");
    assert_string_equal(kept->finish, "stop");
    assert_int_equal(kept->tok[ROW_TOK_OUTPUT], 9);
    assert_int_equal(kept->cost_nusd, 1234);
    tape_unref(t);
}

/* Small frames without end must not cost more than a bound either. */
static void marks_are_bounded(void **state)
{
    struct tape *t = tape_new(1 << 20, 1);
    const unsigned n = ((1 << 20) + 64 * 1024) / 8;

    (void)state;
    tape_start(t, &stream_head);
    for (unsigned i = 0; i < n; i++)
        tape_put(t, STR("x"));
    assert_true(tape_is_whole(t));
    tape_put(t, STR("x"));
    assert_false(tape_is_whole(t));
    tape_put(t, STR(""));
    assert_int_equal(tape_frames(t), n + 1);
    tape_unref(t);
}

static void scan_gives_what_was_put(void **state)
{
    struct tape *t = tape_new(UINT64_MAX / 2, 1);
    struct tape_pos pos = {.at = 0};
    struct str frame;
    unsigned n = 0;
    uint32_t ms;

    (void)state;
    tape_start(t, &stream_head);
    for (unsigned i = 0; i < 5000; i++) {
        char text[200];
        const int len = snprintf(text, sizeof(text), "%0*u", 1 + i % 190, i);

        tape_put_at(t, str_of(text, (size_t)len), i * 3);
    }
    tape_end(t, true, NULL);
    while (tape_scan(t, &pos, &frame, &ms)) {
        assert_int_equal(ms, n * 3);
        assert_int_equal(frame.p[frame.len - 1] - '0', n % 10);
        n++;
    }
    assert_int_equal(n, 5000);
    tape_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_follows_and_ends),
        cmocka_unit_test(late_reader_gets_all),
        cmocka_unit_test(one_message_for_many_readers),
        cmocka_unit_test(nobody_is_told_twice),
        cmocka_unit_test(readers_leave_when_told),
        cmocka_unit_test(what_outgrows_takes_no_more_readers),
        cmocka_unit_test(window_moves_on),
        cmocka_unit_test(window_is_as_large_as_the_bound),
        cmocka_unit_test(failure_is_told),
        cmocka_unit_test(writer_hears_of_its_first_reader_and_its_last),
        cmocka_unit_test(sum_is_copied),
        cmocka_unit_test(marks_are_bounded),
        cmocka_unit_test(scan_gives_what_was_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
