/* fz_http1_diff.c - Our reader against two others, llhttp (strict mode) and
 * http_parser: whenever we accept a message, both must draw its boundaries
 * where we do: end of the head, bytes of the body, end of the message, and
 * whether another message may follow. Whenever we wait for more bytes, neither
 * may believe that the message is complete.
 *
 * The input is what a client sends on one connection, message after message;
 * each one that we read is given to fresh oracles together with all the bytes
 * that follow it. */
#include "wire/http1.h"

#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_LIMIT   (1u << 20)
#define MESSAGES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void oracle_fn(struct oracle *, const char *, size_t);

/* Our own reading of one message. */
struct reading {
    struct http1_head head;
    struct oracle is;   /* in the oracles' terms */
    bool has_extension; /* of some chunk */
};

static void die(const char *who, const char *what, const struct oracle *ours,
                const struct oracle *o)
{
    fprintf(stderr,
            "%s: %s: head %zu/%zu, end %zu/%zu, body %zu/%zu, keep %d/%d, "
            "complete %d/%d, error %s\n",
            who, what, ours->head, o->head, ours->end, o->end, ours->body_len,
            o->body_len, ours->keep, o->keep, ours->complete, o->complete,
            o->error ? o->error : "none");
    abort();
}

/* Read one message from the start of <in>. ERR_OK: complete; ERR_AGAIN: it
 * goes on after <in>; anything else: refused. */
static enum err read_message(struct str in, struct reading *r)
{
    static struct http1_header table[HTTP1_FIELDS];
    struct http1_scan scan = {0};
    struct http1_body body;
    struct str data;
    size_t used = 0;
    enum err e = http1_scan(&scan, in.p, in.len, NULL, &used);

    if (e != ERR_OK)
        return e;
    e = http1_parse(str_of(in.p, used), table, HTTP1_FIELDS, &r->head);
    if (e == ERR_OK)
        e = http1_body_start(&body, &r->head, BODY_LIMIT);
    if (e != ERR_OK)
        return e;
    r->is.has_head = true;
    r->is.head = used;
    r->is.end = used;
    r->is.keep = r->head.keep_alive;
    do {
        e = http1_body_feed(&body, in.p + r->is.end, in.len - r->is.end, &used,
                            &data);
        if (e != ERR_OK && e != ERR_AGAIN)
            return e;
        if (data.len > 0)
            memcpy(r->is.body + r->is.body_len, data.p, data.len);
        r->is.body_len += data.len;
        r->is.end += used;
        r->has_extension = r->has_extension || body.ext_bytes > 0;
    } while (e == ERR_AGAIN && r->is.end < in.len);
    r->is.complete = e == ERR_OK;
    return e;
}

/* A form that RFC 9112 allows and an oracle refuses. Being refused is no harm:
 * that reader closes the connection, and no bytes change their meaning. No
 * difference in boundaries is ever excused. */
struct refusal {
    const char *who;
    const char *error;
    bool (*is_it)(const struct reading *r, struct str in);
};

/* A tab beside a value: OWS of RFC 9110 section 5.6.3. */
static bool has_tab(const struct reading *r, struct str in)
{
    return str_find_char(str_of(in.p, r->is.head), '\t') < r->is.head;
}

/* Chunk extensions with values, quotes or blanks: RFC 9112 section 7.1.1. */
static bool has_extension(const struct reading *r, struct str in)
{
    (void)in;
    return r->has_extension;
}

/* A name that only begins with Transfer-Encoding: http_parser takes note of
 * it before it has seen the end of the name. */
static bool has_longer_coding(const struct reading *r, struct str in)
{
    static const struct str coding = STR("transfer-encoding");

    (void)in;
    for (size_t i = 0; i < r->head.count; i++) {
        struct str name = r->head.headers[i].name;

        if (name.len > coding.len &&
            str_ieq(str_of(name.p, coding.len), coding))
            return true;
    }
    return false;
}

static const struct refusal refusals[] = {
    {"llhttp", "HPE_INVALID_CONTENT_LENGTH", has_tab},
    {"llhttp", "HPE_INVALID_TRANSFER_ENCODING", has_tab},
    {"llhttp", "HPE_INVALID_CHUNK_SIZE", has_extension},
    {"llhttp", "HPE_STRICT", has_extension},
    {"http_parser", "HPE_INVALID_CHUNK_SIZE", has_extension},
    {"http_parser", "HPE_INVALID_CONTENT_LENGTH", has_tab},
    {"http_parser", "HPE_INVALID_TRANSFER_ENCODING", has_tab},
    {"http_parser", "HPE_INVALID_TRANSFER_ENCODING", has_longer_coding},
    {"http_parser", "HPE_UNEXPECTED_CONTENT_LENGTH", has_longer_coding},
};

static bool is_known_refusal(const char *who, const struct oracle *o,
                             const struct reading *r, struct str in)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (o->error && strcmp(refusals[i].who, who) == 0 &&
            strcmp(refusals[i].error, o->error) == 0 &&
            refusals[i].is_it(r, in))
            return true;
    }
    return false;
}

/* The value of <f> with the blanks after it, which end at its CR. */
static struct str raw_value(const struct http1_header *f)
{
    struct str v = f->value;

    while (v.p[v.len] != '\r')
        v.len++;
    return v;
}

/* HTTP/1.0 lives on only by a keep-alive, which both oracles overlook at
 * times: both of them one with a tab after it, and http_parser also one that
 * is not the first of its list (after an empty member, after a tab, after a
 * member that begins like an option it knows, as in "c,keep-alive"). Nobody
 * can hide a message in that: it is they who close too early. */
static bool is_overlooked(const char *who, const struct reading *r)
{
    bool any_list = strcmp(who, "http_parser") == 0;

    for (size_t i = 0; i < r->head.count && r->head.minor == 0; i++) {
        const struct http1_header *f = &r->head.headers[i];
        struct str v = raw_value(f);

        if (!str_ieq(f->name, STR("connection")))
            continue;
        if (str_find_char(v, '\t') < v.len ||
            (any_list && str_find_char(v, ',') < v.len))
            return true;
    }
    return false;
}

/* Put what we read and what one oracle reads side by side. */
static void compare(const char *who, oracle_fn *ask, const struct reading *r,
                    struct str in)
{
    const struct oracle *ours = &r->is;
    struct oracle o = {.body = malloc(in.len + 1)};

    if (!o.body)
        abort();
    ask(&o, in.p, in.len);
    if (is_known_refusal(who, &o, r, in)) {
        free(o.body);
        return;
    }
    if (o.complete && !ours->complete)
        die(who, "complete before us", ours, &o);
    if (ours->has_head && o.error && !o.has_head)
        die(who, "refuses our head", ours, &o);
    if (ours->has_head && (!o.has_head || o.head != ours->head))
        die(who, "head", ours, &o);
    if (ours->complete && !o.complete)
        die(who, "not complete", ours, &o);
    if (ours->complete && o.end != ours->end)
        die(who, "end", ours, &o);
    if (o.body_len != ours->body_len ||
        memcmp(o.body, ours->body, o.body_len) != 0)
        die(who, "body", ours, &o);
    /* We may close where another would go on (http_parser overlooks a "close"
     * as it does a keep-alive), never the reverse. */
    if (ours->complete && ours->keep && !o.keep && !is_overlooked(who, r))
        die(who, "keep-alive", ours, &o);
    free(o.body);
}

/* The message as the oracles get it: they know a fixed list of methods, so an
 * unknown one is written as POST. Gives the difference in length. */
static size_t plain_method(struct str in, const struct reading *r, char *to,
                           size_t *len_out)
{
    struct str m = r->head.method_text;
    size_t before = (size_t)(m.p - in.p);

    if (!r->is.has_head || r->head.method != HTTP1_OTHER) {
        memcpy(to, in.p, in.len);
        *len_out = in.len;
        return 0;
    }
    memcpy(to, in.p, before);
    memcpy(to + before, "POST", 4);
    memcpy(to + before + 4, m.p + m.len, in.len - before - m.len);
    *len_out = in.len - m.len + 4;
    return 4 - m.len;
}

static enum err check_message(struct str in, struct reading *r)
{
    enum err e = read_message(in, r);
    size_t len, end = r->is.end, shift;
    char *plain;

    if (e != ERR_OK && e != ERR_AGAIN)
        return e;
    plain = malloc(in.len + 4);
    if (!plain)
        abort();
    shift = plain_method(in, r, plain, &len);
    r->is.head += shift;
    r->is.end += shift;
    compare("llhttp", oracle_llhttp, r, str_of(plain, len));
    compare("http_parser", oracle_http_parser, r, str_of(plain, len));
    r->is.end = end;
    free(plain);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    char *body = malloc(size + 1);

    if (!body)
        abort();
    for (int i = 0; i < MESSAGES_MAX && in.len > 0; i++) {
        struct reading r = {.is = {.body = body}};

        if (check_message(in, &r) != ERR_OK || !r.is.keep || r.head.websocket)
            break;
        in = str_skip(in, r.is.end);
    }
    free(body);
    return 0;
}
