/* toolcall.c - See toolcall.h. The reader keeps the bytes that it has not told
 * yet and where it stands in them; a call that has begun is told as it comes,
 * everything before that may still turn out to be text. */
#include "token/toolcall.h"

#include <stdlib.h>

#include "token/toolcall_priv.h"

/* Most bytes of the name of a call and of its identity. */
#define NAMES_MAX 256

/* --- styles ------------------------------------------------------------- */

static bool has(struct str s, const char *word)
{
    return str_find(s, str_from(word)) < s.len;
}

enum toolcall_style toolcall_style_of(struct str source)
{
    if (has(source, "<function=") || has(source, "<arg_key>") ||
        has(source, "<invoke name="))
        return TOOLCALL_NONE; /* calls that are no JSON */
    if (has(source, "[TOOL_CALLS]"))
        return TOOLCALL_MISTRAL;
    if (has(source, "<tool_call>"))
        return TOOLCALL_HERMES;
    if (has(source, "<|python_tag|>") ||
        (has(source, "\"parameters\": dictionary") && has(source, "tools")))
        return TOOLCALL_LLAMA3;
    return TOOLCALL_NONE;
}

struct str toolcall_marker(enum toolcall_style style)
{
    switch (style) {
    case TOOLCALL_HERMES:
        return STR("<tool_call>");
    case TOOLCALL_LLAMA3:
        return STR("<|python_tag|>");
    case TOOLCALL_MISTRAL:
        return STR("[TOOL_CALLS]");
    default:
        return (struct str){NULL, 0};
    }
}

static size_t spaces(struct str s)
{
    size_t n = 0;

    while (n < s.len && toolcall_is_space(s.p[n]))
        n++;
    return n;
}

/* --- around calls ------------------------------------------------------- */

static void start_object(struct toolcall_reader *r)
{
    r->obj = (struct toolcall_obj){0};
    r->phase = PHASE_OBJECT;
}

/* Bytes at the end of <s> that may be the beginning of <marker>. */
static size_t partial(struct str s, struct str marker)
{
    size_t n = marker.len - 1 < s.len ? marker.len - 1 : s.len;

    while (n > 0 && !str_ends(s, str_of(marker.p, n)))
        n--;
    return n;
}

/* At the start of the text an object or a list may stand without a marker. */
static bool run_start(struct toolcall_reader *r)
{
    size_t n = spaces(buf_str(&r->buf));
    struct str marker = toolcall_marker(r->style), rest;
    char open = r->style == TOOLCALL_LLAMA3    ? '{'
                : r->style == TOOLCALL_MISTRAL ? '['
                                               : '\0';

    if (open == '\0' || n > TOOLCALL_HOLD_MAX) {
        r->at_start = false;
        return true;
    }
    rest = str_skip(buf_str(&r->buf), n);
    if (rest.len < marker.len && str_starts(marker, rest))
        return false; /* nothing yet, or what may become the marker */
    r->at_start = false;
    if (str_starts(rest, marker))
        return true;
    if (rest.p[0] != open)
        return true;
    r->at = n;
    r->phase = PHASE_OPEN;
    return true;
}

/* Tell text up to a marker. False: more is needed. */
static bool run_text(struct toolcall_reader *r, const struct toolcall_out *o)
{
    struct str s = buf_str(&r->buf), marker = toolcall_marker(r->style);
    size_t lead = r->after_call ? spaces(s) : 0, hit;

    if (r->at_start)
        return run_start(r);
    if (lead > TOOLCALL_HOLD_MAX) {
        r->after_call = false;
        lead = 0;
    }
    if (marker.len == 0) {
        toolcall_tell_text(r, o, s.len);
        return false;
    }
    hit = str_find(s, marker);
    if (hit < s.len) {
        if (hit == lead)
            toolcall_consume(r, lead); /* white space between calls */
        else
            toolcall_tell_text(r, o, hit);
        r->phase = PHASE_OPEN;
        r->at = marker.len;
        r->in_list = false;
        return true;
    }
    hit = s.len - partial(s, marker);
    if (hit > lead)
        toolcall_tell_text(r, o, hit);
    return false;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* Bytes of a name that <s> begins with. */
static size_t name_len(struct str s)
{
    size_t n = 0;

    while (n < s.len && is_name_char(s.p[n]))
        n++;
    return n;
}

/* Step over <mark> at *<at>, when it is there. False: more is needed. */
static bool step_mark(struct str s, struct str mark, size_t *at)
{
    struct str rest = str_skip(s, *at);

    if (str_starts(rest, mark)) {
        *at += mark.len;
        return *at < s.len;
    }
    return rest.len >= mark.len || !str_starts(mark, rest);
}

/* Step over a name at *<at>. False: more is needed, or it is too long, which
 * <long_out> tells. */
static bool step_name(struct str s, size_t *at, bool *long_out)
{
    size_t n = name_len(str_skip(s, *at));

    *long_out = n > NAMES_MAX;
    *at += n;
    return !*long_out && *at < s.len;
}

/* "name[ARGS]{" or "name[CALL_ID]id[ARGS]{" from <at> on: where the brace is,
 * 0 when that is not what stands there, SIZE_MAX when more is needed. */
static size_t named_args(const struct toolcall_reader *r, size_t at,
                         size_t *name_end_out)
{
    struct str s = str_skip(buf_str(&r->buf), at);
    size_t n = 0, named;
    bool too_long;

    if (!step_name(s, &n, &too_long))
        return too_long ? 0 : SIZE_MAX;
    *name_end_out = at + n;
    named = n;
    if (n == 0)
        return 0;
    if (!step_mark(s, STR("[CALL_ID]"), &n))
        return SIZE_MAX;
    if (n > named && !step_name(s, &n, &too_long))
        return too_long ? 0 : SIZE_MAX;
    if (!step_mark(s, STR("[ARGS]"), &n))
        return SIZE_MAX;
    return s.p[n] == '{' ? at + n : 0;
}

/* A call that is named outside of its arguments. False: more is needed. */
static bool run_named(struct toolcall_reader *r, const struct toolcall_out *o)
{
    size_t name_end = 0, brace = named_args(r, r->at, &name_end);

    if (brace == SIZE_MAX)
        return false;
    if (brace == 0) {
        toolcall_give_up(r, o);
        return true;
    }
    start_object(r);
    r->obj.name = (struct toolcall_part){r->at, name_end - r->at};
    toolcall_begin(r, o);
    toolcall_consume(r, brace);
    r->at = 1;
    r->obj.has_name = r->obj.has_args = true;
    r->obj.begun = r->obj.in_args = r->obj.bare_args = true;
    r->obj.state = OBJ_NEST;
    r->obj.depth = 1;
    r->obj.kinds[0] = true;
    return true;
}

/* Behind a marker. False: more is needed. */
static bool run_open(struct toolcall_reader *r, const struct toolcall_out *o)
{
    size_t at = r->at + spaces(str_skip(buf_str(&r->buf), r->at));
    bool list = r->style == TOOLCALL_MISTRAL;

    if (at > TOOLCALL_HOLD_MAX) {
        toolcall_give_up(r, o);
        return true;
    }
    if (at >= r->buf.len)
        return false;
    if (list && !r->in_list && r->buf.p[at] == '[') {
        r->in_list = true;
        r->at = at + 1;
        return true;
    }
    if (r->buf.p[at] == '{') {
        r->at = at;
        start_object(r);
        return true;
    }
    if (list && !r->in_list) {
        r->at = at;
        return run_named(r, o);
    }
    toolcall_give_up(r, o);
    return true;
}

/* Whether <rest>, behind a call, leads to the next one. */
static bool leads_on(const struct toolcall_reader *r, struct str rest)
{
    if (rest.len == 0)
        return false;
    return r->in_list ? rest.p[0] == ','
                      : r->style == TOOLCALL_LLAMA3 && rest.p[0] == ';';
}

/* What ends the calls. */
static struct str closing(const struct toolcall_reader *r)
{
    if (r->style == TOOLCALL_HERMES)
        return STR("</tool_call>");
    return r->in_list ? STR("]") : (struct str){NULL, 0};
}

/* Behind a call. False: more is needed. */
static bool run_gap(struct toolcall_reader *r)
{
    struct str s = buf_str(&r->buf), close = closing(r), rest;
    size_t n = spaces(s);

    rest = str_skip(s, n);
    if (n <= TOOLCALL_HOLD_MAX) {
        if (rest.len == 0 || (rest.len < close.len && str_starts(close, rest)))
            return false;
        if (leads_on(r, rest)) {
            r->phase = PHASE_OPEN;
            r->at = n + 1;
            return true;
        }
        if (close.len > 0 && str_starts(rest, close))
            toolcall_consume(r, n + close.len);
    }
    r->in_list = false;
    toolcall_to_text(r);
    return true;
}

static void run(struct toolcall_reader *r, const struct toolcall_out *o)
{
    bool more = true;

    while (more && r->buf.len > 0) {
        switch (r->phase) {
        case PHASE_TEXT:
            more = run_text(r, o);
            break;
        case PHASE_OPEN:
            more = run_open(r, o);
            break;
        case PHASE_GAP:
            more = run_gap(r);
            break;
        default:
            toolcall_run_object(r, o);
            more = r->phase != PHASE_OBJECT;
            break;
        }
    }
}

/* --- the reader --------------------------------------------------------- */

struct toolcall_reader *toolcall_reader_new(enum toolcall_style style)
{
    struct toolcall_reader *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    buf_init(&r->buf, SIZE_MAX / 2);
    r->style = style;
    r->at_start = true;
    return r;
}

void toolcall_reader_free(struct toolcall_reader *r)
{
    if (!r)
        return;
    buf_fini(&r->buf);
    free(r);
}

enum err toolcall_read(struct toolcall_reader *r, struct str text,
                       toolcall_fn *fn, void *arg)
{
    const struct toolcall_out o = {fn, arg};

    ERR_TRY(buf_put_str(&r->buf, text));
    run(r, &o);
    return ERR_OK;
}

enum err toolcall_finish(struct toolcall_reader *r, toolcall_fn *fn, void *arg)
{
    const struct toolcall_out o = {fn, arg};

    do {
        size_t n = spaces(buf_str(&r->buf));

        if (r->phase == PHASE_OBJECT && r->obj.begun && !r->obj.in_args)
            toolcall_end(r, &o);
        if (n == r->buf.len && r->after_call) {
            toolcall_consume(r, n);
        } else if (r->phase == PHASE_TEXT || r->phase == PHASE_GAP) {
            toolcall_tell_text(r, &o, r->buf.len);
        } else {
            toolcall_give_up(r, &o);
            run(r, &o);
        }
    } while (r->buf.len > 0);
    return ERR_OK;
}

unsigned toolcall_count(const struct toolcall_reader *r)
{
    return r->count;
}
