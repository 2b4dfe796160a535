/* endpoint.c - The table of routes and the lookup in it. Decides what a path
 * means before anything acts on it; must never let a path that an upstream
 * would read as a metered operation through as something else. Hence the
 * lookup works on the canonical text of the path: decoded once, empty segments
 * and parameters dropped, letters compared without case. */
#include "wire/endpoint.h"

#include "wire/http1_char.h"

/* Canonical text kept; longer than any route, the rest is only checked. */
#define ROUTE_BYTES 64

#define KEY    ENDPOINT_NEEDS_KEY
#define STREAM ENDPOINT_MAY_STREAM
#define JSON   ENDPOINT_MODEL_JSON
#define PART   ENDPOINT_MODEL_PART
#define READ   "GET, HEAD"
#define ANY    "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

/* clang-format off */
static const struct endpoint_row rows[ENDPOINT_COUNT] = {
    [ENDPOINT_UNKNOWN] =
        {ENDPOINT_UNKNOWN, "unknown",
         NULL, NULL, 0, 0,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_PASSTHROUGH] =
        {ENDPOINT_PASSTHROUGH, "passthrough",
         NULL, NULL, 0, KEY | ENDPOINT_PASS | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_OPTIONS] =
        {ENDPOINT_OPTIONS, "options",
         NULL, ANY, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_CHAT] =
        {ENDPOINT_CHAT, "chat",
         "/chat/completions", NULL, JSON, KEY | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_CHAT,
         ENDPOINT_USAGE_CHAT},
    [ENDPOINT_COMPLETIONS] =
        {ENDPOINT_COMPLETIONS, "completions",
         "/completions", NULL, JSON, KEY | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_CHAT,
         ENDPOINT_USAGE_CHAT},
    [ENDPOINT_EMBEDDINGS] =
        {ENDPOINT_EMBEDDINGS, "embeddings",
         "/embeddings", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_EMBEDDINGS},
    [ENDPOINT_RESPONSES] =
        {ENDPOINT_RESPONSES, "responses",
         "/responses", NULL, JSON, KEY | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_RESPONSES,
         ENDPOINT_USAGE_RESPONSES},
    [ENDPOINT_RESPONSES_COMPACT] =
        {ENDPOINT_RESPONSES_COMPACT, "responses_compact",
         "/responses/compact", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_RESPONSES},
    [ENDPOINT_RESPONSES_INPUT_TOKENS] =
        {ENDPOINT_RESPONSES_INPUT_TOKENS, "responses_input_tokens",
         "/responses/input_tokens", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_COUNT},
    [ENDPOINT_MESSAGES] =
        {ENDPOINT_MESSAGES, "messages",
         "/messages", NULL, JSON, KEY | STREAM,
         ENDPOINT_SHAPE_ANTHROPIC, ENDPOINT_END_MESSAGES,
         ENDPOINT_USAGE_MESSAGES},
    [ENDPOINT_COUNT_TOKENS] =
        {ENDPOINT_COUNT_TOKENS, "count_tokens",
         "/messages/count_tokens", NULL, JSON, KEY,
         ENDPOINT_SHAPE_ANTHROPIC, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_COUNT},
    [ENDPOINT_MESSAGES_PASS] =
        {ENDPOINT_MESSAGES_PASS, "messages_passthrough",
         NULL, NULL, 0, KEY | ENDPOINT_PASS | STREAM,
         ENDPOINT_SHAPE_ANTHROPIC, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_MODERATIONS] =
        {ENDPOINT_MODERATIONS, "moderations",
         "/moderations", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_RERANK] =
        {ENDPOINT_RERANK, "rerank",
         "/rerank", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_RERANK},
    [ENDPOINT_SCORE] =
        {ENDPOINT_SCORE, "score",
         "/score", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_RERANK},
    [ENDPOINT_CLASSIFY] =
        {ENDPOINT_CLASSIFY, "classify",
         "/classify", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_EMBEDDINGS},
    [ENDPOINT_POOLING] =
        {ENDPOINT_POOLING, "pooling",
         "/pooling", NULL, JSON, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_EMBEDDINGS},
    [ENDPOINT_IMAGE_GENERATIONS] =
        {ENDPOINT_IMAGE_GENERATIONS, "image_generations",
         "/images/generations", NULL, JSON, KEY | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_IMAGE,
         ENDPOINT_USAGE_IMAGE},
    [ENDPOINT_IMAGE_EDITS] =
        {ENDPOINT_IMAGE_EDITS, "image_edits",
         "/images/edits", NULL, JSON | PART, KEY | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_IMAGE,
         ENDPOINT_USAGE_IMAGE},
    [ENDPOINT_IMAGE_VARIATIONS] =
        {ENDPOINT_IMAGE_VARIATIONS, "image_variations",
         "/images/variations", NULL, PART, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_IMAGE},
    [ENDPOINT_SPEECH] =
        {ENDPOINT_SPEECH, "speech",
         "/audio/speech", NULL, JSON, KEY | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_SPEECH,
         ENDPOINT_USAGE_AUDIO},
    [ENDPOINT_TRANSCRIPTIONS] =
        {ENDPOINT_TRANSCRIPTIONS, "transcriptions",
         "/audio/transcriptions", NULL, PART, KEY | STREAM,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_TRANSCRIPT,
         ENDPOINT_USAGE_AUDIO},
    [ENDPOINT_TRANSLATIONS] =
        {ENDPOINT_TRANSLATIONS, "translations",
         "/audio/translations", NULL, PART, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_AUDIO},
    [ENDPOINT_VIDEOS] =
        {ENDPOINT_VIDEOS, "videos",
         "/videos", NULL, JSON | PART, KEY,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_FILE_UPLOAD] =
        {ENDPOINT_FILE_UPLOAD, "file_upload",
         "/files", NULL, 0, KEY | ENDPOINT_PASS,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_TOKENIZE] =
        {ENDPOINT_TOKENIZE, "tokenize",
         "/tokenize", "POST", JSON, KEY | ENDPOINT_ENGINE,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_DETOKENIZE] =
        {ENDPOINT_DETOKENIZE, "detokenize",
         "/detokenize", "POST", JSON, KEY | ENDPOINT_ENGINE,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_MODELS] =
        {ENDPOINT_MODELS, "models",
         "/models", READ, 0, KEY | ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_MODEL] =
        {ENDPOINT_MODEL, "model",
         NULL, READ ", DELETE", ENDPOINT_MODEL_PATH, KEY | ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_ROOT] =
        {ENDPOINT_ROOT, "root",
         NULL, READ, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_HEALTHZ] =
        {ENDPOINT_HEALTHZ, "healthz",
         "/healthz", READ, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_READYZ] =
        {ENDPOINT_READYZ, "readyz",
         "/readyz", READ, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_HEALTH] =
        {ENDPOINT_HEALTH, "health",
         "/health", READ, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_LIVELINESS] =
        {ENDPOINT_LIVELINESS, "liveliness",
         "/health/liveliness", READ, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_READINESS] =
        {ENDPOINT_READINESS, "readiness",
         "/health/readiness", READ, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
    [ENDPOINT_METRICS] =
        {ENDPOINT_METRICS, "metrics",
         "/metrics", READ, 0, ENDPOINT_LOCAL,
         ENDPOINT_SHAPE_OPENAI, ENDPOINT_END_NONE,
         ENDPOINT_USAGE_NONE},
};
/* clang-format on */

/* First segments that are passed on although /v1 was left out. */
static const struct str families[] = {
    STR("agents"),        STR("assistants"),  STR("audio"),
    STR("batches"),       STR("chat"),        STR("chatkit"),
    STR("completions"),   STR("containers"),  STR("content_provenance_checks"),
    STR("conversations"), STR("embeddings"),  STR("evals"),
    STR("files"),         STR("fine_tuning"), STR("images"),
    STR("messages"),      STR("models"),      STR("moderations"),
    STR("organization"),  STR("projects"),    STR("realtime"),
    STR("responses"),     STR("skills"),      STR("threads"),
    STR("uploads"),       STR("vaults"),      STR("vector_stores"),
    STR("videos"),
};

/* First segments of operations that take files in forms. */
static const struct str uploads[] = {
    STR("containers"),
    STR("files"),
    STR("skills"),
    STR("uploads"),
};

/* The canonical text of a path: "/seg/seg", no final slash. */
struct route {
    size_t len;
    bool cut; /* there was more than fits */
    char text[ROUTE_BYTES];
    size_t raw_at[ROUTE_BYTES]; /* where each byte came from */
};

/* The segment being read. */
struct segment {
    size_t slash; /* raw offset of the slash before it */
    size_t len;   /* decoded bytes before any parameter */
    bool only_dots;
    bool in_param; /* after ';' */
};

/* The byte at <*at>, percent-decoded; a broken escape stands for itself. */
static char decode_byte(struct str raw, size_t *at)
{
    size_t i = *at;

    (*at)++;
    if (raw.p[i] != '%' || raw.len - i < 3 ||
        !http1_char_is(raw.p[i + 1], HTTP1_HEX) ||
        !http1_char_is(raw.p[i + 2], HTTP1_HEX))
        return raw.p[i];
    *at += 2;
    return (char)(http1_char_hex(raw.p[i + 1]) << 4 |
                  http1_char_hex(raw.p[i + 2]));
}

static bool is_ctl(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool is_dot_segment(const struct segment *s)
{
    return s->only_dots && (s->len == 1 || s->len == 2);
}

static void route_put(struct route *r, char c, size_t raw_at)
{
    if (r->len == ROUTE_BYTES) {
        r->cut = true;
        return;
    }
    r->raw_at[r->len] = raw_at;
    r->text[r->len++] = c;
}

/* Take the decoded byte <c>, which is no slash, into the segment. */
static void segment_put(struct route *r, struct segment *s, char c, size_t at)
{
    if (s->in_param)
        return;
    if (c == ';') {
        s->in_param = true;
        return;
    }
    if (s->len++ == 0)
        route_put(r, '/', s->slash);
    s->only_dots = s->only_dots && c == '.';
    route_put(r, c, at);
}

/* Bring <raw> into its canonical text; false for paths refused as such. */
static bool route_from(struct route *r, struct str raw)
{
    struct segment s = {.only_dots = true};
    size_t at = 0, from;
    char c;

    r->len = 0;
    r->cut = false;
    while (at < raw.len) {
        from = at;
        c = decode_byte(raw, &at);
        if (is_ctl(c) || c == '\\')
            return false;
        if (c != '/') {
            segment_put(r, &s, c, from);
            continue;
        }
        if (is_dot_segment(&s))
            return false;
        s = (struct segment){.slash = from, .only_dots = true};
    }
    return !is_dot_segment(&s);
}

/* Skip the segment <name> at <*at> of the text, when it is there. */
static bool skip_segment(const struct route *r, size_t *at, struct str name)
{
    size_t end = *at + 1 + name.len;

    if (end > r->len || (end < r->len && r->text[end] != '/') ||
        (end == r->len && r->cut) ||
        !str_ieq(str_of(r->text + *at + 1, name.len), name))
        return false;
    *at = end;
    return true;
}

/* Whether the text from <at> is <path>. */
static bool route_is(const struct route *r, size_t at, const char *path)
{
    return !r->cut &&
           str_ieq(str_of(r->text + at, r->len - at), str_from(path));
}

/* Whether the segment at <at> is one of the <n> names. */
static bool is_one_of(const struct route *r, size_t at, const struct str *names,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t from = at;

        if (skip_segment(r, &from, names[i]))
            return true;
    }
    return false;
}

static bool is_family(const struct route *r, size_t at)
{
    return is_one_of(r, at, families, sizeof(families) / sizeof(families[0]));
}

static bool is_upload(const struct route *r, size_t at)
{
    return is_one_of(r, at, uploads, sizeof(uploads) / sizeof(uploads[0]));
}

static enum err found(struct endpoint_match *out, enum endpoint kind)
{
    out->row = &rows[kind];
    out->suffix = (struct str){"", 0};
    if (out->row->path && !(out->row->flags & ENDPOINT_LOCAL))
        out->suffix = str_from(out->row->path);
    return ERR_OK;
}

static bool is_read(enum http1_method method)
{
    return method == HTTP1_GET || method == HTTP1_HEAD;
}

/* <kind> if <method> only reads; 405 otherwise. */
static enum err found_read(struct endpoint_match *out, enum endpoint kind,
                           enum http1_method method)
{
    (void)found(out, kind); /* cannot fail */
    return is_read(method) ? ERR_OK : ERR_METHOD;
}

/* Pass the raw bytes from text offset <at> on as <kind>. */
static enum err found_pass(struct endpoint_match *out, enum endpoint kind,
                           struct str path, const struct route *r, size_t at)
{
    struct str raw = str_skip(path, r->raw_at[at]);

    if (raw.len == 0 || raw.p[0] != '/')
        return ERR_UNKNOWN_URL;
    (void)found(out, kind); /* cannot fail */
    out->suffix = raw;
    return ERR_OK;
}

/* A row with a canonical path that the text from <at> is, or UNKNOWN. Routes
 * of tollgate's own that lie outside /v1 take no prefix. */
static enum endpoint find_path(const struct route *r, size_t at)
{
    for (int k = ENDPOINT_UNKNOWN + 1; k < ENDPOINT_COUNT; k++) {
        if (!rows[k].path || (k >= ENDPOINT_ROOT && at > 0))
            continue;
        if (route_is(r, at, rows[k].path))
            return (enum endpoint)k;
    }
    if (at == 0 && route_is(r, at, "/health/liveness"))
        return ENDPOINT_LIVELINESS;
    return ENDPOINT_UNKNOWN;
}

/* GET and DELETE /models/{id}: the id is all that follows, raw slashes
 * included. */
static enum err find_model(enum http1_method method, struct str path,
                           const struct route *r, size_t at,
                           struct endpoint_match *out)
{
    size_t id = at + sizeof("/models") - 1;

    out->model = str_skip(path, r->raw_at[id]);
    if (out->model.len == 0 || out->model.p[0] != '/')
        return ERR_UNKNOWN_URL;
    out->model = str_skip(out->model, 1);
    while (out->model.len > 0 && out->model.p[out->model.len - 1] == '/')
        out->model.len--;
    if (method == HTTP1_DELETE)
        return found_pass(out, ENDPOINT_PASSTHROUGH, path, r, at);
    return found_read(out, ENDPOINT_MODEL, method);
}

/* What stands after the prefix, from text offset <at>. */
static enum err find_operation(enum http1_method method, struct str path,
                               const struct route *r, size_t at,
                               struct endpoint_match *out)
{
    enum endpoint kind = find_path(r, at);
    size_t after = at;

    out->upload = is_upload(r, at);
    if (kind != ENDPOINT_UNKNOWN && (rows[kind].flags & ENDPOINT_LOCAL))
        return found_read(out, kind, method);
    if (kind != ENDPOINT_UNKNOWN && method == HTTP1_POST)
        return found(out, kind);
    if (kind != ENDPOINT_UNKNOWN && rows[kind].allow) {
        (void)found(out, kind); /* cannot fail */
        return ERR_METHOD;
    }
    if (skip_segment(r, &after, STR("models")))
        return find_model(method, path, r, at, out);
    after = at;
    if (skip_segment(r, &after, STR("messages")))
        return found_pass(out, ENDPOINT_MESSAGES_PASS, path, r, at);
    return found_pass(out, ENDPOINT_PASSTHROUGH, path, r, at);
}

/* /openai/deployments/{model}/{operation}; <at> is just before {model}. */
static enum err find_deployment(enum http1_method method, struct str path,
                                const struct route *r, size_t at,
                                struct endpoint_match *out)
{
    size_t list = at - (sizeof("/deployments") - 1);
    struct str rest = str_skip(path, r->raw_at[at]);
    struct route op;
    enum endpoint kind;

    if (rest.p[0] != '/')
        return ERR_UNKNOWN_URL;
    rest = str_skip(rest, 1);
    while (rest.len > 0 && rest.p[0] == '/')
        rest = str_skip(rest, 1);
    out->model = str_of(rest.p, str_find_char(rest, '/'));
    out->azure = true;
    if (!route_from(&op, str_skip(rest, out->model.len)))
        return ERR_UNKNOWN_URL;
    kind = op.len > 0 ? find_path(&op, 0) : ENDPOINT_UNKNOWN;
    if (method == HTTP1_POST && (rows[kind].model_in & (JSON | PART)) != 0)
        return found(out, kind);
    return found_pass(out, ENDPOINT_PASSTHROUGH, path, r, list);
}

/* The prefix, then what follows it. */
static enum err find_route(enum http1_method method, struct str path,
                           const struct route *r, struct endpoint_match *out)
{
    bool openai, versioned;
    size_t at = 0, after;

    if (r->len == 0)
        return found_read(out, ENDPOINT_ROOT, method);
    openai = skip_segment(r, &at, STR("openai"));
    after = at;
    if (openai && skip_segment(r, &after, STR("deployments")) && after < r->len)
        return find_deployment(method, path, r, after, out);
    versioned = skip_segment(r, &at, STR("v1"));
    if (versioned)
        (void)skip_segment(r, &at, STR("v1")); /* a base_url with /v1 twice */
    if (at == r->len)
        return ERR_UNKNOWN_URL;
    if (!versioned && find_path(r, at) == ENDPOINT_UNKNOWN && !is_family(r, at))
        return ERR_UNKNOWN_URL;
    return find_operation(method, path, r, at, out);
}

const struct endpoint_row *endpoint_row(enum endpoint kind)
{
    return &rows[kind < ENDPOINT_COUNT ? kind : ENDPOINT_UNKNOWN];
}

enum err endpoint_lookup(enum http1_method method, struct str path,
                         struct endpoint_match *out)
{
    struct endpoint_match match = {.row = &rows[ENDPOINT_UNKNOWN]};
    struct route route;
    enum err e = ERR_UNKNOWN_URL;

    if (method == HTTP1_OPTIONS || method == HTTP1_TRACE) {
        match.row = &rows[ENDPOINT_OPTIONS];
        e = method == HTTP1_OPTIONS ? ERR_OK : ERR_METHOD;
    } else if (path.len > 0 && path.p[0] == '/' && route_from(&route, path)) {
        e = find_route(method, path, &route, &match);
    }
    if (e == ERR_UNKNOWN_URL)
        match = (struct endpoint_match){.row = &rows[ENDPOINT_UNKNOWN]};
    match.shape = match.row->shape;
    *out = match;
    return e;
}

enum err endpoint_decode(struct str raw, char *to, size_t room,
                         struct str *id_out)
{
    size_t at = 0, from, n = 0;
    char c;

    while (at < raw.len) {
        from = at;
        c = decode_byte(raw, &at);
        if (is_ctl(c) || (raw.p[from] == '%' && at - from != 3))
            return ERR_SYNTAX;
        if (n == room)
            return ERR_RANGE;
        to[n++] = c;
    }
    if (n == 0)
        return ERR_SYNTAX;
    *id_out = str_of(to, n);
    return ERR_OK;
}
