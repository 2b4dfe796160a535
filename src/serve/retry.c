/* retry.c - See retry.h. One table says what each kind of end allows; a step is
 * then chosen by how much it helps: first whoever is not concerned by what went
 * wrong, then the same target again, then other routes. Only one that is busy
 * is asked a second time before others are: that often helps, and keeps its
 * prefix cache in use. */
#include "serve/retry.h"

#include "base/panic.h"
#include "conf/conf.h"

#define SAME     RETRY_MOVE_SAME
#define KEY      RETRY_MOVE_KEY
#define TARGET   RETRY_MOVE_TARGET
#define FALLBACK RETRY_MOVE_FALLBACK

/* What a kind of end allows, and says of the target. */
struct kind_row {
    const char *name;
    unsigned moves;
    enum breaker_word word;
    bool doubtful;
};

static const struct kind_row kinds[RETRY_KIND_COUNT] = {
    [RETRY_KIND_DONE] = {"done", 0, BREAKER_GOOD, false},
    [RETRY_KIND_OURS] = {"ours", 0, BREAKER_SILENT, false},
    [RETRY_KIND_CALLER] = {"caller", 0, BREAKER_ALIVE, false},
    [RETRY_KIND_CONTEXT] = {"context", FALLBACK, BREAKER_ALIVE, false},
    [RETRY_KIND_FILTER] = {"filter", FALLBACK, BREAKER_ALIVE, false},
    [RETRY_KIND_KEY] = {"key", KEY | TARGET | FALLBACK, BREAKER_ALIVE, false},
    [RETRY_KIND_LIMIT] = {"limit", SAME | KEY | TARGET | FALLBACK,
                          BREAKER_ALIVE, false},
    [RETRY_KIND_SPENT] = {"spent", KEY | TARGET | FALLBACK, BREAKER_ALIVE,
                          false},
    [RETRY_KIND_FULL] = {"full", TARGET | FALLBACK, BREAKER_SILENT, false},
    [RETRY_KIND_BUSY] = {"busy", SAME | TARGET | FALLBACK, BREAKER_BAD, false},
    [RETRY_KIND_UNREACHED] = {"unreached", SAME | TARGET | FALLBACK,
                              BREAKER_BAD, false},
    [RETRY_KIND_CERT] = {"cert", TARGET | FALLBACK, BREAKER_BAD, false},
    [RETRY_KIND_FAILED] = {"failed", SAME | TARGET | FALLBACK, BREAKER_BAD,
                           true},
    [RETRY_KIND_BROKEN] = {"broken", SAME | TARGET | FALLBACK, BREAKER_BAD,
                           true},
};

/* --- what an end means --------------------------------------------------- */

/* A word of an error object that means a kind: its type or code, whole, or a
 * part of its message. */
struct word_row {
    enum retry_kind kind;
    bool in_message;
    struct str word;
};

static const struct word_row words[] = {
    {RETRY_KIND_SPENT, false, STR("insufficient_quota")},
    {RETRY_KIND_SPENT, false, STR("enforced_spend_limit_reached")},
    {RETRY_KIND_SPENT, false, STR("billing_hard_limit_reached")},
    {RETRY_KIND_SPENT, false, STR("billing_not_active")},
    {RETRY_KIND_SPENT, false, STR("billing_error")},
    {RETRY_KIND_SPENT, false, STR("insufficient_balance")},
    {RETRY_KIND_SPENT, false, STR("insufficient_credits")},
    {RETRY_KIND_SPENT, true, STR("credit balance is too low")},
    {RETRY_KIND_CONTEXT, false, STR("context_length_exceeded")},
    {RETRY_KIND_CONTEXT, false, STR("string_above_max_length")},
    {RETRY_KIND_CONTEXT, false, STR("exceed_context_size_error")},
    {RETRY_KIND_CONTEXT, true, STR("maximum context length")},
    {RETRY_KIND_CONTEXT, true, STR("prompt is too long")},
    {RETRY_KIND_CONTEXT, true, STR("input is too long")},
    {RETRY_KIND_CONTEXT, true, STR("exceed context limit")},
    {RETRY_KIND_CONTEXT, true, STR("available context size")},
    {RETRY_KIND_FILTER, false, STR("content_filter")},
    {RETRY_KIND_FILTER, false, STR("content_policy_violation")},
    {RETRY_KIND_FILTER, false, STR("moderation_blocked")},
    {RETRY_KIND_FILTER, false, STR("ResponsibleAIPolicyViolation")},
    {RETRY_KIND_FILTER, true, STR("content management policy")},
};

/* Bytes of a message that are looked at: what it is about comes first. */
#define MESSAGE_LOOK 512

/* Whether <text> holds <part>, whatever the case of its letters. */
static bool holds(struct str text, struct str part)
{
    if (text.len > MESSAGE_LOOK)
        text.len = MESSAGE_LOOK;
    for (; text.len >= part.len; text = str_skip(text, 1))
        if (str_ieq(str_of(text.p, part.len), part))
            return true;
    return false;
}

/* The kind that the error object of <e> names, or DONE. */
static enum retry_kind kind_of_words(const struct retry_end *e)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const struct word_row *w = &words[i];

        if (w->in_message
                ? holds(e->message, w->word)
                : str_ieq(e->type, w->word) || str_ieq(e->code, w->word))
            return w->kind;
    }
    return RETRY_KIND_DONE;
}

/* A reply with a status of 4xx. What our account lacks is the caller's affair
 * where the key is not ours. */
static enum retry_kind kind_of_4xx(const struct retry_end *e)
{
    const enum retry_kind named = kind_of_words(e);

    if (named == RETRY_KIND_SPENT && e->own_key)
        return named;
    if (named == RETRY_KIND_CONTEXT || named == RETRY_KIND_FILTER)
        return named;
    switch (e->status) {
    case 401:
    case 403:
        return e->own_key ? RETRY_KIND_KEY : RETRY_KIND_CALLER;
    case 402:
        return e->own_key ? RETRY_KIND_SPENT : RETRY_KIND_CALLER;
    case 408:
        return RETRY_KIND_FAILED;
    case 409:
        return e->hint == RETRY_YES ? RETRY_KIND_FAILED : RETRY_KIND_CALLER;
    case 425:
        return RETRY_KIND_BUSY;
    case 429:
        return RETRY_KIND_LIMIT;
    default:
        return RETRY_KIND_CALLER;
    }
}

static enum retry_kind kind_of_reply(const struct retry_end *e)
{
    if (e->status < 400)
        return RETRY_KIND_DONE;
    if (e->status < 500)
        return kind_of_4xx(e);
    switch (e->status) {
    case 501: /* nor will it be served another time */
    case 505:
        return RETRY_KIND_CALLER;
    case 503:
    case 529:
        return RETRY_KIND_BUSY;
    default:
        return RETRY_KIND_FAILED;
    }
}

/* An attempt without a whole reply. */
static enum retry_kind kind_of_err(const struct retry_end *e)
{
    switch (e->err) {
    case ERR_UP_UNAVAILABLE:
        return e->sent ? RETRY_KIND_BROKEN : RETRY_KIND_UNREACHED;
    case ERR_UP_TLS:
        return e->sent ? RETRY_KIND_BROKEN : RETRY_KIND_CERT;
    case ERR_UP_TIMEOUT:
    case ERR_UP_RESET:
        return e->sent ? RETRY_KIND_BROKEN : RETRY_KIND_UNREACHED;
    case ERR_UP_BAD:
    case ERR_UP_INCOMPLETE:
        return RETRY_KIND_BROKEN;
    case ERR_UP_AUTH:
        return RETRY_KIND_KEY;
    case ERR_CONTEXT_LENGTH:
        return RETRY_KIND_CONTEXT;
    case ERR_OVERLOADED:
    case ERR_MODEL_DOWN:
        return RETRY_KIND_FULL;
    case ERR_BAD_REQUEST:
    case ERR_BAD_JSON:
    case ERR_BAD_PARAM:
    case ERR_MODEL_NOT_FOUND:
        return RETRY_KIND_CALLER;
    default:
        return RETRY_KIND_OURS;
    }
}

/* Who is left alone after <e>, and how long. Where no key of ours is in play a
 * limit is the whole target's. */
static void set_rest(const struct retry_end *e, struct retry_verdict *v)
{
    const bool said = e->delay.from != DELAY_UNSAID;

    v->said = said;
    v->rest = e->own_key ? RETRY_REST_KEY : RETRY_REST_TARGET;
    switch (v->kind) {
    case RETRY_KIND_KEY:
        v->rest_ms = RETRY_REFUSED_REST_MS;
        break;
    case RETRY_KIND_LIMIT:
        v->rest_ms = said ? e->delay.ms : RETRY_LIMIT_REST_MS;
        break;
    case RETRY_KIND_SPENT: /* the reset of a rate limit is not about it */
        v->rest_ms = e->delay.from == DELAY_RETRY_AFTER ? e->delay.ms
                                                        : RETRY_SPENT_REST_MS;
        break;
    case RETRY_KIND_BUSY:
        v->rest_ms = e->delay.ms;
        v->rest = RETRY_REST_TARGET;
        break;
    default:
        v->after_ms = e->delay.ms;
        break;
    }
    if (v->rest_ms > 0)
        v->after_ms = v->rest_ms;
    else
        v->rest = RETRY_REST_NONE;
}

struct retry_verdict retry_judge(const struct retry_end *e)
{
    struct retry_verdict v = {.moves = 0};

    v.kind = e->err == ERR_OK ? kind_of_reply(e) : kind_of_err(e);
    v.word = kinds[v.kind].word;
    v.doubtful = kinds[v.kind].doubtful && !e->idempotent;
    v.trip = v.kind == RETRY_KIND_CERT;
    set_rest(e, &v);
    if (e->told || e->body_gone)
        return v;
    v.moves = kinds[v.kind].moves;
    if (e->hint == RETRY_NO)
        v.moves &= ~(unsigned)SAME;
    return v;
}

const char *retry_kind_name(enum retry_kind k)
{
    BUG_ON((unsigned)k >= RETRY_KIND_COUNT);
    return kinds[k].name;
}

int retry_status_of_error(struct str type, struct str code)
{
    static const struct {
        struct str word;
        int status;
    } rows[] = {
        {STR("overloaded_error"), 529},
        {STR("overloaded"), 529},
        {STR("engine_overloaded"), 529},
        {STR("service_unavailable"), 503},
        {STR("rate_limit_error"), 429},
        {STR("rate_limit_exceeded"), 429},
        {STR("insufficient_quota"), 429},
        {STR("enforced_spend_limit_reached"), 429},
        {STR("tokens"), 429},
        {STR("requests"), 429},
        {STR("billing_error"), 402},
        {STR("invalid_request_error"), 400},
        {STR("context_length_exceeded"), 400},
        {STR("content_filter"), 400},
        {STR("authentication_error"), 401},
        {STR("invalid_api_key"), 401},
        {STR("permission_error"), 403},
        {STR("not_found_error"), 404},
        {STR("request_too_large"), 413},
        {STR("timeout_error"), 504},
    };
    uint64_t number;

    if (str_to_u64(code, &number) && number >= 400 && number <= 599)
        return (int)number;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (str_ieq(code, rows[i].word) || str_ieq(type, rows[i].word))
            return rows[i].status;
    return 500;
}

/* --- what to do about it ------------------------------------------------- */

void retry_begin(struct retry *r, uint64_t deadline_ms)
{
    *r = (struct retry){.deadline_ms = deadline_ms, .attempts = 1, .here = 1};
}

uint64_t retry_pause_ms(uint64_t base_ms, uint64_t max_ms, unsigned n,
                        uint64_t after_ms, uint64_t random)
{
    uint64_t most = base_ms;

    for (unsigned i = 1; i < n && most < max_ms; i++)
        most = most > UINT64_MAX / 2 ? UINT64_MAX : most * 2;
    if (most > max_ms)
        most = max_ms;
    if (after_ms > 0)
        most = base_ms < max_ms ? base_ms : max_ms;
    /* 0 to <most>, each as likely. */
    return after_ms +
           (uint64_t)((random * ((unsigned __int128)most + 1)) >> 64);
}

/* Whether the end <v> bars any other attempt. */
static bool is_final(const struct retry *r, const struct retry_verdict *v,
                     const struct conf_retries *conf, uint64_t now_ms)
{
    if (v->moves == 0 || now_ms >= r->deadline_ms ||
        r->attempts >= RETRY_ATTEMPTS_MAX)
        return true;
    if (!v->doubtful)
        return false;
    return r->doubted ||
           (v->kind == RETRY_KIND_BROKEN && !conf->retry_ambiguous);
}

/* Whether the same target may be asked again after <wait_ms>. */
static bool same_fits(const struct retry *r, const struct retry_verdict *v,
                      const struct conf_retries *conf, uint64_t wait_ms,
                      uint64_t left_ms)
{
    const uint64_t longest = v->kind == RETRY_KIND_LIMIT
                                 ? RETRY_LIMIT_WAIT_MS
                                 : (uint64_t)conf->backoff_max_ms;

    return r->here < conf->attempts && wait_ms < left_ms &&
           v->after_ms <= longest;
}

/* The moves that can be made. */
static unsigned moves_of(const struct retry *r, const struct retry_verdict *v,
                         const struct conf_retries *conf,
                         const struct retry_room *room)
{
    unsigned moves = v->moves;

    if (!room->key || r->here >= conf->attempts)
        moves &= ~(unsigned)KEY;
    if (!room->target)
        moves &= ~(unsigned)TARGET;
    if (!room->fallback ||
        (v->kind == RETRY_KIND_CONTEXT && !room->fall_context) ||
        (v->kind == RETRY_KIND_FILTER && !room->fall_filter))
        moves &= ~(unsigned)FALLBACK;
    return moves;
}

/* A target that is only busy for now is asked again before others are, once:
 * they may be busier for it. */
static bool same_goes_first(const struct retry *r,
                            const struct retry_verdict *v)
{
    return v->kind == RETRY_KIND_BUSY && r->here < 2;
}

/* Whether an attempt elsewhere adds to the work of upstreams: the one that just
 * ended was some, too. */
static bool was_work(const struct retry_verdict *v)
{
    return v->kind == RETRY_KIND_BUSY || v->doubtful;
}

struct retry_plan retry_plan(struct retry *r, const struct retry_verdict *v,
                             const struct conf_retries *conf,
                             const struct retry_room *room, uint64_t now_ms,
                             uint64_t random)
{
    const struct retry_plan stop = {.step = RETRY_STOP};
    const unsigned moves = moves_of(r, v, conf, room);
    struct retry_plan same = {RETRY_SAME, 0, true};
    bool may_same;

    if (v->after_ms > r->latest_ms)
        r->latest_ms = v->after_ms;
    if (is_final(r, v, conf, now_ms))
        return stop;
    same.wait_ms = retry_pause_ms((uint64_t)conf->backoff_ms,
                                  (uint64_t)conf->backoff_max_ms, r->here,
                                  v->after_ms, random);
    may_same = (moves & SAME) != 0 && !room->same_shut &&
               same_fits(r, v, conf, same.wait_ms, r->deadline_ms - now_ms);
    if (may_same && same_goes_first(r, v))
        return same;
    if ((moves & KEY) != 0)
        return (struct retry_plan){RETRY_NEXT_KEY, 0, was_work(v)};
    if ((moves & TARGET) != 0)
        return (struct retry_plan){RETRY_NEXT_TARGET, 0, was_work(v)};
    /* One more attempt is all there is: whoever has not failed gets it. */
    if (may_same && !(v->doubtful && (moves & FALLBACK) != 0))
        return same;
    if ((moves & FALLBACK) != 0)
        return (struct retry_plan){RETRY_FALL_BACK, 0, was_work(v)};
    return stop;
}

void retry_made(struct retry *r, const struct retry_verdict *v,
                enum retry_step step)
{
    r->attempts++;
    r->here = step == RETRY_SAME || step == RETRY_NEXT_KEY ? r->here + 1 : 1;
    r->doubted = r->doubted || v->doubtful;
}

unsigned retry_count_of(struct str value)
{
    uint64_t n;

    return str_to_u64(str_trim(value), &n) && n <= 1000 ? (unsigned)n : 0;
}

const char *retry_step_name(enum retry_step s)
{
    static const char *const names[RETRY_STEP_COUNT] = {
        [RETRY_STOP] = "stop",          [RETRY_SAME] = "same",
        [RETRY_NEXT_KEY] = "key",       [RETRY_NEXT_TARGET] = "target",
        [RETRY_FALL_BACK] = "fallback",
    };

    BUG_ON((unsigned)s >= RETRY_STEP_COUNT);
    return names[s];
}
