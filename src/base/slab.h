/* slab.h - Pool of objects of one size for one thread. Every object has a slot
 * number and a generation: a stored (slot, gen) finds the object while it
 * lives and nothing afterwards. Not thread-safe. With TG_DEBUG freed objects
 * are poisoned; with --disable-arena each is a malloc of its own. */
#ifndef TG_BASE_SLAB_H
#define TG_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct slab_slot;

/* A pool. Fields are readable, the pool's to write. */
struct slab {
    const char *name;        /* static; for reports */
    size_t obj_bytes;        /* size of an object as the user sees it */
    uint32_t max;            /* most objects alive */
    uint32_t live;           /* objects alive */
    uint32_t peak;           /* most ever alive */
    uint32_t slot_count;     /* slots ever used; slot numbers are below it */
    uint32_t slot_room;      /* entries of slots[] */
    uint32_t free_head;      /* first free slot or UINT32_MAX */
    struct slab_slot *slots; /* owned */
    void *blocks;            /* owned list */
    uint64_t gets;           /* objects ever handed out */
    uint64_t fails;          /* slab_get() that gave NULL */
    uint64_t fail_at;        /* see slab_fail_at() */
};

/* Make <s> an empty pool of objects of <obj_bytes> called <name> (static), at
 * most <max> alive at once. */
void slab_init(struct slab *s, const char *name, size_t obj_bytes,
               uint32_t max);

/* Free everything; no object may be alive. */
void slab_fini(struct slab *s);

/* A zeroed object aligned to 16, owned by the caller until slab_put(). NULL
 * when <max> are alive or there is no memory. */
void *slab_get(struct slab *s);

/* Give <p> back; its slot's generation ends. NULL is fine. */
void slab_put(struct slab *s, void *p);

/* Slot number of the living object <p>, below <max>. */
uint32_t slab_slot(const struct slab *s, const void *p);

/* Generation of the living object <p>; never 0. */
uint32_t slab_gen(const struct slab *s, const void *p);

/* The object living in <slot> with generation <gen>, or NULL. Any values may
 * be asked for. */
void *slab_find(const struct slab *s, uint32_t slot, uint32_t gen);

/* Tests: let the <nth> slab_get() from now (1 = the next) give NULL; 0: none
 * does. */
void slab_fail_at(struct slab *s, uint64_t nth);

#endif
