/* vocab.c - Facts about a vocabulary, and freeing it. */
#include "token/vocab.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "token/vocab_impl.h"

void vocab_free(struct vocab *v)
{
    if (!v)
        return;
    free(v->text);
    free(v->stored);
    free(v->plain);
    free(v->shown);
    free(v->type);
    free(v->flags);
    free(v->order);
    strmap_fini(&v->ids);
    strmap_fini(&v->extra);
    merges_fini(&v->merges);
    specials_free(v->specials);
    free(v);
}

unsigned vocab_size(const struct vocab *v)
{
    return (unsigned)v->n;
}

int32_t vocab_bos(const struct vocab *v)
{
    return v->bos;
}

int32_t vocab_eos(const struct vocab *v)
{
    return v->eos;
}

static bool is_id(const struct vocab *v, int32_t id)
{
    return id >= 0 && (size_t)id < v->n;
}

bool vocab_is_eog(const struct vocab *v, int32_t id)
{
    return is_id(v, id) && v->flags[id] & VOCAB_EOG;
}

void vocab_mark_eog(struct vocab *v, int32_t id)
{
    if (is_id(v, id))
        v->flags[id] |= VOCAB_EOG;
}

bool vocab_is_control(const struct vocab *v, int32_t id)
{
    return is_id(v, id) && v->type[id] == VOCAB_CONTROL;
}

struct str vocab_bytes(const struct vocab *v, int32_t id)
{
    return is_id(v, id) ? v->shown[id] : STR("");
}

int32_t vocab_find(const struct vocab *v, struct str text)
{
    uint32_t id = strmap_get(&v->ids, v->stored, text);

    return id == VOCAB_NONE ? -1 : (int32_t)id;
}

bool vocab_adds_bos(const struct vocab *v)
{
    return v->adds_bos && v->bos >= 0;
}

bool vocab_adds_eos(const struct vocab *v)
{
    return v->adds_eos && v->eos >= 0;
}

bool vocab_type_is_plain(uint8_t type)
{
    return type != VOCAB_CONTROL && type != VOCAB_UNKNOWN && type != VOCAB_BYTE;
}

uint32_t vocab_plain(const struct vocab *v, struct str s)
{
    uint32_t id;

    if (s.len > v->longest)
        return VOCAB_NONE;
    id = strmap_get(&v->ids, v->stored, s);
    if (id == VOCAB_NONE || !vocab_type_is_plain(v->type[id]))
        return VOCAB_NONE;
    return id;
}

void vocab_fault_set(struct vocab_fault *why, const char *fmt, ...)
{
    va_list ap;

    if (!why)
        return;
    va_start(ap, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, ap);
    va_end(ap);
}

/* GPT-2 shows the bytes that are printable Latin-1 as themselves; the others
 * are, in order, U+0100 to U+0120, U+0121 to U+0142 and U+0143. */
static bool is_itself(unsigned char byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

size_t vocab_gpt2_put(unsigned char byte, char out[2])
{
    unsigned cp = byte;

    if (!is_itself(byte) && byte <= 0x20)
        cp = 0x100 + byte;
    else if (!is_itself(byte))
        cp = byte == 0xad ? 0x143 : 0x121 + byte - 0x7f;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    out[0] = (char)(0xc0 | cp >> 6);
    out[1] = (char)(0x80 | (cp & 0x3f));
    return 2;
}

int vocab_gpt2_byte(uint32_t cp)
{
    if (cp < 0x100)
        return is_itself((unsigned char)cp) ? (int)cp : -1;
    if (cp <= 0x120)
        return (int)(cp - 0x100);
    if (cp <= 0x142)
        return (int)(cp - 0x121 + 0x7f);
    return cp == 0x143 ? 0xad : -1;
}

enum err vocab_ids_add(struct vocab_ids *out, size_t max, int32_t id)
{
    if (out->n >= max)
        return ERR_FULL;
    if (out->n == out->cap) {
        size_t cap = out->cap ? 2 * out->cap : 64;
        int32_t *grown = realloc(out->ids, cap * sizeof(*grown));

        if (!grown)
            return ERR_NOMEM;
        out->ids = grown;
        out->cap = cap;
    }
    out->ids[out->n++] = id;
    return ERR_OK;
}
