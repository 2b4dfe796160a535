/* tmpl_time.c - strftime() of a chat template, in UTC and in English. */
#include <stdio.h>
#include <time.h>

#include "token/tmpl_run.h"

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char *const months[] = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};

/* A number of <width> digits, as <flag> wants it padded. */
static size_t put_number(char room[64], int v, int width, char flag)
{
    if (flag == '-')
        return (size_t)snprintf(room, 64, "%d", v);
    if (flag == '_')
        return (size_t)snprintf(room, 64, "%*d", width, v);
    return (size_t)snprintf(room, 64, "%0*d", width, v);
}

static size_t put_name(char room[64], const char *name, int most)
{
    return (size_t)snprintf(room, 64, "%.*s", most, name);
}

/* Parts that are numbers; SIZE_MAX when <kind> is none. */
static size_t put_numeric(char room[64], char kind, char flag,
                          const struct tm *tm)
{
    const struct {
        char kind;
        int v, width;
    } parts[] = {
        {'d', tm->tm_mday, 2},
        {'e', tm->tm_mday, 2},
        {'H', tm->tm_hour, 2},
        {'I', (tm->tm_hour + 11) % 12 + 1, 2},
        {'j', tm->tm_yday + 1, 3},
        {'m', tm->tm_mon + 1, 2},
        {'M', tm->tm_min, 2},
        {'S', tm->tm_sec, 2},
        {'f', 0, 6},
        {'u', (tm->tm_wday + 6) % 7 + 1, 1},
        {'w', tm->tm_wday, 1},
        {'U', (tm->tm_yday + 7 - tm->tm_wday) / 7, 2},
        {'W', (tm->tm_yday + 7 - (tm->tm_wday + 6) % 7) / 7, 2},
        {'y', tm->tm_year % 100, 2},
        {'C', tm->tm_year / 100 + 19, 2},
        {'Y', tm->tm_year + 1900, 4},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].kind == kind)
            return put_number(room, parts[i].v, parts[i].width,
                              kind == 'e' && flag == '\0' ? '_' : flag);
    }
    return SIZE_MAX;
}

/* What the one directive <kind> stands for. */
static size_t put_part(char room[64], char kind, char flag, const struct tm *tm)
{
    size_t n = put_numeric(room, kind, flag, tm);

    if (n != SIZE_MAX)
        return n;
    switch (kind) {
    case 'a':
        return put_name(room, days[tm->tm_wday], 3);
    case 'A':
        return put_name(room, days[tm->tm_wday], 20);
    case 'b':
    case 'h':
        return put_name(room, months[tm->tm_mon], 3);
    case 'B':
        return put_name(room, months[tm->tm_mon], 20);
    case 'p':
        return put_name(room, tm->tm_hour < 12 ? "AM" : "PM", 2);
    case '%':
        return put_name(room, "%", 1);
    case 'n':
        return put_name(room, "\n", 1);
    case 't':
        return put_name(room, "\t", 1);
    default:
        return SIZE_MAX;
    }
}

/* The directives that are made of others. */
static const char *compound(char kind)
{
    switch (kind) {
    case 'c':
        return "%a %b %e %H:%M:%S %Y";
    case 'D':
    case 'x':
        return "%m/%d/%y";
    case 'F':
        return "%Y-%m-%d";
    case 'R':
        return "%H:%M";
    case 'r':
        return "%I:%M:%S %p";
    case 'T':
    case 'X':
        return "%H:%M:%S";
    case 'z': /* a time without a zone has no name of it */
    case 'Z':
        return "";
    default:
        return NULL;
    }
}

static enum err put_format(struct tmpl_run *run, struct tmpl_room *r,
                           const struct tmpl_str *fmt, const struct tm *tm)
{
    struct str all = str_of(fmt->p, fmt->len);
    size_t at = 0;

    while (at < all.len) {
        size_t from = at, n = str_find_char(str_skip(all, at), '%');
        char room[64], flag = '\0';
        struct tmpl_str more = {0};

        ERR_TRY(tmpl_room_copy(run, r, fmt, at, n));
        at += n + 1;
        if (at < all.len && (all.p[at] == '-' || all.p[at] == '_'))
            flag = all.p[at++];
        if (at >= all.len)
            return from + n < all.len
                       ? tmpl_fail(run, "a format ends with '%%'")
                       : ERR_OK;
        more.p = compound(all.p[at]);
        more.taint = tmpl_tainted(fmt, at);
        if (more.p) {
            more.len = strlen(more.p);
            ERR_TRY(put_format(run, r, &more, tm));
        } else {
            n = put_part(room, all.p[at], flag, tm);
            if (n == SIZE_MAX)
                return tmpl_fail(run, "unsupported format of a time");
            ERR_TRY(tmpl_room_put(run, r, str_of(room, n), more.taint));
        }
        at++;
    }
    return ERR_OK;
}

enum err tmpl_strftime(struct tmpl_run *run, const struct tmpl_str *fmt,
                       struct tmpl_val *out)
{
    time_t now = (time_t)run->now_s;
    struct tmpl_room *r;
    struct tm tm;

    if (run->now_s < 0 || run->now_s > INT64_C(253402300799) ||
        !gmtime_r(&now, &tm))
        return tmpl_fail(run, "the time is out of range");
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    ERR_TRY(put_format(run, r, fmt, &tm));
    return tmpl_room_str(run, r, out);
}
