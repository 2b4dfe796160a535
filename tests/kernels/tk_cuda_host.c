/* tk_cuda_host.c - A GPU as a context: what is said when it does not open, what
 * it tells of itself, and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/fakecuda.h"
#include "kernels/gfix.h"
#include "kernels/krn.h"

/* That <device> does not open, for <st>, and that the sentence has <word>. */
static void refused(const char *device, enum krn_status st, const char *word)
{
    char why[256] = "";
    struct krn_ctx *c = NULL;
    const struct krn_opts o = {
        .device = device, .why = why, .why_bytes = sizeof(why)};

    assert_int_equal(krn_open(&o, &c), st);
    assert_null(c);
    if (!strstr(why, word))
        fail_msg("no \"%s\" in \"%s\"", word, why);
}

/* The same while the variable <name> is <value>. */
static void refused_with(const char *name, const char *value,
                         enum krn_status st, const char *word)
{
    const char *old = getenv(name);
    char *was = old ? strdup(old) : NULL;

    assert_int_equal(setenv(name, value, 1), 0);
    refused("cuda:0", st, word);
    if (was)
        assert_int_equal(setenv(name, was, 1), 0);
    else
        assert_int_equal(unsetenv(name), 0);
    free(was);
}

/* --- opening ------------------------------------------------------------- */

static void a_device_that_does_not_open_says_why(void **state)
{
    (void)state;
    refused("cuda:x", KRN_UNSUPPORTED, "no device cuda:x");
    refused("cuda:", KRN_UNSUPPORTED, "no device cuda:");
    refused("cuda:1x", KRN_UNSUPPORTED, "no device cuda:1x");
    refused("cuda:999", KRN_UNSUPPORTED, "no GPU cuda:999");
    refused_with("TOLLGATE_CUDA_DRIVER", "/nowhere/libcuda.so", KRN_UNSUPPORTED,
                 "no NVIDIA driver");
    refused_with("TOLLGATE_CUDA_DRIVER", "libc.so.6", KRN_UNSUPPORTED,
                 "has no cuInit");
    if (!gfix_is_fake())
        return;
    refused_with("TG_FAKE_DEVICES", "0", KRN_UNSUPPORTED, "finds no GPU");
    refused_with("TG_FAKE_CC", "75", KRN_UNSUPPORTED,
                 "compute capability is 7.5");
    refused_with("TG_FAKE_MEM", "100000", KRN_NOMEM, "no memory left");
    assert_int_equal(gfix_live(), 0);
}

static void lack_of_memory_at_any_place_of_opening_gives_all_back(void **state)
{
    static const char *const whats[] = {"alloc", "host"};

    (void)state;
    if (!gfix_is_fake())
        skip();
    for (unsigned i = 0; i < 2; i++) {
        unsigned n = 1;

        for (;; n++) {
            const struct krn_opts o = {.device = "cuda:0"};
            struct krn_ctx *c = NULL;
            enum krn_status st;

            gfix_fail(whats[i], n);
            st = krn_open(&o, &c);
            gfix_fail(whats[i], 0);
            krn_close(c);
            assert_int_equal(gfix_live(), 0);
            if (st == KRN_OK)
                break;
            assert_int_equal(st, KRN_NOMEM);
        }
        assert_true(n > 1);
    }
}

static void an_open_device_tells_what_it_is(void **state)
{
    struct krn_ctx *c = gfix_open();
    uint64_t free_bytes = 0;
    uint64_t all = 0;

    (void)state;
    assert_non_null(strstr(krn_describe(c), "cuda:0 "));
    assert_non_null(strstr(krn_describe(c), " multiprocessors, "));
    assert_int_equal(krn_page_tokens(c), 64);
    assert_false(krn_is_host(c));
    krn_memory(c, &free_bytes, &all);
    assert_true(free_bytes > 0 && free_bytes <= all);
    assert_int_equal(krn_act_use(c, KRN_Q4_K), KRN_OK);
    assert_int_equal(krn_act(c), KRN_F16);
    assert_true(gfix_numerics(c, "cuda-f16-v1"));
    assert_int_equal(krn_act_use(c, KRN_BF16), KRN_OK);
    assert_true(gfix_numerics(c, "cuda-bf16-v1"));
    assert_int_equal(krn_act_use(c, KRN_F32), KRN_OK);
    assert_true(gfix_numerics(c, "cuda-f32-v1"));
    krn_close(c);
    c = gfix_open_deterministic();
    assert_int_equal(krn_act_use(c, KRN_BF16), KRN_OK);
    assert_true(gfix_numerics(c, "cuda-bf16-v1-det"));
    krn_close(c);
    assert_int_equal(gfix_live(), 0);
}

/* --- memory -------------------------------------------------------------- */

static void what_was_put_is_got_whatever_its_length(void **state)
{
    static const size_t lengths[] = {1,       4095,     8 << 20, (8 << 20) + 1,
                                     3 << 20, 17 << 20, 64};
    struct krn_ctx *c = gfix_open();
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const size_t n = lengths[i];
        uint8_t *in = gfix_noise(n, &seed);
        uint8_t *out = gfix_noise(n, &seed);
        uint8_t *pinned = krn_host_alloc(c, n);
        uint8_t *dev = krn_alloc(c, n);

        assert_non_null(dev);
        assert_non_null(pinned);
        assert_int_equal((uintptr_t)dev % 64, 0);
        assert_int_equal((uintptr_t)pinned % 4096, 0);
        assert_int_equal(krn_put(c, dev, in, n), KRN_OK);
        memcpy(pinned, in, n);
        memset(in, 0, n); /* it may be used again at once */
        assert_int_equal(krn_get(c, out, dev, n), KRN_OK);
        assert_memory_equal(out, pinned, n);
        memset(pinned, 0, n);
        assert_int_equal(krn_get(c, pinned, dev, n), KRN_OK);
        assert_memory_equal(out, pinned, n);
        krn_free(c, dev);
        krn_host_free(c, pinned);
        free(in);
        free(out);
    }
    krn_close(c);
    assert_int_equal(gfix_live(), 0);
}

static void running_out_of_memory_harms_nothing(void **state)
{
    struct krn_ctx *c = gfix_open();
    uint64_t word = 42;
    void *p;

    (void)state;
    assert_null(krn_alloc(c, (size_t)1 << 50));
    assert_null(krn_host_alloc(c, SIZE_MAX / 2));
    p = krn_alloc(c, sizeof(word));
    assert_non_null(p);
    assert_int_equal(krn_put(c, p, &word, sizeof(word)), KRN_OK);
    word = 0;
    assert_int_equal(krn_get(c, &word, p, sizeof(word)), KRN_OK);
    assert_int_equal(word, 42);
    assert_int_equal(krn_sync(c), KRN_OK);
    krn_free(c, p);
    krn_close(c);
}

static void host_memory_that_cannot_be_pinned_is_memory_all_the_same(
    void **state)
{
    struct krn_ctx *c = gfix_open();
    uint8_t *p;

    (void)state;
    gfix_fail("host", 1);
    p = krn_host_alloc(c, 100);
    gfix_fail("host", 0);
    assert_non_null(p);
    memset(p, 1, 100);
    krn_host_free(c, p);
    krn_close(c);
    assert_int_equal(gfix_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_does_not_open_says_why),
        cmocka_unit_test(lack_of_memory_at_any_place_of_opening_gives_all_back),
        cmocka_unit_test(an_open_device_tells_what_it_is),
        cmocka_unit_test(what_was_put_is_got_whatever_its_length),
        cmocka_unit_test(running_out_of_memory_harms_nothing),
        cmocka_unit_test(
            host_memory_that_cannot_be_pinned_is_memory_all_the_same),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
