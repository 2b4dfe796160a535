/* tk_cuda_plan.c - How the rows of a step are cut into items for attention on a
 * GPU: every key of every row is in exactly one item, partial results of
 * different rows do not overlap, a plan stays within its bounds, and items are
 * sorted longest first. No device is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda_attend.h"
#include "kernels/kfix.h"

enum { MOST = 600 };

/* A step's rows, and its plan. */
struct batch {
    struct cuda d;
    struct cuda_attend attend;
    struct krn_kv kv;
    unsigned m, max_pages;
    int32_t seq[MOST], pos[MOST];
    size_t bytes; /* of the plan, at most */
    struct att_plan *plan;
    unsigned covered[MOST]; /* items that a row is in */
};

static unsigned drawn(uint64_t *seed, unsigned n)
{
    return (unsigned)(kfix_next(seed) >> 33) % n;
}

static void batch_init(struct batch *b, unsigned n_sm, unsigned n_kv_head)
{
    memset(b, 0, sizeof(*b));
    b->d.n_sm = n_sm;
    b->d.attend = &b->attend;
    /* Room for all partial results that there may be. */
    b->attend.parts[0] = 4096;
    b->attend.n_parts = 1;
    b->attend.parts_bytes = (size_t)1 << 30;
    b->kv = (struct krn_kv){
        .dtype = KRN_BF16, .n_kv_head = n_kv_head, .d_head = 128};
}

static void add(struct batch *b, int32_t seq, int32_t from, int32_t to)
{
    for (int32_t t = from; t < to; t++, b->m++) {
        assert_true(b->m < MOST);
        b->seq[b->m] = seq;
        b->pos[b->m] = t;
        if ((unsigned)t / ATT_PAGE + 1 > b->max_pages)
            b->max_pages = (unsigned)t / ATT_PAGE + 1;
    }
}

static const struct att_item *items_of(const struct batch *b)
{
    return (const struct att_item *)(b->plan + 1);
}

/* What must hold of one item: it is of rows that there are, and the pages of
 * it and of those it shares rows with follow each other. */
static void item_check(struct batch *b, const struct att_item *it, bool tile)
{
    unsigned last = (unsigned)it->pos + (unsigned)it->n - 1;

    assert_true(it->n >= (tile ? 2 : 1) && it->n <= (tile ? ATT_TILE : 1));
    assert_true(it->row >= 0 && (unsigned)(it->row + it->n) <= b->m);
    assert_true(it->page0 >= 0 && it->page0 < it->page1);
    assert_true((unsigned)it->page1 <= last / ATT_PAGE + 1);
    assert_true(it->split < it->n_split);
    assert_int_equal(it->split == 0, it->page0 == 0);
    assert_int_equal(it->split + 1 == it->n_split,
                     (unsigned)it->page1 == last / ATT_PAGE + 1);
    for (int32_t i = 0; i < it->n; i++) {
        assert_int_equal(b->seq[it->row + i], it->seq);
        assert_int_equal(b->pos[it->row + i], it->pos + i);
        b->covered[it->row + i]++;
    }
}

/* The other items of the same rows: each split once, one behind the other. */
static void mates_check(const struct att_item *it, const struct att_item *items,
                        unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct att_item *o = &items[i];

        if (o->row == it->row) {
            assert_int_equal(o->n_split, it->n_split);
            assert_int_equal(o->part, it->part);
            assert_int_equal(o->n, it->n);
            assert_true(o == it || o->split != it->split);
            if (o->split == it->split + 1)
                assert_int_equal(o->page0, it->page1);
        } else if (o->n_split > 1 && it->n_split > 1) {
            uint32_t end = it->part + (uint32_t)(it->n_split * it->n);
            uint32_t o_end = o->part + (uint32_t)(o->n_split * o->n);

            assert_true(o->part >= end || it->part >= o_end);
        }
    }
}

static void plan_check(struct batch *b)
{
    const struct att_plan *p = b->plan;
    const struct att_item *items = items_of(b);
    unsigned n = p->n_decode + p->n_tile;
    unsigned most = cuda_plan_decode_most(&b->d, b->kv.n_kv_head, b->m);

    assert_int_equal(p->bytes,
                     sizeof(*p) + (size_t)n * sizeof(struct att_item));
    assert_true(p->bytes <= b->bytes);
    assert_true(p->n_decode <= most);
    assert_true(p->n_decode <=
                b->m * ((b->max_pages + ATT_SPLIT - 1) / ATT_SPLIT));
    for (unsigned i = 0; i < n; i++) {
        item_check(b, &items[i], i >= p->n_decode);
        mates_check(&items[i], items, n);
        if (i != 0 && i != p->n_decode)
            assert_true(items[i].page1 - items[i].page0 <=
                        items[i - 1].page1 - items[i - 1].page0);
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned splits = items[i].n_split;

        for (int32_t k = 0; k < items[i].n; k++)
            assert_int_equal(b->covered[items[i].row + k], splits);
    }
    for (unsigned r = 0; r < b->m; r++)
        assert_int_equal(b->covered[r] == 0, b->pos[r] < 0);
}

/* Plan, with guards behind the plan, and look at it. */
static void plan(struct batch *b)
{
    uint8_t *host;

    b->bytes = cuda_plan_bytes(&b->d, b->m, b->m, b->max_pages);
    host = malloc(b->bytes + 64);
    assert_non_null(host);
    memset(host, 0xa5, b->bytes + 64);
    b->plan = (struct att_plan *)(void *)host;
    memset(b->covered, 0, sizeof(b->covered));
    assert_int_equal(
        cuda_plan_write(&b->d, KRN_ALL, &b->kv, b->m, b->seq, b->pos, host),
        KRN_OK);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(host[b->bytes + i], 0xa5);
    plan_check(b);
}

static void forget(struct batch *b)
{
    free(b->plan);
    b->plan = NULL;
}

/* Two thousand tokens of one sequence on a whole GPU: as many blocks as run at
 * once, but no fewer than two pages each. */
static void one_long_sequence_is_split(void **state)
{
    struct batch b;

    (void)state;
    batch_init(&b, 132, 8);
    add(&b, 0, 2047, 2048);
    plan(&b);
    assert_int_equal(b.plan->n_decode, 16);
    assert_int_equal(b.plan->n_tile, 0);
    assert_int_equal(items_of(&b)[0].page1 - items_of(&b)[0].page0, 2);
    forget(&b);

    batch_init(&b, 132, 8);
    add(&b, 0, 131071, 131072);
    plan(&b);
    assert_true(b.plan->n_decode >= 30 && b.plan->n_decode <= 33);
    forget(&b);
}

/* Many sequences of one length fill the GPU by themselves. */
static void many_equal_sequences_are_hardly_split(void **state)
{
    struct batch b;

    (void)state;
    batch_init(&b, 132, 8);
    for (int32_t i = 0; i < 256; i++)
        add(&b, i, 1023, 1024);
    plan(&b);
    assert_int_equal(b.plan->n_decode, 256);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(items_of(&b)[i].n_split, 1);
    forget(&b);
}

/* One long among many short ones is. */
static void a_long_sequence_among_short_ones_is_split(void **state)
{
    struct batch b;

    (void)state;
    batch_init(&b, 132, 8);
    for (int32_t i = 0; i < 64; i++)
        add(&b, i, i == 40 ? 65535 : 99, i == 40 ? 65536 : 100);
    plan(&b);
    assert_int_equal(items_of(&b)[0].row, 40);
    assert_true(items_of(&b)[0].n_split >= 16);
    forget(&b);
}

/* A chunk is cut into tiles, the last of one token is decoded; the last tile
 * sees most keys and comes first. */
static void chunks_become_tiles(void **state)
{
    struct batch b;

    (void)state;
    batch_init(&b, 4, 8);
    add(&b, 0, 1000, 1000 + 2 * ATT_TILE + 1);
    add(&b, 1, 0, 3);
    plan(&b);
    assert_int_equal(b.plan->n_decode, 1);
    assert_int_equal(items_of(&b)[0].row, 2 * ATT_TILE);
    assert_int_equal(b.plan->n_tile, 3);
    assert_int_equal(items_of(&b)[1].row, ATT_TILE);
    assert_int_equal(items_of(&b)[2].row, 0);
    assert_int_equal(items_of(&b)[3].row, 2 * ATT_TILE + 1);
    assert_int_equal(b.attend.planned[0].n_tile, 3);
    assert_int_equal(b.attend.planned[0].tile_most, ATT_TILE);
    assert_int_equal(b.attend.planned[0].tile_rows, 2 * ATT_TILE + 3);
    forget(&b);
}

/* Few rows behind a long prefix are split by keys. */
static void a_long_prefix_is_split(void **state)
{
    struct batch b;

    (void)state;
    batch_init(&b, 132, 8);
    add(&b, 0, 32000, 32016);
    plan(&b);
    assert_true(b.plan->n_tile >= 16 && b.plan->n_tile <= 33);
    forget(&b);
}

/* In a deterministic context all rows are decoded, and keys are cut at the same
 * places whatever else is there: every ATT_CUT pages or not at all. */
static void cuts_do_not_depend_on_neighbours(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        struct batch b;

        batch_init(&b, 132, 8);
        b.d.deterministic = true;
        for (unsigned k = drawn(&seed, 30) + 1; k > 0; k--) {
            int32_t at = (int32_t)drawn(&seed, 20000);

            add(&b, (int32_t)k, at, at + 1 + (int32_t)drawn(&seed, 20));
        }
        plan(&b);
        assert_int_equal(b.plan->n_tile, 0);
        for (unsigned k = 0; k < b.plan->n_decode; k++) {
            const struct att_item *it = &items_of(&b)[k];

            if (it->n_split > 1)
                assert_int_equal(it->page0, it->split * ATT_CUT);
            if (it->split + 1 < it->n_split)
                assert_int_equal(it->page1, it->page0 + ATT_CUT);
        }
        forget(&b);
    }
}

/* Any rows, nobody's among them. */
static void any_batch_is_covered(void **state)
{
    static const unsigned heads[] = {1, 2, 3, 8, 32, 64, 300};
    uint64_t seed = 11;

    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        struct batch b;
        unsigned pieces = drawn(&seed, 24) + 1;

        batch_init(&b, 1 + drawn(&seed, 140), heads[drawn(&seed, 7)]);
        b.d.deterministic = drawn(&seed, 4) == 0;
        for (unsigned k = 0; k < pieces && b.m < MOST - 160; k++) {
            unsigned long_one = drawn(&seed, 5);
            int32_t at = (int32_t)drawn(&seed, long_one == 0 ? 130000 : 1000);
            int32_t n =
                drawn(&seed, 2) == 0 ? 1 : 1 + (int32_t)drawn(&seed, 150);

            add(&b, (int32_t)drawn(&seed, 6), at, at + n);
        }
        for (unsigned k = drawn(&seed, 4); k > 0; k--) {
            b.pos[b.m] = -1;
            b.seq[b.m++] = 0;
        }
        plan(&b);
        forget(&b);
    }
}

/* Nobody's rows alone are no work; more rows than can be are refused. */
static void empty_and_too_large(void **state)
{
    struct batch b;
    struct att_plan p;

    (void)state;
    batch_init(&b, 132, 8);
    b.pos[0] = -1;
    b.m = 1;
    b.max_pages = 1;
    plan(&b);
    assert_int_equal(b.plan->bytes, sizeof(struct att_plan));
    forget(&b);
    assert_int_equal(cuda_plan_write(&b.d, KRN_ALL, &b.kv, ATT_ROWS_MAX + 1,
                                     b.seq, b.pos, &p),
                     KRN_BAD_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_long_sequence_is_split),
        cmocka_unit_test(many_equal_sequences_are_hardly_split),
        cmocka_unit_test(a_long_sequence_among_short_ones_is_split),
        cmocka_unit_test(chunks_become_tiles),
        cmocka_unit_test(a_long_prefix_is_split),
        cmocka_unit_test(cuts_do_not_depend_on_neighbours),
        cmocka_unit_test(any_batch_is_covered),
        cmocka_unit_test(empty_and_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
