/* http1_scan.c - Finds the end of a message head in bytes that arrive in any
 * pieces, looking at each byte once, and refuses at the first byte that no
 * valid head can have there. It knows the grammar of RFC 9112 sections 2 to 5
 * but not what fields mean: that is http1.c's part.
 *
 *   request   BLANK -> METHOD -> TARGET -> PATH -> QUERY -> VERSION --+
 *                                  `-> STAR ------------------^       |
 *   response  ANSWER -> CODE -> REASON -------------------------------+
 *   both      START_LF -> LINE -> NAME -> VALUE -> VALUE_LF -> LINE <-+
 *                          `-> END_LF -> (complete)                         */
#include "wire/http1.h"

#include "wire/http1_char.h"

/* Empty lines tolerated before a start line (RFC 9112 section 2.2). */
#define BLANK_LINES_MAX 4

/* Longest method token; the longest registered one has 17 bytes. */
#define METHOD_BYTES_MAX 32

enum scan_state {
    SCAN_BLANK = 0, /* before the first byte of the start line */
    SCAN_BLANK_LF,  /* after the CR of an empty line before it */
    SCAN_METHOD,
    SCAN_TARGET, /* before the first byte of the target */
    SCAN_STAR,   /* after "*" */
    SCAN_PATH,
    SCAN_QUERY,
    SCAN_VERSION,
    SCAN_ANSWER, /* version of a response */
    SCAN_CODE,   /* status code and its blanks */
    SCAN_REASON,
    SCAN_START_LF, /* after the CR of the start line */
    SCAN_LINE,     /* before the first byte of a field line */
    SCAN_NAME,
    SCAN_VALUE,
    SCAN_VALUE_LF,
    SCAN_END_LF, /* after the CR of the empty line */
    SCAN_DONE,
    SCAN_COUNT
};

/* Take one byte, which is the last of its element. */
static void enter(struct http1_scan *s, enum scan_state next)
{
    s->at++;
    s->state = (uint8_t)next;
    s->element = 0;
    s->matched = 0;
}

/* Take the run of bytes of class <of>; gives whether the input went on. */
static bool take_run(struct http1_scan *s, struct str in, enum http1_char of)
{
    size_t n = http1_char_span(in.p + s->at, in.len - s->at, of);

    s->at += n;
    s->element += n;
    return s->at < in.len;
}

/* Expect the byte <c>, then go on in <next>. */
static enum err expect(struct http1_scan *s, struct str in, char c,
                       enum scan_state next)
{
    if (in.p[s->at] != c)
        return ERR_BAD_HTTP;
    enter(s, next);
    return ERR_OK;
}

/* Empty lines, then the first byte of the start line, which stays. */
static enum err scan_blank(struct http1_scan *s, struct str in)
{
    char c = in.p[s->at];

    if (c == '\r' && s->kind == HTTP1_REQUEST) {
        if (++s->blank_lines > BLANK_LINES_MAX)
            return ERR_BAD_HTTP;
        enter(s, SCAN_BLANK_LF);
        return ERR_OK;
    }
    s->state = s->kind == HTTP1_REQUEST ? SCAN_METHOD : SCAN_ANSWER;
    return ERR_OK;
}

static enum err scan_method(struct http1_scan *s, struct str in)
{
    bool more = take_run(s, in, HTTP1_TCHAR);

    if (s->element > METHOD_BYTES_MAX)
        return ERR_BAD_HTTP;
    if (!more)
        return ERR_OK;
    if (in.p[s->at] != ' ' || s->element == 0)
        return ERR_BAD_HTTP;
    enter(s, SCAN_TARGET);
    return ERR_OK;
}

/* The first byte of the target tells its form: absolute-form and
 * authority-form are refused here. */
static enum err scan_target(struct http1_scan *s, struct str in)
{
    char c = in.p[s->at];

    if (c != '/' && c != '*')
        return ERR_BAD_HTTP;
    enter(s, c == '/' ? SCAN_PATH : SCAN_STAR);
    s->element = 1;
    return ERR_OK;
}

/* Path or query, up to the space after it. */
static enum err scan_uri(struct http1_scan *s, struct str in, size_t most)
{
    bool in_path = s->state == SCAN_PATH;
    bool more = take_run(s, in, in_path ? HTTP1_PATH : HTTP1_QUERY);

    if (s->element > most)
        return ERR_URI_TOO_LONG;
    if (!more)
        return ERR_OK;
    if (in.p[s->at] == ' ') {
        enter(s, SCAN_VERSION);
        return ERR_OK;
    }
    if (!in_path || in.p[s->at] != '?')
        return ERR_BAD_HTTP;
    s->at++;
    s->element++;
    s->state = SCAN_QUERY;
    return ERR_OK;
}

/* One byte of "HTTP/" DIGIT "." DIGIT and what ends it in <next>'s stead. */
static enum err scan_version(struct http1_scan *s, struct str in, char last,
                             enum scan_state next)
{
    static const char text[] = "HTTP/1.1";
    char c = in.p[s->at];

    if (s->matched == 0 && in.len - s->at > 8 &&
        memcmp(in.p + s->at, text, 8) == 0) {
        s->at += 8;
        s->matched = 8;
        return ERR_OK;
    }
    if (s->matched == sizeof(text) - 1) {
        if (c != last)
            return ERR_BAD_HTTP;
        if (s->bad_version)
            return ERR_HTTP_VERSION;
        enter(s, next);
        return ERR_OK;
    }
    if (s->matched == 5 || s->matched == 7) {
        if (!http1_char_is(c, HTTP1_DIGIT))
            return ERR_BAD_HTTP;
        if (c != '1' && (s->matched == 5 || c != '0'))
            s->bad_version = true;
    } else if (c != text[s->matched]) {
        return ERR_BAD_HTTP;
    }
    s->matched++;
    s->at++;
    return ERR_OK;
}

/* One byte of 3DIGIT SP; the first digit is not 0. */
static enum err scan_code(struct http1_scan *s, struct str in)
{
    char c = in.p[s->at];

    if (s->matched == 3)
        return expect(s, in, ' ', SCAN_REASON);
    if (!http1_char_is(c, HTTP1_DIGIT) || (s->matched == 0 && c == '0'))
        return ERR_BAD_HTTP;
    s->matched++;
    s->at++;
    return ERR_OK;
}

/* Reason phrase, up to its CR. */
static enum err scan_reason(struct http1_scan *s, struct str in)
{
    s->at += http1_char_span_field(in.p + s->at, in.len - s->at);
    return s->at < in.len ? expect(s, in, '\r', SCAN_START_LF) : ERR_OK;
}

/* One step within a field line that starts at <*at>; gives the next state.
 * SCAN_COUNT: the byte there is bad. */
static inline enum scan_state step_field(enum scan_state state, struct str in,
                                         size_t *at)
{
    const char *p = in.p + *at;
    size_t room = in.len - *at, n;

    switch (state) {
    case SCAN_LINE:
        if (*p == '\r') {
            ++*at;
            return SCAN_END_LF;
        }
        return http1_char_is(*p, HTTP1_TCHAR) ? SCAN_NAME : SCAN_COUNT;
    case SCAN_NAME:
        n = http1_char_span(p, room, HTTP1_TCHAR);
        *at += n < room ? n + 1 : n;
        if (n < room && p[n] != ':')
            return SCAN_COUNT;
        return n < room ? SCAN_VALUE : SCAN_NAME;
    case SCAN_VALUE:
        n = http1_char_span_field(p, room);
        *at += n < room ? n + 1 : n;
        if (n < room && p[n] != '\r')
            return SCAN_COUNT;
        return n < room ? SCAN_VALUE_LF : SCAN_VALUE;
    default:
        ++*at;
        return *p == '\n' ? SCAN_LINE : SCAN_COUNT;
    }
}

/* The field lines, up to the CR of the empty line. The hot loop: its state
 * lives in registers. */
static enum err scan_fields(struct http1_scan *s, struct str in, size_t most)
{
    enum scan_state state = (enum scan_state)s->state, next;
    size_t at = s->at;

    while (at < in.len && state != SCAN_END_LF) {
        next = step_field(state, in, &at);
        if (next == SCAN_COUNT)
            return ERR_BAD_HTTP;
        if (state == SCAN_LINE && next == SCAN_NAME && ++s->fields > most)
            return ERR_HEADERS_TOO_LARGE;
        state = next;
    }
    s->at = at;
    s->state = (uint8_t)state;
    return ERR_OK;
}

/* Take at least one byte, or change to a state that does. */
static enum err scan_step(struct http1_scan *s, struct str in,
                          const struct http1_limits *limits)
{
    switch ((enum scan_state)s->state) {
    case SCAN_BLANK:
        return scan_blank(s, in);
    case SCAN_BLANK_LF:
        return expect(s, in, '\n', SCAN_BLANK);
    case SCAN_METHOD:
        return scan_method(s, in);
    case SCAN_TARGET:
        return scan_target(s, in);
    case SCAN_STAR:
        return expect(s, in, ' ', SCAN_VERSION);
    case SCAN_PATH:
    case SCAN_QUERY:
        return scan_uri(s, in, limits->target_bytes);
    case SCAN_VERSION:
        return scan_version(s, in, '\r', SCAN_START_LF);
    case SCAN_ANSWER:
        return scan_version(s, in, ' ', SCAN_CODE);
    case SCAN_CODE:
        return scan_code(s, in);
    case SCAN_REASON:
        return scan_reason(s, in);
    case SCAN_START_LF:
        return expect(s, in, '\n', SCAN_LINE);
    case SCAN_LINE:
    case SCAN_NAME:
    case SCAN_VALUE:
    case SCAN_VALUE_LF:
        return scan_fields(s, in, limits->fields);
    case SCAN_END_LF:
        return expect(s, in, '\n', SCAN_DONE);
    case SCAN_DONE:
    case SCAN_COUNT:
        break;
    }
    return ERR_BAD_HTTP;
}

enum err http1_scan(struct http1_scan *s, const char *p, size_t len,
                    const struct http1_limits *limits, size_t *used_out)
{
    struct http1_limits most = {HTTP1_HEAD_BYTES, HTTP1_TARGET_BYTES,
                                HTTP1_FIELDS};
    struct str in;
    enum err e;

    if (limits && limits->head_bytes > 0)
        most.head_bytes = limits->head_bytes;
    if (limits && limits->target_bytes > 0)
        most.target_bytes = limits->target_bytes;
    if (limits && limits->fields > 0)
        most.fields = limits->fields;
    in = str_of(p, len < most.head_bytes ? len : most.head_bytes);
    while (s->at < in.len && s->state != SCAN_DONE) {
        e = scan_step(s, in, &most);
        if (e != ERR_OK)
            return e;
    }
    if (s->state == SCAN_DONE) {
        *used_out = s->at;
        return ERR_OK;
    }
    return s->at >= most.head_bytes ? ERR_HEADERS_TOO_LARGE : ERR_AGAIN;
}
