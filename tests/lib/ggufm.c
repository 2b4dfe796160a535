/* ggufm.c - See ggufm.h. */
#include "lib/ggufm.h"

#include <stdlib.h>

#define KEY_ROOM 96

static void add_params(struct ggufw *w, const struct ggufm_shape *s)
{
    const struct {
        const char *name;
        unsigned value;
    } rows[] = {
        {"context_length", s->context},
        {"embedding_length", s->d_model},
        {"block_count", s->n_layer},
        {"feed_forward_length", s->d_ff},
        {"attention.head_count", s->n_head},
        {"attention.head_count_kv", s->n_kv_head},
        {"attention.key_length", s->d_head},
        {"attention.value_length", s->d_head},
        {"rope.dimension_count", s->d_head},
    };
    char key[KEY_ROOM];

    ggufw_str(w, "general.architecture", s->arch);
    ggufw_str(w, "general.name", "random");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(key, sizeof(key), "%s.%s", s->arch, rows[i].name);
        ggufw_u32(w, key, rows[i].value);
    }
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", s->arch);
    ggufw_f32(w, key, 1e-5f);
    snprintf(key, sizeof(key), "%s.rope.freq_base", s->arch);
    ggufw_f32(w, key, 10000);
}

static void add_layer(struct ggufw *w, const struct ggufm_shape *s, unsigned l)
{
    const unsigned q = s->n_head * s->d_head, kv = s->n_kv_head * s->d_head;
    const bool biased = strcmp(s->arch, "qwen2") == 0;
    const bool normed = strcmp(s->arch, "qwen3") == 0;
    const struct {
        const char *name;
        unsigned n_out, n_in;
        bool wanted;
    } rows[] = {
        {"attn_norm.weight", 0, s->d_model, true},
        {"attn_q.weight", q, s->d_model, true},
        {"attn_k.weight", kv, s->d_model, true},
        {"attn_v.weight", kv, s->d_model, true},
        {"attn_q.bias", 0, q, biased},
        {"attn_k.bias", 0, kv, biased},
        {"attn_v.bias", 0, kv, biased},
        {"attn_q_norm.weight", 0, s->d_head, normed},
        {"attn_k_norm.weight", 0, s->d_head, normed},
        {"attn_output.weight", s->d_model, q, true},
        {"ffn_norm.weight", 0, s->d_model, true},
        {"ffn_gate.weight", s->d_ff, s->d_model, true},
        {"ffn_up.weight", s->d_ff, s->d_model, true},
        {"ffn_down.weight", s->d_model, s->d_ff, true},
    };
    char name[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!rows[i].wanted)
            continue;
        snprintf(name, sizeof(name), "blk.%u.%s", l, rows[i].name);
        ggufw_tensor(w, name, rows[i].n_out ? s->dtype : KRN_F32, rows[i].n_out,
                     rows[i].n_in);
    }
}

struct ggufw *ggufm_new(const struct ggufm_shape *s)
{
    struct ggufw *w = ggufw_new(3);

    add_params(w, s);
    ggufm_add_vocab(w, s);
    ggufw_tensor(w, "token_embd.weight", s->dtype, s->n_vocab, s->d_model);
    for (unsigned l = 0; l < s->n_layer; l++)
        add_layer(w, s, l);
    ggufw_tensor(w, "output_norm.weight", KRN_F32, 0, s->d_model);
    if (!s->tied)
        ggufw_tensor(w, "output.weight", s->dtype, s->n_vocab, s->d_model);
    return w;
}

char *ggufm_build(const struct ggufm_shape *s, size_t *len_out)
{
    struct ggufm_filler f = {.w = ggufm_new(s), .seed = s->seed};
    char *image = ggufw_build(f.w, ggufm_fill, &f, len_out);

    ggufw_free(f.w);
    return image;
}
