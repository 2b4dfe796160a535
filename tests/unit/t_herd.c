/* t_herd.c - Where jobs go when a model has several schedulers: to where their
 * beginning is, to the idle one otherwise, never to one that is down, and away
 * from a favourite that has too much to do. */
#include "engine/herd.h"

#include "engine/sched.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 16, MOST = 1024, N = 4 };

/* A scheduler, as far as a herd looks at it. */
struct sched {
    uint64_t ahead;
    bool down;
};

uint64_t sched_ahead(const struct sched *s)
{
    return s->ahead;
}

bool sched_is_down(const struct sched *s)
{
    return s->down;
}

static struct sched scheds[N];
static int32_t text[3][MOST];

static struct herd *herd(unsigned n)
{
    struct sched *all[N];
    struct herd *h;

    for (unsigned i = 0; i < N; i++) {
        scheds[i] = (struct sched){0};
        all[i] = &scheds[i];
    }
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < MOST; i++)
            text[t][i] = (t + 1) * 1000 + i;
    h = herd_new(all, n, PAGE);
    assert_non_null(h);
    return h;
}

/* Where <n> tokens of text <t> go, and that many are then ahead there. */
static struct sched *place(struct herd *h, unsigned t, size_t n, uint8_t scope)
{
    struct gen_job j = {.tokens = text[t], .n_tokens = n, .scope = {scope}};
    struct sched *s = herd_place(h, &j);

    s->ahead += n;
    return s;
}

static void new_texts_go_round(void **state)
{
    struct herd *h = herd(N);
    unsigned seen = 0;

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        text[0][0] = (int32_t)i;
        seen |= 1u << (place(h, 0, 100, 0) - scheds);
    }
    assert_int_equal(seen, (1u << N) - 1);
    herd_free(h);
}

static void a_known_beginning_is_followed(void **state)
{
    struct herd *h = herd(N);
    struct sched *first = place(h, 0, 512, 0);

    (void)state;
    for (unsigned i = 0; i < N; i++)
        scheds[i].ahead = 0;
    for (unsigned i = 0; i < 10; i++) {
        text[0][300 + i] = -1; /* it goes on differently */
        assert_ptr_equal(place(h, 0, 512, 0), first);
        first->ahead = 0;
    }
    assert_ptr_not_equal(place(h, 1, 512, 0), first);
    herd_free(h);
}

static void a_favourite_that_is_busy_is_left(void **state)
{
    struct herd *h = herd(2);
    struct sched *first = place(h, 0, 512, 0);
    struct sched *other = first == &scheds[0] ? &scheds[1] : &scheds[0];

    (void)state;
    first->ahead = 511; /* less than what it saves elsewhere */
    other->ahead = 0;
    assert_ptr_equal(place(h, 0, 512, 0), first);
    first->ahead = 513;
    other->ahead = 0;
    assert_ptr_equal(place(h, 0, 512, 0), other);
    first->ahead = 0; /* now both have it */
    other->ahead = 1;
    assert_ptr_equal(place(h, 0, 512, 0), first);
    first->ahead = 2;
    assert_ptr_equal(place(h, 0, 512, 0), other);
    herd_free(h);
}

static void scopes_do_not_share(void **state)
{
    struct herd *h = herd(2);
    struct sched *a = place(h, 0, 512, 1);

    (void)state;
    a->ahead = 1;
    assert_ptr_not_equal(place(h, 0, 512, 2), a);
    herd_free(h);
}

static void one_that_is_down_gets_nothing(void **state)
{
    struct herd *h = herd(2);
    struct sched *a = place(h, 0, 512, 0);

    (void)state;
    a->down = true;
    for (unsigned i = 0; i < 4; i++)
        assert_ptr_not_equal(place(h, 0, 512, 0), a);
    scheds[0].down = scheds[1].down = true;
    assert_non_null(place(h, 0, 512, 0));
    herd_free(h);
}

static void any_length_is_placed(void **state)
{
    struct herd *h = herd(3);

    (void)state;
    for (size_t n = 1; n <= MOST; n++)
        assert_non_null(place(h, (unsigned)(n % 3), n, 0));
    herd_free(h);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_texts_go_round),
        cmocka_unit_test(a_known_beginning_is_followed),
        cmocka_unit_test(a_favourite_that_is_busy_is_left),
        cmocka_unit_test(scopes_do_not_share),
        cmocka_unit_test(one_that_is_down_gets_nothing),
        cmocka_unit_test(any_length_is_placed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
