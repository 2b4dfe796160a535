/* t_sched_real.c - Real models through the scheduler, the graph and the
 * kernels: prompts found in the cache or not, cut into chunks of any size, one
 * thread or two, alone or among seven others, with tokens counted out to them
 * or not, every text and every log
 * probability is the same to the last bit. Once with models made here, once
 * with a trained one, skipped where the data is absent. */
#include "lib/enginerig.h"
#include "lib/ggufm.h"

#include "engine/graph.h"
#include "engine/meter.h"
#include "token/vocab.h"

#include "unit/cmocka_all.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS      8
#define MOST      100 /* tokens of a prompt */
#define PAGES     96
#define MOST_ROWS 512

/* A loaded model. */
struct loaded {
    struct krn_ctx *c;
    struct model *m;
    struct graph *g;
};

/* One way to run the jobs. */
struct way {
    unsigned threads, chunk, slots, pages;
    bool together;
    bool counted; /* tokens are allowed a few at a time */
};

static const struct way ways[] = {
    {1, 1, 1, PAGES, false, false},  {2, 512, 8, PAGES, true, false},
    {1, 23, 8, PAGES, true, false},  {2, 9, 8, PAGES, true, false},
    {2, 64, 2, PAGES, false, false}, {1, 48, 8, 12, true, false},
    {1, 100, 3, PAGES, true, false}, {2, 64, 8, PAGES, true, true},
    {1, 48, 8, 12, true, true},
};

static struct loaded run_on(struct model *m, unsigned threads)
{
    struct krn_opts o = {.threads = threads};
    struct graph_opts go = {
        .kv_dtype = KRN_F16, .n_pages = PAGES, .max_rows = MOST_ROWS};
    struct model_fault why = {""};
    struct loaded l = {.m = m};

    assert_int_equal(krn_open(&o, &l.c), KRN_OK);
    assert_int_equal(graph_new(l.c, m, &go, &why, &l.g), ERR_OK);
    return l;
}

static void unload(struct loaded *l)
{
    graph_free(l->g);
    krn_close(l->c);
}

/* The jobs: prompts of various lengths, half of them with a common beginning.
 * One is an embedding, one has three choices, one wants its prompt's numbers.
 */
static void make_asks(const struct model *m, struct rig_ask *asks,
                      int32_t (*tokens)[MOST])
{
    uint64_t x = 99;

    memset(asks, 0, JOBS * sizeof(*asks));
    for (unsigned i = 0; i < JOBS; i++) {
        asks[i].tokens = tokens[i];
        asks[i].n_tokens = 7 + 11 * i;
        for (size_t k = 0; k < MOST; k++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            tokens[i][k] = (int32_t)((x >> 33) % m->p.n_vocab);
            if (i % 2 == 1 && k < 40)
                tokens[i][k] = tokens[0][k];
        }
        asks[i].max_tokens = 12;
        asks[i].logprobs = true;
        asks[i].top = 5;
        asks[i].temperature = i % 3 == 0 ? 0.0f : 1.0f;
        asks[i].seed = i;
        asks[i].key = i % 2 ? "a" : "b";
        asks[i].ignore_eos = true;
    }
    asks[2].kind = GEN_EMBED;
    asks[4].n = 3;
    asks[5].prompt_logprobs = true;
}

/* Run all <asks>, from job <first> on, with a meter each that allows a few
 * tokens more whenever that many are made. */
static void run_counted(struct rig *r, uint64_t first,
                        const struct rig_ask *asks)
{
    unsigned fed[JOBS] = {0};
    struct meter *m[JOBS];

    for (uint64_t i = 0; i < JOBS; i++) {
        struct rig_ask a = asks[i];

        m[i] = a.meter = meter_new(i);
        rig_submit(r, first + i, &a);
    }
    for (unsigned turn = 0; turn < 2000; turn++) {
        rig_turn(r);
        for (uint64_t i = 0; i < JOBS; i++) {
            if (r->replies[first + i].n_short == fed[i])
                continue;
            fed[i]++;
            meter_raise(m[i], i + fed[i] * 5);
            sched_look(r->s, first + i);
        }
    }
    rig_finish(r, 1);
    assert_true(fed[0] > 2 && fed[4] > 2 && fed[7] > 0);
    for (uint64_t i = 0; i < JOBS; i++)
        meter_unref(m[i]);
}

/* Run all <asks>, the first as job <first>. */
static void run_all(struct rig *r, const struct way *w, uint64_t first,
                    const struct rig_ask *asks)
{
    if (w->counted) {
        run_counted(r, first, asks);
        return;
    }
    for (uint64_t i = 0; i < JOBS; i++) {
        rig_submit(r, first + i, &asks[i]);
        if (!w->together)
            rig_finish(r, 5000);
    }
    rig_finish(r, 5000);
}

/* Run the jobs in way <w>, twice, and compare with <want>. */
static void try_way(struct loaded *l, const struct way *w,
                    const struct rig_ask *asks, const struct rig_reply *want)
{
    struct sched_opts o = {
        .slots = w->slots, .step_tokens = w->chunk, .n_pages = w->pages};
    struct rig *r = rig_open(l->g, l->m, &o, false);
    struct sched_stats st;
    unsigned hits = 0;

    run_all(r, w, 0, asks);
    run_all(r, w, JOBS, asks);
    for (unsigned i = 0; i < 2 * JOBS; i++)
        rig_same(&r->replies[i], &want[i % JOBS]);
    for (unsigned i = JOBS; i < 2 * JOBS; i++)
        hits += r->replies[i].counts.cached_tokens > 0;
    sched_read(r->s, &st);
    if (w->pages == PAGES) {
        assert_int_equal(hits, JOBS - 3); /* one is short, two are read */
        assert_int_equal(st.preemptions, 0);
    } else {
        assert_true(st.preemptions > 0);
    }
    rig_close(r);
}

/* The replies to <asks>, each alone in an empty engine, whole prompts. */
static void make_want(struct loaded *l, const struct rig_ask *asks,
                      struct rig_reply *want)
{
    for (unsigned i = 0; i < JOBS; i++) {
        struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
        struct rig *r = rig_open(l->g, l->m, &o, false);

        rig_submit(r, 0, &asks[i]);
        rig_finish(r, 1000);
        assert_int_equal(r->replies[0].err, ERR_OK);
        assert_int_equal(r->replies[0].counts.cached_tokens, 0);
        want[i] = r->replies[0];
        memset(&r->replies[0], 0, sizeof(r->replies[0]));
        rig_close(r);
    }
}

/* All ways over <m>. */
static void try_model(struct model *m)
{
    static int32_t tokens[JOBS][MOST];
    struct rig_ask asks[JOBS];
    struct rig_reply want[JOBS];
    struct loaded one = run_on(m, 1);
    struct loaded two = run_on(m, 2);

    make_asks(m, asks, tokens);
    make_want(&one, asks, want);
    for (size_t i = 0; i < COUNT_OF(ways); i++)
        try_way(ways[i].threads == 1 ? &one : &two, &ways[i], asks, want);
    for (unsigned i = 0; i < JOBS; i++)
        rig_reply_fini(&want[i]);
    unload(&one);
    unload(&two);
}

static void try_shape(const struct ggufm_shape *shape)
{
    struct model_fault why = {""};
    struct model *m;
    size_t len;
    char *image = ggufm_build(shape, &len);

    if (model_open_gguf(str_of(image, len), &why, &m) != ERR_OK)
        fail_msg("%s", why.text);
    try_model(m);
    model_close(m);
    free(image);
}

static void a_llama_model_of_quantised_weights(void **state)
{
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

    (void)state;
    try_shape(&shape);
}

static void a_qwen3_model_of_floats(void **state)
{
    static const struct ggufm_shape shape = {.arch = "qwen3",
                                             .n_layer = 2,
                                             .d_model = 48,
                                             .n_head = 3,
                                             .n_kv_head = 1,
                                             .d_head = 32,
                                             .d_ff = 80,
                                             .n_vocab = 333,
                                             .context = 256,
                                             .dtype = KRN_F16,
                                             .seed = 2};

    (void)state;
    try_shape(&shape);
}

/* The path of a file of the data; false when it is not there. */
static bool data_path(const char *name, char *room, size_t size)
{
    const char *dir = getenv("TOLLGATE_TEST_DATA");
    const char *src = getenv("srcdir");
    FILE *f;

    if (dir)
        snprintf(room, size, "%s/models/%s", dir, name);
    else
        snprintf(room, size, "%s/../shared/data/models/%s", src ? src : ".",
                 name);
    f = fopen(room, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

/* The trained model; skips the test when it is absent. */
static struct model *trained(void)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    char path[512];

    if (!data_path("stories260K.gguf", path, sizeof(path)))
        skip();
    assert_int_equal(model_open(path, &why, &m), ERR_OK);
    return m;
}

static void a_trained_model(void **state)
{
    struct model *m = trained();

    (void)state;
    try_model(m);
    model_close(m);
}

/* Submit what <row> asks, as job <id>. */
static void ask_row(struct rig *r, uint64_t id, const json_t *row)
{
    const json_t *list = json_object_get(row, "prompt_tokens");
    struct rig_ask a = {.logprobs = true};
    int32_t tokens[512];
    const json_t *v;
    size_t i;

    assert_true(json_array_size(list) < COUNT_OF(tokens));
    json_array_foreach(list, i, v) tokens[i] = (int32_t)json_integer_value(v);
    a.tokens = tokens;
    a.n_tokens = i;
    a.max_tokens = (unsigned)json_array_size(json_object_get(row, "tokens"));
    rig_submit(r, id, &a);
}

/* Text and tokens of <c> are those of <row>. */
static void check_row(const struct rig_choice *c, const json_t *row)
{
    const json_t *list = json_object_get(row, "tokens");
    const char *text = json_string_value(json_object_get(row, "text"));
    const json_t *v;
    size_t i;

    assert_int_equal(c->n_lps, json_array_size(list));
    json_array_foreach(list, i, v)
        assert_int_equal(c->lps[i].id, json_integer_value(v));
    assert_int_equal(c->text.len, strlen(text));
    assert_memory_equal(c->text.p, text, c->text.len);
}

static void stories_are_told_as_others_tell_them(void **state)
{
    struct model *m = trained();
    struct loaded l = run_on(m, 2);
    struct sched_opts o = {.n_pages = PAGES, .step_tokens = MOST_ROWS};
    struct rig *r = rig_open(l.g, m, &o, false);
    json_t *rows[RIG_JOBS];
    char path[512];
    char line[16384];
    uint64_t n = 0;
    FILE *f;

    (void)state;
    assert_true(data_path("stories260K.greedy.jsonl", path, sizeof(path)));
    f = fopen(path, "r");
    assert_non_null(f);
    while (n < RIG_JOBS && fgets(line, sizeof(line), f)) {
        rows[n] = json_loads(line, 0, NULL);
        assert_non_null(rows[n]);
        ask_row(r, n, rows[n]);
        n++;
    }
    fclose(f);
    assert_true(n > 0);
    rig_finish(r, 1000);
    for (uint64_t i = 0; i < n; i++) {
        check_row(&r->replies[i].choices[0], rows[i]);
        json_decref(rows[i]);
    }
    rig_close(r);
    unload(&l);
    model_close(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_llama_model_of_quantised_weights),
        cmocka_unit_test(a_qwen3_model_of_floats),
        cmocka_unit_test(a_trained_model),
        cmocka_unit_test(stories_are_told_as_others_tell_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
