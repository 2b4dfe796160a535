/* fz_gguf.c - Model files in GGUF: whatever the bytes are, the reader either
 * refuses them with a sentence or hands out a model all of whose tensors lie
 * in the image. Mutations know where the numbers of a header stand. */
#include <stdlib.h>

#include "base/panic.h"
#include "engine/gguf.h"
#include "engine/model.h"
#include "engine/model_fault.h"
#include "engine/model_priv.h"
#include "token/vocab.h"

#define FIELDS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Read every byte of <t>, which must lie in <image>. */
static void touch(struct str image, const struct model_tensor *t)
{
    const char *p = t->data;
    volatile char sum = 0;

    if (!p)
        return;
    BUG_ON(p < image.p || t->bytes > (size_t)(image.p + image.len - p));
    for (size_t i = 0; i < t->bytes; i++)
        sum = (char)(sum + p[i]);
}

static void check_model(struct str image, struct model *m)
{
    size_t per_layer = sizeof(*m->layers) / sizeof(struct model_tensor);

    touch(image, &m->embed);
    touch(image, &m->out_norm);
    touch(image, &m->output);
    for (unsigned l = 0; l < m->p.n_layer; l++)
        for (size_t i = 0; i < per_layer; i++)
            touch(image, (const struct model_tensor *)&m->layers[l] + i);
    BUG_ON(m->p.n_head % m->p.n_kv_head != 0 || m->p.rope.n_rot > m->p.d_head);
    BUG_ON(model_digest(m) != ERR_OK || strlen(m->digest) != 64);
    for (size_t i = 0; i < m->n_end_ids; i++)
        BUG_ON((unsigned)m->end_ids[i] >= vocab_size(m->vocab));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str image = str_of(data, size);
    struct model_fault why = {""};
    struct model *m = NULL;
    struct vocab *v = NULL;
    struct gguf *g;
    enum err e = model_open_gguf(image, &why, &m);

    BUG_ON((e == ERR_OK) != (m != NULL) ||
           (e != ERR_OK && why.text[0] == '\0'));
    if (m) {
        check_model(image, m);
        model_close(m);
        return 0;
    }
    if (gguf_parse(image, &why, &g) != ERR_OK)
        return 0;
    if (model_vocab_from_gguf(g, &why, &v) == ERR_OK)
        vocab_free(v);
    gguf_free(g);
    return 0;
}

/* --- mutations ---------------------------------------------------------- */

/* Where the numbers of a header stand, as far as it makes sense. */
struct fields {
    size_t at[FIELDS_MAX];
    uint8_t len[FIELDS_MAX];
    unsigned n;
    const uint8_t *p;
    size_t size, next;
};

/* Take a number of <len> bytes; 0 past the end. */
static uint64_t number(struct fields *f, uint8_t len)
{
    uint64_t v = 0;

    if (f->next > f->size || f->size - f->next < len) {
        f->next = f->size + 1;
        return 0;
    }
    memcpy(&v, f->p + f->next, len);
    if (f->n < FIELDS_MAX) {
        f->at[f->n] = f->next;
        f->len[f->n++] = len;
    }
    f->next += len;
    return v;
}

static void text(struct fields *f)
{
    uint64_t len = number(f, 8);

    f->next = len > f->size ? f->size + 1 : f->next + (size_t)len;
}

static void scalar(struct fields *f, uint64_t type)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

    if (type == GGUF_STRING)
        text(f);
    else if (type < sizeof(bytes) && bytes[type])
        number(f, bytes[type]);
    else
        f->next = f->size + 1;
}

static void value(struct fields *f, uint64_t type)
{
    uint64_t item, n;

    if (type != GGUF_ARRAY) {
        scalar(f, type);
        return;
    }
    item = number(f, 4);
    n = number(f, 8);
    for (uint64_t i = 0; i < n && f->next <= f->size; i++)
        scalar(f, item);
}

static void walk(struct fields *f)
{
    uint64_t tensors, pairs, dims;

    f->next = 4;
    number(f, 4);
    tensors = number(f, 8);
    pairs = number(f, 8);
    for (uint64_t i = 0; i < pairs && f->next <= f->size; i++) {
        text(f);
        value(f, number(f, 4));
    }
    for (uint64_t i = 0; i < tensors && f->next <= f->size; i++) {
        text(f);
        dims = number(f, 4);
        for (uint64_t d = 0; d < dims && f->next <= f->size; d++)
            number(f, 8);
        number(f, 4);
        number(f, 8);
    }
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Change one number: a little, to a bound, or to that of another place. */
static void change(uint8_t *data, const struct fields *f, uint64_t r)
{
    unsigned i = (unsigned)(r % f->n), k = (unsigned)(mix(r + 1) % f->n);
    uint64_t v = 0, how = mix(r + 2) % 8;

    memcpy(&v, data + f->at[i], f->len[i]);
    if (how < 3)
        v += mix(r + 3) % 65 - 32;
    else if (how == 3)
        v = 0;
    else if (how == 4)
        v = ~(uint64_t)0 >> mix(r + 4) % 64;
    else if (how == 5)
        v = (uint64_t)1 << mix(r + 5) % 64;
    else if (how == 6)
        v ^= (uint64_t)1 << mix(r + 6) % (8u * f->len[i]);
    else
        memcpy(&v, data + f->at[k], f->len[k]);
    memcpy(data + f->at[i], &v, f->len[i]);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    static struct fields f;

    if (mix(seed) % 4 == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    f.n = 0;
    f.p = data;
    f.size = size;
    walk(&f);
    if (f.n == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    for (uint64_t i = 0; i <= mix(seed + 9) % 3; i++)
        change(data, &f, mix(seed + 17 * i + 1));
    return size;
}
