/* pinned.h - Host memory in which pages of a device wait to be stored: slots of
 * one size, taken once, since memory that a device can copy to is slow to get.
 * Any thread. */
#ifndef TG_ENGINE_PINNED_H
#define TG_ENGINE_PINNED_H

#include "engine/kvswap.h"

#include <stddef.h>

struct krn_ctx;
struct pinned;

/* The functions of kvswap_opts: <arg> is a struct pinned. A slot holds whatever
 * is asked for up to its size; NULL when all are taken. */
extern const struct kvswap_memory pinned_memory;

/* Slots of <slot_bytes> each, about <bytes> in all and at least two, of <c>,
 * borrowed until pinned_free(). NULL without memory. */
struct pinned *pinned_new(struct krn_ctx *c, size_t slot_bytes, size_t bytes);

/* Bytes of all slots. */
size_t pinned_bytes(const struct pinned *p);

/* Free; all slots are given back. NULL is fine. */
void pinned_free(struct pinned *p);

#endif
