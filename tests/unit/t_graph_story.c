/* t_graph_story.c - A real model against what another engine answered with it:
 * greedy token ids exactly, the first token's log-probabilities closely. Also
 * prints how far they are off. Skipped where the data is absent. */
#include "engine/graph.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/model.h"
#include "unit/cmocka_all.h"

enum { PAGES = 32 };

/* What runs a story. */
struct teller {
    struct krn_ctx *c;
    struct model *m;
    struct graph *g;
    float *logits;
    int32_t table[PAGES];
};

static bool data_path(const char *name, char *room, size_t size)
{
    const char *dir = getenv("TOLLGATE_TEST_DATA");
    const char *src = getenv("srcdir");
    FILE *f;

    if (dir)
        snprintf(room, size, "%s/%s", dir, name);
    else
        snprintf(room, size, "%s/../shared/data/%s", src ? src : ".", name);
    f = fopen(room, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

static bool teller_open(struct teller *t, const char *device,
                        enum krn_dtype kv_dtype)
{
    struct krn_opts o = {.device = device, .threads = 2};
    struct graph_opts go = {
        .kv_dtype = kv_dtype, .n_pages = PAGES, .max_rows = 512};
    struct model_fault why = {""};
    char path[512];

    if (!data_path("models/stories260K.gguf", path, sizeof(path)))
        return false;
    assert_int_equal(krn_open(&o, &t->c), KRN_OK);
    assert_int_equal(model_open(path, &why, &t->m), ERR_OK);
    assert_int_equal(graph_new(t->c, t->m, &go, &why, &t->g), ERR_OK);
    t->logits = calloc(t->m->p.n_vocab, sizeof(float));
    assert_non_null(t->logits);
    for (int32_t i = 0; i < PAGES; i++)
        t->table[i] = PAGES - 1 - i;
    return true;
}

static void teller_close(struct teller *t)
{
    free(t->logits);
    graph_free(t->g);
    model_close(t->m);
    krn_close(t->c);
}

/* Run <n> tokens from position <at> on; the logits of the last one. */
static void teller_run(struct teller *t, const int32_t *ids, unsigned n,
                       int32_t at)
{
    int32_t seq[512] = {0};
    int32_t pos[512];
    uint8_t want[512] = {GRAPH_NOTHING};
    struct graph_step s = {
        .rows = {n, seq, pos, 1, t->table, PAGES}, .ids = ids, .want = want};

    for (unsigned i = 0; i < n; i++)
        pos[i] = at + (int32_t)i;
    want[n - 1] = GRAPH_LOGITS;
    assert_int_equal(graph_step_run(t->g, &s, t->logits), ERR_OK);
}

static int32_t teller_best(const struct teller *t)
{
    int32_t best = 0;

    for (unsigned i = 1; i < t->m->p.n_vocab; i++)
        if (t->logits[i] > t->logits[best])
            best = (int32_t)i;
    return best;
}

static double log_prob(const struct teller *t, int32_t id)
{
    double max = (double)t->logits[teller_best(t)];
    double sum = 0;

    for (unsigned i = 0; i < t->m->p.n_vocab; i++)
        sum += exp((double)t->logits[i] - max);
    return (double)t->logits[id] - max - log(sum);
}

static unsigned ids_of(const json_t *list, int32_t *out)
{
    size_t i;
    const json_t *v;

    assert_true(json_array_size(list) > 0 && json_array_size(list) < 512);
    json_array_foreach(list, i, v) out[i] = (int32_t)json_integer_value(v);
    return (unsigned)i;
}

/* Tell one story; how far the log-probabilities are off at most. */
static double story_check(struct teller *t, const json_t *row)
{
    int32_t prompt[512];
    int32_t tokens[512];
    unsigned n = ids_of(json_object_get(row, "prompt_tokens"), prompt);
    unsigned n_tokens = ids_of(json_object_get(row, "tokens"), tokens);
    double worst = 0;
    size_t i;
    const json_t *v;

    teller_run(t, prompt, n, 0);
    json_array_foreach(json_object_get(row, "first_logprobs"), i, v)
    {
        int32_t id = (int32_t)json_integer_value(json_array_get(v, 0));
        double want = json_number_value(json_array_get(v, 2));

        worst = fmax(worst, fabs(log_prob(t, id) - want));
    }
    for (unsigned k = 0; k < n_tokens; k++) {
        int32_t best = teller_best(t);

        assert_int_equal(best, tokens[k]);
        teller_run(t, &best, 1, (int32_t)(n + k));
    }
    return worst;
}

static void stories_check(const char *device, enum krn_dtype kv_dtype,
                          unsigned most, double allowed)
{
    char path[512], line[16384];
    struct teller t = {0};
    double worst = 0;
    unsigned rows = 0;
    FILE *f;

    if (!data_path("models/stories260K.greedy.jsonl", path, sizeof(path)) ||
        !teller_open(&t, device, kv_dtype))
        skip();
    f = fopen(path, "r");
    assert_non_null(f);
    while (rows < most && fgets(line, sizeof(line), f)) {
        json_t *row = json_loads(line, 0, NULL);

        assert_non_null(row);
        worst = fmax(worst, story_check(&t, row));
        json_decref(row);
        rows++;
    }
    fclose(f);
    teller_close(&t);
    print_message("%s, keys and values in %s: %u stories, log-probabilities "
                  "off by %.6f at most\n",
                  device, krn_dtype_name(kv_dtype), rows, worst);
    assert_true(rows > 0 && worst < allowed);
}

static void stories_in_halves(void **state)
{
    (void)state;
    stories_check("cpu", KRN_F16, 1000, 1e-3);
}

/* The other engine kept halves: its roundings are what is seen here. */
static void stories_in_floats(void **state)
{
    (void)state;
    stories_check("cpu", KRN_F32, 1000, 1e-2);
}

static void a_story_by_scalar_code(void **state)
{
    (void)state;
    stories_check("ref", KRN_F16, 1, 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories_in_halves),
        cmocka_unit_test(stories_in_floats),
        cmocka_unit_test(a_story_by_scalar_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
