/* safetensors.c - See safetensors.h. */
#include "engine/safetensors.h"

#include <endian.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "engine/model_fault.h"

#define DIMS_MAX    4
#define TENSORS_MAX (1u << 18)

/* What is needed while entries are read. */
struct reader {
    struct str data; /* behind the header */
    const char *file;
    struct model_fault *why;
};

static enum krn_dtype dtype_of(const char *name)
{
    static const enum krn_dtype known[] = {KRN_F32, KRN_F16, KRN_BF16};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(name, krn_dtype_name(known[i])) == 0)
            return known[i];
    return KRN_DTYPE_COUNT;
}

/* Item <i> of <array> as a whole number that is not negative. */
static bool item_u64(const json_t *array, size_t i, uint64_t *out)
{
    const json_t *v = json_array_get(array, i);

    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* The shape, the length of a row first. */
static bool read_shape(const json_t *shape, struct model_entry *out)
{
    size_t n = json_array_size(shape);

    if (!json_is_array(shape) || n > DIMS_MAX)
        return false;
    for (size_t d = 0; d < DIMS_MAX; d++)
        out->dims[d] = 1;
    for (size_t d = 0; d < n; d++)
        if (!item_u64(shape, n - 1 - d, &out->dims[d]) || out->dims[d] == 0)
            return false;
    out->n_dims = (unsigned)n;
    return true;
}

/* Whether the shape of <e> takes exactly its bytes. */
static bool fits_shape(const struct model_entry *e)
{
    uint64_t bytes = krn_dtype_bytes(e->dtype);

    for (unsigned d = 0; d < DIMS_MAX; d++)
        if (__builtin_mul_overflow(bytes, e->dims[d], &bytes))
            return false;
    return bytes == e->bytes;
}

static enum err read_entry(const struct reader *r, const char *name,
                           const json_t *v, struct model_entry *out)
{
    const struct model_shown shown = model_show(str_from(name));
    const json_t *at = json_object_get(v, "data_offsets");
    const char *type = json_string_value(json_object_get(v, "dtype"));
    uint64_t from, to;

    *out = (struct model_entry){
        .name = str_from(name), .type = type, .file = r->file};
    if (!type)
        return model_fail(r->why, ERR_SYNTAX, "tensor '%s' has no dtype",
                          shown.text);
    out->dtype = dtype_of(type);
    if (!read_shape(json_object_get(v, "shape"), out))
        return model_fail(r->why, ERR_SYNTAX, "tensor '%s' has no sound shape",
                          shown.text);
    if (json_array_size(at) != 2 || !item_u64(at, 0, &from) ||
        !item_u64(at, 1, &to) || from > to)
        return model_fail(r->why, ERR_SYNTAX,
                          "tensor '%s' has no sound data_offsets", shown.text);
    if (to > r->data.len)
        return model_fail(r->why, ERR_SYNTAX,
                          "tensor '%s' reaches beyond the end of the file; is "
                          "the file complete?",
                          shown.text);
    out->data = r->data.p + from;
    out->bytes = (size_t)(to - from);
    if (out->dtype != KRN_DTYPE_COUNT && !fits_shape(out))
        return model_fail(r->why, ERR_SYNTAX,
                          "tensor '%s' has %zu bytes, which is not what its "
                          "shape takes",
                          shown.text, out->bytes);
    return ERR_OK;
}

static int place_order(const void *a, const void *b)
{
    const char *x = ((const struct model_entry *)a)->data;
    const char *y = ((const struct model_entry *)b)->data;

    return (x > y) - (x < y);
}

/* No two of the <n> tensors at <v> may share a byte. */
static enum err check_overlap(const struct reader *r, struct model_entry *v,
                              size_t n)
{
    const struct model_entry *last = NULL;

    if (n > 0)
        qsort(v, n, sizeof(*v), place_order);
    for (size_t i = 0; i < n; i++) {
        if (v[i].bytes == 0)
            continue;
        if (last &&
            (const char *)v[i].data < (const char *)last->data + last->bytes)
            return model_fail(
                r->why, ERR_SYNTAX, "tensors '%s' and '%s' overlap",
                model_show(last->name).text, model_show(v[i].name).text);
        last = &v[i];
    }
    return ERR_OK;
}

/* Append the tensors of <header>. */
static enum err read_entries(const struct reader *r, json_t *header,
                             struct model_entries *all, size_t *n_out)
{
    size_t n = json_object_size(header);
    struct model_entry *v;
    enum err e = ERR_OK;
    const char *name;
    json_t *value;
    size_t got = 0;

    if (n > TENSORS_MAX || all->n + n > TENSORS_MAX)
        return model_fail(r->why, ERR_SYNTAX, "there are %zu tensors",
                          all->n + n);
    v = realloc(all->v, (all->n + n + 1) * sizeof(*v));
    if (!v)
        return model_fail(r->why, ERR_NOMEM, "out of memory");
    all->v = v;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        e = read_entry(r, name, value, &v[all->n + got]);
        if (e != ERR_OK)
            return e;
        got++;
    }
    e = check_overlap(r, v + all->n, got);
    all->n += got;
    *n_out = got;
    return e;
}

enum err safetensors_parse(struct str image, const char *file,
                           struct model_fault *why, struct model_entries *all,
                           struct safetensors *out)
{
    struct reader r = {.file = file, .why = why};
    json_error_t err;
    uint64_t len;
    enum err e;

    if (image.len < 8)
        return model_fail(why, ERR_SYNTAX, "this is not a safetensors file");
    memcpy(&len, image.p, 8);
    len = le64toh(len);
    if (len > image.len - 8 || len < 2 || image.p[8] != '{')
        return model_fail(why, ERR_SYNTAX,
                          "this is not a safetensors file, or it is cut off");
    if (len > SAFETENSORS_HEADER_MAX)
        return model_fail(why, ERR_SYNTAX,
                          "the header of %" PRIu64 " bytes is too long", len);
    r.data = str_skip(image, 8 + (size_t)len);
    out->n = 0;
    out->header =
        json_loadb(image.p + 8, (size_t)len, JSON_REJECT_DUPLICATES, &err);
    if (!json_is_object(out->header)) {
        json_decref(out->header);
        out->header = NULL;
        return model_fail(why, ERR_SYNTAX, "the header is damaged: %s",
                          model_show(str_from(err.text)).text);
    }
    e = read_entries(&r, out->header, all, &out->n);
    if (e != ERR_OK)
        safetensors_fini(out);
    return e;
}

void safetensors_fini(struct safetensors *s)
{
    json_decref(s->header);
    s->header = NULL;
}
