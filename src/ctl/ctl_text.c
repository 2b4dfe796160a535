/* ctl_text.c - See ctl_text.h. Of budgets, amounts are integers, of money
 * decimal strings of dollars; only percentages are worked out here. */
#include "ctl/ctl_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define PERCENT_MOST 9999.0 /* more is not told */

/* ---- budgets ------------------------------------------------------------ */

static bool is_money(const json_t *b)
{
    const char *unit = json_string_value(json_object_get(b, "unit"));

    return unit && strcmp(unit, "usd") == 0;
}

void ctl_text_amount(const json_t *b, const char *member, char *out,
                     size_t room)
{
    const json_t *v = json_object_get(b, member);
    char text[64];

    ctl_text(v, text, sizeof(text));
    snprintf(out, room, "%s%s", is_money(b) && json_is_string(v) ? "$" : "",
             text);
}

static double number_of(const json_t *b, const char *member)
{
    const json_t *v = json_object_get(b, member);
    const char *text = json_string_value(v);

    return text ? strtod(text, NULL) : json_number_value(v);
}

void ctl_text_percent(const json_t *b, char *out, size_t room)
{
    const double amount = number_of(b, "amount");
    const double spent = number_of(b, "spent");

    if (json_is_null(json_object_get(b, "spent")))
        snprintf(out, room, "-");
    else if (amount <= 0)
        snprintf(out, room, "100%%");
    else if (spent / amount >= PERCENT_MOST / 100)
        snprintf(out, room, ">%.0f%%", PERCENT_MOST);
    else
        snprintf(out, room, "%ld%%", (long)(spent * 100 / amount));
}

void ctl_text_budget(const json_t *b, char *out, size_t room)
{
    const char *unit = json_string_value(json_object_get(b, "unit"));
    const char *window = json_string_value(json_object_get(b, "window"));
    const char *soft =
        json_is_true(json_object_get(b, "soft")) ? " (soft)" : "";
    char text[72], noun[32] = "";

    ctl_text_amount(b, "amount", text, sizeof(text));
    if (unit && !is_money(b))
        snprintf(noun, sizeof(noun), " %s", unit);
    for (char *at = noun; (at = strchr(at, '_')) != NULL;)
        *at = ' ';
    snprintf(out, room, "%s%s/%s%s", text, noun, window ? window : "?", soft);
}

/* With how much of it is spent: "$25.00/month 38%". */
static void put_budget(const json_t *b, char *out, size_t room)
{
    char name[160], percent[32];

    ctl_text_budget(b, name, sizeof(name));
    ctl_text_percent(b, percent, sizeof(percent));
    snprintf(out, room, "%s %s", name, percent);
}

/* ---- values ------------------------------------------------------------ */

/* 1234567 as 1,234,567. */
static void put_grouped(long long v, char *out, size_t room)
{
    char digits[32];
    int n = snprintf(digits, sizeof(digits), "%lld", v);
    size_t at = 0;

    for (int i = 0; i < n && at + 2 < room; i++) {
        int left = n - i;

        out[at++] = digits[i];
        if (left > 1 && left % 3 == 1 && digits[i] != '-')
            out[at++] = ',';
    }
    out[at] = '\0';
}

/* What would move the cursor, or turn the text around it. */
static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) ||
           (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

/* <s>, which may have come from a stranger, as it may go to a terminal; cut
 * between characters. */
static void put_string(struct str s, char *out, size_t room)
{
    size_t at = 0;

    /* RFC 3339 with milliseconds reads better without them. */
    if (s.len == 24 && s.p[10] == 'T' && s.p[19] == '.' && s.p[23] == 'Z') {
        snprintf(out, room, "%.10s %.8sZ", s.p, s.p + 11);
        return;
    }
    while (s.len > 0) {
        uint32_t cp;
        size_t n = utf8_next(s, &cp);
        bool ok = n > 0 && !is_control(cp);
        size_t len = ok ? n : 1;

        if (at + len >= room)
            break;
        memcpy(out + at, ok ? s.p : "?", len);
        at += len;
        s = str_skip(s, n > 0 ? n : 1);
    }
    out[at] = '\0';
}

static void put_list(const json_t *v, char *out, size_t room)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < json_array_size(v) && at + 2 < room; i++) {
        const json_t *item = json_array_get(v, i);
        int n;

        if (i > 0) {
            n = snprintf(out + at, room - at, ", ");
            at += (size_t)n < room - at ? (size_t)n : room - at - 1;
        }
        if (json_object_get(item, "window"))
            put_budget(item, out + at, room - at);
        else
            ctl_text(json_object_get(item, "address")
                         ? json_object_get(item, "address")
                         : item,
                     out + at, room - at);
        at += strlen(out + at);
    }
    if (at == 0)
        snprintf(out, room, "-");
}

static void put_object(const json_t *v, char *out, size_t room)
{
    json_t *o = json_copy((json_t *)(uintptr_t)v);
    const char *name;
    json_t *value;
    size_t at = 0;

    out[0] = '\0';
    json_object_foreach(o, name, value)
    {
        char text[CELL_BYTES];
        int n;

        if (json_is_integer(value) && json_integer_value(value) == 0)
            continue; /* a limit of 0 is none */
        ctl_text(value, text, sizeof(text));
        n = snprintf(out + at, room - at, "%s%s=%s", at ? " " : "", name, text);
        if (n < 0 || (size_t)n >= room - at)
            break;
        at += (size_t)n;
    }
    out[utf8_whole_len(str_from(out))] = '\0';
    json_decref(o);
    if (at == 0)
        snprintf(out, room, "-");
}

void ctl_text(const json_t *v, char *out, size_t room)
{
    if (json_is_string(v) && json_string_length(v) == 0)
        snprintf(out, room, "-");
    else if (json_is_string(v))
        put_string(str_of(json_string_value(v), json_string_length(v)), out,
                   room);
    else if (json_is_integer(v))
        put_grouped(json_integer_value(v), out, room);
    else if (json_is_real(v))
        snprintf(out, room, "%.3f", json_real_value(v));
    else if (json_is_boolean(v))
        snprintf(out, room, "%s", json_is_true(v) ? "yes" : "no");
    else if (json_is_array(v))
        put_list(v, out, room);
    else if (json_is_object(v))
        put_object(v, out, room);
    else
        snprintf(out, room, "-");
}
