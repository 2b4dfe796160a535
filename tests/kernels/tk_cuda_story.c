/* tk_cuda_story.c - A real model on a GPU, the emulated one or, with
 * TG_TEST_GPU in the environment, a real one, chooses the words that it chooses
 * on the CPU. Skipped where the model is absent. */
#include "engine/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/model.h"
#include "kernels/fakecuda.h"
#include "kernels/gfix.h"
#include "kernels/krn.h"
#include "unit/cmocka_all.h"

enum { STORY = 200, STORY_FAKE = 24, STORY_PAGES = 16 };

static const char *story_path(char *room, size_t size)
{
    const char *dir = getenv("TOLLGATE_TEST_DATA");
    const char *src = getenv("srcdir");

    if (dir)
        snprintf(room, size, "%s/models/stories260K.gguf", dir);
    else
        snprintf(room, size, "%s/../shared/data/models/stories260K.gguf",
                 src ? src : ".");
    return access(room, R_OK) == 0 ? room : NULL;
}

struct teller {
    struct krn_ctx *c;
    struct model *m;
    struct graph *g;
    float *logits; /* (STORY, n_vocab) */
    int32_t table[STORY_PAGES];
};

static void teller_open(struct teller *t, const char *path, const char *device,
                        enum krn_dtype kv)
{
    const struct krn_opts ko = {.device = device, .threads = 1};
    const struct graph_opts go = {
        .kv_dtype = kv, .n_pages = STORY_PAGES, .max_rows = STORY};
    struct model_fault why = {""};

    assert_int_equal(krn_open(&ko, &t->c), KRN_OK);
    assert_int_equal(model_open(path, &why, &t->m), ERR_OK);
    assert_int_equal(graph_new(t->c, t->m, &go, &why, &t->g), ERR_OK);
    t->logits = calloc((size_t)STORY * t->m->p.n_vocab, sizeof(float));
    assert_non_null(t->logits);
    for (int32_t i = 0; i < STORY_PAGES; i++)
        t->table[i] = STORY_PAGES - 1 - i;
}

static void teller_close(struct teller *t)
{
    free(t->logits);
    graph_free(t->g);
    model_close(t->m);
    krn_close(t->c);
}

/* The likeliest of row <row>. */
static int32_t best_of(const struct teller *t, size_t row)
{
    const float *l = t->logits + row * t->m->p.n_vocab;
    int32_t best = 0;

    for (unsigned v = 1; v < t->m->p.n_vocab; v++)
        if (l[v] > l[best])
            best = (int32_t)v;
    return best;
}

/* Run <n> tokens from position <at> on; logits of all. */
static void teller_run(struct teller *t, const int32_t *ids, unsigned n,
                       int32_t at)
{
    int32_t seq[STORY] = {0}, pos[STORY];
    uint8_t want[STORY];
    struct graph_step s = {.rows = {n, seq, pos, 1, t->table, STORY_PAGES},
                           .ids = ids,
                           .want = want};

    for (unsigned i = 0; i < n; i++) {
        pos[i] = at + (int32_t)i;
        want[i] = GRAPH_LOGITS;
    }
    assert_int_equal(graph_step_run(t->g, &s, t->logits), ERR_OK);
}

/* The likeliest <n> tokens after ids[0], word by word, behind it. */
static void story_tell(struct teller *t, int32_t *ids, int32_t n)
{
    for (int32_t pos = 0; pos < n; pos++) {
        teller_run(t, ids + pos, 1, pos);
        ids[pos + 1] = best_of(t, 0);
    }
}

/* Word by word, as far as an emulator can in some seconds; and all of it when
 * the whole text is read: each word is what the CPU says behind those before
 * it. */
static void a_story_is_told_word_for_word(void **state)
{
    const int32_t n = gfix_is_fake() ? STORY_FAKE : STORY;
    int32_t want[STORY + 1] = {1}, got[STORY + 1] = {1};
    struct teller cpu, gpu;
    char room[512];
    const char *path = story_path(room, sizeof(room));

    (void)state;
    if (!path)
        skip();
    teller_open(&cpu, path, "cpu", KRN_F16);
    teller_open(&gpu, path, "cuda:0", KRN_F16);
    story_tell(&cpu, want, STORY);
    story_tell(&gpu, got, n);
    assert_memory_equal(got, want, (size_t)(n + 1) * sizeof(want[0]));
    teller_run(&gpu, want, STORY, 0);
    for (int32_t i = 0; i < STORY; i++)
        assert_int_equal(best_of(&gpu, (size_t)i), want[i + 1]);
    teller_close(&cpu);
    teller_close(&gpu);
    assert_int_equal(gfix_live(), 0);
}

/* With keys and values of 8 bits nearly every word is the same, and the others
 * are close. */
static void a_story_is_told_in_fewer_bits(void **state)
{
    int32_t want[STORY + 1] = {1};
    struct teller cpu, gpu;
    char room[512];
    const char *path = story_path(room, sizeof(room));
    unsigned same = 0;
    double off = 0;

    (void)state;
    if (!path)
        skip();
    teller_open(&cpu, path, "cpu", KRN_F16);
    teller_open(&gpu, path, "cuda:0", KRN_FP8);
    assert_true(2 * graph_page_bytes(gpu.g) * 8 ==
                graph_page_bytes_of(gpu.m, KRN_F16, 64) * (8 + 4));
    story_tell(&cpu, want, STORY);
    teller_run(&gpu, want, STORY, 0);
    teller_run(&cpu, want, STORY, 0);
    for (size_t i = 0; i < STORY; i++) {
        const float *a = gpu.logits + i * gpu.m->p.n_vocab;
        const float *b = cpu.logits + i * gpu.m->p.n_vocab;

        same += best_of(&gpu, i) == want[i + 1];
        off += fabs((double)a[want[i + 1]] - (double)b[want[i + 1]]);
    }
    print_message("same: %u of %d, logits off by %g\n", same, STORY,
                  off / STORY);
    assert_true(same >= STORY * 95 / 100 && off / STORY < 0.4 && off > 0);
    teller_close(&cpu);
    teller_close(&gpu);
    assert_int_equal(gfix_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_story_is_told_word_for_word),
        cmocka_unit_test(a_story_is_told_in_fewer_bits),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
