/* t_sched_cache.c - What the scheduler keeps of texts that were read: which
 * pages, for whom, for how long, and what is shared meanwhile. */
#include "unit/sched_fixture.h"

#include <string.h>

/* --- the cache ---------------------------------------------------------- */

static void full_pages_are_cached_but_for_the_last_token(void **state)
{
    struct rig *r = rig_of(4, 64, 64);
    struct rig_ask a = ask_of(40, 1);

    (void)state;
    assert_int_equal(cached(r, 0, &a), 0);
    assert_int_equal(cached(r, 1, &a), 32);
    a.n_tokens = 33;
    assert_int_equal(cached(r, 2, &a), 32);
    a.n_tokens = 32;
    assert_int_equal(cached(r, 3, &a), 16);
    a.n_tokens = 16;
    assert_int_equal(cached(r, 4, &a), 0);
    rig_free(r);
}

static void generated_pages_are_cached_too(void **state)
{
    struct rig *r = rig_of(4, 64, 64);
    struct rig_ask a = ask_of(10, 30);
    int32_t more[64];

    (void)state;
    a.logprobs = true;
    assert_int_equal(cached(r, 0, &a), 0);
    assert_int_equal(r->replies[0].choices[0].n_lps, 30);
    memcpy(more, prompt, sizeof(more));
    for (size_t i = 0; i < 30; i++)
        more[10 + i] = r->replies[0].choices[0].lps[i].id;
    a.tokens = more;
    a.n_tokens = 40;
    assert_int_equal(cached(r, 1, &a), 32);
    rig_free(r);
}

static void another_scope_never_hits(void **state)
{
    struct rig *r = rig_of(4, 64, 64);
    struct rig_ask a = ask_of(40, 1);

    (void)state;
    a.scope = 1;
    assert_int_equal(cached(r, 0, &a), 0);
    a.scope = 2;
    assert_int_equal(cached(r, 1, &a), 0);
    a.scope = 1;
    assert_int_equal(cached(r, 2, &a), 32);
    a.scope = 2;
    assert_int_equal(cached(r, 3, &a), 32);
    rig_free(r);
}

static void another_text_hits_up_to_where_it_differs(void **state)
{
    struct rig *r = rig_of(4, 64, 512);
    struct rig_ask a = ask_of(50, 1);
    int32_t other[CONTEXT];

    (void)state;
    assert_int_equal(cached(r, 0, &a), 0);
    for (uint64_t i = 0; i < 48; i++) {
        memcpy(other, prompt, sizeof(other));
        other[i]++;
        a.tokens = other;
        assert_int_equal(cached(r, 1 + i, &a), i / 16 * 16);
    }
    rig_free(r);
}

static void a_purge_forgets_what_nobody_uses(void **state)
{
    struct rig *r = rig_of(4, 64, 64);
    struct rig_ask a = ask_of(40, 1);

    (void)state;
    assert_int_equal(cached(r, 0, &a), 0);
    sched_purge(r->s);
    assert_int_equal(cached(r, 1, &a), 0);
    assert_int_equal(cached(r, 2, &a), 32);
    rig_free(r);
}

static void the_oldest_cached_text_goes_first_and_from_its_end(void **state)
{
    struct rig *r = rig_of(1, 64, 8);
    struct rig_ask a = ask_of(48, 1);
    int32_t other[CONTEXT];
    struct rig_ask b;

    (void)state;
    for (int i = 0; i < CONTEXT; i++)
        other[i] = prompt[CONTEXT - 1 - i];
    b = a;
    b.tokens = other;
    assert_int_equal(cached(r, 0, &a), 0);
    assert_int_equal(cached(r, 1, &b), 0); /* 6 of 8 pages are cached */
    a.tokens = prompt + 100;
    assert_int_equal(cached(r, 2, &a), 0); /* the end of the first goes */
    a.tokens = prompt;
    a.n_tokens = 49;
    assert_int_equal(cached(r, 3, &a), 32);
    assert_int_equal(cached(r, 4, &b), 16);
    rig_free(r);
}

static void an_unfinished_prompt_is_cached_up_to_its_full_pages(void **state)
{
    struct rig *r = rig_of(4, 20, 64);
    struct rig_ask a = ask_of(100, 1);

    (void)state;
    rig_submit(r, 0, &a);
    rig_turn(r);
    rig_turn(r);
    sched_cancel(r->s, 0);
    rig_finish(r, 10);
    assert_int_equal(cached(r, 1, &a), 32);
    rig_free(r);
}

static void running_sequences_share_pages(void **state)
{
    struct rig *r = rig_of(8, 64, 64);
    struct rig_ask a = ask_of(60, 20);

    (void)state;
    rig_submit(r, 0, &a);
    rig_turn(r);
    for (uint64_t i = 1; i < 4; i++)
        rig_submit(r, i, &a);
    for (int i = 0; i < 4; i++)
        rig_turn(r);
    /* 3 full pages for all, and one or two of each its own */
    assert_in_range(pages_used(r), 3 + 4, 3 + 2 * 4);
    for (uint64_t i = 1; i < 4; i++)
        assert_int_equal(r->replies[i].counts.cached_tokens, 48);
    rig_finish(r, 100);
    rig_free(r);
}

static void texts_read_at_once_end_up_in_the_same_pages(void **state)
{
    struct rig *r = rig_of(8, 200, 64);
    struct rig_ask a = ask_of(48, 20);

    (void)state;
    for (uint64_t i = 0; i < 4; i++)
        rig_submit(r, i, &a);
    rig_turn(r);
    assert_int_equal(pages_used(r), 3);
    rig_finish(r, 100);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(r->replies[i].counts.cached_tokens, 0);
    rig_free(r);
}

static void choices_copy_the_last_page_alone(void **state)
{
    struct rig *r = rig_of(8, 64, 64);
    struct rig_ask a = ask_of(40, 5);

    (void)state;
    a.n = 4;
    a.temperature = 1;
    rig_submit(r, 0, &a);
    rig_turn(r);
    assert_int_equal(pages_used(r), 2 + 4);
    assert_int_equal(r->g->n_copies, 3);
    rig_finish(r, 100);
    assert_int_equal(r->replies[0].counts.prompt_tokens, 40);
    assert_int_equal(r->replies[0].counts.output_tokens, 20);
    rig_free(r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_pages_are_cached_but_for_the_last_token),
        cmocka_unit_test(generated_pages_are_cached_too),
        cmocka_unit_test(another_scope_never_hits),
        cmocka_unit_test(another_text_hits_up_to_where_it_differs),
        cmocka_unit_test(a_purge_forgets_what_nobody_uses),
        cmocka_unit_test(the_oldest_cached_text_goes_first_and_from_its_end),
        cmocka_unit_test(an_unfinished_prompt_is_cached_up_to_its_full_pages),
        cmocka_unit_test(running_sequences_share_pages),
        cmocka_unit_test(texts_read_at_once_end_up_in_the_same_pages),
        cmocka_unit_test(choices_copy_the_last_page_alone),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
