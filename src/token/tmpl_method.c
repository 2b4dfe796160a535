/* tmpl_method.c - Methods of strings, lists, mappings and loops. What changes
 * its object is not there. */
#include "token/tmpl_filter.h"
#include "token/tmpl_uni.h"

typedef enum err method_fn(struct tmpl_run *run, struct tmpl_val self,
                           const struct tmpl_val *a, struct tmpl_val *out);

/* --- case and ends ------------------------------------------------------ */

static enum err m_upper(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return tmpl_recase(run, self.u.s, TMPL_UPPER, false, out);
}

static enum err m_lower(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return tmpl_recase(run, self.u.s, TMPL_LOWER, false, out);
}

static enum err m_capitalize(struct tmpl_run *run, struct tmpl_val self,
                             const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return tmpl_recase(run, self.u.s, TMPL_CAPITAL, false, out);
}

static enum err m_title(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return tmpl_recase(run, self.u.s, TMPL_TITLE, false, out);
}

/* The characters to strip; NULL for white space. */
static enum err strip_set(struct tmpl_run *run, struct tmpl_val v,
                          const struct tmpl_str **out)
{
    *out = NULL;
    if (v.type == TMPL_MISSING || v.type == TMPL_NONE)
        return ERR_OK;
    return tmpl_want_str(run, "chars", v, NULL, out);
}

static enum err m_strip(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_str *set;

    ERR_TRY(strip_set(run, a[0], &set));
    return tmpl_strip(run, self.u.s, set, true, true, out);
}

static enum err m_lstrip(struct tmpl_run *run, struct tmpl_val self,
                         const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_str *set;

    ERR_TRY(strip_set(run, a[0], &set));
    return tmpl_strip(run, self.u.s, set, true, false, out);
}

static enum err m_rstrip(struct tmpl_run *run, struct tmpl_val self,
                         const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_str *set;

    ERR_TRY(strip_set(run, a[0], &set));
    return tmpl_strip(run, self.u.s, set, false, true, out);
}

/* Whether <s> begins or ends with <v>, or with one of a tuple. */
static enum err has_end(struct tmpl_run *run, struct tmpl_val self, bool start,
                        struct tmpl_val v, bool *out)
{
    const struct tmpl_str *part;

    *out = false;
    if (v.type == TMPL_LIST) {
        for (size_t i = 0; i < v.u.list->n && !*out; i++) {
            if (v.u.list->at[i].type != TMPL_STR)
                return tmpl_fail(run, "a string is wanted");
            ERR_TRY(has_end(run, self, start, v.u.list->at[i], out));
        }
        return ERR_OK;
    }
    ERR_TRY(tmpl_want_str(run, "the argument", v, NULL, &part));
    *out = (start ? str_starts : str_ends)(tmpl_bytes(self),
                                           str_of(part->p, part->len));
    return tmpl_charge(run, part->len);
}

/* <self> from and up to optional bounds. */
static enum err within(struct tmpl_run *run, struct tmpl_val *self,
                       struct tmpl_val from, struct tmpl_val to)
{
    struct tmpl_val b[3] = {from, to, tmpl_none()};

    if (from.type == TMPL_MISSING)
        b[0] = tmpl_none();
    if (to.type == TMPL_MISSING)
        b[1] = tmpl_none();
    if (b[0].type == TMPL_NONE && b[1].type == TMPL_NONE)
        return ERR_OK;
    return tmpl_slice(run, *self, b, self);
}

static enum err m_startswith(struct tmpl_run *run, struct tmpl_val self,
                             const struct tmpl_val *a, struct tmpl_val *out)
{
    bool is;

    ERR_TRY(within(run, &self, a[1], a[2]));
    ERR_TRY(has_end(run, self, true, a[0], &is));
    *out = tmpl_bool(is);
    return ERR_OK;
}

static enum err m_endswith(struct tmpl_run *run, struct tmpl_val self,
                           const struct tmpl_val *a, struct tmpl_val *out)
{
    bool is;

    ERR_TRY(within(run, &self, a[1], a[2]));
    ERR_TRY(has_end(run, self, false, a[0], &is));
    *out = tmpl_bool(is);
    return ERR_OK;
}

/* Without <a> at the beginning or the end. */
static enum err remove_end(struct tmpl_run *run, struct tmpl_val self,
                           bool start, struct tmpl_val arg,
                           struct tmpl_val *out)
{
    const struct tmpl_str *s = self.u.s, *part;
    bool is;

    ERR_TRY(tmpl_want_str(run, "the argument", arg, NULL, &part));
    ERR_TRY(has_end(run, self, start, arg, &is));
    return tmpl_make_part(run, s, is && start ? part->len : 0,
                          s->len - (is ? part->len : 0), out);
}

static enum err m_removeprefix(struct tmpl_run *run, struct tmpl_val self,
                               const struct tmpl_val *a, struct tmpl_val *out)
{
    return remove_end(run, self, true, a[0], out);
}

static enum err m_removesuffix(struct tmpl_run *run, struct tmpl_val self,
                               const struct tmpl_val *a, struct tmpl_val *out)
{
    return remove_end(run, self, false, a[0], out);
}

/* --- splitting and finding ---------------------------------------------- */

static enum err split(struct tmpl_run *run, struct tmpl_val self,
                      const struct tmpl_val *a, bool right,
                      struct tmpl_val *out)
{
    const struct tmpl_str *sep = NULL;
    int64_t max;

    if (a[0].type != TMPL_MISSING && a[0].type != TMPL_NONE)
        ERR_TRY(tmpl_want_str(run, "sep", a[0], NULL, &sep));
    ERR_TRY(tmpl_want_int(run, "maxsplit", a[1], -1, &max));
    return tmpl_split(run, self.u.s, sep, max < 0 ? -1 : max, right, out);
}

static enum err m_split(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    return split(run, self, a, false, out);
}

static enum err m_rsplit(struct tmpl_run *run, struct tmpl_val self,
                         const struct tmpl_val *a, struct tmpl_val *out)
{
    return split(run, self, a, true, out);
}

static enum err m_splitlines(struct tmpl_run *run, struct tmpl_val self,
                             const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_splitlines(run, self.u.s, tmpl_truth(a[0]), out);
}

/* Three parts: before, the separator, behind. */
static enum err partition(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, bool right,
                          struct tmpl_val *out)
{
    const struct tmpl_str *sep, *s = self.u.s;
    struct tmpl_val parts, three[3];
    size_t at;

    ERR_TRY(tmpl_want_str(run, "sep", a[0], NULL, &sep));
    ERR_TRY(tmpl_split(run, s, sep, 1, right, &parts));
    at = parts.u.list->at[0].u.s->len;
    if (parts.u.list->n == 1)
        at = right ? 0 : s->len;
    ERR_TRY(tmpl_make_part(run, s, 0, at, &three[0]));
    ERR_TRY(tmpl_make_part(run, s, at, parts.u.list->n == 1 ? 0 : sep->len,
                           &three[1]));
    at += three[1].u.s->len;
    ERR_TRY(tmpl_make_part(run, s, at, s->len - at, &three[2]));
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < 3; i++)
        ERR_TRY(tmpl_list_add(run, out->u.list, three[i]));
    return ERR_OK;
}

static enum err m_partition(struct tmpl_run *run, struct tmpl_val self,
                            const struct tmpl_val *a, struct tmpl_val *out)
{
    return partition(run, self, a, false, out);
}

static enum err m_rpartition(struct tmpl_run *run, struct tmpl_val self,
                             const struct tmpl_val *a, struct tmpl_val *out)
{
    return partition(run, self, a, true, out);
}

/* Where <a> stands in <self>, as a character; -1 when nowhere. */
static enum err find(struct tmpl_run *run, struct tmpl_val self,
                     struct tmpl_val arg, bool right, int64_t *out)
{
    const struct tmpl_str *part, *s = self.u.s;
    struct tmpl_str before = *s;
    struct tmpl_val parts;

    ERR_TRY(tmpl_want_str(run, "the argument", arg, NULL, &part));
    ERR_TRY(tmpl_charge(run, s->len));
    if (part->len == 0) {
        *out = right ? (int64_t)tmpl_str_chars(s) : 0;
        return ERR_OK;
    }
    ERR_TRY(tmpl_split(run, s, part, 1, right, &parts));
    before.len = parts.u.list->at[0].u.s->len;
    *out = parts.u.list->n == 1 ? -1 : (int64_t)tmpl_str_chars(&before);
    return ERR_OK;
}

static enum err m_find(struct tmpl_run *run, struct tmpl_val self,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    int64_t at;

    ERR_TRY(find(run, self, a[0], false, &at));
    *out = tmpl_int(at);
    return ERR_OK;
}

static enum err m_rfind(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    int64_t at;

    ERR_TRY(find(run, self, a[0], true, &at));
    *out = tmpl_int(at);
    return ERR_OK;
}

static enum err m_index(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    int64_t at;

    ERR_TRY(find(run, self, a[0], false, &at));
    if (at < 0)
        return tmpl_fail(run, "substring not found");
    *out = tmpl_int(at);
    return ERR_OK;
}

static enum err m_count(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_str *part;
    struct str rest = tmpl_bytes(self);
    int64_t n = 0;

    ERR_TRY(tmpl_want_str(run, "the argument", a[0], NULL, &part));
    ERR_TRY(tmpl_charge(run, rest.len));
    if (part->len == 0) {
        *out = tmpl_int((int64_t)tmpl_str_chars(self.u.s) + 1);
        return ERR_OK;
    }
    for (;;) {
        size_t at = str_find(rest, str_of(part->p, part->len));

        if (at == rest.len)
            break;
        rest = str_skip(rest, at + part->len);
        n++;
    }
    *out = tmpl_int(n);
    return ERR_OK;
}

static enum err m_replace(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    int64_t count;

    if (a[0].type != TMPL_STR || a[1].type != TMPL_STR)
        return tmpl_fail(run, "replace takes two strings");
    ERR_TRY(tmpl_want_int(run, "count", a[2], -1, &count));
    return tmpl_replace(run, self.u.s, a, count < 0 ? -1 : count, out);
}

static enum err m_join(struct tmpl_run *run, struct tmpl_val self,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_list *l;

    ERR_TRY(tmpl_elements(run, a[0], &l));
    return tmpl_join(run, l, self.u.s, out);
}

/* --- padding ------------------------------------------------------------ */

static enum err m_ljust(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_pad(run, self.u.s, a, TMPL_PAD_RIGHT, out);
}

static enum err m_rjust(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_pad(run, self.u.s, a, TMPL_PAD_LEFT, out);
}

static enum err m_center(struct tmpl_run *run, struct tmpl_val self,
                         const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_pad(run, self.u.s, a, TMPL_PAD_BOTH, out);
}

static enum err m_zfill(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_zfill(run, self.u.s, a[0], out);
}

/* --- what a string is made of ------------------------------------------- */

static bool is_alnum(uint32_t cp)
{
    return tmpl_uni_is_alpha(cp) || tmpl_uni_is_digit(cp);
}

/* Whether there are characters and <test> holds for all. */
static enum err all_are(struct tmpl_run *run, struct tmpl_val self,
                        bool (*test)(uint32_t), struct tmpl_val *out)
{
    struct str s = tmpl_bytes(self);
    bool all = s.len > 0;
    uint32_t cp;

    ERR_TRY(tmpl_charge(run, s.len));
    while (s.len > 0 && all) {
        s = str_skip(s, tmpl_uni_next(s, &cp));
        all = test(cp);
    }
    *out = tmpl_bool(all);
    return ERR_OK;
}

static enum err m_isdigit(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return all_are(run, self, tmpl_uni_is_digit, out);
}

static enum err m_isalpha(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return all_are(run, self, tmpl_uni_is_alpha, out);
}

static enum err m_isalnum(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return all_are(run, self, is_alnum, out);
}

static enum err m_isspace(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return all_are(run, self, tmpl_uni_space, out);
}

static enum err case_test(struct tmpl_run *run, struct tmpl_val self,
                          const char *name, struct tmpl_val *out)
{
    const struct tmpl_args none = {0};
    bool is;

    ERR_TRY(
        tmpl_test_call(run, tmpl_test_find(str_from(name)), self, &none, &is));
    *out = tmpl_bool(is);
    return ERR_OK;
}

static enum err m_isupper(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return case_test(run, self, "upper", out);
}

static enum err m_islower(struct tmpl_run *run, struct tmpl_val self,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return case_test(run, self, "lower", out);
}

/* --- lists and mappings ------------------------------------------------- */

static enum err m_list_index(struct tmpl_run *run, struct tmpl_val self,
                             const struct tmpl_val *a, struct tmpl_val *out)
{
    for (size_t i = 0; i < self.u.list->n; i++) {
        ERR_TRY(tmpl_charge(run, 0));
        if (tmpl_equal(self.u.list->at[i], a[0])) {
            *out = tmpl_int((int64_t)i);
            return ERR_OK;
        }
    }
    return tmpl_fail(run, "the value is not in the list");
}

static enum err m_list_count(struct tmpl_run *run, struct tmpl_val self,
                             const struct tmpl_val *a, struct tmpl_val *out)
{
    int64_t n = 0;

    for (size_t i = 0; i < self.u.list->n; i++) {
        ERR_TRY(tmpl_charge(run, 0));
        n += tmpl_equal(self.u.list->at[i], a[0]);
    }
    *out = tmpl_int(n);
    return ERR_OK;
}

static enum err m_list_copy(struct tmpl_run *run, struct tmpl_val self,
                            const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_f_list(run, self, a, out);
}

static enum err m_get(struct tmpl_run *run, struct tmpl_val self,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_val *v = tmpl_dict_get(self.u.dict, a[0]);

    (void)run;
    *out = a[1].type == TMPL_MISSING ? tmpl_none() : a[1];
    if (v)
        *out = *v;
    return ERR_OK;
}

static enum err m_items(struct tmpl_run *run, struct tmpl_val self,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_f_items(run, self, a, out);
}

static enum err m_keys(struct tmpl_run *run, struct tmpl_val self,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    return tmpl_f_list(run, self, a, out);
}

static enum err m_values(struct tmpl_run *run, struct tmpl_val self,
                         const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < self.u.dict->n; i++)
        ERR_TRY(tmpl_list_add(run, out->u.list, self.u.dict->at[i].val));
    return ERR_OK;
}

static enum err m_dict_copy(struct tmpl_run *run, struct tmpl_val self,
                            const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    ERR_TRY(tmpl_make_dict(run, out));
    for (size_t i = 0; i < self.u.dict->n; i++)
        ERR_TRY(tmpl_dict_set(run, out->u.dict, self.u.dict->at[i].key,
                              self.u.dict->at[i].val));
    return ERR_OK;
}

/* --- the table ---------------------------------------------------------- */

static const struct {
    enum tmpl_type type;
    const char *name;
    const char *params;
    unsigned wanted; /* arguments that must be there */
    method_fn *fn;
} methods[] = {
    {TMPL_STR, "upper", "", 0, m_upper},
    {TMPL_STR, "lower", "", 0, m_lower},
    {TMPL_STR, "casefold", "", 0, m_lower},
    {TMPL_STR, "capitalize", "", 0, m_capitalize},
    {TMPL_STR, "title", "", 0, m_title},
    {TMPL_STR, "strip", "chars", 0, m_strip},
    {TMPL_STR, "lstrip", "chars", 0, m_lstrip},
    {TMPL_STR, "rstrip", "chars", 0, m_rstrip},
    {TMPL_STR, "startswith", "prefix start end", 1, m_startswith},
    {TMPL_STR, "endswith", "suffix start end", 1, m_endswith},
    {TMPL_STR, "removeprefix", "prefix", 1, m_removeprefix},
    {TMPL_STR, "removesuffix", "suffix", 1, m_removesuffix},
    {TMPL_STR, "split", "sep maxsplit", 0, m_split},
    {TMPL_STR, "rsplit", "sep maxsplit", 0, m_rsplit},
    {TMPL_STR, "splitlines", "keepends", 0, m_splitlines},
    {TMPL_STR, "partition", "sep", 1, m_partition},
    {TMPL_STR, "rpartition", "sep", 1, m_rpartition},
    {TMPL_STR, "find", "sub", 1, m_find},
    {TMPL_STR, "rfind", "sub", 1, m_rfind},
    {TMPL_STR, "index", "sub", 1, m_index},
    {TMPL_STR, "count", "sub", 1, m_count},
    {TMPL_STR, "replace", "old new count", 2, m_replace},
    {TMPL_STR, "join", "iterable", 1, m_join},
    {TMPL_STR, "ljust", "width fillchar", 1, m_ljust},
    {TMPL_STR, "rjust", "width fillchar", 1, m_rjust},
    {TMPL_STR, "center", "width fillchar", 1, m_center},
    {TMPL_STR, "zfill", "width", 1, m_zfill},
    {TMPL_STR, "isdigit", "", 0, m_isdigit},
    {TMPL_STR, "isdecimal", "", 0, m_isdigit},
    {TMPL_STR, "isnumeric", "", 0, m_isdigit},
    {TMPL_STR, "isalpha", "", 0, m_isalpha},
    {TMPL_STR, "isalnum", "", 0, m_isalnum},
    {TMPL_STR, "isspace", "", 0, m_isspace},
    {TMPL_STR, "isupper", "", 0, m_isupper},
    {TMPL_STR, "islower", "", 0, m_islower},
    {TMPL_STR, "format", NULL, 0, NULL},
    {TMPL_LIST, "index", "value", 1, m_list_index},
    {TMPL_LIST, "count", "value", 1, m_list_count},
    {TMPL_LIST, "copy", "", 0, m_list_copy},
    {TMPL_DICT, "get", "key default", 1, m_get},
    {TMPL_DICT, "items", "", 0, m_items},
    {TMPL_DICT, "keys", "", 0, m_keys},
    {TMPL_DICT, "values", "", 0, m_values},
    {TMPL_DICT, "copy", "", 0, m_dict_copy},
    {TMPL_LOOP, "cycle", NULL, 0, NULL},
    {TMPL_LOOP, "changed", NULL, 0, NULL},
};

enum err tmpl_method_find(struct tmpl_run *run, struct tmpl_val v,
                          struct str name, struct tmpl_val *out)
{
    *out = (struct tmpl_val){.type = TMPL_MISSING};
    if (v.type == TMPL_FUNC)
        return tmpl_func_attr(run, v, name, out);
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (methods[i].type == v.type &&
            str_eq(name, str_from(methods[i].name)))
            return tmpl_make_func(run, TMPL_F_METHOD, (int)i, v, out);
    }
    return ERR_OK;
}

enum err tmpl_method_call(struct tmpl_run *run, const struct tmpl_func *f,
                          const struct tmpl_args *args, struct tmpl_val *out)
{
    struct tmpl_val a[TMPL_PARAMS_MAX];
    const char *name = methods[f->id].name;

    if (f->self.type == TMPL_LOOP)
        return tmpl_loop_call(run, f->self.u.loop, name[1] == 'y', args, out);
    if (!methods[f->id].params)
        return tmpl_str_format(run, f->self.u.s, args, out);
    ERR_TRY(tmpl_bind(run, name, methods[f->id].params, args, a));
    for (unsigned i = 0; i < methods[f->id].wanted; i++) {
        if (a[i].type == TMPL_MISSING)
            return tmpl_fail(run, "%s takes %u arguments", name,
                             methods[f->id].wanted);
    }
    return methods[f->id].fn(run, f->self, a, out);
}
