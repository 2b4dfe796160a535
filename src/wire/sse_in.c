/* sse_in.c - The splitter of sse.h. Lines are followed by a small state
 * machine over whatever bytes come; only the end of a block makes anyone look
 * at its fields, over the whole block at once.
 *
 * A block ends after its blank line. Where that line is CR, a LF may follow
 * and belong to it, so the block waits for the next byte - unless the line
 * before it ended by CR alone too: such a stream ends its lines by CR, waiting
 * would hold back each event until the next, and a LF that follows after all
 * opens the next block as a byte without meaning. */
#include "wire/sse.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static const struct str byte_order_mark = {"\xEF\xBB\xBF", 3};

enum { MARK_PAST = 4 };

void sse_in_init(struct sse_in *in, size_t line_max, size_t event_max)
{
    size_t event = event_max ? event_max : (size_t)SSE_EVENT_MAX;

    *in = (struct sse_in){.first = true};
    in->line_max = line_max ? line_max : (size_t)SSE_LINE_MAX;
    buf_init(&in->held, event);
    buf_init(&in->joined, event);
}

void sse_in_fini(struct sse_in *in)
{
    buf_fini(&in->held);
    buf_fini(&in->joined);
}

/* The first CR or LF from <p>, or <end>. */
static const char *find_eol(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf)));
        if (mask != 0)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && *p != '\r' && *p != '\n')
        p++;
    return p;
}

/* A line ended: tells whether it was blank, so that the block is complete. */
static bool end_line(struct sse_in *in)
{
    bool blank = in->line_len == 0;

    in->line_len = 0;
    return blank;
}

/* The byte at <p> is a CR or LF. True: it ends the block, and perhaps the byte
 * after it does too (blank_cr). */
static bool take_eol(struct sse_in *in, char c)
{
    bool blank;

    if (c == '\n' && in->cr) { /* second half of a CRLF */
        in->cr = false;
        in->bare_cr = false;
        return false;
    }
    if (in->cr) /* the CR before stood alone */
        in->bare_cr = true;
    in->cr = c == '\r';
    blank = end_line(in);
    if (c == '\n') {
        in->bare_cr = false;
        return blank;
    }
    if (!blank)
        return false;
    in->blank_cr = true;
    return in->bare_cr;
}

/* Pass a byte-order mark at the start of the stream: it is no part of its
 * line, which may be blank for all that. */
static const char *pass_mark(struct sse_in *in, const char *p, const char *end)
{
    while (p < end && in->mark < byte_order_mark.len &&
           *p == byte_order_mark.p[in->mark]) {
        in->mark++;
        p++;
    }
    if (p < end) {
        if (in->mark < byte_order_mark.len)
            in->line_len += in->mark;
        in->mark = MARK_PAST;
    }
    return p;
}

/* Where in [p, end) the block ends, or NULL; then all bytes were taken. */
static const char *find_block_end(struct sse_in *in, const char *p,
                                  const char *end)
{
    if (in->mark < MARK_PAST)
        p = pass_mark(in, p, end);
    while (p < end) {
        if (in->skip_lf) {
            in->skip_lf = false;
            if (*p == '\n') {
                p++;
                continue;
            }
        }
        if (in->blank_cr) /* the block ended at the CR before */
            return *p == '\n' ? p + 1 : p;
        const char *eol = find_eol(p, end);
        if (eol > p) {
            in->line_len += (size_t)(eol - p);
            in->bare_cr = in->bare_cr || in->cr;
            in->cr = false;
        }
        if (in->line_len > in->line_max)
            return NULL;
        p = eol;
        if (p < end && take_eol(in, *p++))
            return p;
    }
    return NULL;
}

/* Ready for the next block. */
static void reset_line(struct sse_in *in, bool may_skip_lf)
{
    in->skip_lf = may_skip_lf;
    in->cr = false;
    in->bare_cr = false;
    in->blank_cr = false;
    in->line_len = 0;
}

/* Take the next line off <rest>, without its end. */
static struct str next_line(struct str *rest)
{
    const char *end = rest->p + rest->len;
    const char *eol = find_eol(rest->p, end);
    struct str line = str_of(rest->p, (size_t)(eol - rest->p));

    if (eol + 1 < end && eol[0] == '\r' && eol[1] == '\n')
        eol++;
    *rest =
        eol < end ? str_of(eol + 1, (size_t)(end - eol - 1)) : str_of(end, 0);
    return line;
}

/* Split <line> at its colon; a space after it is dropped. */
static struct str field_name(struct str line, struct str *value_out)
{
    size_t colon = str_find_char(line, ':');

    *value_out = str_skip(line, colon + 1);
    if (value_out->len > 0 && value_out->p[0] == ' ')
        *value_out = str_skip(*value_out, 1);
    return str_of(line.p, colon);
}

/* Add one line to the data of <e>: the first is borrowed, more are joined. */
static enum err add_data(struct sse_in *in, struct sse_event *e,
                         struct str value)
{
    enum err err;

    if (!e->has_data) {
        e->has_data = true;
        e->data = value;
        return ERR_OK;
    }
    if (in->joined.len == 0) {
        err = buf_put_str(&in->joined, e->data);
        if (err != ERR_OK)
            return err;
    }
    err = buf_put(&in->joined, "\n", 1);
    if (err == ERR_OK)
        err = buf_put_str(&in->joined, value);
    e->data = buf_str(&in->joined);
    return err;
}

/* Read the fields of the block <raw>. */
static enum err read_block(struct sse_in *in, struct str raw,
                           struct sse_event *event_out)
{
    struct sse_event e = {.raw = raw};
    struct str rest = raw, value;

    buf_clear(&in->joined);
    if (in->first && str_starts(rest, byte_order_mark))
        rest = str_skip(rest, 3);
    in->first = false;
    while (rest.len > 0) {
        struct str name = field_name(next_line(&rest), &value);
        if (str_eq(name, STR("data"))) {
            enum err err = add_data(in, &e, value);
            if (err != ERR_OK)
                return err;
        } else if (str_eq(name, STR("event"))) {
            e.name = value;
        }
    }
    *event_out = e;
    return ERR_OK;
}

/* Keep <bytes> of a block that is not complete. */
static enum err hold(struct sse_in *in, struct str bytes)
{
    if (in->line_len > in->line_max || in->held.len + bytes.len > in->held.cap)
        return ERR_TOO_LARGE;
    return buf_put_str(&in->held, bytes);
}

static void drop_given(struct sse_in *in)
{
    if (in->drop_held)
        buf_clear(&in->held);
    in->drop_held = false;
}

enum err sse_in_next(struct sse_in *in, struct str *bytes,
                     struct sse_event *event_out)
{
    struct str raw;
    const char *end;
    enum err e;

    drop_given(in);
    if (bytes->len == 0)
        return ERR_AGAIN;
    end = find_block_end(in, bytes->p, bytes->p + bytes->len);
    if (!end) {
        e = hold(in, *bytes);
        *bytes = str_skip(*bytes, bytes->len);
        return e == ERR_OK ? ERR_AGAIN : e;
    }
    raw = str_of(bytes->p, (size_t)(end - bytes->p));
    if (in->held.len + raw.len > in->held.cap)
        return ERR_TOO_LARGE;
    *bytes = str_skip(*bytes, raw.len);
    if (in->held.len > 0) {
        e = buf_put_str(&in->held, raw);
        if (e != ERR_OK)
            return e;
        raw = buf_str(&in->held);
        in->drop_held = true;
    }
    reset_line(in, in->blank_cr && raw.p[raw.len - 1] == '\r');
    return read_block(in, raw, event_out);
}

enum err sse_in_end(struct sse_in *in, struct sse_event *event_out)
{
    drop_given(in);
    if (!in->blank_cr)
        return ERR_AGAIN;
    in->drop_held = true;
    reset_line(in, true);
    return read_block(in, buf_str(&in->held), event_out);
}

struct str sse_in_pending(const struct sse_in *in)
{
    return in->drop_held ? (struct str){0} : buf_str(&in->held);
}

enum sse_tail sse_in_tail(const struct sse_in *in)
{
    struct str held = sse_in_pending(in);

    /* a LF alone is the rest of the CRLF that ended the event before: a
     * blank line would not be held */
    if (held.len == 0 || str_eq(held, STR("\n")))
        return SSE_TAIL_CLEAN;
    if (in->line_len > 0 || in->mark < MARK_PAST || (in->cr && !in->blank_cr))
        return SSE_TAIL_TORN; /* after CR a LF would only make it CRLF */
    return SSE_TAIL_LINE;
}
