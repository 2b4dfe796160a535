/* tk_cuda_pages.c - Pages between a GPU and the host, and what becomes of them
 * and all else when the device fails. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/fakecuda.h"
#include "kernels/gfix.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"

enum { PAGES = 6, COPIES = 700 };

/* A small pool. */
static struct krn_kv pool_new(struct krn_ctx *c)
{
    struct krn_kv kv = {
        .dtype = KRN_F16,
        .page_tokens = krn_page_tokens(c),
        .n_pages = PAGES,
        .n_layer = 2,
        .n_kv_head = 1,
        .d_head = 8,
    };

    kv.pages = krn_alloc(c, krn_kv_page_bytes(&kv) * PAGES);
    assert_non_null(kv.pages);
    return kv;
}

static void wait_for(struct krn_ctx *c, uint64_t ticket)
{
    bool failed = false;

    while (!krn_page_done(c, ticket, &failed))
        ;
    assert_false(failed);
}

/* --- pages --------------------------------------------------------------- */

/* Pages as they should be, and one on the host. */
struct pages {
    struct krn_ctx *c;
    struct krn_kv kv;
    size_t bytes;
    uint8_t *want[PAGES];
    uint8_t *slot[3]; /* of the host, pinned */
    uint8_t *was;     /* what a slot should hold */
};

static void pages_open(struct pages *p, uint64_t *seed)
{
    p->c = gfix_open();
    p->kv = pool_new(p->c);
    p->bytes = krn_kv_page_bytes(&p->kv);
    for (int i = 0; i < PAGES; i++) {
        p->want[i] = gfix_noise(p->bytes, seed);
        assert_int_equal(krn_put(p->c,
                                 (uint8_t *)p->kv.pages + (size_t)i * p->bytes,
                                 p->want[i], p->bytes),
                         KRN_OK);
    }
    for (int i = 0; i < 3; i++) {
        p->slot[i] = krn_host_alloc(p->c, p->bytes);
        assert_non_null(p->slot[i]);
    }
    p->was = gfix_noise(p->bytes, seed);
}

static void pages_close(struct pages *p)
{
    for (int i = 0; i < PAGES; i++)
        free(p->want[i]);
    for (int i = 0; i < 3; i++)
        krn_host_free(p->c, p->slot[i]);
    free(p->was);
    krn_free(p->c, p->kv.pages);
    krn_close(p->c);
}

/* Write page <at> by krn_put(): on the compute stream. */
static void page_put(struct pages *p, unsigned at, uint64_t *seed)
{
    gfix_fill(p->want[at], p->bytes, seed);
    assert_int_equal(krn_put(p->c, (uint8_t *)p->kv.pages + at * p->bytes,
                             p->want[at], p->bytes),
                     KRN_OK);
}

static void pages_are_what_was_written_last(struct pages *p)
{
    for (unsigned i = 0; i < PAGES; i++) {
        assert_int_equal(krn_get(p->c, p->was,
                                 (uint8_t *)p->kv.pages + i * p->bytes,
                                 p->bytes),
                         KRN_OK);
        assert_memory_equal(p->was, p->want[i], p->bytes);
    }
}

static void copies_see_what_was_queued_before_them(void **state)
{
    struct pages p;
    uint64_t seed = 7;

    (void)state;
    pages_open(&p, &seed);
    for (int i = 0; i < 200; i++) {
        const unsigned a = (unsigned)(kfix_next(&seed) >> 40) % PAGES;
        const unsigned b = (a + 1 + i % (PAGES - 1)) % PAGES;
        const unsigned s = (unsigned)i % 3;
        uint64_t out;
        uint64_t in;

        page_put(&p, a, &seed);
        assert_int_equal(krn_page_out(p.c, &p.kv, a, p.slot[s], &out), KRN_OK);
        memcpy(p.was, p.want[a], p.bytes);
        wait_for(p.c, out);
        assert_memory_equal(p.slot[s], p.was, p.bytes);
        /* What reads b is queued before b is written over. */
        assert_int_equal(krn_kv_copy(p.c, &p.kv, a, b), KRN_OK);
        memcpy(p.want[a], p.want[b], p.bytes);
        gfix_fill(p.slot[s], p.bytes, &seed);
        memcpy(p.want[b], p.slot[s], p.bytes);
        assert_int_equal(krn_page_in(p.c, &p.kv, b, p.slot[s], &in), KRN_OK);
        wait_for(p.c, in);
        gfix_fill(p.slot[s], p.bytes, &seed);
        if (i % 8 == 0)
            pages_are_what_was_written_last(&p);
    }
    pages_are_what_was_written_last(&p);
    pages_close(&p);
    assert_int_equal(gfix_live(), 0);
}

static void more_copies_than_there_are_events_end_in_order(void **state)
{
    struct pages p;
    uint64_t seed = 11;
    uint64_t *out = calloc(2 * COPIES, sizeof(*out));
    uint64_t *in = out + COPIES;
    uint64_t unknown = 0;
    bool failed;

    (void)state;
    assert_non_null(out);
    pages_open(&p, &seed);
    memcpy(p.slot[1], p.want[1], p.bytes);
    for (int i = 0; i < COPIES; i++) {
        assert_int_equal(krn_page_out(p.c, &p.kv, 0, p.slot[0], &out[i]),
                         KRN_OK);
        assert_int_equal(krn_page_in(p.c, &p.kv, 1, p.slot[1], &in[i]), KRN_OK);
        assert_int_not_equal(out[i], in[i]);
    }
    wait_for(p.c, out[COPIES - 1]);
    wait_for(p.c, in[COPIES - 1]);
    for (int i = 0; i < COPIES; i++) {
        assert_true(krn_page_done(p.c, out[i], &failed) && !failed);
        assert_true(krn_page_done(p.c, in[i], &failed) && !failed);
        unknown += out[i] > unknown ? out[i] - unknown : 0;
    }
    assert_true(krn_page_done(p.c, unknown + 1000, &failed) && !failed);
    assert_memory_equal(p.slot[0], p.want[0], p.bytes);
    pages_are_what_was_written_last(&p);
    pages_close(&p);
    free(out);
}

static void a_page_that_is_none_is_refused(void **state)
{
    struct pages p;
    uint64_t seed = 3;
    uint64_t ticket = 5;

    (void)state;
    pages_open(&p, &seed);
    assert_int_equal(krn_page_out(p.c, &p.kv, PAGES, p.slot[0], &ticket),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_page_in(p.c, &p.kv, PAGES, p.slot[0], &ticket),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_kv_copy(p.c, &p.kv, 0, PAGES), KRN_BAD_SHAPE);
    assert_int_equal(ticket, 5);
    pages_close(&p);
}

/* --- failing ------------------------------------------------------------- */

/* Everything of a dead device answers so, and nothing crashes. */
static void all_is_refused(struct pages *p)
{
    uint64_t word = 0;
    uint64_t ticket;
    bool failed = false;

    assert_int_equal(krn_sync(p->c), KRN_DEVICE);
    assert_int_equal(krn_put(p->c, p->kv.pages, &word, 8), KRN_DEVICE);
    assert_int_equal(krn_get(p->c, &word, p->kv.pages, 8), KRN_DEVICE);
    assert_int_equal(krn_kv_copy(p->c, &p->kv, 0, 1), KRN_DEVICE);
    assert_int_equal(krn_page_out(p->c, &p->kv, 0, p->slot[0], &ticket),
                     KRN_DEVICE);
    assert_int_equal(krn_page_in(p->c, &p->kv, 0, p->slot[0], &ticket),
                     KRN_DEVICE);
    assert_null(krn_alloc(p->c, 100));
    assert_true(krn_page_done(p->c, 2, &failed));
    assert_true(krn_trouble(p->c)[0] != '\0');
}

/* Queue a copy that kills the device. Its ticket; 0 when that was seen before
 * there was one. */
static uint64_t copy_lost(struct pages *p)
{
    uint64_t ticket = 0;
    bool failed = false;

    gfix_fail("copy", 1);
    if (krn_page_out(p->c, &p->kv, 0, p->slot[0], &ticket) != KRN_OK) {
        assert_int_equal(ticket, 0);
        return 0;
    }
    while (!krn_page_done(p->c, ticket, &failed))
        ;
    assert_true(failed);
    return ticket;
}

static void a_device_that_failed_answers_so_until_it_is_reset(void **state)
{
    struct pages p;
    uint64_t seed = 5;
    uint64_t good = 0;
    uint64_t lost = 0;
    bool failed = false;
    uint8_t *later;

    (void)state;
    if (!gfix_is_fake())
        skip();
    pages_open(&p, &seed);
    assert_int_equal(krn_reset(p.c), KRN_OK); /* nothing is wrong */
    pages_are_what_was_written_last(&p);
    assert_int_equal(krn_page_out(p.c, &p.kv, 2, p.slot[2], &good), KRN_OK);
    wait_for(p.c, good);
    lost = copy_lost(&p);
    all_is_refused(&p);
    later = krn_host_alloc(p.c, 4096); /* not pinned until the reset */
    assert_non_null(later);
    krn_free(p.c, p.kv.pages);
    assert_int_equal(krn_reset(p.c), KRN_OK);
    assert_true(krn_page_done(p.c, good, &failed) && !failed);
    if (lost != 0)
        assert_true(krn_page_done(p.c, lost, &failed) && failed);
    assert_memory_equal(p.slot[2], p.want[2], p.bytes); /* it has stayed */
    p.kv = pool_new(p.c);
    for (unsigned i = 0; i < PAGES; i++)
        page_put(&p, i, &seed);
    assert_int_equal(krn_page_out(p.c, &p.kv, 1, p.slot[0], &good), KRN_OK);
    assert_true(good > lost);
    wait_for(p.c, good);
    assert_memory_equal(p.slot[0], p.want[1], p.bytes);
    pages_are_what_was_written_last(&p);
    krn_host_free(p.c, later);
    pages_close(&p);
    assert_int_equal(gfix_live(), 0);
}

static void a_dead_device_can_be_closed_and_opened(void **state)
{
    struct pages p;
    uint64_t seed = 6;

    (void)state;
    if (!gfix_is_fake())
        skip();
    pages_open(&p, &seed);
    (void)copy_lost(&p);
    assert_int_equal(krn_sync(p.c), KRN_DEVICE);
    pages_close(&p);
    assert_int_equal(gfix_live(), 0);
    pages_open(&p, &seed);
    pages_are_what_was_written_last(&p);
    pages_close(&p);
}

static void what_fails_in_one_context_harms_no_other(void **state)
{
    struct pages bad;
    struct pages good;
    uint64_t seed = 9;

    (void)state;
    if (!gfix_is_fake())
        skip();
    pages_open(&good, &seed);
    pages_open(&bad, &seed);
    for (unsigned i = 0; i < 5; i++) {
        (void)copy_lost(&bad);
        pages_are_what_was_written_last(&good);
        page_put(&good, i, &seed);
        krn_free(bad.c, bad.kv.pages);
        assert_int_equal(krn_reset(bad.c), KRN_OK);
        bad.kv = pool_new(bad.c);
        pages_are_what_was_written_last(&good);
        assert_string_equal(krn_trouble(good.c), "");
    }
    pages_close(&bad);
    pages_are_what_was_written_last(&good);
    pages_close(&good);
    assert_int_equal(gfix_live(), 0);
}

/* What the other thread does while the device comes and goes. */
struct other {
    struct krn_ctx *c;
    pthread_barrier_t begun;
    unsigned wrong;
};

static void *other_main(void *arg)
{
    struct other *o = arg;
    uint8_t *held[4] = {0};

    (void)pthread_barrier_wait(&o->begun);
    for (unsigned i = 0; i < 400; i++) {
        uint8_t **p = &held[i % 4];

        if (*p && ((*p)[0] != (uint8_t)(i - 4) || (*p)[8000] != 1))
            o->wrong++;
        krn_host_free(o->c, *p);
        *p = krn_host_alloc(o->c, 8192);
        if (!*p) {
            o->wrong++;
            break;
        }
        (*p)[0] = (uint8_t)i;
        (*p)[8000] = 1;
    }
    for (int i = 0; i < 4; i++)
        krn_host_free(o->c, held[i]);
    return NULL;
}

static void other_threads_keep_their_memory_while_a_device_is_reset(
    void **state)
{
    struct pages p;
    struct other o = {0};
    pthread_t t;
    uint64_t seed = 8;

    (void)state;
    if (!gfix_is_fake())
        skip();
    pages_open(&p, &seed);
    o.c = p.c;
    assert_int_equal(pthread_barrier_init(&o.begun, NULL, 2), 0);
    assert_int_equal(pthread_create(&t, NULL, other_main, &o), 0);
    (void)pthread_barrier_wait(&o.begun);
    for (int i = 0; i < 10; i++) {
        (void)copy_lost(&p);
        krn_free(p.c, p.kv.pages);
        assert_int_equal(krn_reset(p.c), KRN_OK);
        p.kv = pool_new(p.c);
    }
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(pthread_barrier_destroy(&o.begun), 0);
    assert_int_equal(o.wrong, 0);
    pages_close(&p);
    assert_int_equal(gfix_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_see_what_was_queued_before_them),
        cmocka_unit_test(more_copies_than_there_are_events_end_in_order),
        cmocka_unit_test(a_page_that_is_none_is_refused),
        cmocka_unit_test(a_device_that_failed_answers_so_until_it_is_reset),
        cmocka_unit_test(what_fails_in_one_context_harms_no_other),
        cmocka_unit_test(a_dead_device_can_be_closed_and_opened),
        cmocka_unit_test(
            other_threads_keep_their_memory_while_a_device_is_reset),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
