/* cuda_inputs.h - A step's inputs on their way to the device. Inputs are laid
 * one behind the other in one of two pinned buffers in turn, and uploaded by
 * one copy to one buffer of the device, where those of steps of one shape
 * always lie at the same addresses: kernels that are repeated find the next
 * step's there. A decode step, all rows wanted and one a sequence, is padded to
 * a bucket of rows and pages. */
#ifndef TG_KERNELS_CUDA_CUDA_INPUTS_H
#define TG_KERNELS_CUDA_CUDA_INPUTS_H

#include "kernels/cuda/cuda.h"

/* What the arguments of a step's operations depend on. */
struct shape {
    unsigned kind;
    unsigned m;         /* rows queued */
    unsigned n_wanted;  /* likewise */
    unsigned n_seq;     /* rows of the table */
    unsigned max_pages; /* columns of the table */
    unsigned n_kv_head; /* attention's plan depends on it */
    const void *pages;  /* of the pool */
};

/* A buffer of the host. */
struct upload {
    uint8_t *host; /* pinned, owned */
    CUevent done;  /* the last copy out of it is over */
};

/* Buffers of inputs. */
struct inputs {
    CUdeviceptr dev; /* owned */
    size_t bytes;    /* of it and of each buffer of the host */
    struct upload up[2];
    unsigned turn; /* the buffer of the next step */
    uint8_t *met;  /* (n_met) rows of each sequence; owned */
    unsigned n_met;
};

/* Make <in>, which is zeroed; buffers come with the first step. */
enum krn_status inputs_open(struct cuda *d, struct inputs *in);

/* Free what <in> holds. */
void inputs_close(struct cuda *d, struct inputs *in);

/* The rows that steps of <m> rows are padded to. */
unsigned inputs_bucket(unsigned m);

/* *out is what <s> is padded to, *decode_out whether it is a decode step.
 * KRN_NOMEM. */
enum krn_status inputs_shape(struct inputs *in, const struct krn_step *s,
                             struct shape *out, bool *decode_out);

/* Lay and upload the inputs of <s>, of shape <sh>, and set d->in. Buffers that
 * are too small are made anew, which drops what was recorded. */
enum krn_status inputs_upload(struct cuda *d, struct inputs *in,
                              const struct krn_step *s, const struct shape *sh);

#endif
