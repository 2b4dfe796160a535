/* tmpl_str.c - What a chat template does with strings: case, stripping,
 * splitting, joining, replacing. Tags follow their bytes. */
#include <stdlib.h>

#include "base/utf8.h"
#include "token/tmpl_run.h"
#include "token/tmpl_uni.h"

static struct str bytes(const struct tmpl_str *s)
{
    return str_of(s->p, s->len);
}

/* --- case --------------------------------------------------------------- */

/* Whether a character that follows <prev> begins a word. */
static bool begins_word(uint32_t prev, bool filter)
{
    if (!filter)
        return !tmpl_uni_is_alpha(prev);
    return tmpl_uni_space(prev) || prev == '-' || prev == '(' || prev == '{' ||
           prev == '[' || prev == '<';
}

static enum err put_char(struct tmpl_run *run, struct tmpl_room *r, uint32_t cp,
                         bool taint)
{
    char room[4];

    return tmpl_room_put(run, r, str_of(room, utf8_put(cp, room)), taint);
}

/* The character <cp>, at <at> of <s> and <n> bytes long, in another case. */
static enum err put_case(struct tmpl_run *run, struct tmpl_room *r,
                         const struct tmpl_str *s, size_t at, bool upper)
{
    uint32_t cp, other;
    size_t n = tmpl_uni_next(str_of(s->p + at, s->len - at), &cp);

    if (cp == 0xDF && upper)
        return tmpl_room_put(run, r, STR("SS"), tmpl_tainted(s, at));
    other = upper ? tmpl_uni_upper(cp) : tmpl_uni_lower(cp);
    if (other == cp || other > 0x10FFFF)
        return tmpl_room_copy(run, r, s, at, n);
    return put_char(run, r, other, tmpl_tainted(s, at));
}

/* Bytes of <s> from <at> on, ASCII and of one trust, that are already in the
 * case wanted. */
static size_t same_run(const struct tmpl_str *s, size_t at, bool upper)
{
    size_t from = at;

    while (at < s->len && (unsigned char)s->p[at] < 0x80) {
        char c = s->p[at];

        if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z')
            break;
        at++;
    }
    return at - from;
}

enum err tmpl_recase(struct tmpl_run *run, const struct tmpl_str *s,
                     enum tmpl_case how, bool filter, struct tmpl_val *out)
{
    uint32_t cp, prev = ' ';
    struct tmpl_room *r;
    size_t at = 0, n;

    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    while (at < s->len) {
        bool up = how == TMPL_UPPER || (how == TMPL_CAPITAL && at == 0) ||
                  (how == TMPL_TITLE && begins_word(prev, filter));

        if (how == TMPL_UPPER || how == TMPL_LOWER) {
            n = same_run(s, at, up);
            ERR_TRY(tmpl_room_copy(run, r, s, at, n));
            at += n;
        }
        if (at == s->len)
            break;
        n = tmpl_uni_next(str_of(s->p + at, s->len - at), &cp);
        ERR_TRY(put_case(run, r, s, at, up));
        prev = cp;
        at += n;
    }
    return tmpl_room_str(run, r, out);
}

/* --- stripping ---------------------------------------------------------- */

static bool strips(uint32_t cp, struct str ch, const struct tmpl_str *set)
{
    if (!set)
        return tmpl_uni_space(cp);
    return str_find(bytes(set), ch) < set->len;
}

enum err tmpl_strip(struct tmpl_run *run, const struct tmpl_str *s,
                    const struct tmpl_str *set, bool left, bool right,
                    struct tmpl_val *out)
{
    size_t from = 0, to = s->len, n;
    uint32_t cp;

    while (left && from < to) {
        n = tmpl_uni_next(str_of(s->p + from, to - from), &cp);
        if (!strips(cp, str_of(s->p + from, n), set))
            break;
        ERR_TRY(tmpl_charge(run, set ? set->len : 0));
        from += n;
    }
    while (right && to > from) {
        n = tmpl_uni_last(str_of(s->p + from, to - from), &cp);
        if (!strips(cp, str_of(s->p + to - n, n), set))
            break;
        ERR_TRY(tmpl_charge(run, set ? set->len : 0));
        to -= n;
    }
    return tmpl_make_part(run, s, from, to - from, out);
}

/* --- replacing ---------------------------------------------------------- */

/* Put <to> before every character, and at the end. */
static enum err replace_empty(struct tmpl_run *run, const struct tmpl_str *s,
                              const struct tmpl_str *to, int64_t count,
                              struct tmpl_room *r)
{
    size_t at = 0;
    uint32_t cp;

    while (at < s->len && count != 0) {
        size_t n = tmpl_uni_next(str_of(s->p + at, s->len - at), &cp);

        ERR_TRY(tmpl_room_add(run, r, to));
        ERR_TRY(tmpl_room_copy(run, r, s, at, n));
        at += n;
        count -= count > 0;
    }
    ERR_TRY(tmpl_room_copy(run, r, s, at, s->len - at));
    return count != 0 ? tmpl_room_add(run, r, to) : ERR_OK;
}

enum err tmpl_replace(struct tmpl_run *run, const struct tmpl_str *s,
                      const struct tmpl_val from_to[2], int64_t count,
                      struct tmpl_val *out)
{
    const struct tmpl_str *from = from_to[0].u.s, *to = from_to[1].u.s;
    struct str rest = bytes(s);
    struct tmpl_room *r;

    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    ERR_TRY(tmpl_charge(run, s->len));
    if (from->len == 0) {
        ERR_TRY(replace_empty(run, s, to, count, r));
        return tmpl_room_str(run, r, out);
    }
    while (count != 0) {
        size_t hit = str_find(rest, bytes(from));

        if (hit == rest.len)
            break;
        ERR_TRY(tmpl_room_copy(run, r, s, (size_t)(rest.p - s->p), hit));
        ERR_TRY(tmpl_room_add(run, r, to));
        rest = str_skip(rest, hit + from->len);
        count -= count > 0;
    }
    if (rest.len == s->len)
        return tmpl_make_part(run, s, 0, s->len, out);
    ERR_TRY(tmpl_room_copy(run, r, s, s->len - rest.len, rest.len));
    return tmpl_room_str(run, r, out);
}

/* --- splitting ---------------------------------------------------------- */

/* Add the part [from, to) of <s>. */
static enum err add_part(struct tmpl_run *run, struct tmpl_list *l,
                         const struct tmpl_str *s, size_t from, size_t to)
{
    struct tmpl_val v;

    ERR_TRY(tmpl_make_part(run, s, from, to - from, &v));
    return tmpl_list_add(run, l, v);
}

/* The last place of <sep> in the first <len> bytes of <s>, or SIZE_MAX. */
static size_t find_last(struct str s, struct str sep, size_t len)
{
    for (size_t at = len; at >= sep.len; at--) {
        if (memcmp(s.p + at - sep.len, sep.p, sep.len) == 0)
            return at - sep.len;
        if (at == sep.len)
            break;
    }
    return SIZE_MAX;
}

static void reverse(struct tmpl_list *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        struct tmpl_val v = l->at[i];

        l->at[i] = l->at[l->n - 1 - i];
        l->at[l->n - 1 - i] = v;
    }
}

static enum err split_at(struct tmpl_run *run, const struct tmpl_str *s,
                         struct str sep, int64_t max, struct tmpl_list *l)
{
    size_t at = 0;

    while (max != 0) {
        struct str rest = str_of(s->p + at, s->len - at);
        size_t hit = str_find(rest, sep);

        if (hit == rest.len)
            break;
        ERR_TRY(add_part(run, l, s, at, at + hit));
        at += hit + sep.len;
        max -= max > 0;
    }
    return add_part(run, l, s, at, s->len);
}

static enum err split_at_right(struct tmpl_run *run, const struct tmpl_str *s,
                               struct str sep, int64_t max, struct tmpl_list *l)
{
    size_t len = s->len;

    while (max != 0 && len >= sep.len) {
        size_t hit = find_last(bytes(s), sep, len);

        if (hit == SIZE_MAX)
            break;
        ERR_TRY(add_part(run, l, s, hit + sep.len, len));
        len = hit;
        max -= max > 0;
    }
    ERR_TRY(add_part(run, l, s, 0, len));
    reverse(l);
    return ERR_OK;
}

/* Bytes of <s> up to the next white space. */
static size_t word_len(struct str s)
{
    size_t at = 0;
    uint32_t cp;

    while (at < s.len) {
        size_t n = tmpl_uni_next(str_skip(s, at), &cp);

        if (tmpl_uni_space(cp))
            break;
        at += n;
    }
    return at;
}

/* The same from the end. */
static size_t word_len_end(struct str s)
{
    size_t len = s.len;
    uint32_t cp;

    while (len > 0) {
        size_t n = tmpl_uni_last(str_of(s.p, len), &cp);

        if (tmpl_uni_space(cp))
            break;
        len -= n;
    }
    return s.len - len;
}

static enum err split_words(struct tmpl_run *run, const struct tmpl_str *s,
                            int64_t max, struct tmpl_list *l)
{
    size_t at = tmpl_uni_spaces(bytes(s));

    while (at < s->len && max != 0) {
        size_t n = word_len(str_skip(bytes(s), at));

        ERR_TRY(add_part(run, l, s, at, at + n));
        at += n;
        at += tmpl_uni_spaces(str_skip(bytes(s), at));
        max -= max > 0;
    }
    return at < s->len ? add_part(run, l, s, at, s->len) : ERR_OK;
}

static enum err split_words_right(struct tmpl_run *run,
                                  const struct tmpl_str *s, int64_t max,
                                  struct tmpl_list *l)
{
    size_t len = s->len - tmpl_uni_spaces_end(bytes(s));

    while (len > 0 && max != 0) {
        size_t n = word_len_end(str_of(s->p, len));

        ERR_TRY(add_part(run, l, s, len - n, len));
        len -= n;
        len -= tmpl_uni_spaces_end(str_of(s->p, len));
        max -= max > 0;
    }
    if (len > 0)
        ERR_TRY(add_part(run, l, s, 0, len));
    reverse(l);
    return ERR_OK;
}

enum err tmpl_split(struct tmpl_run *run, const struct tmpl_str *s,
                    const struct tmpl_str *sep, int64_t max, bool right,
                    struct tmpl_val *out)
{
    struct tmpl_list *l;

    ERR_TRY(tmpl_make_list(run, out));
    ERR_TRY(tmpl_charge(run, s->len));
    l = out->u.list;
    if (!sep)
        return right ? split_words_right(run, s, max, l)
                     : split_words(run, s, max, l);
    if (sep->len == 0)
        return tmpl_fail(run, "empty separator");
    if (right) /* may compare the separator at every byte */
        ERR_TRY(tmpl_charge(run, s->len * (sep->len / 8)));
    return right ? split_at_right(run, s, bytes(sep), max, l)
                 : split_at(run, s, bytes(sep), max, l);
}

/* Length of the end of a line that <s> begins with, 0 when it does not. */
static size_t line_end(struct str s)
{
    uint32_t cp;
    size_t n = tmpl_uni_next(s, &cp);

    if (cp == '\r' && s.len > 1 && s.p[1] == '\n')
        return 2;
    if ((cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 ||
        cp == 0x2028 || cp == 0x2029)
        return n;
    return 0;
}

enum err tmpl_splitlines(struct tmpl_run *run, const struct tmpl_str *s,
                         bool keep, struct tmpl_val *out)
{
    size_t from = 0, at = 0;
    uint32_t cp;

    ERR_TRY(tmpl_make_list(run, out));
    ERR_TRY(tmpl_charge(run, s->len));
    while (at < s->len) {
        struct str rest = str_skip(bytes(s), at);
        size_t end = line_end(rest);

        if (end == 0) {
            at += tmpl_uni_next(rest, &cp);
            continue;
        }
        ERR_TRY(add_part(run, out->u.list, s, from, keep ? at + end : at));
        at += end;
        from = at;
    }
    return from < s->len ? add_part(run, out->u.list, s, from, s->len) : ERR_OK;
}

/* --- joining ------------------------------------------------------------ */

enum err tmpl_join(struct tmpl_run *run, const struct tmpl_list *l,
                   const struct tmpl_str *sep, struct tmpl_val *out)
{
    struct tmpl_room *r;

    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0 && sep)
            ERR_TRY(tmpl_room_add(run, r, sep));
        ERR_TRY(tmpl_put_val(run, r, l->at[i]));
    }
    return tmpl_room_str(run, r, out);
}
