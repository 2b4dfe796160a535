/* tmpl_val.c - Making the values of a template's rendering. */
#include "token/tmpl_val.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/map.h"
#include "token/tmpl_run.h"

enum err tmpl_fail(struct tmpl_run *run, const char *fmt, ...)
{
    va_list ap;

    if (run->at)
        tmpl_place(run->t, run->at->pos, run->why);
    va_start(ap, fmt);
    vsnprintf(run->why->text, sizeof(run->why->text), fmt, ap);
    va_end(ap);
    return ERR_SYNTAX;
}

/* Note which bound <run> meets; returns ERR_FULL. */
static enum err full(struct tmpl_run *run, const char *what)
{
    enum err e = tmpl_fail(run, "%s", what);

    return e == ERR_SYNTAX ? ERR_FULL : e;
}

enum err tmpl_charge(struct tmpl_run *run, size_t bytes)
{
    run->steps += 1 + bytes / 256;
    if (run->steps > TMPL_STEPS_MAX)
        return full(run, "the template takes too many steps");
    return ERR_OK;
}

enum err tmpl_alloc(struct tmpl_run *run, size_t len, void *out)
{
    void *p;

    if (len > run->cap || arena_used(run->arena) > run->cap - len)
        return full(run, "the template takes too much memory");
    p = arena_alloc(run->arena, len);
    if (!p && arena_used(run->arena) + 16 > run->cap - len)
        return full(run, "the template takes too much memory");
    if (!p)
        return ERR_NOMEM;
    memcpy(out, &p, sizeof(p));
    return ERR_OK;
}

/* --- scalars ------------------------------------------------------------ */

struct tmpl_val tmpl_undef(const struct str *name)
{
    return (struct tmpl_val){.type = TMPL_UNDEF, .u.name = name};
}

struct tmpl_val tmpl_none(void)
{
    return (struct tmpl_val){.type = TMPL_NONE};
}

struct tmpl_val tmpl_bool(bool b)
{
    return (struct tmpl_val){.type = TMPL_BOOL, .u.b = b};
}

struct tmpl_val tmpl_int(int64_t i)
{
    return (struct tmpl_val){.type = TMPL_INT, .u.i = i};
}

struct tmpl_val tmpl_real(double r)
{
    return (struct tmpl_val){.type = TMPL_REAL, .u.r = r};
}

/* --- strings ------------------------------------------------------------ */

enum err tmpl_make_str(struct tmpl_run *run, struct str s, bool taint,
                       struct tmpl_val *out)
{
    struct tmpl_str *t;

    ERR_TRY(tmpl_alloc(run, sizeof(*t), &t));
    *t = (struct tmpl_str){.p = s.p, .len = s.len, .taint = taint};
    *out = (struct tmpl_val){.type = TMPL_STR, .u.s = t};
    return ERR_OK;
}

enum err tmpl_make_part(struct tmpl_run *run, const struct tmpl_str *s,
                        size_t at, size_t len, struct tmpl_val *out)
{
    struct tmpl_str *t;

    if (at == 0 && len == s->len) {
        *out = (struct tmpl_val){.type = TMPL_STR, .u.s = s};
        return ERR_OK;
    }
    ERR_TRY(tmpl_alloc(run, sizeof(*t), &t));
    *t = *s;
    t->p = s->p + at;
    t->len = len;
    t->tag = s->tag ? s->tag + at : NULL;
    *out = (struct tmpl_val){.type = TMPL_STR, .u.s = t};
    return ERR_OK;
}

/* Make room for <more> bytes. Strings that lie in the old bytes keep them. */
static enum err room_grow(struct tmpl_run *run, struct tmpl_room *r,
                          size_t more)
{
    size_t cap = r->cap ? r->cap * 2 : 64;
    char *p;
    unsigned char *tag = NULL;

    if (more > run->max_bytes || r->used > run->max_bytes - more)
        return full(run, "the template writes too much");
    if (more <= r->cap - r->used)
        return ERR_OK;
    while (cap < r->used + more)
        cap *= 2;
    ERR_TRY(tmpl_alloc(run, cap, &p));
    if (r->used > 0)
        memcpy(p, r->p, r->used);
    if (r->tag) {
        ERR_TRY(tmpl_alloc(run, cap, &tag));
        memcpy(tag, r->tag, r->used);
    }
    r->p = p;
    r->tag = tag;
    r->cap = cap;
    return ERR_OK;
}

/* Have tags of its own. */
static enum err room_tag(struct tmpl_run *run, struct tmpl_room *r)
{
    if (r->tag)
        return ERR_OK;
    ERR_TRY(tmpl_alloc(run, r->cap, &r->tag));
    memset(r->tag, r->taint, r->used);
    return ERR_OK;
}

enum err tmpl_room_put(struct tmpl_run *run, struct tmpl_room *r, struct str s,
                       bool taint)
{
    if (s.len == 0)
        return ERR_OK;
    ERR_TRY(tmpl_charge(run, s.len));
    ERR_TRY(room_grow(run, r, s.len));
    if (r->used == 0 && !r->tag)
        r->taint = taint;
    if (r->taint != taint)
        ERR_TRY(room_tag(run, r));
    memcpy(r->p + r->used, s.p, s.len);
    if (r->tag)
        memset(r->tag + r->used, taint, s.len);
    r->used += s.len;
    return ERR_OK;
}

enum err tmpl_room_copy(struct tmpl_run *run, struct tmpl_room *r,
                        const struct tmpl_str *s, size_t at, size_t len)
{
    if (!s->tag || len == 0)
        return tmpl_room_put(run, r, str_of(s->p + at, len), s->taint);
    ERR_TRY(tmpl_charge(run, len));
    ERR_TRY(room_grow(run, r, len));
    ERR_TRY(room_tag(run, r));
    memcpy(r->p + r->used, s->p + at, len);
    memcpy(r->tag + r->used, s->tag + at, len);
    r->used += len;
    return ERR_OK;
}

enum err tmpl_room_add(struct tmpl_run *run, struct tmpl_room *r,
                       const struct tmpl_str *s)
{
    return tmpl_room_copy(run, r, s, 0, s->len);
}

/* The bytes of <r> from <at> on. */
static enum err room_from(struct tmpl_run *run, struct tmpl_room *r, size_t at,
                          struct tmpl_val *out)
{
    struct tmpl_str *t;

    ERR_TRY(tmpl_alloc(run, sizeof(*t), &t));
    t->p = r->p ? r->p + at : "";
    t->len = r->used - at;
    t->tag = r->tag ? r->tag + at : NULL;
    t->taint = r->taint;
    t->room = r;
    *out = (struct tmpl_val){.type = TMPL_STR, .u.s = t};
    return ERR_OK;
}

enum err tmpl_room_str(struct tmpl_run *run, struct tmpl_room *r,
                       struct tmpl_val *out)
{
    return room_from(run, r, 0, out);
}

enum err tmpl_concat(struct tmpl_run *run, const struct tmpl_str *a,
                     const struct tmpl_str *b, struct tmpl_val *out)
{
    struct tmpl_room *r = a->room;
    size_t at;

    if (a->len == 0 || b->len == 0) {
        *out = (struct tmpl_val){.type = TMPL_STR, .u.s = a->len ? a : b};
        return ERR_OK;
    }
    if (r && r->p <= a->p && a->p + a->len == r->p + r->used) {
        at = (size_t)(a->p - r->p);
        ERR_TRY(tmpl_room_add(run, r, b));
        return room_from(run, r, at, out);
    }
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    ERR_TRY(tmpl_room_add(run, r, a));
    ERR_TRY(tmpl_room_add(run, r, b));
    return room_from(run, r, 0, out);
}

/* --- lists, functions --------------------------------------------------- */

enum err tmpl_make_list(struct tmpl_run *run, struct tmpl_val *out)
{
    struct tmpl_list *l;

    ERR_TRY(tmpl_alloc(run, sizeof(*l), &l));
    *out = (struct tmpl_val){.type = TMPL_LIST, .u.list = l};
    return ERR_OK;
}

enum err tmpl_make_func(struct tmpl_run *run, enum tmpl_func_kind kind, int id,
                        struct tmpl_val self, struct tmpl_val *out)
{
    struct tmpl_func *f;

    ERR_TRY(tmpl_alloc(run, sizeof(*f), &f));
    f->kind = kind;
    f->id = id;
    f->self = self;
    *out = (struct tmpl_val){.type = TMPL_FUNC, .u.func = f};
    return ERR_OK;
}

enum err tmpl_list_add(struct tmpl_run *run, struct tmpl_list *l,
                       struct tmpl_val v)
{
    ERR_TRY(tmpl_charge(run, 0));
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        struct tmpl_val *at;

        ERR_TRY(tmpl_alloc(run, cap * sizeof(at[0]), &at));
        if (l->n > 0)
            memcpy(at, l->at, l->n * sizeof(at[0]));
        l->at = at;
        l->cap = cap;
    }
    l->at[l->n++] = v;
    return ERR_OK;
}

enum err tmpl_make_pair(struct tmpl_run *run, struct tmpl_val a,
                        struct tmpl_val b, struct tmpl_val *out)
{
    ERR_TRY(tmpl_make_list(run, out));
    ERR_TRY(tmpl_alloc(run, 2 * sizeof(a), &out->u.list->at));
    out->u.list->cap = out->u.list->n = 2;
    out->u.list->at[0] = a;
    out->u.list->at[1] = b;
    return ERR_OK;
}

/* --- mappings ----------------------------------------------------------- */

enum err tmpl_make_dict(struct tmpl_run *run, struct tmpl_val *out)
{
    struct tmpl_dict *d;

    ERR_TRY(tmpl_alloc(run, sizeof(*d), &d));
    *out = (struct tmpl_val){.type = TMPL_DICT, .u.dict = d};
    return ERR_OK;
}

static uint32_t key_hash(struct tmpl_val k)
{
    double r = 0;

    if (k.type == TMPL_STR)
        return map_hash(k.u.s->p, k.u.s->len);
    if (tmpl_number(k, &r)) {
        r += 0.0; /* of the two zeros one */
        return map_hash(&r, sizeof(r));
    }
    return (uint32_t)k.type;
}

/* The slot of the index where <k> is or would be. */
static size_t index_slot(const struct tmpl_dict *d, struct tmpl_val k)
{
    size_t at = key_hash(k) & d->mask;

    while (d->index[at] != 0 && !tmpl_equal(d->at[d->index[at] - 1].key, k))
        at = (at + 1) & d->mask;
    return at;
}

static struct tmpl_pair *find_pair(const struct tmpl_dict *d, struct tmpl_val k)
{
    if (d->index) {
        size_t slot = index_slot(d, k);

        return d->index[slot] ? &d->at[d->index[slot] - 1] : NULL;
    }
    for (size_t i = 0; i < d->n; i++) {
        if (tmpl_equal(d->at[i].key, k))
            return &d->at[i];
    }
    return NULL;
}

static enum err dict_grow(struct tmpl_run *run, struct tmpl_dict *d)
{
    size_t cap = d->cap ? d->cap * 2 : 8;
    struct tmpl_pair *at;

    ERR_TRY(tmpl_alloc(run, cap * sizeof(at[0]), &at));
    if (d->n > 0)
        memcpy(at, d->at, d->n * sizeof(at[0]));
    d->at = at;
    d->cap = cap;
    if (cap <= 8)
        return ERR_OK;
    ERR_TRY(tmpl_alloc(run, cap * 2 * sizeof(d->index[0]), &d->index));
    d->mask = cap * 2 - 1;
    for (size_t i = 0; i < d->n; i++)
        d->index[index_slot(d, d->at[i].key)] = (uint32_t)(i + 1);
    return ERR_OK;
}

enum err tmpl_dict_set(struct tmpl_run *run, struct tmpl_dict *d,
                       struct tmpl_val key, struct tmpl_val v)
{
    struct tmpl_pair *p;

    ERR_TRY(tmpl_charge(run, 0));
    if (key.type != TMPL_STR && key.type != TMPL_INT && key.type != TMPL_NONE &&
        key.type != TMPL_REAL && key.type != TMPL_BOOL)
        return tmpl_fail(run, "%s cannot be a key", tmpl_type_name(key));
    p = find_pair(d, key);
    if (p) {
        p->val = v;
        return ERR_OK;
    }
    if (d->n == d->cap)
        ERR_TRY(dict_grow(run, d));
    d->at[d->n++] = (struct tmpl_pair){key, v};
    if (d->index)
        d->index[index_slot(d, key)] = (uint32_t)d->n;
    return ERR_OK;
}

const struct tmpl_val *tmpl_dict_get(const struct tmpl_dict *d,
                                     struct tmpl_val key)
{
    struct tmpl_pair *p = find_pair(d, key);

    return p ? &p->val : NULL;
}

const struct tmpl_val *tmpl_dict_find(const struct tmpl_dict *d,
                                      struct str name)
{
    struct tmpl_str s = {.p = name.p, .len = name.len};

    return tmpl_dict_get(d, (struct tmpl_val){.type = TMPL_STR, .u.s = &s});
}
