/* cpu_pack.c - Rows of a file into panels, and one row out again. A block
 * keeps its bits: they only change places, in units of two or four bytes that
 * go to 16 lanes in turn. */
#include <emmintrin.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/pool.h"
#include "kernels/ref/ref.h"

enum { STAGE_UNITS = 32 }; /* of a float row, read at one go */

size_t cpu_panel_bytes(enum krn_dtype t, size_t n)
{
    return n / krn_dtype_block(t) * krn_dtype_bytes(t) * CPU_LANES;
}

static void units16(const uint8_t *src, size_t stride, unsigned rows,
                    unsigned count, uint8_t *dst)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned n = 0; n < rows; n++)
            memcpy(dst + (i * CPU_LANES + n) * 2, src + n * stride + i * 2, 2);
    }
}

static void units32(const uint8_t *src, size_t stride, unsigned rows,
                    unsigned count, uint8_t *dst)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned n = 0; n < rows; n++)
            memcpy(dst + (i * CPU_LANES + n) * 4, src + n * stride + i * 4, 4);
    }
}

static __m128i line(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* Eight units of two bytes of eight rows, turned. */
static void turn16(const uint8_t *src, size_t stride, uint8_t *dst)
{
    __m128i a[8];
    __m128i b[8];

    for (size_t i = 0; i < 8; i += 2) {
        a[i] = _mm_unpacklo_epi16(line(src + i * stride),
                                  line(src + (i + 1) * stride));
        a[i + 1] = _mm_unpackhi_epi16(line(src + i * stride),
                                      line(src + (i + 1) * stride));
    }
    for (size_t i = 0; i < 8; i += 4) {
        b[i] = _mm_unpacklo_epi32(a[i], a[i + 2]);
        b[i + 1] = _mm_unpackhi_epi32(a[i], a[i + 2]);
        b[i + 2] = _mm_unpacklo_epi32(a[i + 1], a[i + 3]);
        b[i + 3] = _mm_unpackhi_epi32(a[i + 1], a[i + 3]);
    }
    for (size_t i = 0; i < 4; i++) {
        __m128i *to = (__m128i *)(dst + i * 4 * CPU_LANES);

        _mm_storeu_si128(to, _mm_unpacklo_epi64(b[i], b[i + 4]));
        _mm_storeu_si128(to + 2, _mm_unpackhi_epi64(b[i], b[i + 4]));
    }
}

/* Four units of four bytes of four rows, turned. */
static void turn32(const uint8_t *src, size_t stride, uint8_t *dst)
{
    __m128i a[4];

    for (size_t i = 0; i < 2; i++) {
        __m128i even = line(src + 2 * i * stride);
        __m128i odd = line(src + (2 * i + 1) * stride);

        a[i] = _mm_unpacklo_epi32(even, odd);
        a[i + 2] = _mm_unpackhi_epi32(even, odd);
    }
    for (size_t i = 0; i < 2; i++) {
        __m128i *to = (__m128i *)(dst + i * 8 * CPU_LANES);

        _mm_storeu_si128(to, _mm_unpacklo_epi64(a[2 * i], a[2 * i + 1]));
        _mm_storeu_si128(to + 4, _mm_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
    }
}

/* <count> units of 16 rows: as many as can be in squares. */
static void units_turn(const struct cpu_run *run, const uint8_t *src,
                       size_t stride, uint8_t *dst)
{
    unsigned side = run->unit == 2 ? 8 : 4;
    unsigned i = 0;

    for (; i + side <= run->count; i += side) {
        const uint8_t *from = src + i * run->unit;
        uint8_t *to = dst + (size_t)i * run->unit * CPU_LANES;

        for (unsigned n = 0; n < CPU_LANES; n += side, to += 16) {
            if (run->unit == 2)
                turn16(from + n * stride, stride, to);
            else
                turn32(from + n * stride, stride, to);
        }
    }
    src += i * run->unit;
    dst += (size_t)i * run->unit * CPU_LANES;
    if (run->unit == 2)
        units16(src, stride, CPU_LANES, run->count - i, dst);
    else
        units32(src, stride, CPU_LANES, run->count - i, dst);
}

/* Interleave <count> units from <rows> rows <stride> bytes apart. */
static void units_put(const struct cpu_run *run, const uint8_t *src,
                      size_t stride, unsigned rows, uint8_t *dst)
{
    if (rows < CPU_LANES) {
        memset(dst, 0, (size_t)run->unit * run->count * CPU_LANES);
        if (run->unit == 2)
            units16(src, stride, rows, run->count, dst);
        else
            units32(src, stride, rows, run->count, dst);
    } else {
        units_turn(run, src, stride, dst);
    }
}

/* Rows of floats are often a power of two bytes long, and 16 of them would
 * fight for the same cache lines: they are staged a line at a time. */
static void floats_put(unsigned unit, const uint8_t *src, size_t stride,
                       unsigned rows, size_t n, uint8_t *dst)
{
    uint8_t stage[CPU_LANES * STAGE_UNITS * 4];

    for (size_t at = 0; at < n; at += STAGE_UNITS) {
        size_t some = n - at < STAGE_UNITS ? n - at : STAGE_UNITS;
        struct cpu_run run = {0, (uint16_t)unit, (uint16_t)some};

        for (unsigned r = 0; r < rows; r++)
            memcpy(stage + r * STAGE_UNITS * unit, src + r * stride + at * unit,
                   some * unit);
        units_put(&run, stage, (size_t)STAGE_UNITS * unit, rows,
                  dst + at * unit * CPU_LANES);
    }
}

struct pack_job {
    const struct cpu_kind *kind;
    const struct krn_weight *w;
    const uint8_t *rows;
};

static void panel_item(void *arg, unsigned item, unsigned worker)
{
    const struct pack_job *j = arg;
    const struct krn_weight *w = j->w;
    size_t bytes = krn_dtype_bytes(w->dtype);
    size_t blocks = w->n_in / krn_dtype_block(w->dtype);
    size_t stride = blocks * bytes;
    size_t first = (size_t)item * CPU_LANES;
    size_t left = w->n_out - first;
    unsigned rows = left < CPU_LANES ? (unsigned)left : CPU_LANES;
    const uint8_t *src = j->rows + first * stride;
    uint8_t *dst = w->data + item * w->unit_bytes;

    (void)worker;
    if (krn_dtype_block(w->dtype) == 1) {
        floats_put((unsigned)bytes, src, stride, rows, w->n_in, dst);
        return;
    }
    for (size_t b = 0; b < blocks; b++) {
        for (unsigned r = 0; r < CPU_RUNS && j->kind->run[r].count != 0; r++) {
            const struct cpu_run *run = &j->kind->run[r];

            units_put(run, src + b * bytes + run->at, stride, rows, dst);
            dst += (size_t)run->unit * run->count * CPU_LANES;
        }
    }
}

void cpu_pack(struct krn_ctx *c, const struct cpu_kind *kind,
              const struct krn_weight *w, const void *rows)
{
    struct pack_job j = {.kind = kind, .w = w, .rows = rows};

    pool_run(c->pool, panel_item, &j, (unsigned)(w->bytes / w->unit_bytes));
}

/* The block as it was in the file, of one lane. */
static void block_get(const struct cpu_kind *kind, const uint8_t *panel,
                      unsigned lane, uint8_t *block)
{
    for (unsigned r = 0; r < CPU_RUNS && kind->run[r].count != 0; r++) {
        const struct cpu_run *run = &kind->run[r];

        for (size_t i = 0; i < run->count; i++)
            memcpy(block + run->at + i * run->unit,
                   panel + (i * CPU_LANES + lane) * run->unit, run->unit);
        panel += (size_t)run->unit * run->count * CPU_LANES;
    }
}

void cpu_unpack_row(const struct cpu_kind *kind, const struct krn_weight *w,
                    size_t row, float *y)
{
    const uint8_t *panel = w->data + row / CPU_LANES * w->unit_bytes;
    unsigned lane = (unsigned)(row % CPU_LANES);
    size_t block = krn_dtype_block(w->dtype);
    size_t bytes = krn_dtype_bytes(w->dtype);
    uint8_t raw[REF_CUT * 4];
    struct ref_piece p;

    for (size_t at = 0; at < w->n_in; at += p.n) {
        const uint8_t *from = panel + at / block * bytes * CPU_LANES;
        size_t left = w->n_in - at;

        for (size_t i = 0; block == 1 && i < REF_CUT && i < left; i++)
            memcpy(raw + i * bytes, from + (i * CPU_LANES + lane) * bytes,
                   bytes);
        if (block != 1)
            block_get(kind, from, lane, raw);
        ref_piece_read(w->dtype, raw, left, 0, &p);
        ref_piece_widen(w->dtype, &p, y + at);
    }
}
