/* tmpl_pad.c - Strings of a chat template made wider. */
#include "token/tmpl_filter.h"

/* Append <n> times <fill>. */
static enum err put_fill(struct tmpl_run *run, struct tmpl_room *r,
                         const struct tmpl_str *fill, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        ERR_TRY(tmpl_room_add(run, r, fill));
    return ERR_OK;
}

enum err tmpl_pad(struct tmpl_run *run, const struct tmpl_str *s,
                  const struct tmpl_val *a, enum tmpl_side side,
                  struct tmpl_val *out)
{
    static const struct tmpl_str space = {.p = " ", .len = 1};
    const struct tmpl_str *fill;
    struct tmpl_room *r;
    int64_t width, pad, left;

    ERR_TRY(tmpl_want_int(run, "width", a[0], 80, &width));
    ERR_TRY(tmpl_want_str(run, "fillchar", a[1], &space, &fill));
    if (tmpl_str_chars(fill) != 1)
        return tmpl_fail(run, "the fill must be one character");
    ERR_TRY(tmpl_charge(run, s->len));
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    pad = width < 0 ? 0 : width - (int64_t)tmpl_str_chars(s);
    if (pad < 0)
        pad = 0;
    left = side == TMPL_PAD_LEFT    ? pad
           : side == TMPL_PAD_RIGHT ? 0
                                    : pad / 2 + (pad & width & 1);
    ERR_TRY(put_fill(run, r, fill, left));
    ERR_TRY(tmpl_room_add(run, r, s));
    ERR_TRY(put_fill(run, r, fill, pad - left));
    return tmpl_room_str(run, r, out);
}

enum err tmpl_f_center(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_val width[2] = {a[0], {.type = TMPL_MISSING}};

    ERR_TRY(tmpl_to_str(run, v, &v));
    return tmpl_pad(run, v.u.s, width, TMPL_PAD_BOTH, out);
}

enum err tmpl_zfill(struct tmpl_run *run, const struct tmpl_str *s,
                    struct tmpl_val width, struct tmpl_val *out)
{
    static const struct tmpl_str zero = {.p = "0", .len = 1};
    size_t sign = s->len > 0 && (s->p[0] == '-' || s->p[0] == '+');
    struct tmpl_val a[2] = {width, {.type = TMPL_STR, .u.s = &zero}};
    struct tmpl_val head, tail;
    int64_t n;

    ERR_TRY(tmpl_want_int(run, "width", width, 0, &n));
    a[0] = tmpl_int(n > 0 ? n - (int64_t)sign : 0);
    ERR_TRY(tmpl_make_part(run, s, 0, sign, &head));
    ERR_TRY(tmpl_make_part(run, s, sign, s->len - sign, &tail));
    ERR_TRY(tmpl_pad(run, tail.u.s, a, TMPL_PAD_LEFT, &tail));
    return tmpl_concat(run, head.u.s, tail.u.s, out);
}
