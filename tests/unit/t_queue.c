/* t_queue.c - Waiting for a place: whose turn it is, who is too late, who finds
 * no place, against a model that does it the slow way. */
#include "serve/queue.h"

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#define T0    UINT64_C(100000)
#define NEVER (T0 * 1000)

static enum queue_answer put(struct queue *q, struct queue_waiter *w,
                             const char *key, size_t limit)
{
    return queue_put(q, w, str_from(key), NEVER, limit, T0);
}

/* Who is next, or NULL. */
static struct queue_waiter *turn(struct queue *q)
{
    bool late = true;
    struct queue_waiter *w = queue_take(q, true, T0, &late);

    assert_true(!w || !late);
    return w;
}

static void keys_take_turns(void **state)
{
    struct queue q;
    struct queue_waiter a[4] = {0}, b[2] = {0}, c[1] = {0};

    (void)state;
    queue_init(&q);
    for (int i = 0; i < 3; i++)
        assert_int_equal(put(&q, &a[i], "a", 100), QUEUE_WAITS);
    for (int i = 0; i < 2; i++)
        assert_int_equal(put(&q, &b[i], "b", 100), QUEUE_WAITS);
    assert_int_equal(put(&q, &c[0], "c", 100), QUEUE_WAITS);
    assert_ptr_equal(turn(&q), &a[0]);
    assert_ptr_equal(turn(&q), &b[0]);
    assert_int_equal(put(&q, &a[3], "a", 100), QUEUE_WAITS);
    assert_ptr_equal(turn(&q), &c[0]);
    assert_ptr_equal(turn(&q), &a[1]);
    assert_ptr_equal(turn(&q), &b[1]);
    assert_ptr_equal(turn(&q), &a[2]);
    assert_ptr_equal(turn(&q), &a[3]);
    assert_null(turn(&q));
    assert_int_equal(q.n, 0);
    assert_int_equal(q.n_keys, 0);
}

static void without_room_nobody_is_next(void **state)
{
    struct queue q;
    struct queue_waiter w = {.waits = false};
    bool late = true;

    (void)state;
    queue_init(&q);
    assert_null(queue_take(&q, true, T0, &late));
    assert_int_equal(put(&q, &w, "a", 10), QUEUE_WAITS);
    assert_null(queue_take(&q, false, T0, &late));
    assert_ptr_equal(queue_take(&q, true, T0, &late), &w);
    assert_false(late);
    assert_false(w.waits);
}

static void who_is_late_is_told_first(void **state)
{
    static const uint64_t deadlines[] = {T0 + 70, T0 + 20, T0 + 50, T0 + 20,
                                         T0 + 90};
    struct queue q;
    struct queue_waiter w[5] = {0};
    bool late = false;

    (void)state;
    queue_init(&q);
    assert_true(queue_deadline_ms(&q) == UINT64_MAX);
    for (int i = 0; i < 5; i++)
        assert_int_equal(queue_put(&q, &w[i], STR("k"), deadlines[i], 100, T0),
                         QUEUE_WAITS);
    assert_int_equal(queue_deadline_ms(&q), T0 + 20);
    assert_null(queue_take(&q, false, T0 + 19, &late));
    for (int i = 0; i < 2; i++) {
        const struct queue_waiter *l = queue_take(&q, true, T0 + 20, &late);

        assert_true(late);
        assert_true(l == &w[1] || l == &w[3]);
    }
    assert_ptr_equal(queue_take(&q, true, T0 + 20, &late), &w[0]);
    assert_false(late);
    assert_ptr_equal(queue_take(&q, false, T0 + 1000, &late), &w[2]);
    assert_true(late);
    assert_ptr_equal(queue_take(&q, true, T0 + 1000, &late), &w[4]);
    assert_true(late);
    assert_null(queue_take(&q, true, T0 + 1000, &late));
    assert_int_equal(queue_put(&q, &w[0], STR("k"), T0 + 1000, 100, T0 + 1000),
                     QUEUE_LATE);
    assert_false(w[0].waits);
}

static void the_queue_is_bounded(void **state)
{
    struct queue q;
    struct queue_waiter w[9] = {0};
    char key[9][4];

    (void)state;
    queue_init(&q);
    assert_int_equal(put(&q, &w[0], "a", 0), QUEUE_FULL);
    for (int i = 0; i < 8; i++) {
        snprintf(key[i], sizeof(key[i]), "%d", i);
        assert_int_equal(put(&q, &w[i], key[i], 8), QUEUE_WAITS);
    }
    assert_int_equal(put(&q, &w[8], "another", 8), QUEUE_FULL);
    assert_ptr_equal(turn(&q), &w[0]);
    assert_int_equal(put(&q, &w[8], "another", 8), QUEUE_WAITS);
    assert_int_equal(put(&q, &w[0], "0", 4), QUEUE_FULL); /* a smaller one */
}

/* However many one key sends, others find places. */
static void no_key_fills_it(void **state)
{
    static struct queue_waiter w[400];
    struct queue q;
    size_t n = 0, a = 0, b = 0, c = 0;

    (void)state;
    queue_init(&q);
    while (put(&q, &w[n], "a", 120) == QUEUE_WAITS) {
        n++;
        a++;
    }
    assert_int_equal(a, 60);
    while (put(&q, &w[n], "b", 120) == QUEUE_WAITS) {
        n++;
        b++;
    }
    assert_int_equal(b, 30);
    while (put(&q, &w[n], "c", 120) == QUEUE_WAITS) {
        n++;
        c++;
    }
    assert_int_equal(c, 15);
    assert_int_equal(put(&q, &w[n], "a", 120), QUEUE_FULL);
    /* And as they go the shares become equal. */
    for (int i = 0; i < 3000; i++) {
        struct queue_waiter *gone = turn(&q);

        (void)put(&q, gone, i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", 120);
    }
    assert_true(q.n <= 90);
}

static void a_flood_of_one_key_delays_another_by_one_turn(void **state)
{
    static struct queue_waiter flood[500];
    struct queue_waiter one = {.waits = false};
    struct queue q;

    (void)state;
    queue_init(&q);
    for (int i = 0; i < 500; i++)
        assert_int_equal(put(&q, &flood[i], "flood", 1000), QUEUE_WAITS);
    assert_ptr_equal(turn(&q), &flood[0]);
    assert_int_equal(put(&q, &one, "one", 1000), QUEUE_WAITS);
    assert_ptr_equal(turn(&q), &flood[1]);
    assert_ptr_equal(turn(&q), &one);
}

static void who_leaves_is_out(void **state)
{
    struct queue q;
    struct queue_waiter a[3] = {0}, b[2] = {0};

    (void)state;
    queue_init(&q);
    for (int i = 0; i < 3; i++)
        put(&q, &a[i], "a", 100);
    for (int i = 0; i < 2; i++)
        put(&q, &b[i], "b", 100);
    queue_drop(&q, &a[0]); /* the next of its key has its turn */
    queue_drop(&q, &a[0]); /* twice is once */
    queue_drop(&q, &b[1]);
    assert_ptr_equal(turn(&q), &a[1]);
    queue_drop(&q, &a[2]);
    assert_ptr_equal(turn(&q), &b[0]);
    queue_drop(&q, &b[0]); /* taken out already */
    assert_null(turn(&q));
    assert_int_equal(q.n, 0);
}

/* --- what is to be expected ---------------------------------------------- */

static void turns_tell_how_long_it_will_take(void **state)
{
    static struct queue_waiter w[300];
    struct queue q;
    uint64_t now = T0;
    bool late;
    size_t n = 0;

    (void)state;
    queue_init(&q);
    for (; n < 100; n++)
        assert_int_equal(queue_put(&q, &w[n], STR("a"), NEVER, 1000, now),
                         QUEUE_WAITS);
    assert_int_equal(queue_expect_ms(&q, STR("a"), now), 0); /* not known */
    for (int i = 0; i < 40; i++) {
        now += 50;
        assert_non_null(queue_take(&q, true, now, &late));
    }
    /* 60 of a are left: one more of a is behind them, the first of b is behind
     * one. */
    assert_in_range(queue_expect_ms(&q, STR("a"), now), 61 * 49, 61 * 50);
    assert_in_range(queue_expect_ms(&q, STR("b"), now), 2 * 49, 2 * 50);
    assert_int_equal(queue_put(&q, &w[n], STR("a"), now + 2900, 1000, now),
                     QUEUE_LATE);
    assert_int_equal(queue_put(&q, &w[n], STR("b"), now + 2900, 1000, now),
                     QUEUE_WAITS);
    n++;
    assert_int_equal(queue_put(&q, &w[n], STR("a"), now + 3200, 1000, now),
                     QUEUE_WAITS);
    n++;
    /* No turn for a while: it takes at least so long. */
    assert_true(queue_expect_ms(&q, STR("c"), now + 10000) >= 3 * 10000);
}

/* What was slow once does not shut the queue for good. */
static void who_finds_nobody_waits_and_finds_out(void **state)
{
    struct queue q;
    struct queue_waiter w = {.waits = false};
    bool late;

    (void)state;
    queue_init(&q);
    assert_int_equal(queue_put(&q, &w, STR("a"), NEVER, 10, T0), QUEUE_WAITS);
    assert_ptr_equal(queue_take(&q, true, T0 + 60000, &late), &w);
    assert_int_equal(queue_expect_ms(&q, STR("a"), T0 + 60000), 60000);
    assert_int_equal(queue_put(&q, &w, STR("a"), T0 + 61000, 10, T0 + 60000),
                     QUEUE_WAITS);
    assert_ptr_equal(queue_take(&q, true, T0 + 60010, &late), &w);
    assert_true(queue_expect_ms(&q, STR("a"), T0 + 60010) < 60000);
}

/* --- against a model ----------------------------------------------------- */

#define WAITERS 300
#define KEYS    12

/* The same done the slow way: keys in the order of their turns, waiters by age
 * within each. */
struct model {
    int ring[KEYS], n_ring;
    int line[KEYS][WAITERS], n[KEYS];
    int all;
};

static void model_add(struct model *m, int key, int w)
{
    if (m->n[key] == 0)
        m->ring[m->n_ring++] = key;
    m->line[key][m->n[key]++] = w;
    m->all++;
}

/* Take <w> out of the line of <key>; its place in the ring stays, if any. */
static void model_remove(struct model *m, int key, int w)
{
    int i = 0;

    while (m->line[key][i] != w)
        i++;
    for (; i + 1 < m->n[key]; i++)
        m->line[key][i] = m->line[key][i + 1];
    m->n[key]--;
    m->all--;
    if (m->n[key] > 0)
        return;
    for (i = 0; m->ring[i] != key; i++)
        ;
    for (; i + 1 < m->n_ring; i++)
        m->ring[i] = m->ring[i + 1];
    m->n_ring--;
}

/* The turn of the first key is over. */
static int model_turn(struct model *m)
{
    const int key = m->ring[0], w = m->line[key][0];

    model_remove(m, key, w);
    if (m->n[key] == 0)
        return w;
    for (int i = 0; i + 1 < m->n_ring; i++)
        m->ring[i] = m->ring[i + 1];
    m->ring[m->n_ring - 1] = key;
    return w;
}

struct both {
    struct queue q;
    struct model m;
    struct queue_waiter w[WAITERS];
    int key[WAITERS];
    char name[KEYS][8];
    uint64_t now;
    unsigned seed;
};

static void both_put(struct both *b, int i)
{
    const int key = rand_r(&b->seed) % KEYS;
    const uint64_t limit = 40 + (uint64_t)rand_r(&b->seed) % 100;
    const uint64_t deadline = b->now + 1 + (uint64_t)rand_r(&b->seed) % 3000;
    const bool full =
        (size_t)b->m.all >= limit ||
        (b->m.n[key] > 0 && (size_t)b->m.n[key] >= limit - (size_t)b->m.all);
    enum queue_answer answer;

    b->q.has_gap = false; /* what is expected is shown elsewhere */
    answer = queue_put(&b->q, &b->w[i], str_from(b->name[key]), deadline, limit,
                       b->now);
    assert_int_equal(answer, full ? QUEUE_FULL : QUEUE_WAITS);
    if (full)
        return;
    b->key[i] = key;
    model_add(&b->m, key, i);
}

static uint64_t both_deadline(const struct both *b)
{
    uint64_t first = UINT64_MAX;

    for (int i = 0; i < WAITERS; i++)
        if (b->w[i].waits && b->w[i].deadline_ms < first)
            first = b->w[i].deadline_ms;
    return first;
}

static void both_take(struct both *b, bool room)
{
    const uint64_t first = both_deadline(b);
    bool late = false;
    struct queue_waiter *w = queue_take(&b->q, room, b->now, &late);

    if (first <= b->now) {
        assert_non_null(w);
        assert_true(late);
        assert_int_equal(w->deadline_ms, first);
        model_remove(&b->m, b->key[w - b->w], (int)(w - b->w));
    } else if (room && b->m.all > 0) {
        assert_ptr_equal(w, &b->w[model_turn(&b->m)]);
        assert_false(late);
    } else {
        assert_null(w);
    }
}

static void it_is_the_model(void **state)
{
    static struct both b;

    (void)state;
    b.seed = 31;
    b.now = T0;
    queue_init(&b.q);
    for (int k = 0; k < KEYS; k++)
        snprintf(b.name[k], sizeof(b.name[k]), "key%d", k);
    for (int step = 0; step < 200000; step++) {
        const int i = rand_r(&b.seed) % WAITERS;
        const int deed = rand_r(&b.seed) % 8;

        b.now += (uint64_t)rand_r(&b.seed) % 8;
        if (deed == 0 && b.w[i].waits) {
            queue_drop(&b.q, &b.w[i]);
            model_remove(&b.m, b.key[i], i);
        } else if (deed < 5 && !b.w[i].waits) {
            both_put(&b, i);
        } else if (deed >= 5) {
            both_take(&b, deed > 5);
        }
        assert_int_equal(b.q.n, b.m.all);
        assert_int_equal(b.q.n_keys, b.m.n_ring);
        assert_true(queue_deadline_ms(&b.q) == both_deadline(&b));
    }
    while (b.m.all > 0)
        both_take(&b, true);
    assert_null(b.q.first_late);
    assert_true(TAILQ_EMPTY(&b.q.ring));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_take_turns),
        cmocka_unit_test(without_room_nobody_is_next),
        cmocka_unit_test(who_is_late_is_told_first),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(no_key_fills_it),
        cmocka_unit_test(a_flood_of_one_key_delays_another_by_one_turn),
        cmocka_unit_test(who_leaves_is_out),
        cmocka_unit_test(turns_tell_how_long_it_will_take),
        cmocka_unit_test(who_finds_nobody_waits_and_finds_out),
        cmocka_unit_test(it_is_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
