/* model_params.c - The ranges of hyper-parameters, the same for all formats:
 * whatever passes here cannot make a size overflow or a loop endless. */
#include <inttypes.h>
#include <math.h>

#include "engine/model_fault.h"
#include "engine/model_priv.h"

/* A whole number and where it must lie. */
struct bound {
    const char *name;
    uint64_t value, min, max;
};

static enum err check_bounds(const struct model_params *p,
                             struct model_fault *why)
{
    const struct bound bounds[] = {
        {"number of layers", p->n_layer, 1, 1024},
        {"width of the model", p->d_model, 2, 1u << 17},
        {"number of heads", p->n_head, 1, 4096},
        {"number of key-value heads", p->n_kv_head, 1, p->n_head},
        {"width of a head", p->d_head, 2, 1024},
        {"width of the feed-forward layers", p->d_ff, 2, 1u << 20},
        {"context length", p->context, 1, 1u << 28},
        {"number of rotary dimensions", p->rope.n_rot, 2, p->d_head},
    };

    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        const struct bound *b = &bounds[i];

        if (b->value < b->min || b->value > b->max)
            return model_fail(why, ERR_SYNTAX,
                              "the %s is %" PRIu64 ", not %" PRIu64
                              " to %" PRIu64,
                              b->name, b->value, b->min, b->max);
    }
    return ERR_OK;
}

static bool lies_in(float v, float min, float max)
{
    return isfinite(v) && v >= min && v <= max;
}

/* What a stretched rotary embedding must say. */
static enum err check_scaling(const struct model_rope *r,
                              struct model_fault *why)
{
    bool ok = lies_in(r->factor, 1, 1e6f);

    if (r->scaling == MODEL_ROPE_LLAMA3)
        ok = ok && lies_in(r->low_freq, 1e-6f, 1e6f) &&
             lies_in(r->high_freq, 1e-6f, 1e6f) && r->high_freq > r->low_freq;
    if (r->scaling == MODEL_ROPE_YARN)
        ok = ok && lies_in(r->ext_factor, 0, 1e3f) &&
             lies_in(r->beta_slow, 1e-6f, 1e6f) &&
             lies_in(r->beta_fast, 1e-6f, 1e6f) && r->beta_fast > r->beta_slow;
    if (r->scaling == MODEL_ROPE_LLAMA3 || r->scaling == MODEL_ROPE_YARN)
        ok = ok && r->orig_context >= 1 && r->orig_context <= (1u << 28);
    ok = ok && lies_in(r->attn_factor, 1e-6f, 1e6f);
    return ok ? ERR_OK
              : model_fail(why, ERR_SYNTAX,
                           "the parameters of the rope scaling are missing or "
                           "out of range");
}

enum err model_check_params(const struct model_params *p,
                            struct model_fault *why)
{
    enum err e = check_bounds(p, why);

    if (e != ERR_OK)
        return e;
    if (p->n_head % p->n_kv_head != 0)
        return model_fail(why, ERR_SYNTAX,
                          "%u heads cannot share %u key-value heads evenly",
                          p->n_head, p->n_kv_head);
    if (p->rope.n_rot % 2 != 0)
        return model_fail(why, ERR_SYNTAX,
                          "the number of rotary dimensions, %u, is odd",
                          p->rope.n_rot);
    if (!lies_in(p->rms_eps, 0, 1))
        return model_fail(why, ERR_SYNTAX,
                          "the epsilon of the norms is not in 0 to 1");
    if (!lies_in(p->rope.base, 2, 1e12f))
        return model_fail(why, ERR_SYNTAX,
                          "the base of the rotary embedding is not in 2 to "
                          "1e12");
    return check_scaling(&p->rope, why);
}
