/* toolcall_object.c - The object of a tool call, byte by byte, and telling what
 * was read. */
#include "token/toolcall_priv.h"

#include <jansson.h>

/* --- telling ------------------------------------------------------------ */

void toolcall_consume(struct toolcall_reader *r, size_t n)
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
void toolcall_tell_text(struct toolcall_reader *r, const struct toolcall_out *o,
                        size_t n)
{
    tell(o, TOOLCALL_TEXT, 0, str_of(r->buf.p, n));
    if (n > 0)
        r->after_call = false;
    toolcall_consume(r, n);
}

/* Tell the bytes of arguments that were scanned. */
static void tell_args(struct toolcall_reader *r, const struct toolcall_out *o)
{
    tell(o, TOOLCALL_ARGS, r->count - 1, str_of(r->buf.p, r->at));
    toolcall_consume(r, r->at);
}

void toolcall_to_text(struct toolcall_reader *r)
{
    r->phase = PHASE_TEXT;
    r->at = 0;
    r->at_start = false;
}

/* What is held is no call: its beginning is text, the rest is looked at anew.
 */
void toolcall_give_up(struct toolcall_reader *r, const struct toolcall_out *o)
{
    struct str marker = toolcall_marker(r->style);
    bool begun = r->obj.begun;

    r->obj = (struct toolcall_obj){0};
    r->after_call = false;
    toolcall_to_text(r);
    if (begun || r->buf.len == 0)
        return;
    toolcall_tell_text(r, o,
                       str_starts(buf_str(&r->buf), marker) ? marker.len : 1);
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
bool toolcall_begin(struct toolcall_reader *r, const struct toolcall_out *o)
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
void toolcall_end(struct toolcall_reader *r, const struct toolcall_out *o)
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
        ok = ok && toolcall_begin(r, o);
        if (ok)
            tell(o, TOOLCALL_ARGS, r->count - 1, args);
        json_decref(room);
    }
    if (!ok)
        return false;
    toolcall_consume(r, r->at + 1);
    toolcall_end(r, o);
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
        if (!toolcall_begin(r, o))
            return false;
        b->begun = b->has_args = b->in_args = true;
        toolcall_consume(r, r->at);
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
        toolcall_end(r, o);
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
        if (!toolcall_is_space(c) && c != ',' && c != '}')
            return c != '"' && c != '{' && c != '[' && c != ']' && c != ':';
        if (!end_value(r, r->at))
            return false;
        break;
    default:
        break;
    }
    if (toolcall_is_space(c))
        return true;
    if (b->state == OBJ_VALUE)
        return begin_value(r, o, c);
    if (c == '}' && (b->state == OBJ_NEXT || b->state == OBJ_FIRST)) {
        r->skip = end_object(r, o);
        return r->skip;
    }
    return scan_between(r, c);
}

void toolcall_run_object(struct toolcall_reader *r,
                         const struct toolcall_out *o)
{
    while (r->phase == PHASE_OBJECT && r->at < r->buf.len) {
        bool ok = r->obj.in_args || r->at < TOOLCALL_HOLD_MAX;

        if (!ok || !scan_object(r, o, r->buf.p[r->at])) {
            if (r->obj.in_args)
                tell_args(r, o);
            toolcall_give_up(r, o);
            return;
        }
        if (!r->skip)
            r->at++;
        r->skip = false;
    }
    if (r->phase == PHASE_OBJECT && r->obj.in_args)
        tell_args(r, o);
}
