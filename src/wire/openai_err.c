/* openai_err.c - See openai_err.h. */
#include "wire/openai_err.h"

#include "wire/jsplice.h"

/* What begins a secret, and how it is told from a word. */
struct secret_row {
    struct str head;
    size_t least;  /* bytes that must follow */
    bool value_of; /* the secret stands after it, not with it */
};

static const struct secret_row secrets[] = {
    {{"sk-", 3}, 6, false},           {{"bearer", 6}, 8, true},
    {{"basic", 5}, 8, true},          {{"api-key", 7}, 8, true},
    {{"api_key", 7}, 8, true},        {{"AIza", 4}, 20, false},
    {{"gsk_", 4}, 16, false},         {{"hf_", 3}, 16, false},
    {{"xai-", 4}, 16, false},         {{"eyJ", 3}, 24, false},
    {{"pplx-", 5}, 16, false},        {{"ghp_", 4}, 16, false},
    {{"authorization", 13}, 8, true},
};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

/* Bytes of keys, tokens and base64. */
static bool is_token(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("-_.~+/=*", c));
}

static size_t token_len(struct str s)
{
    size_t n = 0;

    while (n < s.len && is_token(s.p[n]))
        n++;
    while (n > 0 && s.p[n - 1] == '.') /* the end of a sentence */
        n--;
    return n;
}

/* Whether a token is no word of a language: long, with a digit in it, or with
 * capitals past its first letter. */
static bool looks_secret(struct str token)
{
    bool odd = token.len >= 24;

    for (size_t i = 0; i < token.len && !odd; i++)
        odd = (token.p[i] >= '0' && token.p[i] <= '9') ||
              (i > 0 && token.p[i] >= 'A' && token.p[i] <= 'Z');
    return odd;
}

/* Of "sk-proj-..." the letters up to the second dash tell the kind of key. */
static size_t label_len(struct str key, size_t head)
{
    size_t n = head;

    while (n < key.len && n < head + 6 && key.p[n] >= 'a' && key.p[n] <= 'z')
        n++;
    return n > head && n < key.len && key.p[n] == '-' ? n + 1 : head;
}

/* Whether a secret of row <r> begins <s>: how many bytes of it stay and how
 * many go after them. */
static bool match_secret(const struct secret_row *r, struct str s,
                         size_t *keep_out, size_t *drop_out)
{
    size_t keep = r->head.len, n;

    if (s.len < keep || ((s.p[0] ^ r->head.p[0]) & ~0x20) != 0 ||
        strncasecmp(s.p, r->head.p, keep) != 0)
        return false;
    if (!r->value_of) {
        n = token_len(s);
        if (n < keep + r->least || memcmp(s.p, r->head.p, keep) != 0)
            return false;
        keep = label_len(str_of(s.p, n), keep);
        *keep_out = keep;
        *drop_out = n - keep;
        return true;
    }
    for (n = 0; n < 5 && keep < s.len && s.p[keep] != '\0' &&
                strchr(" \t:='\"", s.p[keep]);
         n++)
        keep++;
    if (n == 0)
        return false;
    n = token_len(str_skip(s, keep));
    if (n < r->least || !looks_secret(str_of(s.p + keep, n)))
        return false;
    *keep_out = keep;
    *drop_out = n;
    return true;
}

/* Where the first secret of <s> stands: bytes before it, its label included,
 * and its length; or s.len and 0. */
static size_t find_secret(struct str s, size_t *drop_out)
{
    size_t keep = 0;

    *drop_out = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_alnum(s.p[i]) || (i > 0 && is_alnum(s.p[i - 1])))
            continue;
        for (size_t k = 0; k < sizeof(secrets) / sizeof(secrets[0]); k++)
            if (match_secret(&secrets[k], str_skip(s, i), &keep, drop_out))
                return i + keep;
    }
    return s.len;
}

/* Append <text> masked, as it is or as the inside of a JSON string. */
static enum err put_masked(struct buf *out, struct str text, bool json)
{
    size_t start = out->len, keep, drop;
    enum err e = ERR_OK;

    while (text.len > 0 && e == ERR_OK) {
        keep = find_secret(text, &drop);
        e = json ? json_put_text(out, str_of(text.p, keep))
                 : buf_put(out, text.p, keep);
        if (e == ERR_OK && drop > 0)
            e = buf_put_str(out, STR("***"));
        text = str_skip(text, keep + drop);
    }
    if (e != ERR_OK)
        out->len = start;
    return e;
}

enum err redact_put(struct buf *out, struct str text)
{
    return put_masked(out, text, false);
}

/* Append `"<name>":"<value>"`, the value masked. */
static enum err put_member(struct buf *out, const char *name, struct str value)
{
    enum err e = buf_printf(out, "\"%s\":\"", name);

    if (e == ERR_OK)
        e = put_masked(out, value, true);
    if (e == ERR_OK)
        e = buf_put(out, "\"", 1);
    return e;
}

/* Append the member <name> with null for an empty value. */
static enum err put_or_null(struct buf *out, const char *name, struct str value)
{
    enum err e;

    if (value.len == 0)
        return buf_printf(out, ",\"%s\":null", name);
    e = buf_put(out, ",", 1);
    return e == ERR_OK ? put_member(out, name, value) : e;
}

static struct str message_of(const struct err_reply *r)
{
    return r->message.len > 0 ? r->message
                              : str_from(err_row(r->code)->message);
}

static enum err put_openai(struct buf *out, const struct err_reply *r)
{
    const struct err_row *row = err_row(r->code);
    enum err e = buf_put_str(out, STR("{\"error\":{"));

    if (e == ERR_OK)
        e = put_member(out, "message", message_of(r));
    if (e == ERR_OK)
        e = buf_printf(out, ",\"type\":\"%s\"", row->type);
    if (e == ERR_OK)
        e = put_or_null(out, "param", r->param);
    if (e == ERR_OK)
        e = put_or_null(out, "code", str_from(row->code));
    if (e == ERR_OK && r->upstream_status != 0)
        e = buf_printf(out, ",\"upstream_status\":%d", r->upstream_status);
    if (e == ERR_OK && r->request_id.len > 0)
        e = put_or_null(out, "request_id", r->request_id);
    if (e == ERR_OK)
        e = buf_put_str(out, STR("}}"));
    return e;
}

static enum err put_anthropic(struct buf *out, const struct err_reply *r)
{
    const struct err_row *row = err_row(r->code);
    enum err e = buf_printf(out,
                            "{\"type\":\"error\",\"error\":{"
                            "\"type\":\"%s\",",
                            row->anthropic);

    if (e == ERR_OK)
        e = put_member(out, "message", message_of(r));
    if (e == ERR_OK && r->upstream_status != 0)
        e = buf_printf(out, ",\"upstream_status\":%d", r->upstream_status);
    if (e == ERR_OK)
        e = buf_put(out, "}", 1);
    if (e == ERR_OK && r->request_id.len > 0)
        e = put_or_null(out, "request_id", r->request_id);
    if (e == ERR_OK)
        e = buf_put(out, "}", 1);
    return e;
}

enum err err_body_put(struct buf *out, const struct err_reply *r)
{
    size_t start = out->len;
    enum err e = r->shape == ENDPOINT_SHAPE_ANTHROPIC ? put_anthropic(out, r)
                                                      : put_openai(out, r);

    if (e != ERR_OK)
        out->len = start;
    return e;
}

enum err err_event_put(struct buf *out, const struct err_reply *r)
{
    size_t start = out->len;
    enum err e = ERR_OK;

    /* the body has no line breaks: JSON escapes them */
    if (r->shape == ENDPOINT_SHAPE_ANTHROPIC)
        e = buf_put_str(out, STR("event: error\n"));
    if (e == ERR_OK)
        e = buf_put_str(out, STR("data: "));
    if (e == ERR_OK)
        e = err_body_put(out, r);
    if (e == ERR_OK)
        e = buf_put_str(out, STR("\n\n"));
    if (e != ERR_OK)
        out->len = start;
    return e;
}
