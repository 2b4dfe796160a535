/* t_graph_exact.c - The pass over the layers against the same written down in
 * double precision from the tensors of the file; and the frequencies of
 * rotations against the published formulas, worked out elsewhere. */
#include "engine/graph.h"

#include <math.h>
#include <stdlib.h>

#include "engine/graph_priv.h"
#include "lib/graphrig.h"
#include "unit/cmocka_all.h"

enum { TOKENS = 21, MOST = 512 };

/* Element <i> of an F32 tensor, or <none> where there is none. */
static double at(const struct model_tensor *t, size_t i, double none)
{
    float f;

    if (!t->data)
        return none;
    memcpy(&f, (const char *)t->data + 4 * i, sizeof(f));
    return (double)f;
}

static void linear(const struct model_tensor *w, const struct model_tensor *b,
                   const double *x, double *y)
{
    for (size_t r = 0; r < w->n_out; r++) {
        y[r] = b ? at(b, r, 0) : 0;
        for (size_t i = 0; i < w->n_in; i++)
            y[r] += at(w, r * w->n_in + i, 0) * x[i];
    }
}

static void norm(const struct model *m, const struct model_tensor *gain,
                 const double *x, size_t n, double *y)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / sqrt(sum / (double)n + (double)m->p.rms_eps) *
               at(gain, i, 1);
}

static void turn(const struct model *m, double *head, int pos)
{
    unsigned n = m->p.rope.n_rot;

    for (unsigned i = 0; i < n / 2; i++) {
        double a = pos * pow((double)m->p.rope.base, -2.0 * i / n);
        double *p = head + (m->p.rope.halves ? i : 2 * i);
        double *q = p + (m->p.rope.halves ? n / 2 : 1);
        double x = *p;

        *p = x * cos(a) - *q * sin(a);
        *q = *q * cos(a) + x * sin(a);
    }
}

static void heads(const struct model *m, const struct model_tensor *gain,
                  double *v, unsigned n_head, int pos)
{
    unsigned d = m->p.d_head;

    for (unsigned h = 0; h < n_head; h++) {
        if (gain->data)
            norm(m, gain, v + h * d, d, v + h * d);
        turn(m, v + h * d, pos);
    }
}

/* Keys and values of one layer so far. */
struct past {
    double k[TOKENS][MOST], v[TOKENS][MOST];
};

static void attend(const struct model *m, const struct past *p, int pos,
                   const double *q, double *out)
{
    unsigned d = m->p.d_head;

    for (unsigned h = 0; h < m->p.n_head; h++) {
        size_t kv = h / (m->p.n_head / m->p.n_kv_head) * d;
        double w[TOKENS], sum = 0;

        for (int j = 0; j <= pos; j++) {
            w[j] = 0;
            for (unsigned i = 0; i < d; i++)
                w[j] += q[h * d + i] * p->k[j][kv + i];
            w[j] = exp(w[j] / sqrt(d));
            sum += w[j];
        }
        for (unsigned i = 0; i < d; i++) {
            out[h * d + i] = 0;
            for (int j = 0; j <= pos; j++)
                out[h * d + i] += w[j] / sum * p->v[j][kv + i];
        }
    }
}

static void add(double *x, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void layer(const struct model *m, const struct model_layer *l,
                  struct past *p, int pos, double *x)
{
    double h[MOST], q[MOST], o[MOST], gate[MOST], up[MOST];

    norm(m, &l->attn_norm, x, m->p.d_model, h);
    linear(&l->q, &l->q_bias, h, q);
    linear(&l->k, &l->k_bias, h, p->k[pos]);
    linear(&l->v, &l->v_bias, h, p->v[pos]);
    heads(m, &l->q_norm, q, m->p.n_head, pos);
    heads(m, &l->k_norm, p->k[pos], m->p.n_kv_head, pos);
    attend(m, p, pos, q, h);
    linear(&l->o, &l->o_bias, h, o);
    add(x, o, m->p.d_model);
    norm(m, &l->ffn_norm, x, m->p.d_model, h);
    linear(&l->gate, NULL, h, gate);
    linear(&l->up, NULL, h, up);
    for (unsigned i = 0; i < m->p.d_ff; i++)
        gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    linear(&l->down, NULL, gate, o);
    add(x, o, m->p.d_model);
}

static void model_check(const char *arch, bool tied)
{
    const struct ggufm_shape shape = {.arch = arch,
                                      .n_layer = 2,
                                      .d_model = 48,
                                      .n_head = 6,
                                      .n_kv_head = 2,
                                      .d_head = 10,
                                      .d_ff = 100,
                                      .n_vocab = 320,
                                      .context = 2048,
                                      .tied = tied,
                                      .dtype = KRN_F32,
                                      .seed = 5};
    struct past *past = calloc(shape.n_layer, sizeof(*past));
    struct graphrig_image image;
    struct graphrig r;
    float got[320];

    graphrig_image(&image, &shape);
    graphrig_open(&r, &image, "cpu", 2, KRN_F32);
    for (int pos = 0; pos < TOKENS; pos++) {
        double x[MOST], h[MOST], want[MOST];
        size_t id = (size_t)graphrig_token(&r, 0, pos);

        for (unsigned i = 0; i < shape.d_model; i++)
            x[i] = at(&r.m->embed, id * shape.d_model + i, 0);
        for (unsigned l = 0; l < shape.n_layer; l++)
            layer(r.m, &r.m->layers[l], &past[l], pos, x);
        norm(r.m, &r.m->out_norm, x, shape.d_model, h);
        linear(tied ? &r.m->embed : &r.m->output, NULL, h, want);
        graphrig_add(&r, 0, pos, pos + 1, GRAPH_LOGITS);
        graphrig_run(&r, got);
        for (int i = 0; i < 320; i++)
            assert_true(fabs((double)got[i] - want[i]) < 2e-5);
    }
    graphrig_close(&r);
    graphrig_image_free(&image);
    free(past);
}

static void llama_is_as_written_down(void **state)
{
    (void)state;
    model_check("llama", true);
}

static void qwen2_is_as_written_down(void **state)
{
    (void)state;
    model_check("qwen2", false);
}

static void qwen3_is_as_written_down(void **state)
{
    (void)state;
    model_check("qwen3", true);
}

/* --- frequencies ---------------------------------------------------------- */

/* Llama 3.1's (base 500000, factor 8, 1 to 4 turns of 8192) and Qwen's YaRN
 * (base 1000000, factor 4 over 32768), both of heads of 128. */
static const struct {
    unsigned pair;
    double llama3, yarn;
} published[] = {
    {0, 1.0, 1.0},
    {20, 0.01656044008099445, 0.01333521432163324},
    {28, 0.003211445994752591, 0.001848276564706878},
    {30, 0.001371893567761138, 0.001064360981247002},
    {33, 0.0003126937503840652, 0.0004503235755137693},
    {36, 7.78465527393245e-05, 0.0001798411558739542},
    {50, 4.411534674558404e-06, 5.133812566142866e-06},
    {63, 3.068925988914511e-07, 3.102344401879299e-07},
};

static void close_to(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-12 * fabs(b));
}

static void frequencies_are_those_published(void **state)
{
    struct model_rope llama = {.n_rot = 128,
                               .base = 500000,
                               .scaling = MODEL_ROPE_LLAMA3,
                               .factor = 8,
                               .low_freq = 1,
                               .high_freq = 4,
                               .attn_factor = 1,
                               .orig_context = 8192};
    struct model_rope yarn = {.n_rot = 128,
                              .base = 1000000,
                              .scaling = MODEL_ROPE_YARN,
                              .factor = 4,
                              .ext_factor = 1,
                              .attn_factor = 1,
                              .beta_fast = 32,
                              .beta_slow = 1,
                              .orig_context = 32768};
    double a[64], b[64];

    (void)state;
    graph_rope_freqs(&llama, a);
    graph_rope_freqs(&yarn, b);
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        close_to(a[published[i].pair], published[i].llama3);
        close_to(b[published[i].pair], published[i].yarn);
    }
}

static void divisors_and_the_factor_divide(void **state)
{
    static const float divisors[] = {1, 2, 4, 8};
    struct model_rope r = {.n_rot = 8,
                           .base = 10000,
                           .scaling = MODEL_ROPE_LINEAR,
                           .factor = 2,
                           .divisors = divisors};
    double freq[4];

    (void)state;
    graph_rope_freqs(&r, freq);
    close_to(freq[0], 0.5);
    close_to(freq[1], 0.1 / 4);
    close_to(freq[2], 0.01 / 8);
    close_to(freq[3], 0.001 / 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_is_as_written_down),
        cmocka_unit_test(qwen2_is_as_written_down),
        cmocka_unit_test(qwen3_is_as_written_down),
        cmocka_unit_test(frequencies_are_those_published),
        cmocka_unit_test(divisors_and_the_factor_divide),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
