/* model_bind.c - Which tensor of a file has which place in a model, and what
 * shape and type it must have there: one table for all architectures and both
 * formats. A tensor without a place is refused: it would change what the model
 * computes, and this engine would not know how. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/model_fault.h"
#include "engine/model_priv.h"

#define NAME_ROOM 128

/* Lengths that shapes are made of. */
enum side { S_ONE = 0, S_MODEL, S_Q, S_KV, S_FF, S_HEAD };

/* Which architectures need a tensor: those of the bits; others may have it
 * when F_MAY is set. */
enum {
    F_LLAMA = 1 << MODEL_LLAMA,
    F_QWEN2 = 1 << MODEL_QWEN2,
    F_QWEN3 = 1 << MODEL_QWEN3,
    F_ALL = F_LLAMA | F_QWEN2 | F_QWEN3,
    F_MAY = 1 << 8,
    F_ASKED = 1 << 9, /* needed where attention_bias says so */
};

/* A place in a layer. */
struct place {
    size_t at; /* in struct model_layer */
    const char *gguf, *hf;
    enum side out, in;
    unsigned flags;
};

#define AT(member) offsetof(struct model_layer, member)

static const struct place places[] = {
    {AT(attn_norm), "attn_norm.weight", "input_layernorm.weight", S_ONE,
     S_MODEL, F_ALL},
    {AT(q), "attn_q.weight", "self_attn.q_proj.weight", S_Q, S_MODEL, F_ALL},
    {AT(k), "attn_k.weight", "self_attn.k_proj.weight", S_KV, S_MODEL, F_ALL},
    {AT(v), "attn_v.weight", "self_attn.v_proj.weight", S_KV, S_MODEL, F_ALL},
    {AT(o), "attn_output.weight", "self_attn.o_proj.weight", S_MODEL, S_Q,
     F_ALL},
    {AT(q_bias), "attn_q.bias", "self_attn.q_proj.bias", S_ONE, S_Q,
     F_QWEN2 | F_MAY | F_ASKED},
    {AT(k_bias), "attn_k.bias", "self_attn.k_proj.bias", S_ONE, S_KV,
     F_QWEN2 | F_MAY | F_ASKED},
    {AT(v_bias), "attn_v.bias", "self_attn.v_proj.bias", S_ONE, S_KV,
     F_QWEN2 | F_MAY | F_ASKED},
    {AT(o_bias), "attn_output.bias", "self_attn.o_proj.bias", S_ONE, S_MODEL,
     F_MAY | F_ASKED},
    {AT(q_norm), "attn_q_norm.weight", "self_attn.q_norm.weight", S_ONE, S_HEAD,
     F_QWEN3},
    {AT(k_norm), "attn_k_norm.weight", "self_attn.k_norm.weight", S_ONE, S_HEAD,
     F_QWEN3},
    {AT(ffn_norm), "ffn_norm.weight", "post_attention_layernorm.weight", S_ONE,
     S_MODEL, F_ALL},
    {AT(gate), "ffn_gate.weight", "mlp.gate_proj.weight", S_FF, S_MODEL, F_ALL},
    {AT(up), "ffn_up.weight", "mlp.up_proj.weight", S_FF, S_MODEL, F_ALL},
    {AT(down), "ffn_down.weight", "mlp.down_proj.weight", S_MODEL, S_FF, F_ALL},
};

static uint64_t side_len(const struct model_params *p, enum side s)
{
    switch (s) {
    case S_MODEL:
        return p->d_model;
    case S_Q:
        return (uint64_t)p->n_head * p->d_head;
    case S_KV:
        return (uint64_t)p->n_kv_head * p->d_head;
    case S_FF:
        return p->d_ff;
    case S_HEAD:
        return p->d_head;
    case S_ONE:
    default:
        return 1;
    }
}

/* --- the list of tensors ------------------------------------------------ */

static int entry_order(const void *a, const void *b)
{
    const struct str x = ((const struct model_entry *)a)->name;
    const struct str y = ((const struct model_entry *)b)->name;
    size_t n = x.len < y.len ? x.len : y.len;
    int d = n ? memcmp(x.p, y.p, n) : 0;

    return d ? d : (x.len > y.len) - (x.len < y.len);
}

enum err model_entries_sort(struct model_entries *all, struct model_fault *why)
{
    if (all->n > 0)
        qsort(all->v, all->n, sizeof(*all->v), entry_order);
    for (size_t i = 1; i < all->n; i++)
        if (str_eq(all->v[i - 1].name, all->v[i].name))
            return model_fail(why, ERR_SYNTAX, "tensor '%s' is there twice",
                              model_show(all->v[i].name).text);
    return ERR_OK;
}

struct model_entry *model_entry_use(struct model_entries *all, struct str name)
{
    struct model_entry want = {.name = name}, *found;

    if (all->n == 0)
        return NULL;
    found = bsearch(&want, all->v, all->n, sizeof(want), entry_order);
    if (found)
        found->used = true;
    return found;
}

/* --- one tensor --------------------------------------------------------- */

static enum err check_type(const struct model_entry *e, bool vector,
                           struct model_fault *why)
{
    const struct model_shown name = model_show(e->name);

    if (e->dtype == KRN_DTYPE_COUNT)
        return model_fail(why, ERR_REFUSED,
                          "tensor '%s' has type %s, which is not supported; "
                          "supported: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, "
                          "Q6_K",
                          name.text, e->type);
    if (vector && e->dtype != KRN_F32 && e->dtype != KRN_F16 &&
        e->dtype != KRN_BF16)
        return model_fail(why, ERR_REFUSED,
                          "tensor '%s' has type %s; supported for vectors: "
                          "F32, F16, BF16",
                          name.text, e->type);
    return ERR_OK;
}

/* Take <e> as (n_out, n_in) into <out>; n_out is 1 for a vector. */
static enum err take_entry(const struct model_entry *e, uint64_t n_out,
                           uint64_t n_in, struct model_fault *why,
                           struct model_tensor *out)
{
    bool vector = n_out == 1;
    unsigned n_dims = vector ? 1 : 2;
    bool fits = e->dims[0] == n_in && e->dims[1] == n_out;
    enum err err = check_type(e, vector, why);

    if (err != ERR_OK)
        return err;
    for (unsigned d = n_dims; d < 4; d++)
        fits = fits && e->dims[d] == 1;
    if (!fits)
        return model_fail(why, ERR_SYNTAX,
                          "tensor '%s' has the shape %" PRIu64 " x %" PRIu64
                          " where %" PRIu64 " x %" PRIu64 " is wanted",
                          model_show(e->name).text, e->dims[1], e->dims[0],
                          n_out, n_in);
    *out = (struct model_tensor){.dtype = e->dtype,
                                 .n_out = (size_t)n_out,
                                 .n_in = (size_t)n_in,
                                 .data = e->data,
                                 .bytes = e->bytes};
    return ERR_OK;
}

static enum err fail_missing(struct model_fault *why, const char *name)
{
    return model_fail(why, ERR_SYNTAX, "tensor '%s' is missing", name);
}

/* --- places ------------------------------------------------------------- */

static bool is_needed(const struct model_params *p, const struct place *at,
                      const struct model_binding *how)
{
    if (at->flags & (1u << p->arch))
        return true;
    return (at->flags & F_ASKED) && how->attention_bias;
}

static bool is_allowed(const struct model_params *p, const struct place *at)
{
    return at->flags & (F_MAY | (1u << p->arch));
}

static enum err bind_place(struct model *m, struct model_entries *all,
                           const struct model_binding *how, unsigned layer,
                           const struct place *at, struct model_fault *why)
{
    char *slot = (char *)&m->layers[layer] + at->at;
    char name[NAME_ROOM];
    struct model_entry *e;

    if (!is_allowed(&m->p, at))
        return ERR_OK;
    if (how->naming == MODEL_NAMES_GGUF)
        snprintf(name, sizeof(name), "blk.%u.%s", layer, at->gguf);
    else
        snprintf(name, sizeof(name), "%slayers.%u.%s", how->prefix, layer,
                 at->hf);
    e = model_entry_use(all, str_from(name));
    if (!e)
        return is_needed(&m->p, at, how) ? fail_missing(why, name) : ERR_OK;
    return take_entry(e, side_len(&m->p, at->out), side_len(&m->p, at->in), why,
                      (struct model_tensor *)(void *)slot);
}

/* Embedding, last norm and output. */
static enum err bind_ends(struct model *m, struct model_entries *all,
                          const struct model_binding *how,
                          struct model_fault *why)
{
    bool gguf = how->naming == MODEL_NAMES_GGUF;
    char embed[NAME_ROOM], norm[NAME_ROOM];
    const char *head = gguf ? "output.weight" : "lm_head.weight";
    struct model_entry *e, *n, *o;
    enum err err;

    snprintf(embed, sizeof(embed), "%s%s", gguf ? "" : how->prefix,
             gguf ? "token_embd.weight" : "embed_tokens.weight");
    snprintf(norm, sizeof(norm), "%s%s", gguf ? "" : how->prefix,
             gguf ? "output_norm.weight" : "norm.weight");
    e = model_entry_use(all, str_from(embed));
    n = model_entry_use(all, str_from(norm));
    o = model_entry_use(all, str_from(head));
    if (!e || !n)
        return fail_missing(why, e ? norm : embed);
    if (e->dims[1] < 2 || e->dims[1] > (1u << 24))
        return model_fail(why, ERR_SYNTAX,
                          "tensor '%s' has %" PRIu64 " rows, not 2 to 2^24",
                          embed, e->dims[1]);
    m->p.n_vocab = (unsigned)e->dims[1];
    err = take_entry(e, e->dims[1], m->p.d_model, why, &m->embed);
    if (err == ERR_OK)
        err = take_entry(n, 1, m->p.d_model, why, &m->out_norm);
    if (!o && how->need_head)
        return fail_missing(why, head);
    m->p.tied = !o || how->ignore_head;
    if (err != ERR_OK || m->p.tied)
        return err;
    return take_entry(o, m->p.n_vocab, m->p.d_model, why, &m->output);
}

/* Tensors that are there without changing anything. */
static bool is_idle(struct str name)
{
    return str_ends(name, STR(".rotary_emb.inv_freq")) ||
           str_ends(name, STR(".attn_rot_embd.weight"));
}

static enum err refuse_rest(const struct model_entries *all,
                            struct model_fault *why)
{
    for (size_t i = 0; i < all->n; i++)
        if (!all->v[i].used && !is_idle(all->v[i].name))
            return model_fail(why, ERR_REFUSED,
                              "tensor '%s' has no place in this architecture",
                              model_show(all->v[i].name).text);
    return ERR_OK;
}

enum err model_bind(struct model *m, struct model_entries *all,
                    const struct model_binding *how, struct model_fault *why)
{
    enum err e;

    m->layers = arena_alloc(m->store->arena, m->p.n_layer * sizeof(*m->layers));
    if (!m->layers)
        return model_fail(why, ERR_NOMEM, "out of memory");
    e = bind_ends(m, all, how, why);
    for (unsigned l = 0; l < m->p.n_layer; l++)
        for (size_t i = 0;
             e == ERR_OK && i < sizeof(places) / sizeof(places[0]); i++)
            e = bind_place(m, all, how, l, &places[i], why);
    if (e == ERR_OK)
        e = refuse_rest(all, why);
    return e;
}
