/* rec.c - Framing and little-endian fields. Decides what an intact record
 * is; must never read past the bytes given. */
#include "store/rec.h"

#include <xxhash.h>

#include "base/panic.h"

/* The only payload version of every type so far. */
#define REC_VERSION 1

static void store_int(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t load_int(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint64_t rec_seed(unsigned table, struct str key)
{
    return XXH64(key.p, key.len, table);
}

void rec_seal(void *frame, enum rec_type type, size_t payload_len,
              uint64_t seed)
{
    uint8_t *p = frame;

    BUG_ON(payload_len > REC_PAYLOAD_MAX);
    p[8] = (uint8_t)type;
    p[9] = REC_VERSION;
    p[10] = 0;
    p[11] = 0;
    store_int(p + 12, payload_len, 4);
    store_int(p, XXH64(p + 8, 8 + payload_len, seed), 8);
}

enum err rec_open(struct str bytes, enum rec_type type, uint64_t seed,
                  struct str *payload_out)
{
    const uint8_t *p = (const uint8_t *)bytes.p;

    if (bytes.len < REC_HEAD_BYTES || p[8] != (uint8_t)type || p[9] == 0)
        return ERR_CORRUPT;
    const uint64_t len = load_int(p + 12, 4);
    if (len > REC_PAYLOAD_MAX || len > bytes.len - REC_HEAD_BYTES)
        return ERR_CORRUPT;
    if (XXH64(p + 8, 8 + (size_t)len, seed) != load_int(p, 8))
        return ERR_CORRUPT;
    *payload_out = str_of(p + REC_HEAD_BYTES, (size_t)len);
    return ERR_OK;
}

void rec_put_int(struct rec_out *o, uint64_t v, unsigned bytes)
{
    if (o->room - o->len < bytes) {
        o->full = true;
        return;
    }
    store_int(o->p + o->len, v, bytes);
    o->len += bytes;
}

void rec_put_raw(struct rec_out *o, const void *p, size_t len)
{
    if (o->room - o->len < len) {
        o->full = true;
        return;
    }
    if (len > 0)
        memcpy(o->p + o->len, p, len);
    o->len += len;
}

void rec_put_text(struct rec_out *o, struct str s, size_t max)
{
    const size_t len = s.len < max ? s.len : max;

    if (o->room - o->len < len + 2) {
        o->full = true;
        return;
    }
    rec_put_int(o, len, 2);
    rec_put_raw(o, s.p, len);
}

uint64_t rec_get_int(struct rec_in *in, unsigned bytes)
{
    if (in->left < bytes) {
        in->bad = true;
        in->left = 0;
        return 0;
    }
    const uint64_t v = load_int(in->p, bytes);
    in->p += bytes;
    in->left -= bytes;
    return v;
}

struct str rec_get_raw(struct rec_in *in, size_t len)
{
    if (in->left < len) {
        in->bad = true;
        in->left = 0;
        return (struct str){NULL, 0};
    }
    const struct str s = str_of(in->p, len);
    in->p += len;
    in->left -= len;
    return s;
}

struct str rec_get_text(struct rec_in *in)
{
    const size_t len = (size_t)rec_get_int(in, 2);

    return rec_get_raw(in, len);
}
