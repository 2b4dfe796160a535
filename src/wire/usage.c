/* usage.c - See usage.h. Reads the counts of an object first, then sorts them
 * into classes: OpenAI counts parts within their total, Anthropic beside it. */
#include "wire/usage.h"

/* Every count a usage object may hold, of all dialects. */
enum field {
    F_INPUT = 0,     /* prompt_tokens or input_tokens */
    F_OUTPUT,        /* completion_tokens or output_tokens */
    F_TOTAL,         /* total_tokens */
    F_CACHED,        /* *_details.cached_tokens */
    F_CACHE_WRITTEN, /* *_details.cache_write_tokens */
    F_AUDIO_IN,      /* input details.audio_tokens */
    F_REASONING,     /* output details.reasoning_tokens */
    F_AUDIO_OUT,     /* output details.audio_tokens */
    F_CACHE_HIT,     /* prompt_cache_hit_tokens (DeepSeek), or
                      * cached_tokens beside the counts (Moonshot) */
    F_A_CACHE_READ,  /* cache_read_input_tokens (Anthropic) */
    F_A_CACHE_WRITE, /* cache_creation_input_tokens (Anthropic) */
    F_A_WRITE_5M,    /* cache_creation.ephemeral_5m_input_tokens */
    F_A_WRITE_1H,    /* cache_creation.ephemeral_1h_input_tokens */
    F_COUNT
};

/* Which object of the usage object a name stands in. */
enum place { IN_TOP = 0, IN_INPUT, IN_OUTPUT, IN_CREATION };

struct name_row {
    enum place place;
    struct str name;
    enum field field;
};

static const struct name_row names[] = {
    {IN_TOP, {"prompt_tokens", 13}, F_INPUT},
    {IN_TOP, {"input_tokens", 12}, F_INPUT},
    {IN_TOP, {"completion_tokens", 17}, F_OUTPUT},
    {IN_TOP, {"output_tokens", 13}, F_OUTPUT},
    {IN_TOP, {"total_tokens", 12}, F_TOTAL},
    {IN_TOP, {"prompt_cache_hit_tokens", 23}, F_CACHE_HIT},
    {IN_TOP, {"cached_tokens", 13}, F_CACHE_HIT},
    {IN_TOP, {"cache_read_input_tokens", 23}, F_A_CACHE_READ},
    {IN_TOP, {"cache_creation_input_tokens", 27}, F_A_CACHE_WRITE},
    {IN_INPUT, {"cached_tokens", 13}, F_CACHED},
    {IN_INPUT, {"cache_write_tokens", 18}, F_CACHE_WRITTEN},
    {IN_INPUT, {"audio_tokens", 12}, F_AUDIO_IN},
    {IN_OUTPUT, {"reasoning_tokens", 16}, F_REASONING},
    {IN_OUTPUT, {"audio_tokens", 12}, F_AUDIO_OUT},
    {IN_CREATION, {"ephemeral_5m_input_tokens", 25}, F_A_WRITE_5M},
    {IN_CREATION, {"ephemeral_1h_input_tokens", 25}, F_A_WRITE_1H},
};

/* Objects within a usage object, and which place they are. */
static const struct {
    struct str name;
    enum place place;
} places[] = {
    {{"prompt_tokens_details", 21}, IN_INPUT},
    {{"input_tokens_details", 20}, IN_INPUT},
    {{"input_token_details", 19}, IN_INPUT},
    {{"completion_tokens_details", 25}, IN_OUTPUT},
    {{"output_tokens_details", 21}, IN_OUTPUT},
    {{"output_token_details", 20}, IN_OUTPUT},
    {{"cache_creation", 14}, IN_CREATION},
};

/* What one usage object says. */
struct counts {
    int64_t n[F_COUNT];
    bool has[F_COUNT];
    bool odd;
    bool seconds_said;
    int64_t duration_ms;
};

/* Read the count <v>, clamped; false when it is none. */
static bool read_count(const struct jmember *v, int64_t *n_out, bool *odd)
{
    int64_t n = 0;

    if (v->type == JT_NULL)
        return false;
    switch (jval_uint(v, &n)) {
    case ERR_OK:
        break;
    case ERR_RANGE:
        *odd = true;
        if (v->value.p[0] == '-')
            return false;
        n = USAGE_MAX;
        break;
    default:
        *odd = true;
        return false;
    }
    if (n > USAGE_MAX) {
        *odd = true;
        n = USAGE_MAX;
    }
    *n_out = n;
    return true;
}

/* Read a decimal number of seconds as milliseconds, rounded up. */
static bool read_seconds(const struct jmember *v, int64_t *ms_out, bool *odd)
{
    enum { SECONDS_MAX = 1 << 30 };
    int64_t whole = 0, ms = 0, scale = 100;
    bool more = false;
    size_t i = 0;

    if (v->type != JT_NUMBER)
        return false;
    for (; i < v->value.len && v->value.p[i] >= '0' && v->value.p[i] <= '9';
         i++)
        if (whole < SECONDS_MAX)
            whole = whole * 10 + (v->value.p[i] - '0');
    if (i < v->value.len && v->value.p[i] == '.') {
        for (i++;
             i < v->value.len && v->value.p[i] >= '0' && v->value.p[i] <= '9';
             i++, scale /= 10) {
            ms += scale * (v->value.p[i] - '0');
            more = more || (scale == 0 && v->value.p[i] != '0');
        }
    }
    if (i < v->value.len) { /* a sign or an exponent */
        *odd = true;
        return false;
    }
    if (whole > SECONDS_MAX) {
        *odd = true;
        whole = SECONDS_MAX;
    }
    *ms_out = whole * 1000 + ms + (more ? 1 : 0);
    return true;
}

/* Take the count named <m->key> of <place>; others are passed over. */
static void take_count(struct counts *c, enum place place,
                       const struct jmember *m)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct name_row *r = &names[i];
        if (r->place != place || !jval_is(m->key, r->name))
            continue;
        if (read_count(m, &c->n[r->field], &c->odd))
            c->has[r->field] = true;
        return;
    }
}

static void take_details(struct counts *c, const struct jmember *m)
{
    struct jmember inner;
    struct jiter it;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (!jval_is(m->key, places[i].name))
            continue;
        jiter_init(&it, m->value);
        while (jiter_next(&it, &inner))
            take_count(c, places[i].place, &inner);
        return;
    }
}

static struct counts read_counts(struct str object)
{
    struct counts c = {0};
    struct jmember m;
    struct jiter it;

    jiter_init(&it, object);
    while (jiter_next(&it, &m)) {
        if (m.type == JT_OBJECT)
            take_details(&c, &m);
        else if (jval_is(m.key, STR("seconds")))
            c.seconds_said |= read_seconds(&m, &c.duration_ms, &c.odd);
        else
            take_count(&c, IN_TOP, &m);
    }
    return c;
}

/* Take at most what is left of a total: a part is never more than it. */
static int64_t part_of(int64_t part, int64_t *left, bool *odd)
{
    if (part > *left) {
        *odd = true;
        part = *left;
    }
    *left -= part;
    return part;
}

static unsigned said_if(bool has, unsigned bit)
{
    return has ? bit : 0;
}

/* Put the parts that some dialects name otherwise where they belong. */
static void settle_names(struct counts *c)
{
    if (!c->has[F_INPUT] && c->has[F_TOTAL]) {
        int64_t rest = c->n[F_TOTAL] - c->n[F_OUTPUT];
        c->n[F_INPUT] = rest > 0 ? rest : 0;
        c->has[F_INPUT] = true;
    }
    if (!c->has[F_CACHED]) {
        enum field f = c->has[F_CACHE_HIT] ? F_CACHE_HIT : F_A_CACHE_READ;
        c->n[F_CACHED] = c->n[f];
        c->has[F_CACHED] = c->has[f];
    }
    if (!c->has[F_CACHE_WRITTEN] && c->has[F_A_CACHE_WRITE]) {
        c->n[F_CACHE_WRITTEN] = c->n[F_A_CACHE_WRITE];
        c->has[F_CACHE_WRITTEN] = true;
    }
}

/* Some providers leave reasoning out of completion_tokens, and only the total
 * tells: it is then what the total has beyond the two. */
static void find_hidden_reasoning(struct counts *c)
{
    int64_t extra = c->n[F_TOTAL] - c->n[F_INPUT] - c->n[F_OUTPUT];

    if (!c->has[F_TOTAL] || !c->has[F_INPUT] || !c->has[F_OUTPUT] || extra <= 0)
        return;
    if (c->n[F_REASONING] > 0 ? c->n[F_REASONING] == extra
                              : c->n[F_CACHED] != extra) {
        c->n[F_REASONING] = extra;
        c->n[F_OUTPUT] += extra;
        c->has[F_REASONING] = true;
    }
}

/* Counts where parts lie within their totals. Replaces what <u> had. */
static void set_nested(struct usage *u, struct counts *c)
{
    int64_t input, output, written;

    settle_names(c);
    find_hidden_reasoning(c);
    input = c->n[F_INPUT];
    output = c->n[F_OUTPUT];
    u->cache_read = part_of(c->n[F_CACHED], &input, &c->odd);
    written = part_of(c->n[F_CACHE_WRITTEN], &input, &c->odd);
    u->cache_write_1h =
        c->n[F_A_WRITE_1H] < written ? c->n[F_A_WRITE_1H] : written;
    u->cache_write_5m = written - u->cache_write_1h;
    /* cached audio is counted in both parts: no fault, and cached wins */
    u->audio_in = c->n[F_AUDIO_IN] < input ? c->n[F_AUDIO_IN] : input;
    u->input = input - u->audio_in;
    u->reasoning = part_of(c->n[F_REASONING], &output, &c->odd);
    u->audio_out = part_of(c->n[F_AUDIO_OUT], &output, &c->odd);
    u->output = output;
    u->said = said_if(c->has[F_CACHE_WRITTEN], USAGE_CACHE_WRITE);
}

/* Counts where the cache stands beside the input. Merged: they only grow. */
static void merge_beside(struct usage *u, struct counts *c)
{
    int64_t w5 = c->n[F_A_WRITE_5M], w1 = c->n[F_A_WRITE_1H];
    int64_t written = c->n[F_A_CACHE_WRITE];

    /* a write that no class is given for is a short-lived one; those known
     * from an earlier event stay when this one only repeats their sum */
    if (w5 + w1 == 0 && written == u->cache_write_5m + u->cache_write_1h) {
        w5 = u->cache_write_5m;
        w1 = u->cache_write_1h;
    } else if (written > w5 + w1) {
        w5 = written - w1;
    }
    int64_t output = c->n[F_OUTPUT];
    int64_t reasoning = part_of(c->n[F_REASONING], &output, &c->odd);

    if (c->n[F_INPUT] > u->input)
        u->input = c->n[F_INPUT];
    if (c->n[F_A_CACHE_READ] > u->cache_read)
        u->cache_read = c->n[F_A_CACHE_READ];
    if (w5 + w1 > u->cache_write_5m + u->cache_write_1h) {
        u->cache_write_5m = w5;
        u->cache_write_1h = w1;
    }
    if (output + reasoning > u->output + u->reasoning) {
        u->output = output;
        u->reasoning = reasoning;
    }
    u->said |= said_if(c->has[F_A_CACHE_WRITE] || c->has[F_A_WRITE_5M] ||
                           c->has[F_A_WRITE_1H],
                       USAGE_CACHE_WRITE);
}

/* Merge the usage object <object>; true when it had a usable number. */
static bool merge_object(struct usage *u, struct str object, bool beside)
{
    struct counts c = read_counts(object);
    bool any = c.seconds_said;

    for (int i = 0; i < F_COUNT; i++)
        any = any || c.has[i];
    u->odd = u->odd || c.odd;
    if (!any)
        return false;
    /* Anthropic's parts that do not fit in the input stand beside it */
    if (beside || (!c.has[F_CACHED] &&
                   c.n[F_A_CACHE_READ] + c.n[F_A_CACHE_WRITE] > c.n[F_INPUT]))
        merge_beside(u, &c);
    else
        set_nested(u, &c);
    u->said |=
        said_if(c.has[F_INPUT], USAGE_INPUT) |
        said_if(c.has[F_OUTPUT], USAGE_OUTPUT) |
        said_if(c.has[F_CACHED] || c.has[F_A_CACHE_READ], USAGE_CACHE_READ) |
        said_if(c.has[F_REASONING], USAGE_REASONING) |
        said_if(c.has[F_AUDIO_IN], USAGE_AUDIO_IN) |
        said_if(c.has[F_AUDIO_OUT], USAGE_AUDIO_OUT) |
        said_if(c.seconds_said, USAGE_SECONDS);
    if (c.seconds_said)
        u->duration_ms = c.duration_ms;
    u->odd = u->odd || c.odd;
    /* a total alone, beside a cache: none of the counts we know */
    u->present = u->said != 0;
    return u->present;
}

/* Whether the usage object counts the cache beside the input: Anthropic's
 * names, and none of the others' that would say it is within. */
static bool counts_beside(const struct jscan *reply, struct str object)
{
    static const struct {
        struct str name;
        bool beside;
    } marks[] = {
        {{"cache_read_input_tokens", 23}, true},
        {{"cache_creation_input_tokens", 27}, true},
        {{"cache_creation", 14}, true},
        {{"prompt_tokens", 13}, false},
        {{"input_tokens_details", 20}, false},
        {{"prompt_tokens_details", 21}, false},
        {{"total_tokens", 12}, false},
    };
    const struct jmember *type = &reply->m[JREP_TYPE];
    struct jmember m;
    struct jiter it;
    bool beside = false;

    if (type->type == JT_STRING &&
        (jval_is(type->value, STR("message")) ||
         jval_is(type->value, STR("message_start")) ||
         jval_is(type->value, STR("message_delta"))))
        return true;
    jiter_init(&it, object);
    while (jiter_next(&it, &m)) {
        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
            if (!jval_is(m.key, marks[i].name))
                continue;
            if (!marks[i].beside)
                return false;
            beside = true;
        }
    }
    return beside;
}

void usage_finish_copy(char finish[32], const struct jmember *v)
{
    size_t len = 0;

    if (v->type == JT_STRING && v->value.len >= 2) {
        for (size_t i = 1; i + 1 < v->value.len && len < 31; i++) {
            char c = v->value.p[i];
            finish[len++] = c >= 0x20 && c < 0x7F ? c : '?';
        }
    }
    finish[len] = '\0';
}

/* The status of a response, where it is a final one. */
static struct jmember final_status(const struct jmember *status)
{
    static const struct str finals[] = {
        {"completed", 9}, {"incomplete", 10}, {"failed", 6}, {"cancelled", 9}};

    for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++)
        if (status->type == JT_STRING && jval_is(status->value, finals[i]))
            return *status;
    return (struct jmember){0};
}

/* The finish reason of a reply or event, wherever its dialect has it. */
static struct jmember find_finish(const struct jscan *s)
{
    static const enum jrep in_order[] = {JREP_DELTA_STOP_REASON,
                                         JREP_STOP_REASON, JREP_RESPONSE_REASON,
                                         JREP_REASON};
    struct jmember choice, m;
    struct jiter it;

    if (s->m[JREP_CHOICES].type == JT_ARRAY) {
        jiter_init(&it, s->m[JREP_CHOICES].value);
        while (jiter_next(&it, &choice)) {
            m = jval_member(&choice, STR("finish_reason"));
            if (m.type == JT_STRING)
                return m;
        }
    }
    for (size_t i = 0; i < sizeof(in_order) / sizeof(in_order[0]); i++)
        if (s->m[in_order[i]].type == JT_STRING)
            return s->m[in_order[i]];
    if (s->m[JREP_OBJECT].type == JT_STRING &&
        jval_is(s->m[JREP_OBJECT].value, STR("response")))
        return final_status(&s->m[JREP_STATUS]);
    return final_status(&s->m[JREP_RESPONSE_STATUS]);
}

/* `meta` of rerank replies: {"billed_units":{},"tokens":{"input_tokens"}} */
static bool merge_meta(struct usage *u, const struct jscan *reply)
{
    struct jmember m = jscan_find(reply->m[JREP_META].value, "tokens");

    if (m.type != JT_OBJECT)
        m = jscan_find(reply->m[JREP_META].value, "billed_units");
    return m.type == JT_OBJECT && merge_object(u, m.value, false);
}

bool usage_from_scan(struct usage *u, const struct jscan *reply)
{
    static const enum jrep in_order[] = {JREP_USAGE, JREP_RESPONSE_USAGE,
                                         JREP_MESSAGE_USAGE};
    struct jmember finish = find_finish(reply);
    bool any = false;

    if (finish.type == JT_STRING)
        usage_finish_copy(u->finish, &finish);
    for (size_t i = 0; i < sizeof(in_order) / sizeof(in_order[0]); i++) {
        const struct jmember *m = &reply->m[in_order[i]];
        if (m->type == JT_OBJECT &&
            merge_object(u, m->value, counts_beside(reply, m->value)))
            any = true;
    }
    if (!any && reply->m[JREP_META].type == JT_OBJECT)
        any = merge_meta(u, reply);
    if (!any && reply->m[JREP_INPUT_TOKENS].type == JT_NUMBER)
        any = merge_object(u, reply->root.value, false);
    return any;
}

void usage_from_body(struct usage *u, struct str body)
{
    *u = (struct usage){0};
    usage_from_event(u, body);
}

bool usage_from_event(struct usage *u, struct str data)
{
    struct jscan s;

    if (jscan_run(&s, data, &jscan_reply, NULL) != ERR_OK)
        return false;
    return usage_from_scan(u, &s);
}

int64_t usage_input_total(const struct usage *u)
{
    return u->input + u->cache_read + u->cache_write_5m + u->cache_write_1h +
           u->audio_in;
}

int64_t usage_output_total(const struct usage *u)
{
    return u->output + u->reasoning + u->audio_out;
}
