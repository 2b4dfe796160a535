/* sample_vec.h - The passes over a whole row of logits, written in lanes so
 * that a compiler makes vectors of them. Each adds in one fixed order: the
 * same row gives the same bits. Only for sample.c and sample_logprobs.c. */
#ifndef TG_ENGINE_SAMPLE_VEC_H
#define TG_ENGINE_SAMPLE_VEC_H

#include <stddef.h>
#include <stdint.h>

#define SAMPLE_BLOCK 1024 /* elements that one partial sum covers */

/* A token that may be drawn, with its weight (1 for the likeliest). */
struct sample_cand {
    float w;
    int32_t id;
};

/* The largest of <x>; NaN is passed over; -INFINITY when there is none. */
float sample_vec_max(const float *x, size_t n);

/* The index of the first element equal to <v>; n when there is none. */
size_t sample_vec_find(const float *x, size_t n, float v);

/* Put exp((x - max) * scale) into <w> (n; may be <x> itself), 0 for NaN and
 * for what is too small for a normal float; <max> is finite and no x is above
 * it, scale > 0. Sums of each SAMPLE_BLOCK elements go to <sums>, unless it
 * is NULL; returns the sum of all. */
double sample_vec_exp(const float *x, size_t n, float max, float scale,
                      float *w, double *sums);

/* As sample_vec_exp() with scale 1, the sum alone. */
double sample_vec_exp_sum(const float *x, size_t n, float max);

/* The elements >= <floor> go to <out> in the order of their ids, at most <room>
 * of them, with x as their weight; returns how many there are. NaN never is. */
size_t sample_vec_above(const float *x, size_t n, float floor,
                        struct sample_cand *out, size_t room);

#endif
