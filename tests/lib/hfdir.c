/* hfdir.c - See hfdir.h. */
#include "lib/hfdir.h"

#include <stdlib.h>

#include "base/buf.h"

#define NAME_ROOM 128
#define BUF_CAP   ((size_t)256 << 20)

/* Names in GGUF and here. */
struct names {
    const char *gguf, *hf;
};

static const struct names layer_names[] = {
    {"attn_norm.weight", "input_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"},
};

static const struct names end_names[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "hfdir: %s\n", what);
    exit(1);
}

void hfdir_put(const char *dir, const char *name, struct str text)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "wb");
    must(f && fwrite(text.p, 1, text.len, f) == text.len && fclose(f) == 0,
         path);
}

/* --- config.json -------------------------------------------------------- */

static const char *class_of(const struct ggufm_shape *s)
{
    if (strcmp(s->arch, "qwen2") == 0)
        return "Qwen2ForCausalLM";
    return strcmp(s->arch, "qwen3") == 0 ? "Qwen3ForCausalLM"
                                         : "LlamaForCausalLM";
}

char *hfdir_config(const struct ggufm_shape *s, const char *more)
{
    char *text = NULL;
    int n = asprintf(&text,
                     "{\"architectures\":[\"%s\"],\"hidden_act\":\"silu\","
                     "\"hidden_size\":%u,\"num_hidden_layers\":%u,"
                     "\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
                     "\"head_dim\":%u,\"intermediate_size\":%u,"
                     "\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-5,"
                     "\"vocab_size\":%u,\"tie_word_embeddings\":%s,"
                     "\"eos_token_id\":0,\"sliding_window\":null%s}",
                     class_of(s), s->d_model, s->n_layer, s->n_head,
                     s->n_kv_head, s->d_head, s->d_ff, s->context, s->n_vocab,
                     s->tied ? "true" : "false", more);

    must(n > 0, "out of memory");
    return text;
}

/* --- weights ------------------------------------------------------------ */

static void hf_name(const char *gguf, char room[NAME_ROOM])
{
    const char *dot;

    for (size_t i = 0; i < sizeof(end_names) / sizeof(end_names[0]); i++)
        if (strcmp(gguf, end_names[i].gguf) == 0)
            snprintf(room, NAME_ROOM, "%s", end_names[i].hf);
    if (strncmp(gguf, "blk.", 4) != 0)
        return;
    dot = strchr(gguf + 4, '.');
    for (size_t i = 0; i < sizeof(layer_names) / sizeof(layer_names[0]); i++)
        if (strcmp(dot + 1, layer_names[i].gguf) == 0)
            snprintf(room, NAME_ROOM, "model.layers.%.*s.%s",
                     (int)(dot - gguf - 4), gguf + 4, layer_names[i].hf);
}

static const char *dtype_name(uint32_t type)
{
    return gguf_tensor_type_name(type);
}

/* What a shard is made of. */
struct source {
    struct ggufm_filler f;
    const struct ggufm_shape *s;
    bool halves;
};

/* The numbers of tensor <i> to <to>. */
static void fill_tensor(struct source *src, unsigned i, char *to)
{
    unsigned n, half = src->s->d_head / 2;
    const struct ggufw_tensor *t = &ggufw_tensors(src->f.w, &n)[i];
    size_t row = t->bytes / t->dims[1];
    char *raw;

    ggufm_fill(&src->f, i, 0, to, t->bytes);
    if (!src->halves || (!strstr(t->name, "attn_q.weight") &&
                         !strstr(t->name, "attn_k.weight")))
        return;
    raw = malloc(t->bytes);
    must(raw, "out of memory");
    memcpy(raw, to, t->bytes);
    for (size_t r = 0; r < t->dims[1]; r++) {
        size_t head = r / src->s->d_head, k = r % src->s->d_head;
        size_t from = head * src->s->d_head + 2 * (k % half) + k / half;

        memcpy(to + r * row, raw + from * row, row);
    }
    free(raw);
}

/* Append the header and the numbers of every <step>th tensor from <first> on
 * to <out>. */
static void build_shard(struct source *src, unsigned first, unsigned step,
                        struct buf *out)
{
    struct buf head, data;
    char name[NAME_ROOM];
    uint64_t len;
    unsigned n;
    const struct ggufw_tensor *t = ggufw_tensors(src->f.w, &n);
    bool ok = true;

    buf_init(&head, BUF_CAP);
    buf_init(&data, BUF_CAP);
    ok = buf_put(&head, "{\"__metadata__\":{\"format\":\"pt\"}", 31) == ERR_OK;
    for (unsigned i = first; ok && i < n; i += step) {
        size_t at = data.len, bytes = t[i].bytes;

        hf_name(t[i].name, name);
        ok = buf_reserve(&data, bytes) == ERR_OK;
        must(ok, "out of memory");
        fill_tensor(src, i, data.p + at);
        data.len += bytes;
        ok = buf_printf(&head, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name,
                        dtype_name(t[i].type)) == ERR_OK;
        if (t[i].n_dims == 2)
            ok = ok && buf_printf(&head, "%u,", (unsigned)t[i].dims[1]) == 0;
        ok = ok && buf_printf(&head, "%u],\"data_offsets\":[%zu,%zu]}",
                              (unsigned)t[i].dims[0], at, data.len) == 0;
    }
    ok = ok && buf_put(&head, "}", 1) == ERR_OK;
    len = head.len;
    ok = ok && buf_put(out, &len, 8) == ERR_OK &&
         buf_put_str(out, buf_str(&head)) == ERR_OK &&
         buf_put_str(out, buf_str(&data)) == ERR_OK;
    must(ok, "out of memory");
    buf_fini(&head);
    buf_fini(&data);
}

static void shard_name(unsigned i, unsigned n, char room[NAME_ROOM])
{
    if (n == 1)
        snprintf(room, NAME_ROOM, "model.safetensors");
    else
        snprintf(room, NAME_ROOM, "model-%05u-of-%05u.safetensors", i + 1, n);
}

static void write_index(const char *dir, struct ggufw *w, unsigned shards)
{
    char name[NAME_ROOM], file[NAME_ROOM];
    struct buf b;
    bool ok;
    unsigned n;
    const struct ggufw_tensor *t = ggufw_tensors(w, &n);

    buf_init(&b, BUF_CAP);
    ok = buf_printf(&b, "{\"metadata\":{},\"weight_map\":{") == ERR_OK;
    for (unsigned i = 0; i < n; i++) {
        hf_name(t[i].name, name);
        shard_name(i % shards, shards, file);
        ok = ok && buf_printf(&b, "%s\"%s\":\"%s\"", i ? "," : "", name,
                              file) == ERR_OK;
    }
    must(ok && buf_printf(&b, "}}") == ERR_OK, "out of memory");
    hfdir_put(dir, "model.safetensors.index.json", buf_str(&b));
    buf_fini(&b);
}

void hfdir_weights(const char *dir, const struct ggufm_shape *s,
                   unsigned shards, bool halves)
{
    struct source src = {
        .f = {.w = ggufm_new(s), .seed = s->seed}, .s = s, .halves = halves};
    char file[NAME_ROOM];
    struct buf b;

    buf_init(&b, BUF_CAP);
    for (unsigned i = 0; i < shards; i++) {
        buf_clear(&b);
        build_shard(&src, i, shards, &b);
        shard_name(i, shards, file);
        hfdir_put(dir, file, buf_str(&b));
    }
    buf_fini(&b);
    if (shards > 1)
        write_index(dir, src.f.w, shards);
    ggufw_free(src.f.w);
}

void hfdir_make(const char *dir, const struct ggufm_shape *s, unsigned shards)
{
    char *config = hfdir_config(s, "");
    char *tokenizer = ggufm_tokenizer_json(s);

    hfdir_put(dir, "config.json", str_from(config));
    hfdir_put(dir, "tokenizer.json", str_from(tokenizer));
    hfdir_put(dir, "tokenizer_config.json",
              STR("{\"tokenizer_class\":\"PreTrainedTokenizerFast\","
                  "\"model_max_length\":1000000000000000019884624838656,"
                  "\"bos_token\":\"<|im_start|>\",\"eos_token\":"
                  "\"<|im_end|>\",\"chat_template\":\"{{ 'from config' }}\"}"));
    hfdir_put(dir, "generation_config.json",
              STR("{\"eos_token_id\":[2,0],\"temperature\":0.6,"
                  "\"top_p\":0.95,\"top_k\":20,\"do_sample\":true}"));
    hfdir_weights(dir, s, shards, false);
    free(config);
    free(tokenizer);
}
