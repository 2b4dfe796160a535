/* kv_page.c - The header's bytes, all numbers little-endian:
 *
 *      0  "TGKV", version 1 (u32)
 *      8  namespace, hash, hash of the page before (32 each)
 *    104  index (u32), tokens (u32), payload bytes (u64)
 *    120  created (u64), checksum of the payload (u64)
 *    136  token ids (i32 each, room for 256), zeros
 *   1160  microseconds that computing it took (u32)
 *   4072  checksum of all before (u64) */
#include "store/kv_page.h"

#include <string.h>
#include <xxhash.h>

enum {
    AT_VERSION = 4,
    AT_NS = 8,
    AT_HASH = 40,
    AT_BEFORE = 72,
    AT_INDEX = 104,
    AT_COUNT = 108,
    AT_BYTES = 112,
    AT_CREATED = 120,
    AT_SUM = 128,
    AT_TOKENS = 136,
    AT_COST = 1160,
    AT_OWN_SUM = KV_HEAD_BYTES - 8,
    VERSION = 1
};

_Static_assert(AT_TOKENS + 4 * KV_TOKENS_MAX <= AT_COST, "tokens fit");

static const uint8_t magic[4] = {'T', 'G', 'K', 'V'};

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

uint64_t kv_page_sum(const void *payload, size_t len)
{
    return XXH3_64bits(payload, len);
}

void kv_page_head(const struct kv_key *key, const struct digest *ns, size_t len,
                  uint64_t sum, uint64_t created_s, uint8_t out[KV_HEAD_BYTES])
{
    memset(out, 0, KV_HEAD_BYTES);
    memcpy(out, magic, sizeof(magic));
    put(out + AT_VERSION, VERSION, 4);
    memcpy(out + AT_NS, ns->b, DIGEST_BYTES);
    memcpy(out + AT_HASH, key->hash.b, DIGEST_BYTES);
    memcpy(out + AT_BEFORE, key->before.b, DIGEST_BYTES);
    put(out + AT_INDEX, key->index, 4);
    put(out + AT_COUNT, key->n_tokens, 4);
    put(out + AT_BYTES, len, 8);
    put(out + AT_CREATED, created_s, 8);
    put(out + AT_SUM, sum, 8);
    for (uint32_t i = 0; i < key->n_tokens; i++)
        put(out + AT_TOKENS + 4 * i, (uint32_t)key->tokens[i], 4);
    put(out + AT_COST, key->cost_us, 4);
    put(out + AT_OWN_SUM, XXH3_64bits(out, AT_OWN_SUM), 8);
}

static bool is_text(const uint8_t *head, const struct kv_key *key)
{
    if (memcmp(head + AT_HASH, key->hash.b, DIGEST_BYTES) != 0 ||
        memcmp(head + AT_BEFORE, key->before.b, DIGEST_BYTES) != 0 ||
        get(head + AT_INDEX, 4) != key->index ||
        get(head + AT_COUNT, 4) != key->n_tokens)
        return false;
    for (uint32_t i = 0; i < key->n_tokens; i++) {
        if (get(head + AT_TOKENS + 4 * i, 4) != (uint32_t)key->tokens[i])
            return false;
    }
    return true;
}

enum err kv_page_check(const uint8_t head[KV_HEAD_BYTES],
                       const struct digest *ns, size_t len,
                       const struct kv_key *key, struct kv_about *out)
{
    if (memcmp(head, magic, sizeof(magic)) != 0 ||
        get(head + AT_VERSION, 4) != VERSION ||
        get(head + AT_OWN_SUM, 8) != XXH3_64bits(head, AT_OWN_SUM) ||
        memcmp(head + AT_NS, ns->b, DIGEST_BYTES) != 0 ||
        get(head + AT_BYTES, 8) != len)
        return ERR_CORRUPT;
    if (key && !is_text(head, key))
        return ERR_NOT_FOUND;
    *out = (struct kv_about){.sum = get(head + AT_SUM, 8),
                             .cost_us = (uint32_t)get(head + AT_COST, 4)};
    return ERR_OK;
}
