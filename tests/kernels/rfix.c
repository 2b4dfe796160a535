/* rfix.c - Contexts to compare, and comparing bit by bit. */
#include "kernels/rfix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void rfix_open(struct rfix *f)
{
    static const char *const isas[] = {"avx2", "avx512"};
    struct krn_opts ref = {.device = "ref", .threads = 1};

    memset(f, 0, sizeof(*f));
    assert_int_equal(krn_open(&ref, &f->ref), KRN_OK);
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        for (unsigned threads = 1; threads <= 2; threads++) {
            struct krn_opts o = {.isa = isas[i], .threads = threads};

            if (krn_open(&o, &f->fast[f->n_fast]) == KRN_OK)
                f->n_fast++;
        }
    }
    if (f->n_fast == 0)
        print_message("no instruction set to compare with\n");
}

void rfix_close(struct rfix *f)
{
    krn_close(f->ref);
    for (unsigned i = 0; i < f->n_fast; i++)
        krn_close(f->fast[i]);
}

bool rfix_same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof(a[i])) == 0 ||
            (isnan(a[i]) && isnan(b[i])))
            continue;
        print_message("element %zu of %zu: %a and %a\n", i, n, (double)a[i],
                      (double)b[i]);
        return false;
    }
    return true;
}
