/* t_engine_device.c - Which device a model is loaded on, and what it may take
 * of that device: an emulated GPU of a memory that is said here. */
#include "engine/engine_device.h"

#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "engine/engine_model.h"
#include "engine/engine_part.h"
#include "engine/graph.h"
#include "engine/herd.h"
#include "kernels/fakecuda.h"
#include "kernels/gfix.h"
#include "kernels/krn.h"
#include "unit/cmocka_all.h"

#define MIB (1024ull * 1024)

enum { D_HEAD = 64 }; /* of synthetic:tiny */

/* A model to be loaded. */
struct scene {
    struct conf_engine conf;
    struct conf_engine_model m;
    struct engine_model *got;
    struct engine_fault why;
};

/* With a GPU of <mib>. */
static void scene_init(struct scene *s, const char *device, unsigned mib)
{
    char text[32];

    snprintf(text, sizeof(text), "%llu", mib * MIB);
    assert_int_equal(setenv("TG_FAKE_MEM", text, 1), 0);
    *s = (struct scene){.conf = {.threads = 1},
                        .m = {.name = STR("m"),
                              .path = STR("synthetic:tiny"),
                              .device = str_from(device)}};
}

static enum err load(struct scene *s)
{
    const struct engine_load load = {.conf = &s->conf};
    enum err e = engine_model_judge(&s->m, &s->why, &s->got);

    return e == ERR_OK ? engine_model_load(s->got, &load, &s->why) : e;
}

static void scene_fini(struct scene *s)
{
    engine_model_free(s->got);
    assert_int_equal(gfix_live(), 0);
}

static void loads_on(const char *device, enum conf_kv_dtype kv, unsigned mib,
                     const char *where, unsigned slots)
{
    struct scene s;

    scene_init(&s, device, mib);
    s.m.kv_dtype = kv;
    assert_int_equal(load(&s), ERR_OK);
    if (strncmp(s.got->device, where, strlen(where)) != 0)
        fail_msg("it runs on %s", s.got->device);
    assert_int_equal(s.got->slots, slots);
    assert_int_equal(s.got->context, 4096);
    scene_fini(&s);
}

static void a_device_is_chosen(void **state)
{
    (void)state;
    loads_on("cuda:0", CONF_KV_AUTO, 4096, "cuda:0 ", 64);
    loads_on("auto", CONF_KV_BF16, 4096, "cuda:0 ", 64);
    loads_on("cpu", CONF_KV_AUTO, 4096, "cpu ", 16);
}

/* For what a GPU does not do, or has no room for. */
static void auto_falls_back_to_the_cpu(void **state)
{
    (void)state;
    loads_on("auto", CONF_KV_F32, 4096, "cpu ", 16);
    loads_on("auto", CONF_KV_AUTO, 513, "cpu ", 16);
}

static void refused(const char *device, enum conf_kv_dtype kv, unsigned mib,
                    uint64_t context, enum err e, const char *why)
{
    struct scene s;

    scene_init(&s, device, mib);
    s.m.kv_dtype = kv;
    s.m.context = context;
    assert_int_equal(load(&s), e);
    if (!strstr(s.why.text, why))
        fail_msg("%s", s.why.text);
    scene_fini(&s);
}

static void what_cannot_be_is_told(void **state)
{
    (void)state;
    refused("cuda:0", CONF_KV_F32, 4096, 0, ERR_REFUSED,
            "write f16, bf16 or fp8");
    refused("cuda:7", CONF_KV_AUTO, 4096, 0, ERR_REFUSED,
            "there is no GPU cuda:7");
    refused("cuda:0", CONF_KV_AUTO, 4096, 5000, ERR_REFUSED, "at most that");
    refused("cuda:0", CONF_KV_AUTO, 513, 0, ERR_NOMEM, "write cpu");
}

/* Keys and values in 8 bits: on a GPU or not at all. */
static void narrow_pages_need_a_gpu(void **state)
{
    struct scene s;
    size_t bytes[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        scene_init(&s, "auto", 4096);
        s.m.kv_dtype = i == 0 ? CONF_KV_F16 : CONF_KV_FP8;
        assert_int_equal(load(&s), ERR_OK);
        bytes[i] = graph_page_bytes(s.got->parts[0].graph);
        scene_fini(&s);
    }
    assert_int_equal(bytes[1] * 2 * D_HEAD, bytes[0] * (D_HEAD + 4));
    refused("cpu", CONF_KV_FP8, 4096, 0, ERR_REFUSED,
            "kv_dtype: fp8 is not supported on the cpu; write kv_dtype: auto");
    refused("auto", CONF_KV_FP8, 513, 0, ERR_NOMEM,
            "kv_dtype: fp8 needs a GPU; write kv_dtype: auto");
}

/* In 8 bits: on a GPU or not at all. */
static void weights_of_8_bits_need_a_gpu(void **state)
{
    static const struct {
        const char *device;
        enum conf_kv_dtype kv;
        unsigned mib;
        enum err e;
        const char *why;
    } no[] = {
        {"cpu", CONF_KV_AUTO, 4096, ERR_REFUSED, "write weights: auto, or a"},
        {"auto", CONF_KV_F32, 4096, ERR_REFUSED, "write weights: auto, or a"},
        {"auto", CONF_KV_AUTO, 513, ERR_NOMEM, "fp8 needs a GPU; write"},
        {"cuda:7", CONF_KV_AUTO, 4096, ERR_REFUSED, "there is no GPU cuda:7"},
    };
    static const char *const yes[] = {"cuda:0", "auto"};
    struct scene s;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        scene_init(&s, yes[i], 4096);
        s.m.path = STR("synthetic:tiny:bf16");
        s.m.weights = CONF_WEIGHTS_FP8;
        assert_int_equal(load(&s), ERR_OK);
        assert_true(gfix_numerics(s.got->parts[0].krn, "cuda-f16-fp8-v1"));
        scene_fini(&s);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        scene_init(&s, no[i].device, no[i].mib);
        s.m.kv_dtype = no[i].kv;
        s.m.weights = CONF_WEIGHTS_FP8;
        assert_int_equal(load(&s), no[i].e);
        if (!strstr(s.why.text, no[i].why))
            fail_msg("%s", s.why.text);
        scene_fini(&s);
    }
}

/* A pool of what the weights left, in whole pages; a context that does not fit
 * is lowered when nobody asked for it, else refused with what would fit. */
static void memory_bounds_the_context(void **state)
{
    struct engine_part *p;
    struct scene s;
    uint64_t have, all, page;
    unsigned context;

    (void)state;
    scene_init(&s, "cuda:0", 4096);
    assert_int_equal(load(&s), ERR_OK);
    p = &s.got->parts[0];
    assert_int_equal(p->kv_bytes,
                     64 * (4096 / 64 + 1) * graph_page_bytes(p->graph));
    page = graph_page_bytes(p->graph);
    krn_memory(p->krn, &have, &all);
    assert_true(have < all - p->kv_bytes);
    /* What this model and a pool of 20 pages leave. */
    s.conf.cuda_reserve_bytes = have + p->kv_bytes - 20 * page - page / 2;
    engine_model_free(s.got);
    s.got = NULL;
    assert_int_equal(load(&s), ERR_OK);
    context = s.got->context;
    assert_in_range(context, 15 * 64, 20 * 64);
    engine_model_free(s.got);
    s.got = NULL;
    s.m.context = 4096;
    assert_int_equal(load(&s), ERR_NOMEM);
    assert_non_null(strstr(s.why.text, "write a smaller context, "));
    engine_model_free(s.got);
    s.got = NULL;
    s.m.context = context;
    assert_int_equal(load(&s), ERR_OK);
    assert_int_equal(s.got->context, context);
    scene_fini(&s);
}

/* Models that follow find room. */
static void room_is_left_for_those_behind(void **state)
{
    const struct krn_opts o = {.device = "cuda:0"};
    struct conf_engine conf = {.cuda_reserve_bytes = 100 * MIB};
    struct engine_load l = {.conf = &conf};
    uint64_t have, all;
    struct krn_ctx *c;
    struct scene s;

    (void)state;
    scene_init(&s, "cuda:0", 1000);
    assert_int_equal(krn_open(&o, &c), KRN_OK);
    krn_memory(c, &have, &all);
    assert_int_equal(all, 1000 * MIB);
    assert_int_equal(engine_device_room(c, &l, NULL), have - 100 * MIB);
    l.n_later = 1;
    l.later_bytes = 200 * MIB;
    assert_int_equal(engine_device_room(c, &l, NULL), (have - 300 * MIB) / 2);
    l.later_bytes = 2000 * MIB;
    assert_int_equal(engine_device_room(c, &l, NULL), 0);
    conf.cuda_reserve_bytes = 0; /* 512 MiB, more than a twentieth */
    l = (struct engine_load){.conf = &conf};
    assert_int_equal(engine_device_room(c, &l, NULL), have - 512 * MIB);
    krn_close(c);
    assert_int_equal(gfix_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_chosen),
        cmocka_unit_test(auto_falls_back_to_the_cpu),
        cmocka_unit_test(what_cannot_be_is_told),
        cmocka_unit_test(narrow_pages_need_a_gpu),
        cmocka_unit_test(weights_of_8_bits_need_a_gpu),
        cmocka_unit_test(memory_bounds_the_context),
        cmocka_unit_test(room_is_left_for_those_behind),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    if (!gfix_is_fake())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
