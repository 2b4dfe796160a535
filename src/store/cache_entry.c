/* cache_entry.c - The bytes of an entry, all numbers little-endian. A slice:
 *
 *      0  XXH3-64 of what follows; its seed is the entry's id and the slice's
 *         number, for slice 0 nothing
 *      8  up to 4072 bytes of head and reply
 *
 * The head:
 *
 *      0  "TGRC", version 1 (u16), bytes of the head with its texts (u16)
 *      8  id (u64), bytes of the reply (u64)
 *     24  made (i64), until (i64), in ms since the epoch
 *     40  same, exact (32 each)
 *    104  lengths of key id, team and model (u16 each), zeros (u16)
 *    112  these texts */
#include "store/cache_entry.h"

#include <string.h>
#include <xxhash.h>

enum {
    AT_VERSION = 4,
    AT_HEAD = 6,
    AT_ID = 8,
    AT_BYTES = 16,
    AT_MADE = 24,
    AT_UNTIL = 32,
    AT_SAME = 40,
    AT_EXACT = 72,
    AT_LENS = 104,
    VERSION = 1
};

_Static_assert(CACHE_HEAD_BYTES + CACHE_TEXT_MAX <= CACHE_SLICE_ROOM,
               "a head fits into one slice");

static const uint8_t magic[4] = {'T', 'G', 'R', 'C'};

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get(const char *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)(uint8_t)p[i] << 8 * i;
    return v;
}

size_t cache_head_bytes(const struct cache_head *h)
{
    return CACHE_HEAD_BYTES + h->key_id.len + h->team.len + h->model.len;
}

uint32_t cache_slices(uint64_t total)
{
    return (uint32_t)((total + CACHE_SLICE_ROOM - 1) / CACHE_SLICE_ROOM);
}

size_t cache_slice_bytes(uint64_t total, uint32_t i)
{
    const uint64_t left = total - (uint64_t)i * CACHE_SLICE_ROOM;

    return 8 + (left < CACHE_SLICE_ROOM ? (size_t)left : CACHE_SLICE_ROOM);
}

static uint8_t *put_text(uint8_t *p, struct str text)
{
    if (text.len > 0)
        memcpy(p, text.p, text.len);
    return p + text.len;
}

void cache_head_write(const struct cache_head *h, uint8_t *out)
{
    uint8_t *p = out + CACHE_HEAD_BYTES;

    memset(out, 0, CACHE_HEAD_BYTES);
    memcpy(out, magic, sizeof(magic));
    put(out + AT_VERSION, VERSION, 2);
    put(out + AT_HEAD, cache_head_bytes(h), 2);
    put(out + AT_ID, h->id, 8);
    put(out + AT_BYTES, h->bytes, 8);
    put(out + AT_MADE, (uint64_t)h->made_wall_ms, 8);
    put(out + AT_UNTIL, (uint64_t)h->until_wall_ms, 8);
    memcpy(out + AT_SAME, h->key.same.b, DIGEST_BYTES);
    memcpy(out + AT_EXACT, h->key.exact.b, DIGEST_BYTES);
    put(out + AT_LENS, h->key_id.len, 2);
    put(out + AT_LENS + 2, h->team.len, 2);
    put(out + AT_LENS + 4, h->model.len, 2);
    p = put_text(p, h->key_id);
    p = put_text(p, h->team);
    put_text(p, h->model);
}

/* The next text of <rest>, <len> bytes long. */
static struct str take_text(struct str *rest, size_t len)
{
    const struct str text = str_of(rest->p, len);

    *rest = str_skip(*rest, len);
    return text;
}

enum err cache_head_read(struct str data, struct cache_head *out,
                         size_t *head_bytes_out)
{
    const char *p = data.p;
    struct cache_head h;
    size_t lens[3];

    if (data.len < CACHE_HEAD_BYTES || memcmp(p, magic, sizeof(magic)) != 0 ||
        get(p + AT_VERSION, 2) != VERSION)
        return ERR_CORRUPT;
    const size_t head = (size_t)get(p + AT_HEAD, 2);
    for (unsigned i = 0; i < 3; i++)
        lens[i] = (size_t)get(p + AT_LENS + 2 * i, 2);
    h.bytes = get(p + AT_BYTES, 8);
    if (head > data.len || h.bytes > INT64_MAX ||
        head != CACHE_HEAD_BYTES + lens[0] + lens[1] + lens[2])
        return ERR_CORRUPT;
    h.id = get(p + AT_ID, 8);
    h.made_wall_ms = (int64_t)get(p + AT_MADE, 8);
    h.until_wall_ms = (int64_t)get(p + AT_UNTIL, 8);
    memcpy(h.key.same.b, p + AT_SAME, DIGEST_BYTES);
    memcpy(h.key.exact.b, p + AT_EXACT, DIGEST_BYTES);
    struct str rest = str_of(p + CACHE_HEAD_BYTES, head - CACHE_HEAD_BYTES);
    h.key_id = take_text(&rest, lens[0]);
    h.team = take_text(&rest, lens[1]);
    h.model = take_text(&rest, lens[2]);
    *out = h;
    *head_bytes_out = head;
    return ERR_OK;
}

/* The checksum of <len> bytes at <p>. */
static uint64_t sum_of(const void *p, size_t len, uint64_t id, uint32_t i)
{
    const uint64_t seed = id * UINT64_C(0x9e3779b97f4a7c15) + i;

    return XXH3_64bits_withSeed(p, len, i == 0 ? 0 : seed);
}

void cache_slice_seal(uint8_t *slice, size_t len, uint64_t id, uint32_t i)
{
    put(slice, sum_of(slice + 8, len - 8, id, i), 8);
}

enum err cache_slice_open(struct str slice, uint64_t id, uint32_t i,
                          struct str *data_out)
{
    if (slice.len <= 8 || slice.len > CACHE_SLICE_BYTES ||
        get(slice.p, 8) != sum_of(slice.p + 8, slice.len - 8, id, i))
        return ERR_CORRUPT;
    *data_out = str_skip(slice, 8);
    return ERR_OK;
}
