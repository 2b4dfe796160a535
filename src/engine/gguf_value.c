/* gguf_value.c - What metadata values mean, and the names of types. */
#include <endian.h>

#include "engine/gguf.h"

/* Tensor types by their numbers in a file; those without a name were given
 * up by the format. */
static const char *const tensor_types[] = {
    [0] = "F32",         [1] = "F16",         [2] = "Q4_0",
    [3] = "Q4_1",        [6] = "Q5_0",        [7] = "Q5_1",
    [8] = "Q8_0",        [9] = "Q8_1",        [10] = "Q2_K",
    [11] = "Q3_K",       [12] = "Q4_K",       [13] = "Q5_K",
    [14] = "Q6_K",       [15] = "Q8_K",       [16] = "IQ2_XXS",
    [17] = "IQ2_XS",     [18] = "IQ3_XXS",    [19] = "IQ1_S",
    [20] = "IQ4_NL",     [21] = "IQ3_S",      [22] = "IQ2_S",
    [23] = "IQ4_XS",     [24] = "I8",         [25] = "I16",
    [26] = "I32",        [27] = "I64",        [28] = "F64",
    [29] = "IQ1_M",      [30] = "BF16",       [31] = "Q4_0_4_4",
    [32] = "Q4_0_4_8",   [33] = "Q4_0_8_8",   [34] = "TQ1_0",
    [35] = "TQ2_0",      [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8",
    [38] = "IQ4_NL_8_8", [39] = "MXFP4",      [40] = "NVFP4",
};

static const char *const value_types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = "uint8",    [GGUF_I8] = "int8",    [GGUF_U16] = "uint16",
    [GGUF_I16] = "int16",   [GGUF_U32] = "uint32", [GGUF_I32] = "int32",
    [GGUF_F32] = "float32", [GGUF_BOOL] = "bool",  [GGUF_STRING] = "string",
    [GGUF_ARRAY] = "array", [GGUF_U64] = "uint64", [GGUF_I64] = "int64",
    [GGUF_F64] = "float64",
};

const char *gguf_tensor_type_name(uint32_t type)
{
    if (type >= sizeof(tensor_types) / sizeof(tensor_types[0]))
        return NULL;
    return tensor_types[type];
}

const char *gguf_type_name(enum gguf_type t)
{
    return (unsigned)t < GGUF_TYPE_COUNT ? value_types[t] : "";
}

static uint64_t load_le(const char *p, size_t len)
{
    uint64_t v = 0;

    memcpy(&v, p, len);
    return le64toh(v);
}

/* An integer of any type, sign extended. False for other types. */
static bool as_integer(const struct gguf_value *v, bool *negative_out,
                       uint64_t *out)
{
    const char *p = v->bytes.p;
    int64_t s;

    *negative_out = false;
    switch (v->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        *out = load_le(p, v->bytes.len);
        return true;
    case GGUF_I8:
        s = (int8_t)load_le(p, 1);
        break;
    case GGUF_I16:
        s = (int16_t)load_le(p, 2);
        break;
    case GGUF_I32:
        s = (int32_t)load_le(p, 4);
        break;
    case GGUF_I64:
        s = (int64_t)load_le(p, 8);
        break;
    default:
        return false;
    }
    *negative_out = s < 0;
    *out = (uint64_t)s;
    return true;
}

bool gguf_as_u64(const struct gguf_value *v, uint64_t *out)
{
    bool negative;
    uint64_t u;

    if (!as_integer(v, &negative, &u) || negative)
        return false;
    *out = u;
    return true;
}

bool gguf_as_f64(const struct gguf_value *v, double *out)
{
    bool negative;
    uint64_t u;
    uint32_t bits;
    float f;

    if (v->type == GGUF_F32) {
        bits = (uint32_t)load_le(v->bytes.p, 4);
        memcpy(&f, &bits, sizeof(f));
        *out = (double)f;
        return true;
    }
    if (v->type == GGUF_F64) {
        u = load_le(v->bytes.p, 8);
        memcpy(out, &u, sizeof(*out));
        return true;
    }
    if (!as_integer(v, &negative, &u))
        return false;
    *out = negative ? (double)(int64_t)u : (double)u;
    return true;
}

bool gguf_as_bool(const struct gguf_value *v, bool *out)
{
    if (v->type != GGUF_BOOL)
        return false;
    *out = v->bytes.p[0] != 0;
    return true;
}

bool gguf_as_str(const struct gguf_value *v, struct str *out)
{
    if (v->type != GGUF_STRING)
        return false;
    *out = v->bytes;
    return true;
}

struct gguf_value gguf_item(const struct gguf_value *array, size_t i)
{
    size_t each = array->n ? array->bytes.len / array->n : 0;

    return (struct gguf_value){
        .type = array->item,
        .n = 1,
        .bytes = {array->bytes.p + i * each, each},
    };
}

bool gguf_strings(const struct gguf_value *array, struct str *out)
{
    const char *p = array->bytes.p;

    if (array->type != GGUF_ARRAY || array->item != GGUF_STRING)
        return false;
    for (size_t i = 0; i < array->n; i++) {
        size_t len = (size_t)load_le(p, 8);

        out[i] = (struct str){p + 8, len};
        p += 8 + len;
    }
    return true;
}
