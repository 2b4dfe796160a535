/* gguf.c - See gguf.h. One pass over the header with a cursor that never
 * passes the end; a count is believed only when as many of the smallest
 * things fit what is left. */
#include "engine/gguf.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/model_fault.h"

#define DEFAULT_ALIGNMENT 32
#define NAME_MAX_BYTES    256 /* of a tensor */
#define KEY_MAX_BYTES     65535
#define PAIR_MIN_BYTES    13 /* key length, type, one byte */
#define TENSOR_MIN_BYTES  32 /* name length, dims, one dim, type, offset */
#define ARRAY_HEAD_BYTES  12 /* item type, count */
#define DEPTH_MAX         8  /* arrays in arrays */

/* Where the parser stands. */
struct cursor {
    struct str left;
    struct model_fault *why;
};

/* Bytes of a scalar; 0 for strings and arrays. */
static const uint8_t scalar_bytes[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
    [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
    [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

static bool take(struct cursor *c, size_t len, struct str *out)
{
    if (c->left.len < len)
        return false;
    *out = (struct str){c->left.p, len};
    c->left = str_skip(c->left, len);
    return true;
}

static bool take_u32(struct cursor *c, uint32_t *out)
{
    struct str b;

    if (!take(c, 4, &b))
        return false;
    memcpy(out, b.p, 4);
    *out = le32toh(*out);
    return true;
}

static bool take_u64(struct cursor *c, uint64_t *out)
{
    struct str b;

    if (!take(c, 8, &b))
        return false;
    memcpy(out, b.p, 8);
    *out = le64toh(*out);
    return true;
}

static bool take_string(struct cursor *c, struct str *out)
{
    uint64_t len;

    return take_u64(c, &len) && len <= c->left.len && take(c, len, out);
}

/* Take <n> items that are no arrays. */
static bool take_items(struct cursor *c, enum gguf_type item, uint64_t n)
{
    struct str s;

    if (item != GGUF_STRING) {
        size_t each = scalar_bytes[item];

        return n <= c->left.len / each && take(c, n * each, &s);
    }
    if (n > c->left.len / 8)
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!take_string(c, &s))
            return false;
    return true;
}

static bool take_array_head(struct cursor *c, enum gguf_type *item_out,
                            uint64_t *n_out)
{
    uint32_t type;

    if (!take_u32(c, &type) || type >= GGUF_TYPE_COUNT || !take_u64(c, n_out))
        return false;
    *item_out = (enum gguf_type)type;
    return true;
}

/* Take what is behind the head of an array of arrays, without recursion:
 * open[k] arrays are still to come on level k. */
static bool take_arrays(struct cursor *c, uint64_t n)
{
    uint64_t open[DEPTH_MAX] = {n}, count;
    unsigned depth = 0;
    enum gguf_type item;

    if (n > c->left.len / ARRAY_HEAD_BYTES)
        return false;
    for (;;) {
        while (open[depth] == 0 && depth > 0)
            depth--;
        if (open[depth] == 0)
            return true;
        open[depth]--;
        if (!take_array_head(c, &item, &count))
            return false;
        if (item != GGUF_ARRAY) {
            if (!take_items(c, item, count))
                return false;
            continue;
        }
        if (++depth == DEPTH_MAX || count > c->left.len / ARRAY_HEAD_BYTES)
            return false;
        open[depth] = count;
    }
}

static bool take_array(struct cursor *c, struct gguf_value *out)
{
    const char *from;
    uint64_t n;

    if (!take_array_head(c, &out->item, &n))
        return false;
    from = c->left.p;
    if (out->item == GGUF_ARRAY ? !take_arrays(c, n)
                                : !take_items(c, out->item, n))
        return false;
    out->n = (size_t)n;
    out->bytes = (struct str){from, (size_t)(c->left.p - from)};
    return true;
}

static enum err take_pair(struct cursor *c, size_t i, struct gguf_pair *out)
{
    struct gguf_value *v = &out->value;
    uint32_t type;
    bool ok;

    if (!take_string(c, &out->key))
        return model_fail(c->why, ERR_SYNTAX,
                          "metadata key %zu is cut off or too long", i);
    if (out->key.len == 0 || out->key.len > KEY_MAX_BYTES)
        return model_fail(c->why, ERR_SYNTAX,
                          "metadata key %zu has a length of %zu", i,
                          out->key.len);
    if (!take_u32(c, &type) || type >= GGUF_TYPE_COUNT)
        return model_fail(c->why, ERR_SYNTAX, "metadata '%s' has no known type",
                          model_show(out->key).text);
    *v = (struct gguf_value){.type = (enum gguf_type)type, .n = 1};
    if (v->type == GGUF_STRING)
        ok = take_string(c, &v->bytes);
    else if (v->type == GGUF_ARRAY)
        ok = take_array(c, v);
    else
        ok = take(c, scalar_bytes[type], &v->bytes);
    if (ok && v->type == GGUF_BOOL)
        ok = (unsigned char)v->bytes.p[0] <= 1;
    if (!ok)
        return model_fail(c->why, ERR_SYNTAX,
                          "metadata '%s' (%s) is damaged or cut off",
                          model_show(out->key).text, gguf_type_name(v->type));
    return ERR_OK;
}

static enum krn_dtype dtype_of(uint32_t type)
{
    const char *name = gguf_tensor_type_name(type);

    for (unsigned t = 0; name && t < KRN_DTYPE_COUNT; t++)
        if (strcmp(krn_dtype_name((enum krn_dtype)t), name) == 0)
            return (enum krn_dtype)t;
    return KRN_DTYPE_COUNT;
}

static enum err take_tensor(struct cursor *c, size_t i, struct gguf_tensor *out)
{
    uint32_t n_dims;

    if (!take_string(c, &out->name) || out->name.len == 0 ||
        out->name.len > NAME_MAX_BYTES)
        return model_fail(c->why, ERR_SYNTAX,
                          "the name of tensor %zu is damaged or cut off", i);
    if (!take_u32(c, &n_dims) || n_dims < 1 || n_dims > GGUF_DIMS_MAX)
        return model_fail(c->why, ERR_SYNTAX,
                          "tensor '%s' has no sound number of dimensions",
                          model_show(out->name).text);
    out->n_dims = n_dims;
    for (unsigned d = 0; d < GGUF_DIMS_MAX; d++) {
        out->dims[d] = 1;
        if (d < n_dims && (!take_u64(c, &out->dims[d]) || out->dims[d] == 0))
            return model_fail(c->why, ERR_SYNTAX,
                              "tensor '%s' has no sound dimension %u",
                              model_show(out->name).text, d);
    }
    if (!take_u32(c, &out->type) || !take_u64(c, &out->offset))
        return model_fail(c->why, ERR_SYNTAX, "tensor '%s' is cut off",
                          model_show(out->name).text);
    if (!gguf_tensor_type_name(out->type))
        return model_fail(c->why, ERR_SYNTAX,
                          "tensor '%s' has the unknown type %" PRIu32,
                          model_show(out->name).text, out->type);
    out->dtype = dtype_of(out->type);
    return ERR_OK;
}

/* --- sorting and looking up --------------------------------------------- */

static int str_order(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int d = n ? memcmp(a.p, b.p, n) : 0;

    return d ? d : (a.len > b.len) - (a.len < b.len);
}

static int pair_order(const void *a, const void *b)
{
    return str_order(((const struct gguf_pair *)a)->key,
                     ((const struct gguf_pair *)b)->key);
}

static int tensor_order(const void *a, const void *b)
{
    return str_order(((const struct gguf_tensor *)a)->name,
                     ((const struct gguf_tensor *)b)->name);
}

static int place_order(const void *a, const void *b)
{
    const struct gguf_tensor *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

const struct gguf_value *gguf_find(const struct gguf *g, struct str key)
{
    struct gguf_pair want = {.key = key};
    const struct gguf_pair *p;

    p = g->n_pairs
            ? bsearch(&want, g->pairs, g->n_pairs, sizeof(want), pair_order)
            : NULL;
    return p ? &p->value : NULL;
}

/* --- the whole ---------------------------------------------------------- */

static enum err take_head(struct cursor *c, struct gguf *g)
{
    uint64_t n_tensors, n_pairs;
    struct str magic;
    uint32_t version;

    if (!take(c, 4, &magic) || !str_eq(magic, STR("GGUF")))
        return model_fail(c->why, ERR_SYNTAX, "this is not a GGUF file");
    if (!take_u32(c, &version))
        return model_fail(c->why, ERR_SYNTAX, "the GGUF header is cut off");
    if (version != 0 && (version & 0xffff) == 0)
        return model_fail(c->why, ERR_REFUSED,
                          "big-endian GGUF is not supported; supported: "
                          "little-endian");
    if (version != 2 && version != 3)
        return model_fail(c->why, ERR_REFUSED,
                          "GGUF version %" PRIu32 " is not supported; "
                          "supported: 2, 3",
                          version);
    g->version = version;
    if (!take_u64(c, &n_tensors) || !take_u64(c, &n_pairs))
        return model_fail(c->why, ERR_SYNTAX, "the GGUF header is cut off");
    if (n_tensors > c->left.len / TENSOR_MIN_BYTES ||
        n_tensors > GGUF_TENSORS_MAX)
        return model_fail(c->why, ERR_SYNTAX,
                          "%" PRIu64 " tensors cannot be in this file",
                          n_tensors);
    if (n_pairs > c->left.len / PAIR_MIN_BYTES || n_pairs > GGUF_PAIRS_MAX)
        return model_fail(c->why, ERR_SYNTAX,
                          "%" PRIu64 " metadata pairs cannot be in this file",
                          n_pairs);
    g->n_tensors = (size_t)n_tensors;
    g->n_pairs = (size_t)n_pairs;
    return ERR_OK;
}

static enum err take_pairs(struct cursor *c, struct gguf *g)
{
    enum err e = ERR_OK;

    g->pairs = calloc(g->n_pairs + 1, sizeof(*g->pairs));
    if (!g->pairs)
        return model_fail(c->why, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_pairs && e == ERR_OK; i++)
        e = take_pair(c, i, &g->pairs[i]);
    if (e != ERR_OK)
        return e;
    qsort(g->pairs, g->n_pairs, sizeof(*g->pairs), pair_order);
    for (size_t i = 1; i < g->n_pairs; i++)
        if (str_eq(g->pairs[i - 1].key, g->pairs[i].key))
            return model_fail(c->why, ERR_SYNTAX,
                              "metadata '%s' is there twice",
                              model_show(g->pairs[i].key).text);
    return ERR_OK;
}

static enum err find_alignment(struct cursor *c, struct gguf *g)
{
    const struct gguf_value *v = gguf_find(g, STR("general.alignment"));
    uint64_t a = DEFAULT_ALIGNMENT;

    if (v &&
        (!gguf_as_u64(v, &a) || a == 0 || (a & (a - 1)) != 0 || a > UINT32_MAX))
        return model_fail(c->why, ERR_SYNTAX,
                          "general.alignment is not a power of two");
    g->alignment = a;
    return ERR_OK;
}

static enum err take_tensors(struct cursor *c, struct gguf *g)
{
    enum err e = ERR_OK;

    g->tensors = calloc(g->n_tensors + 1, sizeof(*g->tensors));
    if (!g->tensors)
        return model_fail(c->why, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_tensors && e == ERR_OK; i++)
        e = take_tensor(c, i, &g->tensors[i]);
    return e;
}

/* Bytes of <t> by its shape; false when they are no whole blocks or more than
 * can be. */
static bool tensor_size(const struct gguf_tensor *t, uint64_t *out)
{
    uint64_t block = krn_dtype_block(t->dtype);
    uint64_t n = t->dims[0] / block;

    if (t->dims[0] % block != 0)
        return false;
    for (unsigned d = 1; d < GGUF_DIMS_MAX; d++)
        if (__builtin_mul_overflow(n, t->dims[d], &n))
            return false;
    return !__builtin_mul_overflow(n, krn_dtype_bytes(t->dtype), out) &&
           *out <= SIZE_MAX / 2;
}

/* Find <t> in the data. */
static enum err place_tensor(struct cursor *c, const struct gguf *g,
                             struct gguf_tensor *t)
{
    const struct model_shown name = model_show(t->name);
    uint64_t bytes;

    if (t->offset % g->alignment != 0)
        return model_fail(c->why, ERR_SYNTAX,
                          "tensor '%s' is not aligned to %" PRIu64, name.text,
                          g->alignment);
    if (t->dtype == KRN_DTYPE_COUNT)
        return ERR_OK;
    if (!tensor_size(t, &bytes))
        return model_fail(c->why, ERR_SYNTAX,
                          "tensor '%s' has an impossible shape for type %s",
                          name.text, krn_dtype_name(t->dtype));
    if (t->offset > g->data.len || bytes > g->data.len - t->offset)
        return model_fail(c->why, ERR_SYNTAX,
                          "tensor '%s' reaches beyond the end of the file; is "
                          "the file complete?",
                          name.text);
    t->data = g->data.p + t->offset;
    t->bytes = (size_t)bytes;
    return ERR_OK;
}

/* No two tensors may share a byte. */
static enum err check_overlap(struct cursor *c, struct gguf *g)
{
    const struct gguf_tensor *last = NULL;

    qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), place_order);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];

        if (!t->data)
            continue;
        if (last && t->offset < last->offset + last->bytes)
            return model_fail(
                c->why, ERR_SYNTAX, "tensors '%s' and '%s' overlap",
                model_show(last->name).text, model_show(t->name).text);
        last = t;
    }
    return ERR_OK;
}

static enum err place_tensors(struct cursor *c, struct str image,
                              struct gguf *g)
{
    size_t head = image.len - c->left.len;
    size_t pad = (size_t)(-(uint64_t)head & (g->alignment - 1));
    enum err e = ERR_OK;

    g->data = str_skip(c->left, pad);
    for (size_t i = 0; i < g->n_tensors && e == ERR_OK; i++)
        e = place_tensor(c, g, &g->tensors[i]);
    if (e == ERR_OK)
        e = check_overlap(c, g);
    if (e != ERR_OK)
        return e;
    qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), tensor_order);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (str_eq(g->tensors[i - 1].name, g->tensors[i].name))
            return model_fail(c->why, ERR_SYNTAX, "tensor '%s' is there twice",
                              model_show(g->tensors[i].name).text);
    return ERR_OK;
}

enum err gguf_parse(struct str image, struct model_fault *why,
                    struct gguf **out)
{
    struct cursor c = {.left = image, .why = why};
    struct gguf *g = calloc(1, sizeof(*g));
    enum err e;

    if (!g)
        return model_fail(why, ERR_NOMEM, "out of memory");
    e = take_head(&c, g);
    if (e == ERR_OK)
        e = take_pairs(&c, g);
    if (e == ERR_OK)
        e = find_alignment(&c, g);
    if (e == ERR_OK)
        e = take_tensors(&c, g);
    if (e == ERR_OK)
        e = place_tensors(&c, image, g);
    if (e != ERR_OK) {
        gguf_free(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

void gguf_free(struct gguf *g)
{
    if (!g)
        return;
    free(g->pairs);
    free(g->tensors);
    free(g);
}
