/* kv_page.h - A stored page of keys and values: a header that says what it is,
 * and the payload, of which nothing is known here. Pure functions. */
#ifndef TG_STORE_KV_PAGE_H
#define TG_STORE_KV_PAGE_H

#include "base/digest.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes of a header: LMDB puts 16 of its own before a large value, so that the
 * payload behind both begins a page. */
#define KV_HEAD_BYTES 4080

/* Most tokens of a page: what a header has room for. */
#define KV_TOKENS_MAX 256

/* What a page is known by. */
struct kv_key {
    struct digest hash;    /* of all of the rest and the scope: the key */
    struct digest before;  /* hash of the page before, or of the scope */
    uint32_t index;        /* of the page in its text, from 0 */
    uint32_t n_tokens;     /* 1 .. KV_TOKENS_MAX */
    const int32_t *tokens; /* (n_tokens), borrowed */
    uint32_t cost_us;      /* time that computing took; no part of the key */
};

/* What a header tells beside its key. */
struct kv_about {
    uint64_t sum;     /* checksum of the payload */
    uint32_t cost_us; /* see struct kv_key */
};

/* The payload's checksum. */
uint64_t kv_page_sum(const void *payload, size_t len);

/* Write the header of a page of namespace <ns> with a payload of <len> bytes
 * and the checksum <sum>, made at <created_s> (Unix time). */
void kv_page_head(const struct kv_key *key, const struct digest *ns, size_t len,
                  uint64_t sum, uint64_t created_s, uint8_t out[KV_HEAD_BYTES]);

/* Whether <head> is whole and of a page of <ns> with <len> bytes: else
 * ERR_CORRUPT. With <key>, whether it is of that very text: else ERR_NOT_FOUND,
 * for two texts can have one hash. */
enum err kv_page_check(const uint8_t head[KV_HEAD_BYTES],
                       const struct digest *ns, size_t len,
                       const struct kv_key *key,
                       struct kv_about *out) MUST_CHECK;

#endif
