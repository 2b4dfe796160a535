/* engine_device.h - Which device a model is loaded on, and how much of that
 * device's memory its keys and values may have. */
#ifndef TG_ENGINE_ENGINE_DEVICE_H
#define TG_ENGINE_ENGINE_DEVICE_H

#include "base/err.h"
#include "kernels/krn.h"

#include <stdbool.h>
#include <stdint.h>

struct conf_engine;
struct conf_engine_model;
struct engine_fault;
struct model;

/* What a model is loaded with. */
struct engine_load {
    const struct conf_engine *conf; /* borrowed */
    uint64_t later_bytes; /* of the files of models that are to be loaded onto
                           * the same GPU after this one, */
    unsigned n_later;     /* and how many those are */
    const char *plans;    /* file for what was measured of products on a GPU;
                           * NULL = none */
};

/* What is said of a GPU when the CPU computes. */
enum { ENGINE_NO_GPU = -1 };

/* The devices that <conf> asks for, in <out> (HERD_MAX), each once; how many,
 * at least one: numbers of GPUs, 0 for "auto" unless it asks for what only the
 * CPU does, all there are for "cuda:*"; or ENGINE_NO_GPU for the CPU. */
unsigned engine_device_gpus(const struct conf_engine_model *conf, int *out);

/* Whether <a> and <b> ask for the same device. */
bool engine_device_shares(const struct conf_engine_model *a,
                          const struct conf_engine_model *b);

/* Whether <conf> leaves the choice to the program. */
bool engine_device_is_auto(const struct conf_engine_model *conf);

/* The setting of <conf> whose value fp8 the CPU does not have, "weights" or
 * "kv_dtype"; NULL: none. */
const char *engine_device_gpu_only(const struct conf_engine_model *conf);

/* What makes <conf> fail on its device whatever the model is: asked for in
 * vain, or for what the device does not do. Takes nothing of the device.
 * ERR_REFUSED with <why>. */
enum err engine_device_judge(const struct conf_engine_model *conf,
                             struct engine_fault *why) MUST_CHECK;

/* Open GPU <gpu>, or the CPU for ENGINE_NO_GPU. ERR_REFUSED, ERR_NOMEM with
 * <why>. */
enum err engine_device_open(int gpu, const struct engine_load *load,
                            struct engine_fault *why,
                            struct krn_ctx **out) MUST_CHECK;

/* Whether the weights of <m>, floats in 8 bits for <fp8>, have a chance on <c>,
 * which nothing was loaded onto. ERR_NOMEM with <why>. */
enum err engine_device_fits(const struct krn_ctx *c,
                            const struct engine_load *load,
                            const struct model *m, bool fp8,
                            struct engine_fault *why) MUST_CHECK;

/* Bytes that there are for keys and values: on the CPU before the weights of
 * <m> are loaded, on a GPU after they and all buffers of a step were. */
uint64_t engine_device_room(const struct krn_ctx *c,
                            const struct engine_load *load,
                            const struct model *m);

#endif
