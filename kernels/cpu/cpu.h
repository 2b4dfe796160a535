/* cpu.h - Matrices in panels, for vector instructions. A panel is 16 rows of
 * weights with their elements interleaved, so that a vector's lanes are rows:
 * no sum runs across lanes, and the order of each output's sum does not depend
 * on the width of vectors, the shape of tiles or who computes them.
 *
 * A type's tiles and the packing of x are code for an instruction set; what is
 * packed where, and who computes which part, is in portable C. */
#ifndef TG_KERNELS_CPU_CPU_H
#define TG_KERNELS_CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"
#include "kernels/krn_priv.h"

enum {
    CPU_LANES = 16,     /* rows of a panel */
    CPU_CUT = 256,      /* elements after which a chain of floats ends */
    CPU_CHAINS = 8,     /* of a cut of F32 weights */
    CPU_TILE_MAX = 12,  /* rows of x of the highest tile */
    CPU_WIDE_MAX = 4,   /* panels of the widest tile */
    CPU_PREFETCH = 1024 /* bytes that reading weights looks ahead */
};

/* How x is packed. A tile of mr rows is interleaved: [...][mr]. */
enum cpu_xform {
    CPU_X_FLOAT = 0, /* f32 [n_in][mr] */
    CPU_X_BYTES,     /* blocks of 32: 8 words of 4 signed bytes, then the
                      * words of enum cpu_xword; each [mr] */
    CPU_X_PAIRS,     /* blocks of 32: 16 words of 2 int16, then f32 scale */
    CPU_X_OFFSETS,   /* blocks of 32: 8 words of 4 signed bytes, then the
                      * words of enum cpu_oword; each [mr] */
    CPU_X_COUNT
};

/* Words of a block of CPU_X_BYTES after its 8 words of bytes. */
enum cpu_xword {
    CPU_XW_SCALE = 8, /* f32 */
    CPU_XW_SUM,       /* int32 sum of the 32 integers */
    CPU_XW_SCALED,    /* f32 (float)sum * scale */
    CPU_XW_HALVES,    /* sums of the first and the last 16, two int16 */
    CPU_XW_COUNT
};

/* Words of a block of CPU_X_OFFSETS after its 8 words of bytes: a dot with
 * weights that were made unsigned by adding an offset begins with minus that
 * times the sum of the integers. */
enum cpu_oword {
    CPU_XO_SCALE = 8, /* f32 */
    CPU_XO_SCALED,    /* f32 (float)sum * scale */
    CPU_XO_LESS8,     /* int32 -8 * sum */
    CPU_XO_LESS128,   /* int32 -128 * sum */
    CPU_XO_LESS32,    /* int32 -32 * sum of the first 16, then of the last */
    CPU_XO_COUNT = CPU_XO_LESS32 + 2
};

/* Words of a block of CPU_X_PAIRS. */
enum { CPU_XP_SCALE = 16, CPU_XP_COUNT }; /* words of CPU_X_PAIRS */

/* One call of a tile: mr rows of x by one panel or some. */
struct cpu_tile {
    const uint8_t *w;   /* the first panel's, from the first element on */
    size_t panel_bytes; /* from panel to panel */
    const void *x;      /* packed, from the first element on */
    size_t n;           /* elements */
    float *y;           /* (mr, 16 * panels) */
    size_t ldy;
    bool first; /* y is not read: the sum begins here */
};

/* Add the products of a tile to y; the number of rows and panels is the
 * function's own. */
typedef void cpu_tile_fn(const struct cpu_tile *t);

/* Widen <n> elements of a panel to f32 [n][16]. */
typedef void cpu_widen_fn(const uint8_t *w, size_t n, float *out);

/* Pack <mr> rows, <ldx> floats apart, of <n> elements. */
typedef void cpu_xpack_fn(const float *x, size_t ldx, unsigned mr, size_t n,
                          void *out);

/* A run of a file's block that a panel interleaves in units. */
struct cpu_run {
    uint16_t at;    /* byte of the block */
    uint16_t unit;  /* bytes: 2 or 4 */
    uint16_t count; /* units */
};
enum { CPU_RUNS = 5 };

/* One element type on one instruction set. */
struct cpu_kind {
    enum cpu_xform xform;
    struct cpu_run run[CPU_RUNS]; /* in the order of a panel; count 0 ends */
    cpu_tile_fn *const *tile;     /* by rows, 1 .. max_rows: one panel */
    cpu_tile_fn *const *wide;     /* by rows: wide_panels[] panels; entries or
                                   * all may be NULL */
    const uint8_t *wide_panels;
    cpu_widen_fn *widen; /* 16-bit floats, where it pays; else NULL */
    unsigned direct_max; /* types with widen: the most rows for which tiles read
                          * the type itself; above, widened cuts */
};

/* An instruction set. */
struct cpu_set {
    unsigned max_rows; /* of a tile */
    cpu_xpack_fn *xpack[CPU_X_COUNT];
    cpu_tile_fn *const *widened; /* tiles for cuts widened to f32, or NULL */
    struct cpu_kind kind[KRN_DTYPE_COUNT];
};

/* The sets, and the tables of operations that use them. */
extern const struct cpu_set cpu_set_avx2;
extern const struct cpu_set cpu_set_avx512;
extern const struct krn_mat_ops cpu_mat_ops_avx2;
extern const struct krn_mat_ops cpu_mat_ops_avx512;

/* Bytes of a panel for <n> elements; of a packed row of x. */
size_t cpu_panel_bytes(enum krn_dtype t, size_t n);
size_t cpu_xrow_bytes(enum cpu_xform f, size_t n);

/* y = x * w^T + bias for all outs, by the tiles of <set>. */
enum krn_status cpu_linear(struct krn_ctx *c, const struct cpu_set *set,
                           const float *x, size_t ldx, unsigned m, unsigned n,
                           const struct krn_out *outs) KRN_MUST_CHECK;

/* Interleave a file's rows in panels as <kind> wants them, and take one row
 * out again as floats. */
void cpu_pack(struct krn_ctx *c, const struct cpu_kind *kind,
              const struct krn_weight *w, const void *rows);
void cpu_unpack_row(const struct cpu_kind *kind, const struct krn_weight *w,
                    size_t row, float *y);

#endif
