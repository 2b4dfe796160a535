/* prefix.c - See prefix.h. Entries stand in a table by page, chained from
 * buckets, so that nothing is allocated later. Every entry counts the entries
 * behind it: dropping one in the middle of a text would strand those, which is
 * a mistake of the caller's order. */
#include "engine/prefix.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/panic.h"

struct prefix_entry {
    struct digest hash;
    struct digest before;
    uint32_t index;
    uint32_t children; /* entries whose parent this is */
    int32_t parent;    /* page, or -1 */
    int32_t next;      /* in the bucket, or -1 */
    bool used;
};

/* The tokens of <page>, as they are compared. */
static int32_t *tokens_of(const struct prefix *ix, int32_t page)
{
    return ix->tokens + (size_t)page * ix->page_tokens;
}

enum err prefix_init(struct prefix *ix, unsigned n_pages, unsigned page_tokens)
{
    uint32_t n_buckets = 16;

    BUG_ON(n_pages == 0 || n_pages > INT32_MAX / 2);
    BUG_ON(page_tokens == 0 || page_tokens > KRN_PAGE_TOKENS_MAX);
    while (n_buckets < n_pages)
        n_buckets *= 2;
    ix->entries = calloc(n_pages, sizeof(*ix->entries));
    ix->buckets = malloc(n_buckets * sizeof(*ix->buckets));
    ix->tokens = reallocarray(NULL, n_pages, page_tokens * sizeof(int32_t));
    if (!ix->entries || !ix->buckets || !ix->tokens) {
        prefix_fini(ix);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < n_buckets; i++)
        ix->buckets[i] = -1;
    ix->mask = n_buckets - 1;
    ix->n_pages = n_pages;
    ix->page_tokens = page_tokens;
    ix->n = 0;
    return ERR_OK;
}

void prefix_fini(struct prefix *ix)
{
    free(ix->entries);
    free(ix->buckets);
    free(ix->tokens);
    ix->tokens = NULL;
    ix->entries = NULL;
    ix->buckets = NULL;
}

struct digest prefix_root(const uint8_t scope[32])
{
    static const char tag[] = "tollgate prefix 1";
    char text[sizeof(tag) + 32];

    memcpy(text, tag, sizeof(tag));
    memcpy(text + sizeof(tag), scope, 32);
    return digest_sha256(text, sizeof(text));
}

/* Write <v> in little-endian order. */
static void put_le32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

struct digest prefix_chain(const struct digest *before, uint32_t index,
                           const int32_t *tokens, unsigned page_tokens)
{
    uint8_t text[1 + DIGEST_BYTES + 4 + 4 * KRN_PAGE_TOKENS_MAX];
    uint8_t *at = text;

    *at++ = 0x01;
    memcpy(at, before->b, DIGEST_BYTES);
    at += DIGEST_BYTES;
    put_le32(at, index);
    for (unsigned i = 0; i < page_tokens; i++)
        put_le32(at + 4 + 4 * (size_t)i, (uint32_t)tokens[i]);
    return digest_sha256(text, 1 + DIGEST_BYTES + 4 + 4 * (size_t)page_tokens);
}

/* The bucket of <hash>. */
static int32_t *bucket(const struct prefix *ix, const struct digest *hash)
{
    return &ix->buckets[map_hash(hash->b, DIGEST_BYTES) & ix->mask];
}

/* The page whose entry has <hash>, or -1. */
static int32_t find_hash(const struct prefix *ix, const struct digest *hash)
{
    int32_t page = *bucket(ix, hash);

    while (page >= 0 &&
           memcmp(ix->entries[page].hash.b, hash->b, DIGEST_BYTES) != 0)
        page = ix->entries[page].next;
    return page;
}

int32_t prefix_find(const struct prefix *ix, const struct prefix_key *key)
{
    int32_t page = find_hash(ix, &key->hash);
    const struct prefix_entry *e;

    if (page < 0)
        return -1;
    e = &ix->entries[page];
    if (e->index != key->index ||
        memcmp(e->before.b, key->before.b, DIGEST_BYTES) != 0 ||
        memcmp(tokens_of(ix, page), key->tokens,
               ix->page_tokens * sizeof(int32_t)) != 0)
        return -1;
    return page;
}

bool prefix_put(struct prefix *ix, const struct prefix_key *key, int32_t parent,
                int32_t page)
{
    struct prefix_entry *e = &ix->entries[page];
    int32_t *head = bucket(ix, &key->hash);

    BUG_ON(e->used || (parent < 0) != (key->index == 0));
    BUG_ON(parent >= 0 && !ix->entries[parent].used);
    if (find_hash(ix, &key->hash) >= 0)
        return false;
    e->hash = key->hash;
    e->before = key->before;
    e->index = key->index;
    e->children = 0;
    e->parent = parent;
    e->used = true;
    memcpy(tokens_of(ix, page), key->tokens, ix->page_tokens * sizeof(int32_t));
    e->next = *head;
    *head = page;
    if (parent >= 0)
        ix->entries[parent].children++;
    ix->n++;
    return true;
}

void prefix_drop(struct prefix *ix, int32_t page)
{
    struct prefix_entry *e = &ix->entries[page];
    int32_t *at = bucket(ix, &e->hash);

    BUG_ON(!e->used || e->children > 0);
    while (*at != page)
        at = &ix->entries[*at].next;
    *at = e->next;
    if (e->parent >= 0)
        ix->entries[e->parent].children--;
    e->used = false;
    ix->n--;
}
