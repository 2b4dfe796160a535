/* bound.c - See bound.h. Decides which operations have a worst case at all, and
 * adds up what the judges of members, parts and tools found.
 *
 * A token is a byte of text or more, in any vocabulary in use, so a body has no
 * more tokens of text than bytes. What a server puts around them is not in the
 * body, and is covered by constants that are above what is known of any. */
#include "serve/bound.h"

#include <stdio.h>

#include "account/budget_spec.h"
#include "account/price.h"
#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "serve/bound_priv.h"

/* Tokens that servers add. */
#define REQUEST_TOK 256  /* to any request: a system prompt of the template */
#define TOOLS_TOK   2048 /* to one with tools: how they are to be called */
#define KIND_TOK    1024 /* to each tool that the provider describes itself */
#define INPUT_TOK   8    /* to one of many inputs: its begin and end */
#define PAIR_TOK    128  /* to a query and its document: how to compare */
#define MARK_TOK    2    /* to a mark within tools that are written anew */

#define TEXT_CAP        16 /* of the older completions, where none is said */
#define LEAST_RESPONSES 16 /* cap of the Responses API; others take 1 */
#define ESCAPES_MAX                                                            \
    256 /* letters in escapes looked at: then the worst holds                  \
         */
#define KEY_BYTES_MAX 128 /* of a key, however it is escaped */

#define TOKEN_UNITS                                                            \
    (1U << BUDGET_TOKENS | 1U << BUDGET_INPUT_TOKENS |                         \
     1U << BUDGET_OUTPUT_TOKENS)
/* Operations of models that may fold their input. */
#define FOLDING (BOUND_EMBED | BOUND_RERANK | BOUND_SCORE | BOUND_POOL)

#define REQUEST_ONLY (1U << CONF_PRICE_REQUEST)

static uint64_t sum(uint64_t a, uint64_t b)
{
    uint64_t out;

    return __builtin_add_overflow(a, b, &out) ? UINT64_MAX : out;
}

static uint64_t product(uint64_t a, uint64_t b)
{
    uint64_t out;

    return __builtin_mul_overflow(a, b, &out) ? UINT64_MAX : out;
}

#define ONES UINT64_C(0x0101010101010101) /* 1 in each byte */

/* 1 in each byte of <word> that is <c>, 0 in the others. */
static inline uint64_t equal_bytes(uint64_t word, char c)
{
    const uint64_t low = ONES * 0x7f;
    uint64_t diff = word ^ (ONES * (unsigned char)c);

    return ~(((diff & low) + low) | diff | low) >> 7;
}

/* Words of <s> counted at once: no byte of a sum overflows. */
#define WORDS_MAX 255

/* As bound_count(); to be compiled for <n> as it is. */
static inline uint64_t count_in(struct str s, const char *set, size_t n)
{
    const uint64_t pairs = UINT64_C(0x00ff00ff00ff00ff);
    uint64_t total = 0;

    while (s.len >= 8) {
        size_t words = s.len / 8 < WORDS_MAX ? s.len / 8 : WORDS_MAX;
        uint64_t sums = 0, word;

        for (size_t k = 0; k < words; k++) {
            memcpy(&word, s.p + k * 8, sizeof(word));
            for (size_t i = 0; i < n; i++)
                sums += equal_bytes(word, set[i]);
        }
        sums = (sums & pairs) + (sums >> 8 & pairs);
        total += sums * UINT64_C(0x0001000100010001) >> 48;
        s = str_skip(s, words * 8);
    }
    for (size_t k = 0; k < s.len; k++)
        total += memchr(set, s.p[k], n) != NULL;
    return total;
}

uint64_t bound_count(struct str s, struct str set)
{
    switch (set.len) {
    case 2:
        return count_in(s, set.p, 2);
    case 5:
        return count_in(s, set.p, 5);
    default:
        return count_in(s, set.p, set.len);
    }
}

/* ---- whole operations -------------------------------------------------- */

static enum err refuse_op(struct bound_no *no, const char *why)
{
    no->param[0] = '\0';
    (void)snprintf(no->text, sizeof(no->text),
                   "A key with a hard budget cannot be used for this: %s.",
                   why);
    return ERR_BAD_REQUEST;
}

/* Whether a request that is passed on only reads, or takes away. A server that
 * minds its body, or is told of another method, may take it for more. */
static bool only_reads(const struct exchange *x)
{
    static const struct str overrides[] = {{"X-HTTP-Method-Override", 22},
                                           {"X-HTTP-Method", 13},
                                           {"X-Method-Override", 17}};
    enum http1_method method = x->in->head.method;

    if (method != HTTP1_GET && method != HTTP1_HEAD && method != HTTP1_DELETE)
        return false;
    for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++)
        if (http1_find(&x->in->head, overrides[i]))
            return false;
    return !x->in->has_body || method == HTTP1_DELETE;
}

/* Whether nothing is ever charged for <x>. */
static bool is_free(const struct exchange *x)
{
    if (cost_is_due(x))
        return false;
    return (x->in->ep.row->flags & ENDPOINT_PASS) == 0 ||
           x->in->ep.row->kind == ENDPOINT_FILE_UPLOAD || only_reads(x);
}

/* The operation of the row as a bit; 0: its members are not judged. */
static unsigned op_of(enum endpoint kind)
{
    switch (kind) {
    case ENDPOINT_CHAT:
        return BOUND_CHAT;
    case ENDPOINT_COMPLETIONS:
        return BOUND_TEXT;
    case ENDPOINT_EMBEDDINGS:
        return BOUND_EMBED;
    case ENDPOINT_RESPONSES:
        return BOUND_RESPONSES;
    case ENDPOINT_MESSAGES:
        return BOUND_MESSAGES;
    case ENDPOINT_RERANK:
        return BOUND_RERANK;
    case ENDPOINT_SCORE:
        return BOUND_SCORE;
    case ENDPOINT_CLASSIFY:
    case ENDPOINT_POOLING:
        return BOUND_POOL;
    case ENDPOINT_MODERATIONS:
        return BOUND_MODERATE;
    default:
        return 0;
    }
}

/* Several pictures may be made by one request. */
static bool makes_many(const struct exchange *x)
{
    const struct jscan *scan = x->ask->scan;
    int64_t n = 0;

    if (x->in->ep.row->usage != ENDPOINT_USAGE_IMAGE)
        return false;
    if (!scan || scan->root.type != JT_OBJECT)
        return true;
    return !jval_is_unset(&scan->m[JREQ_N]) &&
           (jval_uint(&scan->m[JREQ_N], &n) != ERR_OK || n != 1);
}

/* An operation that says nothing of tokens, or what bytes do not tell. */
static enum err bound_flat(const struct exchange *x,
                           const struct bound_rules *r, struct bound *out,
                           struct bound_no *no)
{
    if ((r->units & TOKEN_UNITS) != 0)
        return refuse_op(no, "nobody can tell how many tokens it takes");
    if (!cost_is_due(x))
        return refuse_op(no, "nobody can tell what it begins");
    if (r->priced != REQUEST_ONLY)
        return refuse_op(no, "it has no price for a whole request, or others "
                             "beside it, so nobody can tell what it costs");
    if (makes_many(x))
        return refuse_op(no, "its price is for one picture; ask for one, in "
                             "JSON");
    *out = (struct bound){.flat = true, .choices = 1, .least_tok = 1};
    return ERR_OK;
}

/* ---- sums -------------------------------------------------------------- */

/* Whether the escape at <at> of <text> is within a key cache_control. */
static bool hides_cache_key(struct str text, size_t at)
{
    size_t from = at, to = at;

    while (from > 0 && text.p[from] != '"' && at - from < KEY_BYTES_MAX)
        from--;
    while (to < text.len && text.p[to] != '"' && to - at < KEY_BYTES_MAX)
        to++;
    if (to == text.len || text.p[from] != '"' || text.p[to] != '"')
        return false;
    return jval_is(str_of(text.p + from, to + 1 - from), STR("cache_control"));
}

/* Whether <text> has a key cache_control, however it is written. */
static bool has_cache_key(struct str text)
{
    unsigned n = 0;

    if (str_find(text, STR("\"cache_control\"")) < text.len)
        return true;
    for (size_t at = 0; n < ESCAPES_MAX; at += 2) {
        struct str rest = str_skip(text, at);

        at += str_find_char(rest, '\\');
        rest = str_skip(text, at);
        if (rest.len < 6)
            return false;
        if (!str_starts(rest, STR("\\u00")) || rest.p[4] < '5' ||
            rest.p[4] > '7') /* no letter of it */
            continue;
        if (hides_cache_key(text, at))
            return true;
        n++;
    }
    return true;
}

/* The kinds of cache writes that <body> may lead to. */
static unsigned cache_kinds(const struct bound_judge *j, struct str body)
{
    unsigned kinds = 0;

    if ((j->rules->units & (1U << BUDGET_NUSD)) == 0)
        return 0;
    /* Anthropic's servers write where they are told to, others on their own */
    if (j->op != BOUND_MESSAGES &&
        (j->rules->priced & (1U << CONF_PRICE_CACHE_WRITE)) != 0)
        kinds |= PRICE_KIND(ROW_TOK_CACHE_WRITE_5M);
    if ((j->op & (BOUND_MESSAGES | BOUND_CHAT)) == 0 || !has_cache_key(body))
        return kinds;
    kinds |= PRICE_KIND(ROW_TOK_CACHE_WRITE_5M);
    if (str_find(body, STR("1h\"")) < body.len ||
        str_find(body, STR("\\u00")) < body.len)
        kinds |= PRICE_KIND(ROW_TOK_CACHE_WRITE_1H);
    return kinds;
}

/* Tokens of the pairs that are compared, beyond what each side has. */
static uint64_t pair_tokens(const struct bound_judge *j)
{
    uint64_t a = j->side[0].items, b = j->side[1].items;
    uint64_t bytes;

    if (a == 0 || b == 0)
        return 0;
    if (a == b) /* each with its own, or one with one */
        return product(a, PAIR_TOK);
    bytes = sum(product(j->side[0].bytes, b), product(j->side[1].bytes, a));
    return sum(bytes, product(product(a, b), PAIR_TOK));
}

static uint64_t input_tokens(const struct bound_judge *j, struct str body)
{
    uint64_t text = body.len > j->media_bytes ? body.len - j->media_bytes : 0;
    uint64_t n = sum(text, REQUEST_TOK);

    n = sum(n, bound_growth(body, (j->op & FOLDING) != 0));
    /* what is JSON within is written anew with a space behind these */
    n = sum(n, bound_count(body, STR(",:")));
    if (j->tools)
        n = sum(n, TOOLS_TOK + j->tool_kinds * KIND_TOK +
                       product(j->tool_marks, MARK_TOK));
    n = sum(n, product(sum(j->prompts, j->inputs), INPUT_TOK));
    n = sum(n, product(j->out->media, j->rules->media_tok));
    return sum(n, pair_tokens(j));
}

static bool generates(enum bound_op op)
{
    return (op &
            (BOUND_CHAT | BOUND_TEXT | BOUND_RESPONSES | BOUND_MESSAGES)) != 0;
}

static void add_output(const struct bound_judge *j, struct bound *out)
{
    uint64_t each = j->best_of > j->n ? j->best_of : j->n;

    out->choices = product(each, j->prompts > 1 ? j->prompts : 1);
    if (!generates(j->op)) {
        out->cap_tok = 0;
        return;
    }
    if (out->caps == 0)
        out->cap_tok = j->rules->default_output;
    if (out->caps == 0 && j->op == BOUND_TEXT && out->cap_tok > TEXT_CAP)
        out->cap_tok = TEXT_CAP;
    if (j->op == BOUND_RESPONSES)
        out->least_tok = LEAST_RESPONSES;
    if (j->thinking > 0)
        out->least_tok = sum(j->thinking, 1);
    /* more thinking than the cap is for several turns, which is a beta */
    if (out->caps != 0 && j->thinking >= out->cap_tok)
        out->extra_tok = sum(out->extra_tok, j->thinking);
    out->output_tok = product(out->cap_tok, out->choices);
    /* of the choices made some may not be shown at all */
    out->unseen = out->unseen || each > j->n ||
                  (j->rules->priced & (1U << CONF_PRICE_REASONING)) != 0 ||
                  bound_hides_thoughts(j->rules->model);
}

enum err bound_of(const struct exchange *x, const struct bound_rules *r,
                  struct bound *out, struct bound_no *no_out)
{
    const struct jscan *scan = x->ask->scan;
    unsigned op = op_of(x->in->ep.row->kind);
    struct bound b = {.kinds = PRICE_KINDS_TEXT, .choices = 1, .least_tok = 1};
    struct bound_judge j = {.rules = r, .out = &b, .no = no_out, .n = 1};
    struct jmember m;
    struct jiter it;

    if (x->in->head.websocket)
        return refuse_op(no_out, "what goes over a WebSocket is not counted");
    if (is_free(x)) {
        *out = (struct bound){.free = true, .choices = 1, .least_tok = 1};
        return ERR_OK;
    }
    if (x->in->ep.row->kind == ENDPOINT_RESPONSES_COMPACT)
        return refuse_op(no_out, "what a summary costs has no bound");
    if (op == 0)
        return bound_flat(x, r, out, no_out);
    if (!scan || scan->root.type != JT_OBJECT)
        return refuse_op(no_out, "its body must be a JSON object");
    if (op == BOUND_MODERATE && r->priced == REQUEST_ONLY) {
        *out = (struct bound){.flat = true, .choices = 1, .least_tok = 1};
        return ERR_OK;
    }
    if (op == BOUND_MODERATE && r->priced == 0)
        return refuse_op(no_out, "its model has no price, not even of 0");
    if (str_ends(x->ask->model, STR(":online")))
        return bound_refuse(&j, "model",
                            "A key with a hard budget cannot use a model with "
                            "':online': what it searches has no bound.");
    j.op = (enum bound_op)op;
    jiter_init(&it, scan->root.value);
    while (jiter_next(&it, &m))
        ERR_TRY(bound_judge_member(&j, &m));
    b.kinds |= cache_kinds(&j, scan->text);
    b.input_tok = input_tokens(&j, scan->text);
    add_output(&j, &b);
    *out = b;
    return ERR_OK;
}

enum verdict bound_fail(struct exchange *x, enum err e,
                        const struct bound_no *no)
{
    const char *param =
        no->param[0] ? arena_printf(x->arena, "%s", no->param) : NULL;

    return exchange_fail_param(x, e, param, "%s", no->text);
}
