/* jscan.c - The scanner of jscan.h: one pass with an explicit stack of bits,
 * one for each level (object or array). The members asked for are recognised
 * as their keys pass; only LEVELS levels are watched, the rest is skipped at
 * the speed of its validation. */
#include "wire/jscan.h"

#include "wire/jtext.h"

enum {
    DEPTH_DEFAULT = 128,
    VALUES_DEFAULT = 16 << 20,
    LEVELS = 5,     /* watched: the root is level 0, its members are at 1 */
    KEY_BINS = 512, /* hash bins of JSCAN_KEYS_MAX keys */
};

/* One key that was seen in an object of unique keys. */
struct seen {
    struct str key;
    uint32_t hash; /* of the unescaped bytes and the level */
    uint16_t next; /* index + 1 of the next key in the bin, 0 = none */
    uint16_t level;
};

/* All of them. Only <bins> and <count> need be zeroed. */
struct seen_set {
    uint16_t bins[KEY_BINS]; /* index + 1 */
    unsigned count;
    struct seen key[JSCAN_KEYS_MAX];
};

/* A level that is watched. */
struct level {
    const struct jtable *table; /* of this object, or NULL */
    struct jmember *open;       /* whose value it is, or NULL */
};

/* What the grammar wants next. */
enum next {
    NEXT_VALUE = 0,
    NEXT_VALUE_OR_CLOSE, /* after [ */
    NEXT_KEY,            /* after , in an object */
    NEXT_KEY_OR_CLOSE,   /* after { */
    NEXT_COMMA_OR_CLOSE,
    NEXT_NOTHING, /* after the root */
};

struct scan {
    const char *p, *end;
    struct jscan *out;
    enum next next;
    unsigned depth, depth_max;
    size_t values_max;
    struct jmember *member;     /* slot of the value that comes, or NULL */
    const struct jtable *inner; /* its table, or NULL */
    enum err err;
    struct level level[LEVELS];
    uint64_t in_object[JSCAN_DEPTH_MAX / 64 + 1];
    struct seen_set seen;
};

/* Note what is wrong at s->p; false, for the caller to pass on. */
static bool fail(struct scan *s, enum err e, const char *reason)
{
    s->err = e;
    s->out->err_at = (size_t)(s->p - s->out->text.p);
    s->out->reason = reason;
    return false;
}

static bool fail_json(struct scan *s, const char *reason)
{
    return fail(s, ERR_BAD_JSON, reason);
}

static const struct jtable *table_here(const struct scan *s)
{
    return s->depth < LEVELS ? s->level[s->depth].table : NULL;
}

/* Whether two raw strings mean the same. */
static bool same_key(struct str a, struct str b)
{
    struct junescape ua, ub;
    char ca[4], cb[4];
    unsigned na, nb;

    junescape_init(&ua, a);
    junescape_init(&ub, b);
    do {
        na = junescape_next(&ua, ca, true);
        nb = junescape_next(&ub, cb, true);
        if (na != nb || memcmp(ca, cb, na) != 0)
            return false;
    } while (na > 0);
    return true;
}

/* A <plain> key is ASCII without escapes: its bytes are its text. */
static uint32_t hash_key(struct str raw, bool plain, unsigned level)
{
    struct junescape u;
    uint32_t h = 2166136261U ^ level; /* FNV-1a */
    char c[4];
    unsigned n;

    for (size_t i = 1; plain && i + 1 < raw.len; i++)
        h = (h ^ (unsigned char)raw.p[i]) * 16777619U;
    if (plain)
        return h;
    junescape_init(&u, raw);
    while ((n = junescape_next(&u, c, true)) > 0)
        for (unsigned i = 0; i < n; i++)
            h = (h ^ (unsigned char)c[i]) * 16777619U;
    return h;
}

/* Add the key to those seen in the object at hand. */
static bool note_key(struct scan *s, struct str raw, bool plain)
{
    struct seen_set *set = &s->seen;
    uint32_t h = hash_key(raw, plain, s->depth);
    uint16_t *bin = &set->bins[h % KEY_BINS];

    for (unsigned i = *bin; i > 0; i = set->key[i - 1].next) {
        const struct seen *k = &set->key[i - 1];
        if (k->hash == h && k->level == s->depth && same_key(k->key, raw)) {
            s->out->dup_key = raw;
            s->p = raw.p;
            return fail(s, ERR_BAD_PARAM, "duplicate key");
        }
    }
    if (set->count == JSCAN_KEYS_MAX) {
        s->p = raw.p;
        return fail(s, ERR_BAD_PARAM, "too many keys");
    }
    set->key[set->count++] = (struct seen){raw, h, *bin, (uint16_t)s->depth};
    *bin = (uint16_t)set->count;
    return true;
}

/* Forget what an earlier member of the same name gave to inner slots. */
static void clear_inner(struct jscan *out, const struct jtable *table)
{
    const struct jtable *todo[LEVELS * 4];
    unsigned n = 0;

    todo[n++] = table;
    while (n > 0) {
        const struct jtable *t = todo[--n];
        for (unsigned i = 0; i < t->count; i++) {
            out->m[t->row[i].slot] = (struct jmember){0};
            if (t->row[i].inner && n < LEVELS * 4)
                todo[n++] = t->row[i].inner;
        }
    }
}

/* Fold what some servers take for the same letter: the case of ASCII, the
 * long s (U+017F) and the Kelvin sign (U+212A). 0: no letter of a name. */
static char fold_char(const char c[4], unsigned n)
{
    if (n == 1)
        return c[0] >= 'A' && c[0] <= 'Z' ? (char)(c[0] + 32) : c[0];
    if (n == 2 && memcmp(c, "\xC5\xBF", 2) == 0)
        return 's';
    if (n == 3 && memcmp(c, "\xE2\x84\xAA", 3) == 0)
        return 'k';
    return 0;
}

/* Whether <raw> is <name> but for such folding. */
static bool folds_to(struct str raw, bool plain, struct str name)
{
    struct junescape u;
    char c[4];
    size_t i = 0;
    unsigned n;

    if (plain)
        return raw.len == name.len + 2 &&
               strncasecmp(raw.p + 1, name.p, name.len) == 0;
    junescape_init(&u, raw);
    while ((n = junescape_next(&u, c, true)) > 0) {
        if (i == name.len || fold_char(c, n) != name.p[i])
            return false;
        i++;
    }
    return i == name.len;
}

/* Take the key: find its slot, and refuse it where it may not be. */
static bool take_key(struct scan *s, const struct jtable *t, struct str raw,
                     bool plain)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct jwant *w = &t->row[i];
        if (plain && raw.len != w->name.len + 2)
            continue;
        if (jval_is(raw, w->name)) {
            struct jmember *m = &s->out->m[w->slot];
            if (m->type != JT_NONE && w->inner)
                clear_inner(s->out, w->inner);
            *m = (struct jmember){.key = raw};
            s->member = m;
            s->inner = w->inner;
            break;
        }
        if (t->unique && folds_to(raw, plain, w->name)) {
            s->out->dup_key = raw;
            s->p = raw.p;
            return fail(s, ERR_BAD_PARAM,
                        "key differs from a known one only by case");
        }
    }
    return !t->unique || note_key(s, raw, plain);
}

static bool scan_key(struct scan *s)
{
    const char *start = s->p;
    const struct jtable *t = table_here(s);
    const char *reason = NULL;
    bool plain;

    if (*s->p != '"')
        return fail_json(s, "expected a string as key");
    s->p = jtext_find_special(s->p + 1, s->end);
    plain = s->p < s->end && *s->p == '"';
    if (plain)
        s->p++;
    else
        reason = jtext_check_string(&s->p, s->end);
    if (reason)
        return fail_json(s, reason);
    s->member = NULL;
    s->inner = NULL;
    if (t && !take_key(s, t, str_of(start, (size_t)(s->p - start)), plain))
        return false;
    s->p = jtext_skip_space(s->p, s->end);
    if (s->p == s->end || *s->p != ':')
        return fail_json(s, "expected ':' after a key");
    s->p++;
    s->next = NEXT_VALUE;
    return true;
}

static bool is_object(const struct scan *s)
{
    return (s->in_object[s->depth / 64] >> (s->depth % 64) & 1) != 0;
}

/* Where the grammar goes after a value at this depth. */
static void end_value(struct scan *s)
{
    s->next = s->depth == 0 ? NEXT_NOTHING : NEXT_COMMA_OR_CLOSE;
    s->member = NULL;
    s->inner = NULL;
}

static bool open_level(struct scan *s, bool object)
{
    uint64_t bit;

    if (s->depth == s->depth_max)
        return fail_json(s, "nested too deeply");
    s->depth++;
    bit = UINT64_C(1) << (s->depth % 64);
    if (object)
        s->in_object[s->depth / 64] |= bit;
    else
        s->in_object[s->depth / 64] &= ~bit;
    if (s->depth < LEVELS)
        s->level[s->depth] =
            (struct level){object ? s->inner : NULL, s->member};
    s->member = NULL;
    s->inner = NULL;
    s->next = object ? NEXT_KEY_OR_CLOSE : NEXT_VALUE_OR_CLOSE;
    s->p++;
    return true;
}

static bool close_level(struct scan *s, bool object)
{
    if (is_object(s) != object)
        return fail_json(s, object ? "'}' closes an array"
                                   : "']' closes an object");
    s->p++;
    if (s->depth < LEVELS && s->level[s->depth].open) {
        struct jmember *m = s->level[s->depth].open;
        m->value.len = (size_t)(s->p - m->value.p);
    }
    s->depth--;
    end_value(s);
    return true;
}

static inline bool is_digit_at(const struct scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

/* One digit or more. */
static bool scan_digits(struct scan *s)
{
    if (!is_digit_at(s))
        return fail_json(s, "expected a digit in a number");
    while (is_digit_at(s))
        s->p++;
    return true;
}

static bool scan_number(struct scan *s)
{
    if (*s->p == '-')
        s->p++;
    if (s->p < s->end && *s->p == '0') {
        s->p++;
        if (is_digit_at(s))
            return fail_json(s, "leading zero in a number");
    } else if (!scan_digits(s)) {
        return false;
    }
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!scan_digits(s))
            return false;
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        return scan_digits(s);
    }
    return true;
}

static bool scan_word(struct scan *s, struct str word)
{
    if (!str_starts(str_of(s->p, (size_t)(s->end - s->p)), word))
        return fail_json(s, "expected a value");
    s->p += word.len;
    return true;
}

/* A value without parts, of <type>. */
static bool scan_scalar(struct scan *s, enum jtype type)
{
    const char *reason;

    switch (type) {
    case JT_STRING:
        s->p++;
        reason = jtext_check_string(&s->p, s->end);
        return reason ? fail_json(s, reason) : true;
    case JT_NUMBER:
        return scan_number(s);
    case JT_NULL:
        return scan_word(s, STR("null"));
    case JT_TRUE:
        return scan_word(s, STR("true"));
    case JT_FALSE:
        return scan_word(s, STR("false"));
    default:
        return fail_json(s, "expected a value");
    }
}

static bool scan_value(struct scan *s)
{
    enum jtype type = jval_type_of(*s->p);
    const char *start = s->p;

    if (++s->out->values > s->values_max)
        return fail_json(s, "too many values");
    if (s->member) {
        s->member->type = type;
        s->member->value.p = start;
    }
    if (type == JT_OBJECT || type == JT_ARRAY)
        return open_level(s, type == JT_OBJECT);
    if (!scan_scalar(s, type))
        return false;
    if (s->member)
        s->member->value.len = (size_t)(s->p - start);
    end_value(s);
    return true;
}

static bool scan_after_value(struct scan *s)
{
    switch (*s->p) {
    case ',':
        s->p++;
        s->next = is_object(s) ? NEXT_KEY : NEXT_VALUE;
        return true;
    case '}':
    case ']':
        return close_level(s, *s->p == '}');
    default:
        return fail_json(s, is_object(s) ? "expected ',' or '}'"
                                         : "expected ',' or ']'");
    }
}

/* The byte at s->p, which is no white space, in its place. */
static bool scan_step(struct scan *s)
{
    switch (s->next) {
    case NEXT_VALUE_OR_CLOSE:
        return *s->p == ']' ? close_level(s, false) : scan_value(s);
    case NEXT_VALUE:
        return scan_value(s);
    case NEXT_KEY_OR_CLOSE:
        return *s->p == '}' ? close_level(s, true) : scan_key(s);
    case NEXT_KEY:
        return scan_key(s);
    case NEXT_COMMA_OR_CLOSE:
        return scan_after_value(s);
    case NEXT_NOTHING:
        break;
    }
    return fail_json(s, "bytes after the value");
}

static const char *end_reason(const struct scan *s)
{
    if (s->depth > 0)
        return is_object(s) ? "unterminated object" : "unterminated array";
    return "empty text";
}

/* Whether some object of <table> must have unique keys; inner ones may only
 * where the outer one does. */
static bool has_unique(const struct jtable *table)
{
    return table && table->unique;
}

enum err jscan_run(struct jscan *out, struct str text,
                   const struct jtable *table,
                   const struct jscan_limits *limits)
{
    struct scan s;

    if (text.len == 0) /* which may have no address */
        text = STR("");
    *out = (struct jscan){.text = text};
    s.p = text.p;
    s.end = text.p + text.len;
    s.out = out;
    s.next = NEXT_VALUE;
    s.depth = 0;
    s.depth_max = limits && limits->depth ? limits->depth : DEPTH_DEFAULT;
    if (s.depth_max > JSCAN_DEPTH_MAX)
        s.depth_max = JSCAN_DEPTH_MAX;
    s.values_max =
        limits && limits->values ? limits->values : (size_t)VALUES_DEFAULT;
    s.member = &out->root;
    s.inner = table;
    s.err = ERR_OK;
    s.level[0] = (struct level){0};
    memset(s.in_object, 0, sizeof(s.in_object));
    s.seen.count = 0;
    if (has_unique(table))
        memset(s.seen.bins, 0, sizeof(s.seen.bins));
    for (;;) {
        s.p = jtext_skip_space(s.p, s.end);
        if (s.p == s.end)
            break;
        if (!scan_step(&s))
            return s.err;
    }
    if (s.next != NEXT_NOTHING) {
        fail_json(&s, end_reason(&s));
        return s.err;
    }
    return ERR_OK;
}

bool jscan_is_valid(struct str text)
{
    struct jscan s;

    return jscan_run(&s, text, NULL, NULL) == ERR_OK;
}
