/* fakerig.c - See fakerig.h. */
#include "lib/fakerig.h"

#include "token/vocab.h"

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D_MODEL 12

/* --- the model ---------------------------------------------------------- */

static const char *const pieces[] = {
    "a",   "b",   "c",  "ab",       "ba",           "aa",     "bc",  "abc",
    "cab", "aab", "bb", "cc",       "ca",           "acb",    "bca", " a",
    " b",  " ",   ".",  "x",        "xy",           "y",      "yx",  "xx",
    "yyx", "\n",  "z",  "\xc3\xa9", "\xc3\xa9\x61", "abcabc",
};

static struct vocab *make_vocab(void)
{
    enum { COUNT = RIG_BYTES + 256 + COUNT_OF(pieces) };
    static char room[COUNT][32];
    struct str text[COUNT];
    float scores[COUNT];
    int32_t types[COUNT];
    struct vocab_spec spec = {.kind = VOCAB_SPM,
                              .n = COUNT,
                              .text = text,
                              .scores = scores,
                              .types = types,
                              .bos = RIG_BOS,
                              .eos = RIG_EOS,
                              .eot = -1,
                              .eom = -1,
                              .unk = RIG_UNK,
                              .pad = -1,
                              .add_bos = VOCAB_YES,
                              .add_eos = VOCAB_NO,
                              .add_space_prefix = VOCAB_NO};
    struct vocab_fault why;
    struct vocab *v = NULL;

    snprintf(room[RIG_UNK], 32, "<unk>");
    snprintf(room[RIG_BOS], 32, "<s>");
    snprintf(room[RIG_EOS], 32, "</s>");
    for (unsigned i = 0; i < 256; i++)
        snprintf(room[RIG_BYTES + i], 32, "<0x%02X>", i);
    for (unsigned i = 0; i < COUNT_OF(pieces); i++) {
        const char *p = pieces[i];

        snprintf(room[RIG_BYTES + 256 + i], 32, "%s%s",
                 p[0] == ' ' ? "\xe2\x96\x81" : "", p + (p[0] == ' '));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        text[i] = str_from(room[i]);
        scores[i] = -(float)i;
        types[i] = i == RIG_UNK          ? VOCAB_UNKNOWN
                   : i < RIG_BYTES       ? VOCAB_CONTROL
                   : i < RIG_BYTES + 256 ? VOCAB_BYTE
                                         : VOCAB_NORMAL;
    }
    assert_int_equal(vocab_new(&spec, &why, &v), ERR_OK);
    return v;
}

/* --- life --------------------------------------------------------------- */

static struct rig *make(const struct sched_opts *o, unsigned context,
                        bool has_thread)
{
    struct model *m = calloc(1, sizeof(*m));
    struct graph *g = calloc(1, sizeof(*g));

    assert_true(m && g);
    m->vocab = make_vocab();
    m->p.n_vocab = vocab_size(m->vocab);
    m->p.d_model = D_MODEL;
    m->p.context = context;
    m->p.pooling = MODEL_POOL_MEAN;
    g->n_pages = o->n_pages;
    g->max_rows = o->step_tokens > 0 ? o->step_tokens : 512;
    g->n_vocab = m->p.n_vocab;
    g->d_model = D_MODEL;
    g->eog = RIG_EOS;
    g->eog_less = 0.5f;
    g->bytes = RIG_BYTES;
    g->bytes_less = 1;
    fake_graph_init(g);
    return rig_open(g, m, o, has_thread);
}

struct rig *rig_new(const struct sched_opts *o, unsigned context)
{
    return make(o, context, false);
}

struct rig *rig_start(const struct sched_opts *o, unsigned context)
{
    return make(o, context, true);
}

void rig_free(struct rig *r)
{
    struct graph *g = r->g;
    struct model *m = r->m;

    rig_close(r);
    fake_graph_fini(g);
    vocab_free(m->vocab);
    free(g);
    free(m);
}

void rig_alone(const struct rig_ask *ask, struct rig_reply *out)
{
    struct sched_opts o = {.n_pages = 512, .step_tokens = 600};
    struct rig *r = rig_new(&o, 512);

    rig_submit(r, 0, ask);
    rig_finish(r, 2000);
    *out = r->replies[0];
    memset(&r->replies[0], 0, sizeof(r->replies[0]));
    rig_free(r);
}
