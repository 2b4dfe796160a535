/* gguf.h - The container format GGUF, versions 2 and 3, little-endian: typed
 * metadata and tensors, all in one image in memory. Reads nothing beyond the
 * image, whatever its bytes are. Knows no model: see model.h. */
#ifndef TG_ENGINE_GGUF_H
#define TG_ENGINE_GGUF_H

#include "base/err.h"
#include "base/str.h"
#include "engine/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most dimensions of a tensor. */
#define GGUF_DIMS_MAX 4

/* Most tensors and most metadata pairs of a file. */
#define GGUF_TENSORS_MAX (1u << 18)
#define GGUF_PAIRS_MAX   (1u << 16)

/* Types of metadata values, numbered as in the file. */
enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

/* A value, borrowed from the image and checked to lie in it. */
struct gguf_value {
    enum gguf_type type;
    enum gguf_type item; /* of an array's items */
    size_t n;            /* items of an array, else 1 */
    struct str bytes;    /* the value; a string without its length, an array
                          * without its header */
};

/* A metadata pair. */
struct gguf_pair {
    struct str key; /* borrowed from the image */
    struct gguf_value value;
};

/* A tensor: dims[0] is the length of a row. */
struct gguf_tensor {
    struct str name;              /* borrowed from the image */
    unsigned n_dims;              /* 1 .. GGUF_DIMS_MAX */
    uint64_t dims[GGUF_DIMS_MAX]; /* > 0; 1 from n_dims on */
    uint32_t type;                /* as in the file */
    enum krn_dtype dtype; /* KRN_DTYPE_COUNT: a type that is not supported;
                           * its data was not looked at */
    uint64_t offset;      /* into the data */
    const void *data;     /* in the image; NULL when not supported */
    size_t bytes;
};

/* A parsed image; borrowed from are its bytes. */
struct gguf {
    unsigned version;
    size_t n_pairs, n_tensors;
    struct gguf_pair *pairs;     /* sorted by key, all different; owned */
    struct gguf_tensor *tensors; /* sorted by name, all different; owned */
    uint64_t alignment;          /* of tensors in the data, a power of two */
    struct str data;             /* all behind the header */
};

/* Parse <image>, which must outlive the result. ERR_SYNTAX: damaged;
 * ERR_REFUSED: another version or byte order; ERR_NOMEM. */
enum err gguf_parse(struct str image, struct model_fault *why,
                    struct gguf **out) MUST_CHECK;

/* Free; NULL is fine. */
void gguf_free(struct gguf *g);

/* The value of <key>, or NULL. */
const struct gguf_value *gguf_find(const struct gguf *g, struct str key);

/* A scalar as what it should be; false when the type does not fit (any integer
 * type fits a u64 that is not negative, any number a double). */
bool gguf_as_u64(const struct gguf_value *v, uint64_t *out);
bool gguf_as_f64(const struct gguf_value *v, double *out);
bool gguf_as_bool(const struct gguf_value *v, bool *out);
bool gguf_as_str(const struct gguf_value *v, struct str *out);

/* Item <i> (< n) of an array of numbers or booleans as a scalar value. */
struct gguf_value gguf_item(const struct gguf_value *array, size_t i);

/* Point <out> (array->n) at the items of an array of strings; false when it is
 * none. */
bool gguf_strings(const struct gguf_value *array, struct str *out);

/* Name of a tensor type by its number in the file: "Q4_1"; NULL for numbers
 * that are none. */
const char *gguf_tensor_type_name(uint32_t type);

/* Name of a metadata type; "" for none. */
const char *gguf_type_name(enum gguf_type t);

#endif
