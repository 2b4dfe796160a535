/* ggufw.h - A small writer of GGUF files for tests and benches: metadata and
 * tensors are told one by one, then the whole is built in memory or written to
 * a file. Asserts nothing about what it is told: damaged files are made with
 * it, too. Exits when there is no memory. */
#ifndef TG_TESTS_LIB_GGUFW_H
#define TG_TESTS_LIB_GGUFW_H

#include "base/str.h"
#include "engine/gguf.h"
#include "kernels/krn.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ggufw;

/* Fill <len> bytes of tensor number <i> from its byte <at> on. Calls come in
 * ascending order; <len> is a whole number of blocks. */
typedef void ggufw_fill_fn(void *arg, unsigned i, uint64_t at, void *to,
                           size_t len);

/* What a tensor is. */
struct ggufw_tensor {
    char name[64];
    unsigned n_dims;
    uint64_t dims[4];
    uint32_t type; /* as in the file */
    uint64_t offset, bytes;
};

/* An empty file of <version>, tensors aligned to 32. */
struct ggufw *ggufw_new(uint32_t version);

/* Free; NULL is fine. */
void ggufw_free(struct ggufw *w);

/* Add a metadata pair. */
void ggufw_u32(struct ggufw *w, const char *key, uint32_t v);
void ggufw_f32(struct ggufw *w, const char *key, float v);
void ggufw_bool(struct ggufw *w, const char *key, bool v);
void ggufw_str(struct ggufw *w, const char *key, const char *v);
void ggufw_strs(struct ggufw *w, const char *key, const struct str *v,
                size_t n);
void ggufw_i32s(struct ggufw *w, const char *key, const int32_t *v, size_t n);
void ggufw_f32s(struct ggufw *w, const char *key, const float *v, size_t n);

/* A pair of any type whose value is <bytes> as they stand. */
void ggufw_raw(struct ggufw *w, const char *key, uint32_t type,
               struct str bytes);

/* Replace the value bytes of scalar <key> by the <len> at <p>; false when there
 * is no such pair of that length. */
bool ggufw_set(struct ggufw *w, const char *key, const void *p, size_t len);

/* Forget the pair <key>; false when there is none. */
bool ggufw_drop(struct ggufw *w, const char *key);

/* Add a tensor of <n_out> rows (0: a vector) of <n_in>; its number. */
unsigned ggufw_tensor(struct ggufw *w, const char *name, enum krn_dtype t,
                      uint64_t n_out, uint64_t n_in);

/* The tensors, to look at or to damage, and how many. */
struct ggufw_tensor *ggufw_tensors(struct ggufw *w, unsigned *n_out);

/* Number of a type in the file. */
uint32_t ggufw_type(enum krn_dtype t);

/* The whole file in memory, to be freed; tensors are zeros without <fill>. */
char *ggufw_build(struct ggufw *w, ggufw_fill_fn *fill, void *arg,
                  size_t *len_out);

/* Write the whole to <f>; false when a write fails. */
bool ggufw_write(struct ggufw *w, ggufw_fill_fn *fill, void *arg, FILE *f);

#endif
