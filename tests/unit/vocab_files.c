/* vocab_files.c - See vocab_files.h. */
#include "unit/vocab_files.h"

#include <stdio.h>
#include <stdlib.h>

/* Elements of an array whose type is told by its first; strings are slices. */
struct array {
    uint32_t type;
    uint64_t n;
    const char *at;
};

struct reader {
    const char *at;
    struct str *text;
    struct str *merges;
    struct vocab_spec spec;
};

const char *vocab_files_dir(void)
{
    const char *dir = getenv("TOLLGATE_TEST_DATA");

    return dir ? dir : TG_SRCDIR "/../shared/data";
}

struct str vocab_files_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct str s = {NULL, 0};
    char *p = NULL;
    long n;

    if (!f)
        return s;
    if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) >= 0) {
        rewind(f);
        p = malloc((size_t)n + 1);
        if (p && fread(p, 1, (size_t)n, f) == (size_t)n)
            s = str_of(p, (size_t)n);
        else
            free(p);
    }
    fclose(f);
    return s;
}

static uint64_t take(struct reader *r, size_t bytes)
{
    uint64_t v = 0;

    memcpy(&v, r->at, bytes);
    r->at += bytes;
    return v;
}

static struct str take_str(struct reader *r)
{
    size_t n = (size_t)take(r, 8);
    struct str s = str_of(r->at, n);

    r->at += n;
    return s;
}

/* Bytes of a number of GGUF's <type>. */
static size_t width(uint32_t type)
{
    static const unsigned char widths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8};

    return type < sizeof(widths) ? widths[type] : 8;
}

static struct str *take_strs(struct reader *r, uint64_t n)
{
    struct str *all = malloc((n + 1) * sizeof(*all));

    for (uint64_t i = 0; all && i < n; i++)
        all[i] = take_str(r);
    return all;
}

static void take_array(struct reader *r, struct str key)
{
    uint32_t type = (uint32_t)take(r, 4);
    uint64_t n = take(r, 8);

    if (type == 8) {
        struct str *all = take_strs(r, n);

        if (str_eq(key, STR("tokenizer.ggml.tokens"))) {
            r->text = all;
            r->spec.n = n;
        } else if (str_eq(key, STR("tokenizer.ggml.merges"))) {
            r->merges = all;
            r->spec.n_merges = n;
        } else {
            free(all);
        }
        return;
    }
    if (str_eq(key, STR("tokenizer.ggml.scores")))
        r->spec.scores = (const float *)(const void *)r->at;
    if (str_eq(key, STR("tokenizer.ggml.token_type")))
        r->spec.types = (const int32_t *)(const void *)r->at;
    r->at += n * width(type);
}

static void use_number(struct vocab_spec *s, struct str key, uint64_t v)
{
    struct {
        struct str key;
        int32_t *id;
    } const ids[] = {
        {STR("tokenizer.ggml.bos_token_id"), &s->bos},
        {STR("tokenizer.ggml.eos_token_id"), &s->eos},
        {STR("tokenizer.ggml.eot_token_id"), &s->eot},
        {STR("tokenizer.ggml.eom_token_id"), &s->eom},
        {STR("tokenizer.ggml.unknown_token_id"), &s->unk},
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (str_eq(key, ids[i].key))
            *ids[i].id = (int32_t)v;
    }
    if (str_eq(key, STR("tokenizer.ggml.add_bos_token")))
        s->add_bos = v ? VOCAB_YES : VOCAB_NO;
    if (str_eq(key, STR("tokenizer.ggml.add_eos_token")))
        s->add_eos = v ? VOCAB_YES : VOCAB_NO;
    if (str_eq(key, STR("tokenizer.ggml.add_space_prefix")))
        s->add_space_prefix = v ? VOCAB_YES : VOCAB_NO;
}

static void take_pair(struct reader *r)
{
    struct str key = take_str(r);
    uint32_t type = (uint32_t)take(r, 4);
    struct str s;

    if (type == 9) {
        take_array(r, key);
        return;
    }
    if (type != 8) {
        use_number(&r->spec, key, take(r, width(type)));
        return;
    }
    s = take_str(r);
    if (str_eq(key, STR("tokenizer.ggml.model")))
        r->spec.kind = str_eq(s, STR("llama")) ? VOCAB_SPM : VOCAB_BPE;
    if (str_eq(key, STR("tokenizer.ggml.pre")))
        r->spec.pre = s;
    if (str_eq(key, STR("general.name")))
        r->spec.model_name = s;
}

static const struct vocab_spec unsaid = {
    .bos = -1,
    .eos = -1,
    .eot = -1,
    .eom = -1,
    .unk = -1,
    .pad = -1,
    .add_bos = VOCAB_UNSAID,
    .add_eos = VOCAB_UNSAID,
    .add_space_prefix = VOCAB_UNSAID,
};

/* Arrays of numbers lie anywhere in the file: copy those that are used. */
static void *aligned(const void *p, size_t bytes)
{
    void *copy = p ? malloc(bytes) : NULL;

    if (copy)
        memcpy(copy, p, bytes);
    return copy;
}

struct vocab *vocab_files_gguf(const char *path, struct vocab_fault *why)
{
    struct str file = vocab_files_read(path);
    struct reader r = {.at = file.p, .spec = unsaid};
    struct vocab *v = NULL;
    uint64_t n;
    float *scores;
    int32_t *types;

    if (!file.p || file.len < 24)
        return NULL;
    r.at += 16;
    n = take(&r, 8);
    for (uint64_t i = 0; i < n; i++)
        take_pair(&r);
    r.spec.text = r.text;
    r.spec.merges = r.merges;
    scores = aligned(r.spec.scores, r.spec.n * sizeof(*scores));
    types = aligned(r.spec.types, r.spec.n * sizeof(*types));
    r.spec.scores = scores;
    r.spec.types = types;
    if (vocab_new(&r.spec, why, &v))
        v = NULL;
    free(scores);
    free(types);
    free(r.text);
    free(r.merges);
    free((char *)(uintptr_t)file.p);
    return v;
}

/* The lines of <file>; a last one without an end counts. */
static struct str *lines(struct str file, size_t *n_out)
{
    struct str *all = malloc((file.len + 1) * sizeof(*all)), line;
    size_t n = 0;

    while (all && str_split(&file, '\n', &line))
        all[n++] = line;
    *n_out = n;
    return all;
}

struct vocab *vocab_files_lists(const char *tokens, const char *merges,
                                const char *pre, struct vocab_fault *why)
{
    struct str a = vocab_files_read(tokens), b = vocab_files_read(merges);
    struct vocab_spec spec = unsaid;
    struct vocab *v = NULL;
    struct str *text = NULL, *list = NULL;

    if (a.p && b.p) {
        spec.kind = VOCAB_BPE;
        spec.pre = str_from(pre);
        spec.text = text = lines(a, &spec.n);
        spec.merges = list = lines(b, &spec.n_merges);
        if (vocab_new(&spec, why, &v))
            v = NULL;
    }
    free(text);
    free(list);
    free((char *)(uintptr_t)a.p);
    free((char *)(uintptr_t)b.p);
    return v;
}
