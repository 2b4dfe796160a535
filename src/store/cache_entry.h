/* cache_entry.h - A reply as it stands on disk: a head and the reply's bytes,
 * cut into slices that each fill one page of LMDB's or share one, each with its
 * own checksum. Pure functions. */
#ifndef TG_STORE_CACHE_ENTRY_H
#define TG_STORE_CACHE_ENTRY_H

#include "store/cache_store.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of a full slice, and those of them that are not its checksum. LMDB puts
 * 16 before a value that has a page of its own, of 4096. */
#define CACHE_SLICE_BYTES 4080
#define CACHE_SLICE_ROOM  (CACHE_SLICE_BYTES - 8)

/* Bytes of a head without its texts. */
#define CACHE_HEAD_BYTES 112

/* What a head says. Texts are borrowed from where it was read. */
struct cache_head {
    struct cache_key key;
    uint64_t id;    /* of this very reply; no other has it */
    uint64_t bytes; /* of the reply */
    int64_t made_wall_ms;
    int64_t until_wall_ms;
    struct str key_id;
    struct str team;
    struct str model;
};

/* Bytes of the head <h>, its texts with it. */
size_t cache_head_bytes(const struct cache_head *h);

/* How many slices an entry has whose head and bytes are <total> long. */
uint32_t cache_slices(uint64_t total);

/* Bytes of slice <i> of such an entry, its checksum with it. */
size_t cache_slice_bytes(uint64_t total, uint32_t i);

/* Write <h> to <out>, which has room for cache_head_bytes(). */
void cache_head_write(const struct cache_head *h, uint8_t *out);

/* Read the head at the beginning of <data>, what slice 0 holds behind its
 * checksum, and say where the reply begins. ERR_CORRUPT. */
enum err cache_head_read(struct str data, struct cache_head *out,
                         size_t *head_bytes_out) MUST_CHECK;

/* Put the checksum of <slice>, whose data stand behind it, in its place: it is
 * slice <i> of entry <id>. */
void cache_slice_seal(uint8_t *slice, size_t len, uint64_t id, uint32_t i);

/* The data of <slice>, proved; <id> is of no account for slice 0, which tells
 * it. ERR_CORRUPT. */
enum err cache_slice_open(struct str slice, uint64_t id, uint32_t i,
                          struct str *data_out) MUST_CHECK;

#endif
