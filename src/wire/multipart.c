/* multipart.c - See multipart.h. Where servers are known to read a body
 * differently (folded headers, `name*`, a delimiter that is longer than the
 * boundary, one right after the header) it is refused: else a client could
 * show us one model and the provider another.
 *
 * The delimiter is CR LF "--" boundary, and a boundary has no CR: so after a
 * mismatch a new match can only begin at the byte at hand. */
#include "wire/multipart.h"

/* What was seen after a delimiter. */
enum { AFTER_NONE = 0, AFTER_DASH, AFTER_PADDING, AFTER_CR };

/* A parameter of a header's value. */
struct param {
    struct str name;
    char value[MULTIPART_VALUE_MAX]; /* without quotes and backslashes */
    size_t len;
    bool cut; /* longer than that */
};

static enum err broken(struct multipart *m, enum err e)
{
    m->state = MULTIPART_BROKEN;
    return e;
}

static struct str skip_blank(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    return s;
}

static void param_add(struct param *p, char c)
{
    if (p->len < sizeof(p->value))
        p->value[p->len++] = c;
    else
        p->cut = true;
}

/* Take a quoted string off <rest>, which begins by a quote. */
static enum err next_quoted(struct str *rest, struct param *p)
{
    *rest = str_skip(*rest, 1);
    while (rest->len > 0 && rest->p[0] != '"') {
        if (rest->p[0] == '\\' && rest->len > 1)
            *rest = str_skip(*rest, 1);
        param_add(p, rest->p[0]);
        *rest = str_skip(*rest, 1);
    }
    if (rest->len == 0)
        return ERR_SYNTAX;
    *rest = str_skip(*rest, 1);
    return ERR_OK;
}

/* Take the next `; name=value` off <rest>. ERR_NOT_FOUND at the end. */
static enum err next_param(struct str *rest, struct param *p)
{
    size_t n = 0;

    *p = (struct param){0};
    do {
        *rest = skip_blank(*rest);
        if (rest->len == 0)
            return ERR_NOT_FOUND;
        if (rest->p[0] != ';')
            return ERR_SYNTAX;
        *rest = skip_blank(str_skip(*rest, 1));
    } while (rest->len == 0 || rest->p[0] == ';');
    while (n < rest->len && rest->p[n] != '=' && rest->p[n] != ';')
        n++;
    if (n == rest->len || rest->p[n] != '=')
        return ERR_SYNTAX;
    p->name = str_trim(str_of(rest->p, n));
    *rest = skip_blank(str_skip(*rest, n + 1));
    if (rest->len > 0 && rest->p[0] == '"')
        return next_quoted(rest, p);
    while (rest->len > 0 && rest->p[0] != ';' && rest->p[0] != ' ' &&
           rest->p[0] != '\t') {
        param_add(p, rest->p[0]);
        *rest = str_skip(*rest, 1);
    }
    return p->len > 0 ? ERR_OK : ERR_SYNTAX;
}

/* bchars of RFC 2046, 5.1.1; a space must not be the last. */
static bool is_boundary(struct str s)
{
    if (s.len == 0 || s.len > MULTIPART_BOUNDARY_MAX || s.p[s.len - 1] == ' ')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z');
        if (!alnum && (c == '\0' || !strchr("'()+_,-./:=? ", c)))
            return false;
    }
    return true;
}

enum err multipart_init(struct multipart *m, struct str content_type)
{
    const struct str type = STR("multipart/form-data");
    struct str rest = skip_blank(content_type);
    struct param p;
    enum err e;

    *m = (struct multipart){.state = MULTIPART_BROKEN};
    if (rest.len < type.len || !str_ieq(str_of(rest.p, type.len), type))
        return ERR_BAD_REQUEST;
    rest = str_skip(rest, type.len);
    for (e = next_param(&rest, &p); e == ERR_OK; e = next_param(&rest, &p)) {
        if (!str_ieq(p.name, STR("boundary")))
            continue;
        if (m->delim_len > 0 || !is_boundary(str_of(p.value, p.len)))
            return ERR_BAD_REQUEST;
        memcpy(m->delim, "\r\n--", 4);
        memcpy(m->delim + 4, p.value, p.len);
        m->delim_len = p.len + 4;
    }
    if (e != ERR_NOT_FOUND || m->delim_len == 0)
        return ERR_BAD_REQUEST;
    m->state = MULTIPART_PREAMBLE;
    m->match = m->ghost = 2;
    return ERR_OK;
}

/* Read the value of a Content-Disposition. */
static enum err take_disposition(struct multipart *m, struct str value)
{
    size_t n = 0;
    struct param p;
    bool named = false;
    enum err e;

    if (m->disposed || m->line_cut)
        return ERR_BAD_REQUEST;
    m->disposed = true;
    value = skip_blank(value);
    while (n < value.len && value.p[n] != ';')
        n++;
    if (!str_ieq(str_trim(str_of(value.p, n)), STR("form-data")))
        return ERR_BAD_REQUEST;
    value = str_skip(value, n);
    for (e = next_param(&value, &p); e == ERR_OK; e = next_param(&value, &p)) {
        if (p.name.len > 4 && str_ieq(str_of(p.name.p, 5), STR("name*")))
            return ERR_BAD_REQUEST;
        if (!str_ieq(p.name, STR("name")))
            continue;
        if (named)
            return ERR_BAD_REQUEST;
        named = true;
        m->named = !p.cut && str_eq(str_of(p.value, p.len), STR("model"));
    }
    return e == ERR_NOT_FOUND ? ERR_OK : ERR_BAD_REQUEST;
}

/* A header line of a part is complete, in m->line. */
static enum err take_line(struct multipart *m)
{
    struct str line = str_of(m->line, m->line_len);
    size_t colon = str_find_char(line, ':');
    struct str name = str_of(line.p, colon);
    struct str value = str_trim(str_skip(line, colon + 1));

    if (colon == 0 || colon == line.len || line.p[0] == ' ' ||
        line.p[0] == '\t' || name.p[colon - 1] == ' ' ||
        name.p[colon - 1] == '\t')
        return ERR_BAD_REQUEST;
    if (str_ieq(name, STR("content-disposition")))
        return take_disposition(m, value);
    if (str_ieq(name, STR("content-transfer-encoding")))
        m->encoded = !str_ieq(value, STR("7bit")) &&
                     !str_ieq(value, STR("8bit")) &&
                     !str_ieq(value, STR("binary"));
    return ERR_OK;
}

/* The blank line of a part's header was read. */
static enum err begin_content(struct multipart *m)
{
    m->state = MULTIPART_BODY;
    m->match = m->ghost = 2;
    if (!m->named)
        return ERR_OK;
    if (m->found)
        return ERR_BAD_PARAM;
    if (m->encoded)
        return ERR_BAD_REQUEST;
    m->value_at = m->at + 1;
    m->value_len = 0;
    return ERR_OK;
}

static enum err head_byte(struct multipart *m, char c)
{
    enum err e = ERR_OK;

    if (++m->head_len > MULTIPART_HEAD_MAX || c == '\0')
        return ERR_BAD_REQUEST;
    if (m->line_cr) {
        if (c != '\n')
            return ERR_BAD_REQUEST;
        m->line_cr = false;
        if (m->line_len == 0)
            return begin_content(m);
        e = take_line(m);
        m->line_len = 0;
        m->line_cut = false;
        return e;
    }
    if (c == '\n')
        return ERR_BAD_REQUEST;
    if (c == '\r')
        m->line_cr = true;
    else if (m->line_len < sizeof(m->line))
        m->line[m->line_len++] = c;
    else
        m->line_cut = true;
    return ERR_OK;
}

static enum err begin_part(struct multipart *m)
{
    if (++m->parts > MULTIPART_PARTS_MAX)
        return ERR_BAD_REQUEST;
    m->state = MULTIPART_HEAD;
    m->head_len = 0;
    m->line_len = 0;
    m->line_cr = m->line_cut = false;
    m->named = m->disposed = m->encoded = false;
    return ERR_OK;
}

/* A byte after a delimiter: "--" closes, CRLF begins a part. */
static enum err after_byte(struct multipart *m, char c)
{
    switch (m->after) {
    case AFTER_DASH:
        if (c != '-')
            return ERR_BAD_REQUEST;
        m->state = MULTIPART_EPILOGUE;
        m->match = 0;
        m->ghost = 0;
        return ERR_OK;
    case AFTER_CR:
        return c == '\n' ? begin_part(m) : ERR_BAD_REQUEST;
    case AFTER_NONE:
        if (c == '-') {
            m->after = AFTER_DASH;
            return ERR_OK;
        }
        break;
    default:
        break;
    }
    if (c == ' ' || c == '\t')
        m->after = AFTER_PADDING;
    else if (c == '\r')
        m->after = AFTER_CR;
    else
        return ERR_BAD_REQUEST;
    return ERR_OK;
}

/* Add to the value of `model`, whose part this is. */
static enum err add_value(struct multipart *m, const char *p, size_t len)
{
    if (m->state != MULTIPART_BODY || !m->named || len == 0)
        return ERR_OK;
    if (len > sizeof(m->value) - m->value_len)
        return ERR_BAD_PARAM;
    memcpy(m->value + m->value_len, p, len);
    m->value_len += len;
    return ERR_OK;
}

/* The <n> bytes of the delimiter that were matched are content after all. */
static enum err unmatch(struct multipart *m)
{
    size_t ghost = m->ghost, n = m->match;

    m->match = 0;
    m->ghost = 0;
    return add_value(m, m->delim + ghost, n - ghost);
}

/* A whole delimiter was read. */
static enum err end_content(struct multipart *m)
{
    if (m->state == MULTIPART_EPILOGUE)
        return ERR_BAD_REQUEST; /* a part after the end */
    if (m->state == MULTIPART_BODY) {
        if (m->ghost > 0)
            return ERR_BAD_REQUEST;
        m->found = m->found || m->named;
    }
    m->state = MULTIPART_AFTER;
    m->after = AFTER_NONE;
    m->match = 0;
    m->ghost = 0;
    return ERR_OK;
}

/* Content from <p>: reads one byte, or many that cannot matter. */
static enum err content_bytes(struct multipart *m, const char *p, size_t len,
                              size_t *used_out)
{
    enum err e = ERR_OK;

    *used_out = 1;
    if (m->match == 0) {
        const char *cr = memchr(p, '\r', len);
        size_t plain = cr ? (size_t)(cr - p) : len;
        if (plain > 0) {
            *used_out = plain;
            return add_value(m, p, plain);
        }
    }
    if (*p != m->delim[m->match]) {
        e = unmatch(m);
        if (*p == '\r')
            m->match = 1;
        else if (e == ERR_OK)
            e = add_value(m, p, 1);
        return e;
    }
    return ++m->match == m->delim_len ? end_content(m) : ERR_OK;
}

enum err multipart_feed(struct multipart *m, struct str bytes)
{
    enum err e = ERR_OK;

    while (bytes.len > 0 && e == ERR_OK) {
        size_t used = 1;
        switch (m->state) {
        case MULTIPART_AFTER:
            e = after_byte(m, bytes.p[0]);
            break;
        case MULTIPART_HEAD:
            e = head_byte(m, bytes.p[0]);
            break;
        case MULTIPART_PREAMBLE:
        case MULTIPART_BODY:
        case MULTIPART_EPILOGUE:
            e = content_bytes(m, bytes.p, bytes.len, &used);
            break;
        case MULTIPART_BROKEN:
            return ERR_BAD_REQUEST;
        }
        m->at += used;
        bytes = str_skip(bytes, used);
    }
    return e == ERR_OK ? ERR_OK : broken(m, e);
}
