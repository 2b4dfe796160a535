/* toolcall.c - See toolcall.h. The reader keeps the bytes that it has not told
 * yet and where it stands in them; a call that has begun is told as it comes,
 * everything before that may still turn out to be text. */
#include "token/toolcall.h"

#include <jansson.h>
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

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t spaces(struct str s)
{
    size_t n = 0;

    while (n < s.len && is_space(s.p[n]))
        n++;
    return n;
}

/* --- telling ------------------------------------------------------------ */

static void consume(struct toolcall_reader *r, size_t n)
{
    buf_consume(&r->buf, n);
    r->at = r->at > n ? r->at - n : 0;
}

static void tell(const struct toolcall_out *o, enum toolcall_kind kind,
                 unsigned index, struct str text)
{
    if (text.len > 0 || kind == TOOLCALL_END || kind == TOOLCALL_BEGIN)
        o->fn(kind, index, text, o->arg);
}

/* Tell the first <n> bytes as text. */
static void tell_text(struct toolcall_reader *r, const struct toolcall_out *o,
                      size_t n)
{
    tell(o, TOOLCALL_TEXT, 0, str_of(r->buf.p, n));
    if (n > 0)
        r->after_call = false;
    consume(r, n);
}

/* Tell the bytes of arguments that were scanned. */
static void tell_args(struct toolcall_reader *r, const struct toolcall_out *o)
{
    tell(o, TOOLCALL_ARGS, r->count - 1, str_of(r->buf.p, r->at));
    consume(r, r->at);
}

static void to_text(struct toolcall_reader *r)
{
    r->phase = PHASE_TEXT;
    r->at = 0;
    r->at_start = false;
}

/* What is held is no call: its beginning is text, the rest is looked at anew.
 */
static void give_up(struct toolcall_reader *r, const struct toolcall_out *o)
{
    struct str marker = toolcall_marker(r->style);
    bool begun = r->obj.begun;

    r->obj = (struct toolcall_obj){0};
    r->after_call = false;
    to_text(r);
    if (begun || r->buf.len == 0)
        return;
    tell_text(r, o, str_starts(buf_str(&r->buf), marker) ? marker.len : 1);
}

/* The text of a JSON string without its quotes: <raw> itself when it has no
 * escapes, else in <room>, which is owned by the caller. False for broken ones.
 */
static bool unescape(struct str raw, json_t **room, struct str *out)
{
    struct buf quoted;

    *out = raw;
    if (str_find_char(raw, '\\') == raw.len)
        return true;
    buf_init(&quoted, raw.len + 2);
    if (buf_put(&quoted, "\"", 1) == ERR_OK &&
        buf_put_str(&quoted, raw) == ERR_OK &&
        buf_put(&quoted, "\"", 1) == ERR_OK)
        *room = json_loadb(quoted.p, quoted.len,
                           JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    buf_fini(&quoted);
    if (!*room)
        return false;
    *out = str_of(json_string_value(*room), json_string_length(*room));
    return true;
}

static struct str held(const struct toolcall_reader *r, struct toolcall_part p)
{
    return str_of(r->buf.p + p.from, p.len);
}

/* Tell that a call begins; false when its name is none. */
static bool tell_begin(struct toolcall_reader *r, const struct toolcall_out *o)
{
    json_t *room = NULL;
    struct str name;
    bool ok = unescape(held(r, r->obj.name), &room, &name) && name.len > 0;

    if (ok) {
        r->count++;
        tell(o, TOOLCALL_BEGIN, r->count - 1, name);
    }
    json_decref(room);
    return ok;
}

/* --- the object of a call ----------------------------------------------- */

/* Tell that the call is whole. */
static void end_call(struct toolcall_reader *r, const struct toolcall_out *o)
{
    tell(o, TOOLCALL_END, r->count - 1, (struct str){NULL, 0});
    r->obj = (struct toolcall_obj){0};
    r->phase = PHASE_GAP;
    r->after_call = true;
    r->at = 0;
}

/* The object is whole; false when it is no call. */
static bool end_object(struct toolcall_reader *r, const struct toolcall_out *o)
{
    struct toolcall_obj *b = &r->obj;
    json_t *room = NULL;
    struct str args = STR("{}");
    bool ok = true;

    if (!b->begun) {
        if (!b->has_name || (!b->has_args && r->style == TOOLCALL_LLAMA3))
            return false;
        if (b->has_args && !b->null_args)
            args = held(r, b->args);
        if (b->text_args)
            ok = unescape(args, &room, &args);
        ok = ok && tell_begin(r, o);
        if (ok)
            tell(o, TOOLCALL_ARGS, r->count - 1, args);
        json_decref(room);
    }
    if (!ok)
        return false;
    consume(r, r->at + 1);
    end_call(r, o);
    return true;
}

/* A value begins with <c>; false when none does. */
static bool begin_value(struct toolcall_reader *r, const struct toolcall_out *o,
                        char c)
{
    struct toolcall_obj *b = &r->obj;
    bool first_args = b->key == KEY_ARGS && !b->has_args;

    b->part.from = r->at;
    if (c == '"') {
        b->part.from++;
        b->state = OBJ_TEXT;
        return true;
    }
    if (b->key == KEY_NAME && !b->has_name)
        return false;
    if (c == '{' || c == '[') {
        b->state = OBJ_NEST;
        b->depth = 1;
        b->kinds[0] = c == '{';
        if (first_args && c == '[')
            return false;
        if (!first_args || !b->has_name)
            return true;
        if (!tell_begin(r, o))
            return false;
        b->begun = b->has_args = b->in_args = true;
        consume(r, r->at);
        return true;
    }
    b->state = OBJ_PLAIN;
    return (c >= '0' && c <= '9') || c == '-' || c == 't' || c == 'f' ||
           c == 'n';
}

/* A value ends before <end>; false when it cannot be what it is for. */
static bool end_value(struct toolcall_reader *r, size_t end)
{
    struct toolcall_obj *b = &r->obj;
    bool text = b->state == OBJ_TEXT, plain = b->state == OBJ_PLAIN;

    b->part.len = end - b->part.from;
    b->state = OBJ_NEXT;
    if (b->key == KEY_NAME && !b->has_name) {
        b->name = b->part;
        b->has_name = b->part.len > 0;
        return b->has_name;
    }
    if (b->key != KEY_ARGS || b->has_args)
        return true;
    b->args = b->part;
    b->has_args = true;
    b->text_args = text;
    b->null_args = plain && str_eq(held(r, b->part), STR("null"));
    return !plain || b->null_args;
}

/* A key ends before r->at. */
static void end_key(struct toolcall_reader *r)
{
    struct toolcall_obj *b = &r->obj;
    struct str key = str_of(r->buf.p + b->part.from, r->at - b->part.from);

    b->key = KEY_OTHER;
    if (str_eq(key, STR("name")))
        b->key = KEY_NAME;
    else if (str_eq(key, STR("arguments")) || str_eq(key, STR("parameters")))
        b->key = KEY_ARGS;
    b->state = OBJ_COLON;
}

/* A byte within brackets; false when they do not match. */
static bool scan_nest(struct toolcall_reader *r, const struct toolcall_out *o,
                      char c)
{
    struct toolcall_obj *b = &r->obj;

    if (c == '"') {
        b->in_text = true;
        return true;
    }
    if (c == '{' || c == '[') {
        if (b->depth == TOOLCALL_DEPTH_MAX)
            return false;
        b->kinds[b->depth++] = c == '{';
        return true;
    }
    if (c != '}' && c != ']')
        return true;
    if (b->kinds[--b->depth] != (c == '}'))
        return false;
    if (b->depth > 0)
        return true;
    if (!b->in_args)
        return end_value(r, r->at + 1);
    b->in_args = false;
    b->state = OBJ_NEXT;
    r->at++;
    tell_args(r, o);
    r->skip = true;
    if (b->bare_args)
        end_call(r, o);
    return true;
}

/* Between members. */
static bool scan_between(struct toolcall_reader *r, char c)
{
    struct toolcall_obj *b = &r->obj;

    switch (b->state) {
    case OBJ_OPEN:
        b->state = OBJ_FIRST;
        return c == '{';
    case OBJ_FIRST:
    case OBJ_KEY:
        if (c != '"')
            return false;
        b->part.from = r->at + 1;
        b->state = OBJ_KEY_TEXT;
        return true;
    case OBJ_COLON:
        b->state = OBJ_VALUE;
        return c == ':';
    default: /* OBJ_NEXT */
        b->state = OBJ_KEY;
        return c == ',';
    }
}

/* The byte <c> at r->at of a text in quotes; when it ends it. */
static bool scan_text(struct toolcall_obj *b, char c)
{
    if (b->escaped) {
        b->escaped = false;
        return false;
    }
    b->escaped = c == '\\';
    return c == '"';
}

/* The byte <c> at r->at; false when this is no call. */
static bool scan_object(struct toolcall_reader *r, const struct toolcall_out *o,
                        char c)
{
    struct toolcall_obj *b = &r->obj;

    switch (b->state) {
    case OBJ_KEY_TEXT:
        if (scan_text(b, c))
            end_key(r);
        return true;
    case OBJ_TEXT:
        return !scan_text(b, c) || end_value(r, r->at);
    case OBJ_NEST:
        if (!b->in_text)
            return scan_nest(r, o, c);
        b->in_text = !scan_text(b, c);
        return true;
    case OBJ_PLAIN:
        if (!is_space(c) && c != ',' && c != '}')
            return c != '"' && c != '{' && c != '[' && c != ']' && c != ':';
        if (!end_value(r, r->at))
            return false;
        break;
    default:
        break;
    }
    if (is_space(c))
        return true;
    if (b->state == OBJ_VALUE)
        return begin_value(r, o, c);
    if (c == '}' && (b->state == OBJ_NEXT || b->state == OBJ_FIRST)) {
        r->skip = end_object(r, o);
        return r->skip;
    }
    return scan_between(r, c);
}

static void run_object(struct toolcall_reader *r, const struct toolcall_out *o)
{
    while (r->phase == PHASE_OBJECT && r->at < r->buf.len) {
        bool ok = r->obj.in_args || r->at < TOOLCALL_HOLD_MAX;

        if (!ok || !scan_object(r, o, r->buf.p[r->at])) {
            if (r->obj.in_args)
                tell_args(r, o);
            give_up(r, o);
            return;
        }
        if (!r->skip)
            r->at++;
        r->skip = false;
    }
    if (r->phase == PHASE_OBJECT && r->obj.in_args)
        tell_args(r, o);
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
        tell_text(r, o, s.len);
        return false;
    }
    hit = str_find(s, marker);
    if (hit < s.len) {
        if (hit == lead)
            consume(r, lead); /* white space between calls */
        else
            tell_text(r, o, hit);
        r->phase = PHASE_OPEN;
        r->at = marker.len;
        r->in_list = false;
        return true;
    }
    hit = s.len - partial(s, marker);
    if (hit > lead)
        tell_text(r, o, hit);
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

/* Step over <mark> at *<at> and the name behind it. False: more is needed. */
static bool step_mark(struct str s, struct str mark, size_t *at)
{
    struct str rest = str_skip(s, *at);

    if (str_starts(rest, mark)) {
        *at += mark.len;
        *at += name_len(str_skip(s, *at));
        return *at < s.len || *at > NAMES_MAX;
    }
    return rest.len >= mark.len || !str_starts(mark, rest);
}

/* "name[ARGS]{" or "name[CALL_ID]id[ARGS]{" from <at> on: where the brace is,
 * 0 when that is not what stands there, SIZE_MAX when more is needed. */
static size_t named_args(const struct toolcall_reader *r, size_t at,
                         size_t *name_end_out)
{
    struct str s = str_skip(buf_str(&r->buf), at);
    size_t n = name_len(s);

    *name_end_out = at + n;
    if (n == 0 || n > NAMES_MAX)
        return 0;
    if (n == s.len || !step_mark(s, STR("[CALL_ID]"), &n) || n > NAMES_MAX)
        return n > NAMES_MAX ? 0 : SIZE_MAX;
    if (!step_mark(s, STR("[ARGS]"), &n))
        return SIZE_MAX;
    return n < s.len && s.p[n] == '{' ? at + n : 0;
}

/* A call that is named outside of its arguments. False: more is needed. */
static bool run_named(struct toolcall_reader *r, const struct toolcall_out *o)
{
    size_t name_end = 0, brace = named_args(r, r->at, &name_end);

    if (brace == SIZE_MAX)
        return false;
    if (brace == 0) {
        give_up(r, o);
        return true;
    }
    start_object(r);
    r->obj.name = (struct toolcall_part){r->at, name_end - r->at};
    tell_begin(r, o);
    consume(r, brace);
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
        give_up(r, o);
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
    give_up(r, o);
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
            consume(r, n + close.len);
    }
    r->in_list = false;
    to_text(r);
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
            run_object(r, o);
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
            end_call(r, &o);
        if (n == r->buf.len && r->after_call) {
            consume(r, n);
        } else if (r->phase == PHASE_TEXT || r->phase == PHASE_GAP) {
            tell_text(r, &o, r->buf.len);
        } else {
            give_up(r, &o);
            run(r, &o);
        }
    } while (r->buf.len > 0);
    return ERR_OK;
}

unsigned toolcall_count(const struct toolcall_reader *r)
{
    return r->count;
}
