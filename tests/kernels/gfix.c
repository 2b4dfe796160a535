/* gfix.c - The GPU of a test program. */
#include "kernels/gfix.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef bool fail_fn(const char *what, unsigned n);
typedef unsigned live_fn(void);

static struct krn_ctx *opened(bool deterministic)
{
    char why[256] = "";
    const struct krn_opts o = {
        .device = "cuda:0",
        .deterministic = deterministic,
        .why = why,
        .why_bytes = sizeof(why),
    };
    struct krn_ctx *c = NULL;
    const enum krn_status st = krn_open(&o, &c);

    if (st != KRN_OK)
        fail_msg("cuda:0 does not open, %d: %s", (int)st, why);
    return c;
}

struct krn_ctx *gfix_open(void)
{
    return opened(false);
}

struct krn_ctx *gfix_open_deterministic(void)
{
    return opened(true);
}

/* The emulator's function <name>. */
static void *fake_symbol(const char *name)
{
    const char *path = getenv("TOLLGATE_CUDA_DRIVER");
    void *so = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void *f = so ? dlsym(so, name) : NULL;

    if (so)
        dlclose(so); /* it stays loaded, drv.c sees to that */
    return f;
}

bool gfix_numerics(const struct krn_ctx *c, const char *name)
{
    const char *is = krn_numerics(c);
    const size_t n = strlen(name);

    if (strncmp(is, name, n) == 0 && strncmp(is + n, "-sm", 3) == 0 &&
        is[n + 3] != '\0')
        return true;
    print_error("numerics: %s, want %s-sm...\n", is, name);
    return false;
}

bool gfix_is_fake(void)
{
    return !getenv("TG_TEST_GPU") && fake_symbol("fakecuda_mark");
}

void gfix_fail(const char *what, unsigned n)
{
    fail_fn *f = NULL;
    void *p = fake_symbol("fakecuda_fail");

    if (!p)
        return;
    memcpy(&f, &p, sizeof(f));
    assert_true(f(what, n));
}

unsigned gfix_live(void)
{
    live_fn *f = NULL;
    void *p = fake_symbol("fakecuda_live");

    if (!p)
        return 0;
    memcpy(&f, &p, sizeof(f));
    return f();
}

void gfix_fill(void *p, size_t bytes, uint64_t *seed)
{
    uint8_t *b = p;

    for (size_t i = 0; i < bytes; i++) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        b[i] = (uint8_t)(*seed >> 56);
    }
}

void *gfix_noise(size_t bytes, uint64_t *seed)
{
    void *p = malloc(bytes);

    assert_non_null(p);
    gfix_fill(p, bytes, seed);
    return p;
}
