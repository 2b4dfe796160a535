/* t_kv_ns.c - Every field of a namespace makes another one, nothing else
 * does, and no two fields can be taken for each other. */
#include "engine/kv_ns.h"

#include <jansson.h>

#include "engine/graph.h"
#include "unit/cmocka_all.h"
#include "unit/model_rig.h"

/* Computed by another program from the description in kv_ns.c. */
#define GOLDEN                                                                 \
    "c467ec1fffc01873c68adca456ccd597f09dd33282eca53a088b74c7cd7bc117"

#define WEIGHTS                                                                \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* A namespace whose fields all say something. */
static struct kv_ns sample(void)
{
    struct kv_ns ns = {
        .format = KV_NS_FORMAT,
        .weights = WEIGHTS,
        .arch = MODEL_QWEN2,
        .n_layer = 12,
        .n_kv_head = 3,
        .d_head = 64,
        .rms_eps = 1e-5f,
        .rope =
            {
                .halves = true,
                .n_rot = 64,
                .base = 10000.0f,
                .scaling = MODEL_ROPE_YARN,
                .factor = 4.0f,
                .low_freq = 1.0f,
                .high_freq = 4.0f,
                .ext_factor = 1.0f,
                .attn_factor = 1.1f,
                .beta_fast = 32.0f,
                .beta_slow = 1.0f,
                .orig_context = 8192,
            },
        .kv_dtype = KRN_F16,
        .layout = KV_NS_LAYOUT,
        .page_tokens = 16,
        .numerics = "cpu-f32-v1",
        .epoch = 7,
    };

    return ns;
}

static bool is_same(const struct kv_ns *a, const struct kv_ns *b)
{
    struct digest x = kv_ns_digest(a), y = kv_ns_digest(b);

    return digest_eq(x.b, y.b, DIGEST_BYTES);
}

/* --- one change each ----------------------------------------------------- */

static void change_one(struct kv_ns *ns, unsigned i)
{
    struct model_rope *r = &ns->rope;

    switch (i) {
#define CASE(n, change)                                                        \
    case n:                                                                    \
        change;                                                                \
        break
        CASE(0, ns->format++);
        CASE(1, ns->weights[0] = '1');
        CASE(2, ns->weights[63] = '0');
        CASE(3, ns->arch = MODEL_LLAMA);
        CASE(4, ns->arch = MODEL_QWEN3);
        CASE(5, ns->n_layer++);
        CASE(6, ns->n_kv_head++);
        CASE(7, ns->d_head++);
        CASE(8, ns->rms_eps = 1e-6f);
        CASE(9, r->halves = false);
        CASE(10, r->n_rot -= 2);
        CASE(11, r->base = 10000.001f);
        CASE(12, r->scaling = MODEL_ROPE_NONE);
        CASE(13, r->scaling = MODEL_ROPE_LINEAR);
        CASE(14, r->scaling = MODEL_ROPE_LLAMA3);
        CASE(15, r->factor = 8.0f);
        CASE(16, r->low_freq = 2.0f);
        CASE(17, r->high_freq = 8.0f);
        CASE(18, r->ext_factor = 0.5f);
        CASE(19, r->attn_factor = 1.2f);
        CASE(20, r->beta_fast = 31.0f);
        CASE(21, r->beta_slow = 2.0f);
        CASE(22, r->orig_context++);
        CASE(23, ns->divisors.b[0] = 1);
        CASE(24, ns->divisors.b[31] = 1);
        CASE(25, ns->kv_dtype = KRN_BF16);
        CASE(26, ns->kv_dtype = KRN_F32);
        CASE(27, ns->layout = "layer-half-token");
        CASE(28, ns->page_tokens = 64);
        CASE(29, ns->numerics = "cpu-f32-v2");
        CASE(30, ns->epoch++);
        CASE(31, ns->epoch = UINT64_MAX);
#undef CASE
    default:
        fail();
    }
}

#define CHANGES 32

static void every_field_makes_another_namespace(void **state)
{
    struct kv_ns all[CHANGES + 1];

    (void)state;
    for (unsigned i = 0; i <= CHANGES; i++) {
        all[i] = sample();
        if (i < CHANGES)
            change_one(&all[i], i);
    }
    for (unsigned i = 0; i <= CHANGES; i++)
        for (unsigned j = 0; j < i; j++)
            if (is_same(&all[i], &all[j]))
                fail_msg("changes %u and %u are one namespace", j, i);
}

/* The next float up is another number: no rounding on the way. */
static void the_last_bit_of_a_float_counts(void **state)
{
    static const size_t at[] = {
        offsetof(struct kv_ns, rms_eps),
        offsetof(struct kv_ns, rope.base),
        offsetof(struct kv_ns, rope.factor),
        offsetof(struct kv_ns, rope.low_freq),
        offsetof(struct kv_ns, rope.high_freq),
        offsetof(struct kv_ns, rope.ext_factor),
        offsetof(struct kv_ns, rope.attn_factor),
        offsetof(struct kv_ns, rope.beta_fast),
        offsetof(struct kv_ns, rope.beta_slow),
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        struct kv_ns a = sample(), b = a;
        uint32_t bits;

        memcpy(&bits, (char *)&b + at[i], sizeof(bits));
        bits++;
        memcpy((char *)&b + at[i], &bits, sizeof(bits));
        assert_false(is_same(&a, &b));
    }
}

/* What moves from the end of one value to the start of the next is seen. */
static void neighbours_cannot_be_taken_for_each_other(void **state)
{
    struct kv_ns a = sample(), b = a;

    (void)state;
    a.n_layer = 1;
    a.n_kv_head = 23;
    b.n_layer = 12;
    b.n_kv_head = 3;
    assert_false(is_same(&a, &b));
    a = sample();
    b = a;
    a.rope.low_freq = 2.0f;
    a.rope.high_freq = 3.0f;
    b.rope.low_freq = 3.0f;
    b.rope.high_freq = 2.0f;
    assert_false(is_same(&a, &b));
}

/* It must be the same in every build and on every machine: a change here
 * means that stored pages are not found any more. */
static void the_digest_is_what_it_always_was(void **state)
{
    struct kv_ns ns = sample();
    struct digest d = kv_ns_digest(&ns);
    char hex[DIGEST_HEX_SIZE];

    (void)state;
    digest_hex(d.b, DIGEST_BYTES, hex);
    assert_string_equal(hex, GOLDEN);
}

/* --- from a model -------------------------------------------------------- */

static struct kv_ns of(struct model *m)
{
    struct kv_ns ns;

    memcpy(m->digest, WEIGHTS, sizeof(WEIGHTS));
    kv_ns_of(m,
             &(struct kv_ns_by){"cpu-f32-v1", KV_NS_LAYOUT, KRN_PAGE_TOKENS,
                                KRN_F16},
             0, &ns);
    return ns;
}

static void a_model_gives_all_of_it(void **state)
{
    struct opened o = must_open(ggufm_new(&small));
    const struct model_params *p = &o.m->p;
    struct kv_ns ns;

    (void)state;
    memcpy(o.m->digest, WEIGHTS, sizeof(WEIGHTS));
    kv_ns_of(o.m,
             &(struct kv_ns_by){"cpu-f32-v1", KV_NS_LAYOUT, KRN_PAGE_TOKENS,
                                KRN_BF16},
             5, &ns);
    assert_int_equal(ns.format, KV_NS_FORMAT);
    assert_string_equal(ns.weights, WEIGHTS);
    assert_int_equal(ns.arch, p->arch);
    assert_int_equal(ns.n_layer, p->n_layer);
    assert_int_equal(ns.n_kv_head, p->n_kv_head);
    assert_int_equal(ns.d_head, p->d_head);
    assert_memory_equal(&ns.rms_eps, &p->rms_eps, sizeof(float));
    assert_int_equal(ns.rope.n_rot, p->rope.n_rot);
    assert_memory_equal(&ns.rope.base, &p->rope.base, sizeof(float));
    assert_int_equal(ns.kv_dtype, KRN_BF16);
    assert_int_equal(ns.page_tokens, KRN_PAGE_TOKENS);
    assert_string_equal(ns.numerics, "cpu-f32-v1");
    assert_int_equal(ns.epoch, 5);
    for (unsigned i = 0; i < DIGEST_BYTES; i++)
        assert_int_equal(ns.divisors.b[i], 0);
    close_opened(o);
}

static void a_page_has_the_bytes_that_the_graph_gives_it(void **state)
{
    static const enum krn_dtype types[] = {KRN_F32, KRN_F16, KRN_BF16};
    struct opened o = must_open(ggufm_new(&small));

    (void)state;
    memcpy(o.m->digest, WEIGHTS, sizeof(WEIGHTS));
    for (unsigned i = 0; i < 3; i++) {
        struct kv_ns ns;

        kv_ns_of(o.m,
                 &(struct kv_ns_by){"cpu-f32-v1", KV_NS_LAYOUT, KRN_PAGE_TOKENS,
                                    types[i]},
                 0, &ns);
        assert_int_equal(kv_ns_page_bytes(&ns),
                         graph_page_bytes_of(o.m, types[i], KRN_PAGE_TOKENS));
    }
    close_opened(o);
}

static void every_divisor_counts(void **state)
{
    struct opened o = must_open(ggufm_new(&small));
    float divisors[8] = {1, 1, 1, 1, 2, 2, 2, 2};
    struct kv_ns none = of(o.m), some, other;

    (void)state;
    assert_int_equal(o.m->p.rope.n_rot / 2, 8);
    o.m->p.rope.divisors = divisors;
    some = of(o.m);
    assert_null(some.rope.divisors);
    assert_false(is_same(&none, &some));
    for (unsigned i = 0; i < 8; i++) {
        float was = divisors[i];

        divisors[i] = 3;
        other = of(o.m);
        divisors[i] = was;
        assert_false(is_same(&some, &other));
    }
    other = of(o.m);
    assert_true(is_same(&some, &other));
    o.m->p.rope.divisors = NULL;
    close_opened(o);
}

/* What people call a model, what it is advised to be sampled with, how much
 * of its context is used: pages do not depend on them. */
static void names_and_limits_change_nothing(void **state)
{
    struct opened o = must_open(ggufm_new(&small));
    struct kv_ns a = of(o.m), b;

    (void)state;
    o.m->name = STR("another");
    o.m->sampling.temperature = 0.25f;
    o.m->p.context /= 2;
    o.m->p.pooling = MODEL_POOL_LAST;
    b = of(o.m);
    assert_true(is_same(&a, &b));
    close_opened(o);
}

/* --- text ---------------------------------------------------------------- */

static char *about(const struct kv_ns *ns)
{
    struct buf b;

    buf_init(&b, 8192);
    assert_int_equal(kv_ns_about(ns, &b), ERR_OK);
    assert_int_equal(buf_put(&b, "", 1), ERR_OK);
    return b.p;
}

static void people_can_read_it(void **state)
{
    struct kv_ns ns = sample();
    struct digest d = kv_ns_digest(&ns);
    char hex[DIGEST_HEX_SIZE];
    char *text = about(&ns);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    (void)state;
    digest_hex(d.b, DIGEST_BYTES, hex);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "namespace")),
                        hex);
    assert_string_equal(json_string_value(json_object_get(j, "weights")),
                        WEIGHTS);
    assert_string_equal(json_string_value(json_object_get(j, "rope_base")),
                        "10000");
    assert_string_equal(json_string_value(json_object_get(j, "kv_dtype")),
                        "F16");
    assert_int_equal(json_integer_value(json_object_get(j, "layers")), 12);
    assert_int_equal(json_integer_value(json_object_get(j, "epoch")), 7);
    assert_int_equal(json_integer_value(json_object_get(j, "page_bytes")),
                     2 * 12 * 3 * 64 * 16 * 2);
    json_decref(j);
    free(text);
}

static void every_field_stands_in_the_text(void **state)
{
    struct kv_ns a = sample();
    char *was = about(&a);

    (void)state;
    for (unsigned i = 0; i < CHANGES; i++) {
        struct kv_ns b = sample();
        char *is;
        char *x, *y;

        change_one(&b, i);
        is = about(&b);
        /* Behind the digest, which is on the second line. */
        x = strchr(strchr(was, '\n') + 1, '\n');
        y = strchr(strchr(is, '\n') + 1, '\n');
        if (strcmp(x, y) == 0)
            fail_msg("change %u cannot be seen", i);
        free(is);
    }
    free(was);
}

static void no_memory_is_told(void **state)
{
    struct kv_ns ns = sample();
    struct buf b;

    (void)state;
    for (size_t cap = 0; cap < 600; cap += 37) {
        buf_init(&b, cap);
        assert_int_equal(kv_ns_about(&ns, &b), ERR_NOMEM);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_makes_another_namespace),
        cmocka_unit_test(the_last_bit_of_a_float_counts),
        cmocka_unit_test(neighbours_cannot_be_taken_for_each_other),
        cmocka_unit_test(the_digest_is_what_it_always_was),
        cmocka_unit_test(a_model_gives_all_of_it),
        cmocka_unit_test(a_page_has_the_bytes_that_the_graph_gives_it),
        cmocka_unit_test(every_divisor_counts),
        cmocka_unit_test(names_and_limits_change_nothing),
        cmocka_unit_test(people_can_read_it),
        cmocka_unit_test(every_field_stands_in_the_text),
        cmocka_unit_test(no_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
