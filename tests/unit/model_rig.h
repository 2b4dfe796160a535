/* model_rig.h - Small models of random numbers, opened or refused. */
#ifndef TG_TESTS_UNIT_MODEL_RIG_H
#define TG_TESTS_UNIT_MODEL_RIG_H

#include <stdlib.h>

#include "engine/model.h"
#include "lib/ggufm.h"
#include "unit/cmocka_all.h"

/* A model of every test. */
static const struct ggufm_shape small = {
    .arch = "llama",
    .n_layer = 2,
    .d_model = 64,
    .n_head = 4,
    .n_kv_head = 2,
    .d_head = 16,
    .d_ff = 96,
    .n_vocab = 320,
    .context = 128,
    .tied = true,
    .dtype = KRN_F16,
};

/* A model and the image it borrows from. */
struct opened {
    char *image;
    struct model *m;
};

/* Build and open <w>, which must succeed; frees <w>. */
static inline struct opened must_open(struct ggufw *w)
{
    struct model_fault why = {""};
    struct opened o = {NULL, NULL};
    struct ggufm_filler f = {.w = w};
    size_t len;
    enum err e;

    o.image = ggufw_build(w, ggufm_fill, &f, &len);
    e = model_open_gguf(str_of(o.image, len), &why, &o.m);
    assert_string_equal(why.text, "");
    assert_int_equal(e, ERR_OK);
    ggufw_free(w);
    return o;
}

static inline void close_opened(struct opened o)
{
    model_close(o.m);
    free(o.image);
}

/* Build and open <w>, which must be refused with <part> in the sentence; frees
 * <w>. */
static inline void must_refuse(struct ggufw *w, enum err want, const char *part)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    size_t len;
    char *image = ggufw_build(w, NULL, NULL, &len);
    enum err e = model_open_gguf(str_of(image, len), &why, &m);

    if (!strstr(why.text, part))
        fail_msg("'%s' is not in '%s'", part, why.text);
    assert_int_equal(e, want);
    assert_null(m);
    ggufw_free(w);
    free(image);
}

#endif
