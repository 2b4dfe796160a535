/* tk_cuda_emu.c - The emulator against facts: where tensor cores and ldmatrix
 * want their numbers, by plain matrix products; how threads answer each other;
 * and that mistakes of kernels are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/emu/emu_run.h"
#include "kernels/emu_kernels.h"

/* Seeds by which a race must show. */
#define SEEDS 20

static uint32_t rng = 1;

static uint32_t draw(void)
{
    rng = rng * 1664525u + 1013904223u;
    return rng >> 8 ^ rng << 16;
}

/* A whole number of -<most> to <most>. */
static int small(int most)
{
    return (int)(draw() % (unsigned)(2 * most + 1)) - most;
}

/* The half or bfloat that is the small whole number <v>. */
static uint16_t half_of_int(int v, bool bf16)
{
    unsigned mag = (unsigned)abs(v);
    unsigned e = 0;

    if (mag == 0)
        return 0;
    while (mag >> (e + 1) != 0)
        e++;
    mag = bf16 ? (e + 127) << 7 | (mag << 7 >> e & 0x7f)
               : (e + 15) << 10 | (mag << 10 >> e & 0x3ff);
    return (uint16_t)(mag | (v < 0 ? 0x8000 : 0));
}

/* --- products ------------------------------------------------------------- */

static void a_product_is_the_plain_one(void **state)
{
    enum { K = 96 };
    uint16_t *w = emu_alloc(16 * K * 2);
    uint16_t *x = emu_alloc(8 * K * 2);
    float *y = emu_alloc(8 * 16 * sizeof(*y));
    int wi[16][K];
    int xi[8][K];

    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct emu_gemv_args a = {w, x, y, K, bf16};

        for (int i = 0; i < 16 * K; i++)
            w[i] = half_of_int(wi[i / K][i % K] = small(9), bf16 != 0);
        for (int i = 0; i < 8 * K; i++)
            x[i] = half_of_int(xi[i / K][i % K] = small(9), bf16 != 0);
        assert_int_equal(emu_run("emu_gemv", 1, 1, 1, 32, 0, &a, sizeof(a)), 0);
        for (int i = 0; i < 8 * 16; i++) {
            int sum = 0;

            for (int k = 0; k < K; k++)
                sum += wi[i % 16][k] * xi[i / 16][k];
            assert_true(y[i] == (float)sum);
        }
    }
    assert_true(emu_free(w) && emu_free(x) && emu_free(y));
}

struct tile {
    uint16_t *q, *k, *v;
    float *o;
    int qi[32][128], ki[64][128], vi[64][128];
};

static void fill(uint16_t *to, int (*ints)[128], int rows)
{
    for (int i = 0; i < rows * 128; i++)
        to[i] = half_of_int(ints[i / 128][i % 128] = small(1), false);
}

static void tile_open(struct tile *t)
{
    t->q = emu_alloc(32 * 256);
    t->k = emu_alloc(64 * 256);
    t->v = emu_alloc(64 * 256);
    t->o = emu_alloc(32 * 128 * sizeof(float));
    fill(t->q, t->qi, 32);
    fill(t->k, t->ki, 64);
    fill(t->v, t->vi, 64);
}

static void tile_close(struct tile *t)
{
    assert_true(emu_free(t->q) && emu_free(t->k) && emu_free(t->v) &&
                emu_free(t->o));
}

/* Whether the kernel's answer is right. */
static bool tile_run(struct tile *t, int keys, int bug)
{
    struct emu_tile_args a = {t->q, t->k, t->v, t->o, keys, bug};

    assert_int_equal(
        emu_run("emu_tile", 1, 1, 1, 64, EMU_TILE_SMEM, &a, sizeof(a)), 0);
    for (int r = 0; r < 32; r++) {
        int p[64] = {0};

        for (int j = 0; j < keys; j++)
            for (int d = 0; d < 128; d++)
                p[j] += t->qi[r][d] * t->ki[j][d];
        for (int d = 0; d < 128; d++) {
            int sum = 0;

            for (int j = 0; j < keys; j++)
                sum += p[j] * t->vi[j][d];
            if (t->o[r * 128 + d] != (float)sum)
                return false;
        }
    }
    return true;
}

static void ldmatrix_and_copies_make_a_tile(void **state)
{
    struct tile *t = calloc(1, sizeof(*t));

    (void)state;
    tile_open(t);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        emu_seed(seed);
        assert_true(tile_run(t, seed % 2 == 0 ? 64 : 37, TILE_RIGHT));
    }
    tile_close(t);
    free(t);
}

/* Some seed must show it. */
static void tile_bug_shows(int bug)
{
    struct tile *t = calloc(1, sizeof(*t));
    unsigned wrong = 0;

    tile_open(t);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        emu_seed(seed);
        wrong += !tile_run(t, 64, bug);
    }
    tile_close(t);
    free(t);
    assert_true(wrong > 0);
}

static void a_copy_not_waited_for_is_not_seen(void **state)
{
    (void)state;
    tile_bug_shows(TILE_NO_WAIT);
    tile_bug_shows(TILE_LATE);
}

static void copies_of_others_need_a_barrier(void **state)
{
    (void)state;
    tile_bug_shows(TILE_NO_BARRIER);
}

/* --- threads -------------------------------------------------------------- */

static void lanes_answer_each_other(void **state)
{
    uint32_t *out = emu_alloc(8 * 32 * 4);
    struct emu_lanes_args a = {out, 32};

    (void)state;
    assert_int_equal(emu_run("emu_lanes", 1, 1, 1, 32, 0, &a, sizeof(a)), 0);
    for (uint32_t i = 0; i < 32; i++) {
        assert_int_equal(out[0 * 32 + i], (i * 5 + 1) % 32 * 3);
        assert_int_equal(out[1 * 32 + i], i ^ 9);
        assert_int_equal(out[2 * 32 + i], i >= 3 ? i - 3 : i);
        assert_int_equal(out[3 * 32 + i], i % 16 + 3 < 16 ? i + 3 : i);
        assert_int_equal(out[4 * 32 + i], 0x49249249);
        assert_int_equal(out[5 * 32 + i], i >= 16);
        assert_int_equal(out[6 * 32 + i], i < 16);
        assert_int_equal(out[7 * 32 + i], i ^ 1);
    }
    /* Lanes that have returned are not waited for; what is read of them is
     * undefined. */
    a.live = 30;
    assert_int_equal(emu_run("emu_lanes", 1, 1, 1, 32, 0, &a, sizeof(a)), 0);
    assert_int_equal(out[4 * 32], 0x09249249);
    assert_int_equal(out[1 * 32 + 22], 0xffffffff);
    assert_int_equal(out[1 * 32 + 21], 28);
    assert_true(emu_free(out));
}

static void every_thread_runs_once(void **state)
{
    enum { GX = 5, GY = 3, GZ = 2, BX = 7, BY = 5, BZ = 2 };
    enum { N = GX * GY * GZ * BX * BY * BZ };
    unsigned *seen = emu_alloc((N + 1) * sizeof(*seen));
    struct emu_count_args a = {seen, seen + N};
    const struct emu_size grid = {GX, GY, GZ};
    const struct emu_size block = {BX, BY, BZ};
    char why[256];

    (void)state;
    memset(seen, 0, (N + 1) * sizeof(*seen));
    assert_int_equal(emu_launch(emu_kernel_find("emu_count"), grid, block, 0,
                                &a, why, sizeof(why)),
                     0);
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(seen[N], GX * GY * GZ);
    assert_true(emu_free(seen));
}

static void what_cannot_be_launched_is_refused(void **state)
{
    const struct emu_kernel *k = emu_kernel_find("emu_add");
    const struct emu_size one = {1, 1, 1};
    const struct emu_size none = {0, 1, 1};
    const struct emu_size many = {129, 1, 1};
    struct emu_add_args a = {NULL, NULL, 0, 0, ADD_RIGHT};
    char why[256];

    (void)state;
    assert_null(emu_kernel_find("emu_ad"));
    assert_int_equal(emu_launch(k, one, one, 0, &a, why, sizeof(why)), 0);
    assert_int_equal(emu_launch(k, none, one, 0, &a, why, sizeof(why)), -1);
    assert_int_equal(emu_launch(k, one, many, 0, &a, why, sizeof(why)), -1);
    assert_int_equal(
        emu_launch(k, one, one, EMU_SMEM_MAX + 1, &a, why, sizeof(why)), -1);
}

/* --- one kernel behind the other ------------------------------------------ */

enum { CHAIN = 500 };

struct chain {
    int32_t *x, *y, *z; /* y = x + 3, then z = y + 4 or x = z */
    int ran;
};

/* The kernel in front. */
static int chain_first(void *arg)
{
    struct chain *c = arg;
    struct emu_add_args a = {c->x, c->y, 3, CHAIN, ADD_RIGHT};

    c->ran++;
    return emu_run("emu_add", 4, 1, 1, 128, 0, &a, sizeof(a));
}

/* What chain_first() and a kernel behind it that makes a mistake come to:
 * whether both did what they should. With <over> the second one writes what
 * the first one reads. */
static bool chain_is_right(int bug, bool over)
{
    struct chain c = {emu_alloc(CHAIN * 4), emu_alloc(CHAIN * 4),
                      emu_alloc(CHAIN * 4), 0};
    struct emu_add_args a = {c.y, over ? c.x : c.z, 4, CHAIN, bug};
    const struct emu_size grid = {4, 1, 1};
    const struct emu_size block = {128, 1, 1};
    char why[512];
    bool ok = true;

    for (int i = 0; i < CHAIN; i++)
        c.x[i] = i;
    if (emu_launch_early(emu_kernel_find("emu_add"), grid, block, 0, &a,
                         chain_first, &c, why, sizeof(why)) != 0)
        ok = false;
    assert_int_equal(c.ran, 1);
    for (int i = 0; ok && i < CHAIN; i++)
        ok = c.y[i] == i + 3 && (over ? c.x : c.z)[i] == i + 7;
    assert_true(emu_free(c.x) && emu_free(c.y) && emu_free(c.z));
    return ok;
}

static void a_kernel_that_does_not_wait_for_the_one_before_shows(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        emu_seed(seed);
        assert_true(chain_is_right(ADD_RIGHT, false));
        assert_true(chain_is_right(ADD_RIGHT, true));
        assert_false(chain_is_right(ADD_READS_EARLY, false));
        assert_false(chain_is_right(ADD_WRITES_EARLY, true));
        assert_false(chain_is_right(ADD_NO_WAIT, false));
    }
}

/* --- mistakes ------------------------------------------------------------- */

struct sum {
    float *x, *y;
    char why[512];
};

/* Run emu_sum with a mistake: 0 its answer is right, 1 wrong, -1 it failed. */
static int sum_run(struct sum *s, int bug)
{
    enum { N = 1000 };
    const struct emu_size grid = {1, 1, 1};
    const struct emu_size block = {256, 1, 1};
    struct emu_sum_args a;
    int r;

    s->x = emu_alloc(N * sizeof(float));
    s->y = emu_alloc(sizeof(float));
    for (int i = 0; i < N; i++)
        s->x[i] = (float)i;
    a = (struct emu_sum_args){s->x, s->y, N, bug};
    r = emu_launch(emu_kernel_find("emu_sum"), grid, block, 1024, &a, s->why,
                   sizeof(s->why));
    if (r == 0 && *s->y != N * (N - 1) / 2)
        r = 1;
    assert_true(emu_free(s->x));
    assert_true(emu_free(s->y));
    return r;
}

static void a_missing_barrier_shows(void **state)
{
    struct sum s;
    int wrong[2] = {0, 0};

    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        emu_seed(seed);
        assert_int_equal(sum_run(&s, SUM_RIGHT), 0);
        wrong[0] += sum_run(&s, SUM_NO_BARRIER) == 1;
        wrong[1] += sum_run(&s, SUM_NO_WARP_BARRIER) == 1;
    }
    assert_true(wrong[0] > 0);
    assert_true(wrong[1] > 0);
}

static void a_deadlock_is_reported(void **state)
{
    struct sum s;

    (void)state;
    assert_true(sum_run(&s, SUM_ONE_LEAVES) >= 0);
    assert_int_equal(sum_run(&s, SUM_ONE_STAYS), -1);
    assert_non_null(strstr(s.why, "emu_sum"));
    assert_non_null(strstr(s.why, "deadlock"));
    assert_non_null(strstr(s.why, "(5,0,0)"));
    assert_int_equal(sum_run(&s, SUM_LANE_ELSEWHERE), -1);
    assert_non_null(strstr(s.why, "a vote"));
    assert_int_equal(sum_run(&s, SUM_FOREIGN_MASK), -1);
}

static void what_is_out_of_bounds_fails(void **state)
{
    static const struct {
        int bug;
        const char *says;
    } rows[] = {
        {SUM_BEHIND_SHARED, "shared memory"},
        {SUM_FAR_BEHIND_SHARED, "behind the 1024 of dynamic shared memory"},
        {SUM_BEHIND_GLOBAL, "byte 256 of a block of 4"},
        {SUM_BEFORE_GLOBAL, "before a block"},
        {SUM_READ_NOWHERE, "in no device memory"},
        {SUM_MISALIGNED, "not aligned"},
        {SUM_DEEP, "stack"},
    };
    struct sum s;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(sum_run(&s, rows[i].bug), -1);
        assert_non_null(strstr(s.why, rows[i].says));
        assert_int_equal(sum_run(&s, SUM_RIGHT), 0);
    }
}

static void memory_tells_what_was_written_beside_it(void **state)
{
    char *p = emu_alloc(100);

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal((unsigned char)p[i], 0xff);
    assert_int_equal((uintptr_t)p % 256, 0);
    assert_true(emu_owns(p, 100));
    assert_true(emu_owns(p + 40, 60));
    assert_false(emu_owns(p + 40, 61));
    assert_false(emu_free(p + 1));
    memset(p, 0, 100);
    assert_true(emu_free(p));
    p = emu_alloc(100);
    p[100] = 0;
    assert_false(emu_free(p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_is_the_plain_one),
        cmocka_unit_test(ldmatrix_and_copies_make_a_tile),
        cmocka_unit_test(a_copy_not_waited_for_is_not_seen),
        cmocka_unit_test(copies_of_others_need_a_barrier),
        cmocka_unit_test(lanes_answer_each_other),
        cmocka_unit_test(every_thread_runs_once),
        cmocka_unit_test(what_cannot_be_launched_is_refused),
        cmocka_unit_test(a_kernel_that_does_not_wait_for_the_one_before_shows),
        cmocka_unit_test(a_missing_barrier_shows),
        cmocka_unit_test(a_deadlock_is_reported),
        cmocka_unit_test(what_is_out_of_bounds_fails),
        cmocka_unit_test(memory_tells_what_was_written_beside_it),
    };

    /* The program has no thread-local memory but the kernels'. */
    emu_fill_static(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
