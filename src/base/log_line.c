/* log_line.c - See log_line.h. Escaped are control characters (C0, DEL, C1),
 * line and paragraph separators, characters that turn the direction of text,
 * the backslash, and bytes that are not UTF-8. In text a byte becomes \xNN and
 * a character \u{NNNN}; in JSON the same stands inside the string, with JSON's
 * own escape for the backslash, so that both show the same to a reader. */
#include "base/log_line.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/utf8.h"

/* Kept free at the end of a line for the mark and the closing bytes. */
#define TAIL_BYTES 16

static const char *const levels[LOG_LEVEL_COUNT] = {
    [LOG_LEVEL_ERR] = "err",     [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_NOTE] = "note",   [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static const char *const cats[LOG_CAT_COUNT] = {
    [LOG_MAIN] = "main",     [LOG_CONF] = "conf",
    [LOG_NET] = "net",       [LOG_TLS] = "tls",
    [LOG_HTTP] = "http",     [LOG_ADMIT] = "admit",
    [LOG_PROMPT] = "prompt", [LOG_RECALL] = "recall",
    [LOG_ROUTE] = "route",   [LOG_UPSTREAM] = "upstream",
    [LOG_RELAY] = "relay",   [LOG_SETTLE] = "settle",
    [LOG_LEDGER] = "ledger", [LOG_STORE] = "store",
    [LOG_CTL] = "ctl",       [LOG_ENGINE] = "engine",
};

/* The line so far. */
struct out {
    char *p;
    size_t len;
};

const char *log_level_name(enum log_level level)
{
    return (unsigned)level < LOG_LEVEL_COUNT ? levels[level] : "?";
}

bool log_level_parse(struct str name, enum log_level *level_out)
{
    if (str_ieq(name, STR("error")))
        name = STR("err");
    if (str_ieq(name, STR("warning")))
        name = STR("warn");
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (str_ieq(name, str_from(levels[i]))) {
            *level_out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *log_cat_name(enum log_cat cat)
{
    return (unsigned)cat < LOG_CAT_COUNT ? cats[cat] : "?";
}

static void put(struct out *o, struct str s)
{
    memcpy(o->p + o->len, s.p, s.len);
    o->len += s.len;
}

static bool is_unsafe(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 ||
           cp == 0x2029 || (cp >= 0x202a && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069) || cp == 0x200e || cp == 0x200f ||
           cp == 0x61c || cp == 0xfeff;
}

/* How the character at the start of <s> is printed, at most 12 bytes into
 * <tmp>; in <len_out> how many bytes of <s> that stands for. */
static struct str show(struct str s, bool json, char tmp[16], size_t *len_out)
{
    const char *slash = json ? "\\\\" : "\\";
    uint32_t cp;
    size_t n = utf8_next(s, &cp);
    int w;

    *len_out = n ? n : 1;
    if (n == 0)
        w = snprintf(tmp, 16, "%sx%02x", slash, (uint8_t)s.p[0]);
    else if (cp == '\n')
        w = snprintf(tmp, 16, "%sn", slash);
    else if (cp == '\\')
        w = snprintf(tmp, 16, "%s%s", slash, slash);
    else if (json && cp == '"')
        w = snprintf(tmp, 16, "\\\"");
    else if (is_unsafe(cp))
        w = snprintf(tmp, 16, cp < 0x80 ? "%sx%02x" : "%su{%x}", slash, cp);
    else
        return (struct str){s.p, n};
    return (struct str){tmp, (size_t)w};
}

/* Append <s> escaped; false when it had to be cut. */
static bool put_escaped(struct out *o, struct str s, bool json)
{
    char tmp[16];
    size_t n;

    while (s.len > 0) {
        struct str one = show(s, json, tmp, &n);

        if (o->len + one.len + TAIL_BYTES > LOG_LINE_SIZE)
            return false;
        put(o, one);
        s = str_skip(s, n);
    }
    return true;
}

static void put_text(struct out *o, const struct log_line *l, bool json)
{
    if (!put_escaped(o, l->text, json) || l->is_cut)
        put(o, STR("..."));
}

static void format_json(struct out *o, const struct log_line *l,
                        const char *when)
{
    o->len =
        (size_t)snprintf(o->p, LOG_LINE_SIZE,
                         "{\"time\":\"%s\",\"level\":\"%s\",\"part\":\"%s\"",
                         when, log_level_name(l->level), log_cat_name(l->cat));
    if (l->context.len > 0) {
        put(o, STR(",\"context\":\""));
        put_escaped(o, l->context, true);
        put(o, STR("\""));
    }
    put(o, STR(",\"text\":\""));
    put_text(o, l, true);
    put(o, STR("\"}\n"));
}

static void format_text(struct out *o, const struct log_line *l,
                        const char *when)
{
    o->len = (size_t)snprintf(o->p, LOG_LINE_SIZE, "%s %-5s %-8s ", when,
                              log_level_name(l->level), log_cat_name(l->cat));
    if (l->context.len > 0) {
        put(o, STR("["));
        put_escaped(o, l->context, false);
        put(o, STR("] "));
    }
    put_text(o, l, false);
    put(o, STR("\n"));
}

size_t log_line_format(const struct log_line *l, bool json,
                       char out[LOG_LINE_SIZE])
{
    struct out o = {.p = out};
    char when[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(l->wall_ms, when);
    if (json)
        format_json(&o, l, when);
    else
        format_text(&o, l, when);
    return o.len;
}
