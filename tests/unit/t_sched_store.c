/* t_sched_store.c - A scheduler with a disk behind it: what a prompt begins
 * with comes back after everything in memory is gone, and every text and every
 * log probability is the same to the last bit as without. */
#include "lib/enginerig.h"
#include "lib/ggufm.h"

#include "engine/graph.h"
#include "engine/kv_ns.h"
#include "engine/kvswap.h"

#include "unit/cmocka_all.h"
#include "unit/state_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOBS      8
#define MOST      120 /* tokens of a prompt */
#define PAGES     128
#define MOST_ROWS 512
#define STORE     ((uint64_t)16 << 20)

struct fixture {
    char *dir;
    char root[4096];
    char *image;
    struct krn_ctx *c;
    struct model *m;
    struct graph *g;
    struct kvswap *w;
    enum kvadmit_rule rule;
    unsigned readers; /* threads that bring pages back; 0 = one */
    int32_t tokens[JOBS][MOST];
    struct rig_ask asks[JOBS];
    struct rig_reply want[JOBS];
};

static const struct ggufm_shape shape = {.arch = "llama",
                                         .n_layer = 2,
                                         .d_model = 64,
                                         .n_head = 4,
                                         .n_kv_head = 2,
                                         .d_head = 16,
                                         .d_ff = 96,
                                         .n_vocab = 320,
                                         .context = 256,
                                         .tied = true,
                                         .spm = true,
                                         .dtype = KRN_Q8_0,
                                         .seed = 1};

/* --- the store ------------------------------------------------------------ */

static void store_open(struct fixture *f)
{
    struct kvswap_opts o = {.name = STR("m"),
                            .readers = f->readers,
                            .root = f->root,
                            .about = STR("{}\n"),
                            .max_bytes = STORE,
                            .root_bytes = STORE,
                            .admission = f->rule};
    struct kv_ns ns;
    struct buf why;

    buf_init(&why, 4096);
    kv_ns_of(f->m,
             &(struct kv_ns_by){krn_numerics(f->c), KV_NS_LAYOUT,
                                KRN_PAGE_TOKENS, KRN_F16},
             0, &ns);
    o.ns = kv_ns_digest(&ns);
    o.page_bytes = kv_ns_page_bytes(&ns);
    o.page_tokens = ns.page_tokens;
    assert_int_equal(kvswap_open(&o, &f->w, &why), ERR_OK);
    buf_fini(&why);
}

static void store_close(struct fixture *f)
{
    kvswap_close(f->w);
    f->w = NULL;
}

static struct kvswap_stats store_stats(struct fixture *f)
{
    struct kvswap_stats n;

    kvswap_read(f->w, &n);
    return n;
}

/* --- jobs ------------------------------------------------------------------
 */

/* Prompts of various lengths: pages that are full, or full but for a token;
 * half of them have a common beginning. One has three choices. */
static void make_asks(struct fixture *f)
{
    static const size_t lens[JOBS] = {97, 16, 17, 33, 64, 65, 111, 5};
    uint64_t x = 99;

    for (unsigned i = 0; i < JOBS; i++) {
        struct rig_ask *a = &f->asks[i];

        for (size_t k = 0; k < MOST; k++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            f->tokens[i][k] = (int32_t)((x >> 33) % f->m->p.n_vocab);
            if (i % 2 == 0 && k < 40)
                f->tokens[i][k] = f->tokens[0][k];
        }
        *a = (struct rig_ask){.tokens = f->tokens[i],
                              .n_tokens = lens[i],
                              .max_tokens = 20,
                              .logprobs = true,
                              .top = 5,
                              .temperature = i % 3 == 0 ? 0.0f : 1.0f,
                              .seed = i,
                              .key = i % 2 ? "a" : "b",
                              .ignore_eos = true};
    }
    f->asks[4].n = 3;
}

/* Each job alone in an empty engine without a disk. */
static void make_want(struct fixture *f)
{
    for (unsigned i = 0; i < JOBS; i++) {
        struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
        struct rig *r = rig_open(f->g, f->m, &o, false);

        rig_submit(r, 0, &f->asks[i]);
        rig_finish(r, 1000);
        assert_int_equal(r->replies[0].err, ERR_OK);
        f->want[i] = r->replies[0];
        memset(&r->replies[0], 0, sizeof(r->replies[0]));
        rig_close(r);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct krn_opts o = {.threads = 1};
    struct graph_opts go = {
        .kv_dtype = KRN_F16, .n_pages = PAGES, .max_rows = MOST_ROWS};
    struct model_fault why = {""};
    size_t len;

    assert_non_null(f);
    f->dir = state_dir_make();
    state_dir_path(f->dir, "prefix", f->root);
    f->image = ggufm_build(&shape, &len);
    assert_int_equal(model_open_gguf(str_of(f->image, len), &why, &f->m),
                     ERR_OK);
    assert_int_equal(model_digest(f->m), ERR_OK);
    assert_int_equal(krn_open(&o, &f->c), KRN_OK);
    assert_int_equal(graph_new(f->c, f->m, &go, &why, &f->g), ERR_OK);
    make_asks(f);
    make_want(f);
    store_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    store_close(f);
    for (unsigned i = 0; i < JOBS; i++)
        rig_reply_fini(&f->want[i]);
    graph_free(f->g);
    krn_close(f->c);
    model_close(f->m);
    free(f->image);
    state_dir_drop(f->dir);
    free(f);
    return 0;
}

/* Run all jobs at once or one after the other in a new engine before the disk,
 * compare with what is wanted, and give what was brought back. */
static unsigned run_all(struct fixture *f, const struct sched_opts *o,
                        bool together)
{
    struct rig *r = rig_open(f->g, f->m, o, true);
    struct sched_stats n;

    sched_attach(r->s, f->w);
    for (uint64_t i = 0; i < JOBS; i++) {
        rig_submit(r, i, &f->asks[i]);
        if (!together)
            rig_wait(r);
    }
    rig_wait(r);
    for (unsigned i = 0; i < JOBS; i++)
        rig_same(&r->replies[i], &f->want[i]);
    sched_read(r->s, &n);
    rig_close(r);
    return (unsigned)n.store_tokens;
}

/* --- tests -----------------------------------------------------------------
 */

static void prompts_come_back_to_the_last_bit(void **state)
{
    static const struct sched_opts ways[] = {
        {.n_pages = PAGES, .step_tokens = MOST_ROWS, .slots = 8},
        {.n_pages = PAGES, .step_tokens = 1, .slots = 1},
        {.n_pages = PAGES, .step_tokens = 23, .slots = 3},
        {.n_pages = 12, .step_tokens = 48, .slots = 8},
        {.n_pages = 10, .step_tokens = 7, .slots = 2},
    };
    struct fixture *f = *state;

    assert_int_equal(run_all(f, &ways[0], false), 0);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        const bool together = i % 2 == 0;

        store_close(f);
        store_open(f);
        /* of the prompts alone 96 + 0 + 16 + 32 + 48 + 64 + 96 tokens may be;
         * what jobs of one engine share comes but once */
        const unsigned tokens = run_all(f, &ways[i], together);
        if (ways[i].n_pages == PAGES)
            assert_in_range(tokens, 96 + 0 + 32 + 64, 352);
    }
}

static uint64_t next_random(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

/* Prompts that begin with some of an earlier one, of any length. */
static void make_random_asks(struct fixture *f, uint64_t *x)
{
    for (unsigned i = 0; i < JOBS; i++) {
        const size_t shared = next_random(x) % MOST;
        const size_t other = i > 0 ? next_random(x) % i : 0;

        for (size_t k = 0; k < MOST; k++)
            f->tokens[i][k] = k < shared && i > 0
                                  ? f->tokens[other][k]
                                  : (int32_t)(next_random(x) % f->m->p.n_vocab);
        f->asks[i].n_tokens = 1 + next_random(x) % MOST;
        f->asks[i].n = next_random(x) % 4 == 0 ? 2 : 1;
        f->asks[i].seed = next_random(x);
        f->asks[i].temperature = next_random(x) % 2 ? 1.0f : 0.0f;
        rig_reply_fini(&f->want[i]);
    }
    make_want(f);
}

static void random_prompts_come_back_to_the_last_bit(void **state)
{
    struct fixture *f = *state;
    uint64_t x = 4711;

    for (unsigned round = 0; round < 12; round++) {
        const struct sched_opts o = {
            .n_pages = 9 + (unsigned)(next_random(&x) % 40),
            .step_tokens = 1 + (unsigned)(next_random(&x) % 70),
            .slots = 1 + (unsigned)(next_random(&x) % 8)};

        make_random_asks(f, &x);
        run_all(f, &o, round % 2 == 0);
        f->readers = round % 5;
        store_close(f);
        store_open(f);
        run_all(f, &o, round % 3 == 0);
    }
    assert_int_equal(store_stats(f).failed, 0);
}

static void each_job_says_what_was_reused(void **state)
{
    static const unsigned most[JOBS] = {96, 0, 16, 32, 48, 64, 96, 0};
    const struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct fixture *f = *state;

    run_all(f, &o, true);
    store_close(f);
    store_open(f);
    for (unsigned i = 0; i < JOBS; i++) {
        struct rig *r = rig_open(f->g, f->m, &o, true);

        sched_attach(r->s, f->w);
        rig_submit(r, 0, &f->asks[i]);
        rig_wait(r);
        rig_same(&r->replies[0], &f->want[i]);
        assert_int_equal(r->replies[0].counts.cached_tokens, most[i]);
        rig_close(r);
    }
    const struct kvswap_stats n = store_stats(f);
    assert_int_equal(n.restored_tokens, 352);
    assert_int_equal(n.found_tokens, 352);
    assert_int_equal(n.asked_tokens, 352);
    assert_int_equal(n.hits, 6);
    assert_int_equal(n.failed, 0);
    assert_true(n.restored_bytes > 0 && n.warm_bytes_s > 0);
}

static void another_scope_finds_nothing(void **state)
{
    const struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct fixture *f = *state;

    run_all(f, &o, true);
    const uint64_t stored = store_stats(f).pages;
    for (unsigned i = 0; i < JOBS; i++)
        f->asks[i].scope = 1;
    assert_int_equal(run_all(f, &o, false), 0);
    store_close(f); /* all is written */
    store_open(f);
    assert_true(store_stats(f).pages > stored);
    assert_int_equal(store_stats(f).restored_tokens, 0);
}

static void what_was_said_comes_back_as_well(void **state)
{
    const struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct rig_ask ask = {.max_tokens = 40, .ignore_eos = true};
    struct fixture *f = *state;
    int32_t tokens[MOST];
    struct rig *r;

    /* a first turn of 20 and 40 tokens */
    memcpy(tokens, f->tokens[0], sizeof(tokens));
    ask.tokens = tokens;
    ask.n_tokens = 20;
    ask.logprobs = true;
    r = rig_open(f->g, f->m, &o, true);
    sched_attach(r->s, f->w);
    rig_submit(r, 0, &ask);
    rig_wait(r);
    assert_int_equal(r->replies[0].choices[0].n_lps, 40);
    for (unsigned i = 0; i < 40; i++)
        tokens[20 + i] = r->replies[0].choices[0].lps[i].id;
    rig_close(r);
    store_close(f);
    store_open(f);
    /* the second turn begins with them; the last one was never computed */
    ask.n_tokens = 80;
    r = rig_open(f->g, f->m, &o, true);
    sched_attach(r->s, f->w);
    rig_submit(r, 0, &ask);
    rig_wait(r);
    assert_int_equal(r->replies[0].counts.cached_tokens, 48);
    rig_close(r);
}

static void flip_all_payloads(struct fixture *f)
{
    char path[8192];
    char name[17];
    struct kv_ns ns;
    struct digest d;
    char page[4096];
    off_t at = 3 * (off_t)sizeof(page);
    int fd;

    kv_ns_of(f->m,
             &(struct kv_ns_by){krn_numerics(f->c), KV_NS_LAYOUT,
                                KRN_PAGE_TOKENS, KRN_F16},
             0, &ns);
    d = kv_ns_digest(&ns);
    digest_hex(d.b, 8, name);
    snprintf(path, sizeof(path), "%s/%s/data.mdb", f->root, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    /* a page of a header is followed by a page of its payload */
    while (pread(fd, page, sizeof(page), at) == (ssize_t)sizeof(page)) {
        char byte;

        at += sizeof(page);
        if (memcmp(page + 16, "TGKV", 4) != 0)
            continue;
        assert_int_equal(pread(fd, &byte, 1, at + 5), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at + 5), 1);
    }
    close(fd);
}

static void damage_is_a_miss_and_is_dropped(void **state)
{
    const struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct fixture *f = *state;

    run_all(f, &o, false);
    store_close(f);
    flip_all_payloads(f);
    store_open(f);
    assert_int_equal(run_all(f, &o, false), 0);
    assert_true(store_stats(f).failed > 0);
    assert_int_equal(store_stats(f).restored_tokens, 0);
    /* the first pages were dropped and stored anew */
    store_close(f);
    store_open(f);
    assert_true(run_all(f, &o, false) > 0);
}

static void a_job_may_leave_while_it_waits_for_the_disk(void **state)
{
    const struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct fixture *f = *state;

    run_all(f, &o, true);
    for (unsigned turn = 0; turn < 8; turn++) {
        struct rig *r = rig_open(f->g, f->m, &o, false);

        sched_attach(r->s, f->w);
        for (uint64_t i = 0; i < JOBS; i++)
            rig_submit(r, i, &f->asks[i]);
        for (unsigned i = 0; i < turn; i++)
            rig_turn(r);
        for (uint64_t i = 0; i < JOBS; i += 2)
            sched_cancel(r->s, i);
        if (turn % 2 == 0) /* or the engine ends at once */
            while (!r->replies[1].over || !r->replies[3].over ||
                   !r->replies[5].over || !r->replies[7].over)
                rig_turn(r);
        for (unsigned i = 1; i < JOBS; i += 2)
            if (r->replies[i].over)
                rig_same(&r->replies[i], &f->want[i]);
        rig_close(r);
    }
}

static void those_who_pause_go_on(void **state)
{
    const struct sched_opts o = {.n_pages = 12, .step_tokens = 16, .slots = 2};
    struct fixture *f = *state;

    run_all(f, &o, true);
    struct rig *r = rig_open(f->g, f->m, &o, true);
    sched_attach(r->s, f->w);
    for (uint64_t i = 0; i < JOBS; i++) {
        rig_submit(r, i, &f->asks[i]);
        sched_pause(r->s, i, true);
    }
    for (uint64_t i = 0; i < JOBS; i++)
        sched_pause(r->s, i, false);
    rig_wait(r);
    for (unsigned i = 0; i < JOBS; i++)
        rig_same(&r->replies[i], &f->want[i]);
    rig_close(r);
}

static void the_second_sight_stores(void **state)
{
    const struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct fixture *f = *state;
    struct rig *r;

    store_close(f);
    f->rule = KVADMIT_SECOND;
    store_open(f);
    r = rig_open(f->g, f->m, &o, true);
    sched_attach(r->s, f->w);
    rig_submit(r, 0, &f->asks[0]);
    rig_wait(r);
    assert_int_equal(store_stats(f).pages, 0);
    assert_true(store_stats(f).dropped_admission >= 6);
    rig_submit(r, 1, &f->asks[0]);
    rig_wait(r);
    rig_close(r);
    kvswap_close(f->w);
    store_open(f);
    assert_int_equal(store_stats(f).pages, 6 + 1); /* and what it said */
}

static void a_purge_forgets(void **state)
{
    const struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct fixture *f = *state;

    run_all(f, &o, true);
    kvswap_purge(f->w);
    store_close(f);
    store_open(f);
    assert_int_equal(store_stats(f).pages, 0);
    assert_int_equal(run_all(f, &o, false), 0);
}

static void one_namespace_is_open_once(void **state)
{
    struct digest other = digest_sha256("x", 1);
    struct fixture *f = *state;
    struct kv_ns ns;
    struct digest d;

    kv_ns_of(f->m,
             &(struct kv_ns_by){krn_numerics(f->c), KV_NS_LAYOUT,
                                KRN_PAGE_TOKENS, KRN_F16},
             0, &ns);
    d = kv_ns_digest(&ns);
    assert_null(kvswap_share(f->w, &other));
    assert_null(kvswap_share(NULL, &d));
    assert_ptr_equal(kvswap_share(f->w, &d), f->w);
    kvswap_close(f->w);
    assert_int_equal(store_stats(f).pages, 0); /* it is open still */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prompts_come_back_to_the_last_bit,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            random_prompts_come_back_to_the_last_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(each_job_says_what_was_reused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_scope_finds_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_said_comes_back_as_well, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(damage_is_a_miss_and_is_dropped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_job_may_leave_while_it_waits_for_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(those_who_pause_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(the_second_sight_stores, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_purge_forgets, setup, teardown),
        cmocka_unit_test_setup_teardown(one_namespace_is_open_once, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
