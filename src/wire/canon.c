/* canon.c - See canon.h. One pass writes every member where it comes, commas
 * after each; where an object closes whose members stood in another order, the
 * ranges they were written to are sorted and copied into place. Nothing is
 * allocated but for objects of many members. How much is copied over and over
 * is bounded: what is nested so that it would be more has no canonical text. */
#include "wire/canon.h"

#include <string.h>

#include "wire/canon_text.h"
#include "wire/jscan.h"
#include "wire/jtext.h"

enum {
    OWN_SPANS = 96,  /* members that need no memory of their own */
    SMALL_SORT = 12, /* members that are sorted by insertion */
    MOVES = 64,      /* bytes copied for each byte of the text */
    MOVES_LEAST = 1 << 16,
};

/* A member that was written. */
struct span {
    size_t at, len; /* in out->p; the comma after it is part of it */
    size_t key_len; /* of its name as written, without the quotes */
};

/* An object or array that is open. */
struct level {
    const char *src; /* its bracket in the text */
    size_t at;       /* its bracket in out->p */
    unsigned first;  /* of its members in spans */
    uint64_t paths;  /* bit per path that leads here */
    bool object;
    bool sorted; /* so far every name was greater than the one before */
};

struct canon {
    const char *p, *end;
    const struct canon_skip *skip; /* or NULL */
    struct buf *out;
    struct span *spans; /* of the open objects, outer ones first */
    unsigned n, room;
    struct buf more; /* owned: room for more than <own> */
    unsigned depth;  /* open levels; level[depth] is the innermost */
    size_t may_move; /* bytes that may still be copied */
    struct span own[OWN_SPANS];
    struct level level[CANON_DEPTH + 1]; /* [0]: around the whole */
};

_Static_assert(CANON_PATHS <= 64, "struct level has a bit for each path");

static enum err put_char(struct canon *c, char ch)
{
    if (c->out->len == c->out->room)
        ERR_TRY(buf_reserve(c->out, 1));
    c->out->p[c->out->len++] = ch;
    return ERR_OK;
}

/* ---- order ------------------------------------------------------------- */

static struct str span_key(const struct canon *c, const struct span *s)
{
    return str_of(c->out->p + s->at + 1, s->key_len);
}

static int span_cmp(const struct canon *c, const struct span *a,
                    const struct span *b)
{
    struct str ka = span_key(c, a), kb = span_key(c, b);
    size_t n = ka.len < kb.len ? ka.len : kb.len;
    int d = n ? memcmp(ka.p, kb.p, n) : 0;

    return d != 0 ? d : (ka.len > kb.len) - (ka.len < kb.len);
}

static void sort_small(const struct canon *c, struct span *s, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        struct span one = s[i];
        unsigned k = i;

        for (; k > 0 && span_cmp(c, &s[k - 1], &one) > 0; k--)
            s[k] = s[k - 1];
        s[k] = one;
    }
}

/* Let s[i] sink to its place among the first <n> of a heap. */
static void heap_sink(const struct canon *c, struct span *s, unsigned i,
                      unsigned n)
{
    struct span one = s[i];
    unsigned k;

    while ((k = 2 * i + 1) < n) {
        if (k + 1 < n && span_cmp(c, &s[k], &s[k + 1]) < 0)
            k++;
        if (span_cmp(c, &one, &s[k]) >= 0)
            break;
        s[i] = s[k];
        i = k;
    }
    s[i] = one;
}

static void sort_large(const struct canon *c, struct span *s, unsigned n)
{
    for (unsigned i = n / 2; i-- > 0;)
        heap_sink(c, s, i, n);
    for (unsigned left = n - 1; left > 0; left--) {
        struct span top = s[0];

        s[0] = s[left];
        s[left] = top;
        heap_sink(c, s, 0, left);
    }
}

/* Copy the members of <l>, sorted by now, from where they were written to
 * where they belong, by way of the end of the buffer. */
static enum err place_members(struct canon *c, const struct level *l)
{
    struct buf *out = c->out;
    size_t at = l->at + 1, len;
    unsigned i = l->first;
    char *to;

    for (; i < c->n && c->spans[i].at == at; i++)
        at += c->spans[i].len;
    len = out->len - at;
    if (len > c->may_move)
        return ERR_RANGE;
    c->may_move -= len;
    ERR_TRY(buf_reserve(out, len));
    to = out->p + out->len;
    for (; i < c->n; i++) {
        memcpy(to, out->p + c->spans[i].at, c->spans[i].len);
        to += c->spans[i].len;
    }
    if (len > 0)
        memcpy(out->p + at, out->p + out->len, len);
    return ERR_OK;
}

static enum err sort_members(struct canon *c, const struct level *l)
{
    struct span *s = c->spans + l->first;
    const unsigned n = c->n - l->first;

    if (n <= SMALL_SORT)
        sort_small(c, s, n);
    else
        sort_large(c, s, n);
    for (unsigned i = 1; i < n; i++)
        if (span_cmp(c, &s[i - 1], &s[i]) == 0)
            return ERR_BAD_PARAM;
    return place_members(c, l);
}

/* ---- values ------------------------------------------------------------ */

/* A value is complete: what is open goes on, or the text ends. */
static enum err end_value(struct canon *c)
{
    if (c->depth == 0)
        return ERR_OK;
    ERR_TRY(put_char(c, ','));
    if (c->level[c->depth].object)
        c->spans[c->n - 1].len = c->out->len - c->spans[c->n - 1].at;
    return ERR_OK;
}

static enum err open_level(struct canon *c, uint64_t paths)
{
    struct level *l;

    if (c->depth == CANON_DEPTH)
        return ERR_RANGE;
    l = &c->level[++c->depth];
    *l = (struct level){.src = c->p,
                        .at = c->out->len,
                        .first = c->n,
                        .paths = paths,
                        .object = *c->p == '{',
                        .sorted = true};
    return put_char(c, *c->p++);
}

static enum err close_level(struct canon *c)
{
    const struct level *l = &c->level[c->depth];
    const char close = l->object ? '}' : ']';

    if (*c->p != close)
        return ERR_BAD_JSON;
    c->p++;
    if (!l->sorted)
        ERR_TRY(sort_members(c, l));
    c->n = l->first;
    if (c->out->len > l->at + 1)
        c->out->p[c->out->len - 1] = close; /* for the last comma */
    else
        ERR_TRY(put_char(c, close));
    c->depth--;
    return end_value(c);
}

/* The word or number at c->p. */
static enum err put_plain(struct canon *c)
{
    const char *start = c->p;
    struct str raw;

    c->p = jtext_skip_value(start, c->end);
    raw = str_of(start, (size_t)(c->p - start));
    switch (jval_type_of(*start)) {
    case JT_NUMBER:
        return canon_put_number(raw, c->out);
    case JT_NULL:
    case JT_TRUE:
    case JT_FALSE:
        return buf_put_str(c->out, raw);
    default:
        return ERR_BAD_JSON;
    }
}

static enum err put_string(struct canon *c)
{
    const char *start = c->p;

    c->p = jtext_skip_string(start + 1, c->end);
    return canon_put_string(str_of(start, (size_t)(c->p - start)), c->out);
}

/* The value at c->p, which <paths> lead to. */
static enum err put_value(struct canon *c, uint64_t paths)
{
    switch (*c->p) {
    case '{':
    case '[':
        return open_level(c, paths);
    case '"':
        ERR_TRY(put_string(c));
        break;
    default:
        ERR_TRY(put_plain(c));
        break;
    }
    return end_value(c);
}

/* ---- what is left out -------------------------------------------------- */

/* The value at c->p, with <key> or none. */
static struct jmember peek_value(const struct canon *c, struct str key)
{
    const char *end = jtext_skip_value(c->p, c->end);

    return (struct jmember){key, str_of(c->p, (size_t)(end - c->p)),
                            jval_type_of(*c->p)};
}

/* Whether <m> is content of the object that it is a member of. */
static bool is_content(const struct jmember *m)
{
    struct jmember first;
    struct jiter it;

    if (m->type == JT_NULL)
        return false;
    if (!jval_is(m->key, STR("summary")))
        return jval_is(m->key, STR("content")) ||
               jval_is(m->key, STR("call_id")) ||
               jval_is(m->key, STR("encrypted_content"));
    jiter_init(&it, m->value);
    return jiter_next(&it, &first);
}

/* Whether the object at <src> says what it is without its id. */
static bool brings_content(const struct canon *c, const char *src)
{
    struct jmember m;
    struct jiter it;

    jiter_init(&it, str_of(src, (size_t)(jtext_skip_value(src, c->end) - src)));
    while (jiter_next(&it, &m))
        if (is_content(&m))
            return true;
    return false;
}

/* Which of the paths that lead to the innermost level lead on to its member
 * <key>; <gone_out>: one of them ends there, it is left out. */
static uint64_t paths_of_member(const struct canon *c, struct str key,
                                bool *gone_out)
{
    const struct level *l = &c->level[c->depth];
    const unsigned step = c->depth - 1;
    uint64_t on = 0;

    for (unsigned i = 0; i < c->skip->count; i++) {
        const struct canon_step *s;

        if ((l->paths >> i & 1) == 0)
            continue;
        s = &c->skip->path[i].step[step];
        if (s->how != CANON_MEMBER || !jval_is(key, s->text))
            continue;
        if (c->skip->path[i].count > step + 1)
            on |= UINT64_C(1) << i;
        else if (step == 0 || s[-1].how == CANON_MEMBER ||
                 !str_eq(s->text, STR("id")) || brings_content(c, l->src))
            *gone_out = true;
    }
    return on;
}

/* The same for the element at c->p. */
static uint64_t paths_of_element(const struct canon *c, bool *gone_out)
{
    const struct level *l = &c->level[c->depth];
    const unsigned step = c->depth - 1;
    uint64_t on = 0;

    for (unsigned i = 0; i < c->skip->count; i++) {
        const struct canon_step *s;

        if ((l->paths >> i & 1) == 0)
            continue;
        s = &c->skip->path[i].step[step];
        if (s->how == CANON_EACH && c->skip->path[i].count == step + 1) {
            *gone_out = true;
        } else if (s->how == CANON_EACH) {
            on |= UINT64_C(1) << i;
        } else if (s->how == CANON_LINES) {
            struct jmember m = peek_value(c, (struct str){NULL, 0});
            *gone_out = *gone_out || canon_is_line(&m, s->text);
        }
    }
    return on;
}

/* ---- members and elements ---------------------------------------------- */

static enum err more_spans(struct canon *c)
{
    if (c->room == CANON_MEMBERS)
        return ERR_RANGE;
    ERR_TRY(buf_reserve(&c->more, CANON_MEMBERS * sizeof(*c->spans)));
    memcpy(c->more.p, c->own, sizeof(c->own));
    c->spans = (struct span *)(void *)c->more.p;
    c->room = CANON_MEMBERS;
    return ERR_OK;
}

/* Write the name <key> of a member that begins here. */
static enum err put_key(struct canon *c, struct str key)
{
    struct level *l = &c->level[c->depth];
    struct span *s;

    if (c->n == c->room)
        ERR_TRY(more_spans(c));
    s = &c->spans[c->n++];
    *s = (struct span){.at = c->out->len};
    ERR_TRY(canon_put_string(key, c->out));
    s->key_len = c->out->len - s->at - 2;
    if (l->sorted && c->n - 1 > l->first)
        l->sorted = span_cmp(c, s - 1, s) < 0;
    return put_char(c, ':');
}

static enum err put_member(struct canon *c)
{
    const char *start = c->p;
    uint64_t paths = 0;
    bool gone = false;
    struct str key;

    if (*start != '"')
        return ERR_BAD_JSON;
    c->p = jtext_skip_string(start + 1, c->end);
    key = str_of(start, (size_t)(c->p - start));
    c->p = jtext_skip_space(c->p, c->end);
    if (c->p == c->end || *c->p != ':')
        return ERR_BAD_JSON;
    c->p = jtext_skip_space(c->p + 1, c->end);
    if (c->p == c->end)
        return ERR_BAD_JSON;
    if (c->level[c->depth].paths != 0)
        paths = paths_of_member(c, key, &gone);
    if (gone) {
        c->p = jtext_skip_value(c->p, c->end);
        return ERR_OK;
    }
    ERR_TRY(put_key(c, key));
    return put_value(c, paths);
}

static enum err put_element(struct canon *c)
{
    uint64_t paths = 0;
    bool gone = false;

    if (c->level[c->depth].paths != 0)
        paths = paths_of_element(c, &gone);
    if (gone) {
        c->p = jtext_skip_value(c->p, c->end);
        return ERR_OK;
    }
    return put_value(c, paths);
}

/* What stands at c->p, which is no white space, within something open. */
static enum err put_next(struct canon *c)
{
    switch (*c->p) {
    case ',':
        c->p++;
        return ERR_OK;
    case '}':
    case ']':
        return close_level(c);
    default:
        return c->level[c->depth].object ? put_member(c) : put_element(c);
    }
}

static enum err put_text(struct canon *c)
{
    const unsigned paths = c->skip ? c->skip->count : 0;

    c->p = jtext_skip_space(c->p, c->end);
    if (c->p == c->end)
        return ERR_BAD_JSON;
    ERR_TRY(put_value(c, paths ? UINT64_MAX >> (64 - paths) : 0));
    while (c->depth > 0) {
        c->p = jtext_skip_space(c->p, c->end);
        if (c->p == c->end)
            return ERR_BAD_JSON;
        ERR_TRY(put_next(c));
    }
    return jtext_skip_space(c->p, c->end) == c->end ? ERR_OK : ERR_BAD_JSON;
}

enum err canon_put(struct str json, const struct canon_skip *skip,
                   struct buf *out)
{
    const size_t before = out->len;
    struct canon c;
    enum err e;

    if (json.len == 0 || json.len > SIZE_MAX / MOVES - MOVES_LEAST)
        return json.len == 0 ? ERR_BAD_JSON : ERR_RANGE;
    c.p = json.p;
    c.end = json.p + json.len;
    c.skip = skip;
    c.out = out;
    c.spans = c.own;
    c.n = 0;
    c.room = OWN_SPANS;
    buf_init(&c.more, CANON_MEMBERS * sizeof(*c.spans));
    c.depth = 0;
    c.may_move = json.len * MOVES + MOVES_LEAST;
    e = put_text(&c);
    buf_fini(&c.more);
    if (e != ERR_OK)
        out->len = before;
    return e;
}

/* ---- the table --------------------------------------------------------- */

/* Add a step to the path that is being made, skip->path[skip->count]. */
static enum err add_step(struct canon_skip *skip, enum canon_how how,
                         struct str text)
{
    unsigned *n = &skip->path[skip->count].count;

    if (*n == CANON_STEPS)
        return ERR_RANGE;
    skip->path[skip->count].step[(*n)++] = (struct canon_step){how, text};
    return ERR_OK;
}

/* What stands in brackets at the start of <rest>, cut off it. */
static enum err add_elements(struct canon_skip *skip, struct str *rest)
{
    const size_t end = str_find_char(*rest, ']');
    struct str word;

    if (end == rest->len)
        return ERR_SYNTAX;
    word = str_of(rest->p + 1, end - 1);
    *rest = str_skip(*rest, end + 1);
    if (word.len == 0)
        return add_step(skip, CANON_EACH, word);
    if (rest->len > 0)
        return ERR_SYNTAX;
    return add_step(skip, CANON_LINES, word);
}

/* A name and what stands in brackets after it. */
static enum err add_name(struct canon_skip *skip, struct str *rest)
{
    struct str name = *rest;

    name.len = 0;
    while (name.len < rest->len && !strchr(".[]", rest->p[name.len]))
        name.len++;
    if (name.len == 0)
        return ERR_SYNTAX;
    *rest = str_skip(*rest, name.len);
    ERR_TRY(add_step(skip, CANON_MEMBER, name));
    while (rest->len > 0 && rest->p[0] == '[')
        ERR_TRY(add_elements(skip, rest));
    return ERR_OK;
}

enum err canon_skip_add(struct canon_skip *skip, struct str path)
{
    if (skip->count == CANON_PATHS)
        return ERR_RANGE;
    skip->path[skip->count].count = 0;
    ERR_TRY(add_name(skip, &path));
    while (path.len > 0) {
        if (path.p[0] != '.')
            return ERR_SYNTAX;
        path = str_skip(path, 1);
        ERR_TRY(add_name(skip, &path));
    }
    skip->count++;
    return ERR_OK;
}
