/* sse_judge.c - The judge of sse.h. Most events of a stream say nothing that
 * matters here, and are told by a search for a few words; an event with one of
 * them is scanned, and only what the scan finds counts. */
#include "wire/sse.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Types of events that matter, and how. */
enum meaning {
    MEANS_NOTHING = 0,
    MEANS_END,
    MEANS_FAILURE, /* the end too */
    MEANS_USAGE,   /* may carry usage or a finish reason */
    MEANS_CONTENT,
};

struct type_row {
    struct str type;
    enum meaning meaning;
};

#define ROW(t, m)                                                              \
    {                                                                          \
        {t, sizeof(t) - 1}, m                                                  \
    }

/* Ordered by kind; an unnamed type ends each list. */
static const struct type_row responses_types[] = {
    ROW("response.completed", MEANS_END),
    ROW("response.incomplete", MEANS_END),
    ROW("response.cancelled", MEANS_END),
    ROW("response.failed", MEANS_FAILURE),
    ROW("error", MEANS_FAILURE),
    ROW("response.output_text.delta", MEANS_CONTENT),
    ROW("response.refusal.delta", MEANS_CONTENT),
    ROW("response.function_call_arguments.delta", MEANS_CONTENT),
    ROW("response.custom_tool_call_input.delta", MEANS_CONTENT),
    ROW("response.reasoning_text.delta", MEANS_CONTENT),
    ROW("response.reasoning_summary_text.delta", MEANS_CONTENT),
    ROW("response.output_audio.delta", MEANS_CONTENT),
    ROW("response.audio.delta", MEANS_CONTENT),
    ROW("response.image_generation_call.partial_image", MEANS_CONTENT),
    {{0}, MEANS_NOTHING},
};

static const struct type_row messages_types[] = {
    ROW("message_stop", MEANS_END),
    ROW("error", MEANS_FAILURE),
    ROW("message_start", MEANS_USAGE),
    ROW("message_delta", MEANS_USAGE),
    ROW("content_block_delta", MEANS_CONTENT),
    {{0}, MEANS_NOTHING},
};

static const struct type_row image_types[] = {
    ROW("image_generation.completed", MEANS_END),
    ROW("image_edit.completed", MEANS_END),
    ROW("error", MEANS_FAILURE),
    ROW("image_generation.partial_image", MEANS_CONTENT),
    ROW("image_edit.partial_image", MEANS_CONTENT),
    {{0}, MEANS_NOTHING},
};

static const struct type_row speech_types[] = {
    ROW("speech.audio.done", MEANS_END),
    ROW("error", MEANS_FAILURE),
    ROW("speech.audio.delta", MEANS_CONTENT),
    {{0}, MEANS_NOTHING},
};

static const struct type_row transcript_types[] = {
    ROW("transcript.text.done", MEANS_END),
    ROW("error", MEANS_FAILURE),
    ROW("transcript.text.delta", MEANS_CONTENT),
    {{0}, MEANS_NOTHING},
};

/* Chunks of chat have no types. */
static const struct type_row no_types[] = {{{0}, MEANS_NOTHING}};

static const struct type_row *types_of(enum endpoint_end kind)
{
    switch (kind) {
    case ENDPOINT_END_RESPONSES:
        return responses_types;
    case ENDPOINT_END_MESSAGES:
        return messages_types;
    case ENDPOINT_END_IMAGE:
        return image_types;
    case ENDPOINT_END_SPEECH:
        return speech_types;
    case ENDPOINT_END_TRANSCRIPT:
        return transcript_types;
    case ENDPOINT_END_NONE:
    case ENDPOINT_END_CHAT:
        break;
    }
    return no_types;
}

void sse_judge_init(struct sse_judge *j, enum endpoint_end kind,
                    unsigned choices)
{
    *j = (struct sse_judge){.kind = kind};
    j->choices = kind == ENDPOINT_END_CHAT && choices > 1 ? choices : 1;
}

/* Names of members that may matter. */
enum news {
    NEWS_FINISH = 1,
    NEWS_USAGE = 2,
    NEWS_ERROR = 4,
    NEWS_NULL_USAGE = 8, /* usage, but null */
};

static const struct {
    struct str word; /* without its first quote */
    enum news news;
} news_words[] = {
    {{"finish_reason\"", 14}, NEWS_FINISH},
    {{"usage\"", 6}, NEWS_USAGE},
    {{"error\"", 6}, NEWS_ERROR},
};

/* Whether one of the words begins so: most names do not. */
static inline bool starts_word(char c)
{
    return c == 'f' || c == 'u' || c == 'e';
}

/* What the name after a quote tells, where it is that of a member. Within
 * JSON a quote without a backslash before it is a string's end or begin, so a
 * name in quotes before a colon is a key, at some depth. */
static unsigned news_of(struct str rest)
{
    for (size_t i = 0; i < sizeof(news_words) / sizeof(news_words[0]); i++) {
        if (!str_starts(rest, news_words[i].word))
            continue;
        rest = json_skip_space(str_skip(rest, news_words[i].word.len));
        if (rest.len == 0 || rest.p[0] != ':')
            return 0;
        if (!str_starts(json_skip_space(str_skip(rest, 1)), STR("null")))
            return news_words[i].news;
        return news_words[i].news == NEWS_USAGE ? NEWS_NULL_USAGE : 0;
    }
    return 0;
}

/* Whether a name might be written with escapes: letters are \u004x to
 * \u007x. Escaped punctuation is common, escaped letters are not. */
static bool may_hide_names(struct str data)
{
    while (data.len > 5) {
        const char *hit = memchr(data.p, '\\', data.len - 5);
        if (!hit)
            return false;
        if (memcmp(hit, "\\u00", 4) == 0 && hit[4] >= '4' && hit[4] <= '7')
            return true;
        data = str_skip(data, (size_t)(hit - data.p) + 1);
    }
    return false;
}

/* The first quote from <p> before the first letter of one of the words, or
 * <end>. */
static const char *find_word(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), f = _mm_set1_epi8('f');
    const __m128i u = _mm_set1_epi8('u'), e = _mm_set1_epi8('e');

    for (; end - p >= 17; p += 16) {
        const void *here = p, *next = p + 1;
        __m128i v = _mm_loadu_si128((const __m128i *)here);
        __m128i w = _mm_loadu_si128((const __m128i *)next);
        __m128i letter = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(w, f), _mm_cmpeq_epi8(w, u)),
            _mm_cmpeq_epi8(w, e));
        unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_and_si128(_mm_cmpeq_epi8(v, quote), letter));
        if (mask != 0)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && (*p != '"' || p + 1 == end || !starts_word(p[1])))
        p++;
    return p;
}

/* Which members with a value that is not null <data> may have, at any depth,
 * as enum news bits: one walk over its quotes. */
static unsigned find_news(struct str data)
{
    const char *end = data.p + data.len;
    unsigned news = 0;

    if (may_hide_names(data))
        return NEWS_FINISH | NEWS_USAGE | NEWS_ERROR;
    for (const char *p = find_word(data.p, end); p < end;
         p = find_word(p + 1, end))
        if (p == data.p || p[-1] != '\\')
            news |= news_of(str_of(p + 1, (size_t)(end - p - 1)));
    return news;
}

/* Scan the data of the event into j->scan. */
static bool scan_event(struct sse_judge *j, struct str data,
                       struct sse_verdict *v)
{
    if (v->scanned || v->bad_json)
        return v->scanned;
    v->scanned = jscan_run(&j->scan, data, &jscan_reply, NULL) == ERR_OK;
    v->bad_json = !v->scanned;
    return v->scanned;
}

/* Whether a value is something a reader would see. */
static bool is_content(const struct jmember *m)
{
    switch (m->type) {
    case JT_STRING:
    case JT_ARRAY:
    case JT_OBJECT:
        return m->value.len > 2;
    default:
        return false;
    }
}

/* Whether the choice of a chunk has content. */
static bool choice_has_content(struct str choice)
{
    static const struct str members[] = {
        {"content", 7},       {"tool_calls", 10}, {"reasoning_content", 17},
        {"reasoning", 9},     {"refusal", 7},     {"audio", 5},
        {"function_call", 13}};
    struct jmember delta = jscan_find(choice, "delta"), m;
    struct jmember text = jscan_find(choice, "text");
    struct jiter it;

    if (is_content(&text))
        return true;
    jiter_init(&it, delta.value);
    while (jiter_next(&it, &m))
        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
            if (jval_is(m.key, members[i]) && is_content(&m))
                return true;
    return false;
}

/* Note that the choice <nth> of its chunk finished. */
static void finish_choice(struct sse_judge *j, const struct jmember *choice,
                          const struct jmember *reason, struct sse_verdict *v)
{
    struct jmember index = jscan_find(choice->value, "index");
    int64_t i = 0;

    v->finish = reason->value;
    if (jval_uint(&index, &i) != ERR_OK)
        i = 0;
    if (i < 128) {
        uint64_t bit = UINT64_C(1) << (i % 64);
        if ((j->finished_at[i / 64] & bit) != 0)
            return;
        j->finished_at[i / 64] |= bit;
    }
    j->finished++;
    if (j->finished >= j->choices)
        v->ends = true;
}

static void judge_choices(struct sse_judge *j, struct sse_verdict *v)
{
    const struct jmember *choices = &j->scan.m[JREP_CHOICES];
    struct jmember choice, reason;
    struct jiter it;
    bool any = false;

    if (choices->type != JT_ARRAY) {
        /* Some providers write null, or nothing, for an empty list. */
        v->usage_only =
            jval_is_unset(choices) && j->scan.m[JREP_USAGE].type == JT_OBJECT;
        return;
    }
    jiter_init(&it, choices->value);
    while (jiter_next(&it, &choice)) {
        any = true;
        if (choice.type != JT_OBJECT)
            continue;
        if (!j->content && choice_has_content(choice.value))
            v->first = j->content = true;
        reason = jscan_find(choice.value, "finish_reason");
        if (reason.type == JT_STRING)
            finish_choice(j, &choice, &reason, v);
    }
    v->usage_only = !any && j->scan.m[JREP_USAGE].type == JT_OBJECT;
}

/* An `error` member that says something. */
static bool has_error(const struct jscan *s)
{
    enum jtype t = s->m[JREP_ERROR].type;

    return t == JT_OBJECT || (t == JT_STRING && s->m[JREP_ERROR].value.len > 2);
}

static bool is_done(struct str data)
{
    return str_starts(str_trim(data), STR("[DONE]")); /* as clients do */
}

static void judge_chat(struct sse_judge *j, const struct sse_event *e,
                       struct sse_verdict *v)
{
    struct str data = e->data;
    bool named_error = str_eq(e->name, STR("error"));

    if (is_done(data)) {
        v->done = v->ends = true;
        return;
    }
    if (j->content && !named_error) {
        unsigned news = find_news(data);
        v->usage_null = (news & NEWS_NULL_USAGE) != 0;
        if ((news & ~(unsigned)NEWS_NULL_USAGE) == 0)
            return;
    }
    if (scan_event(j, data, v)) {
        judge_choices(j, v);
        v->usage = j->scan.m[JREP_USAGE].type == JT_OBJECT;
        v->usage_null = j->scan.m[JREP_USAGE].type == JT_NULL;
        v->error = has_error(&j->scan);
    }
    v->error = v->error || named_error;
    v->usage_only = v->usage_only && !v->error;
}

static enum meaning meaning_of(const struct type_row *types, struct str type)
{
    for (; types->type.len > 0; types++)
        if (str_eq(types->type, type))
            return types->meaning;
    return MEANS_NOTHING;
}

/* As meaning_of() for a type that was scanned. */
static enum meaning meaning_in(const struct type_row *types,
                               const struct jmember *type)
{
    for (; types->type.len > 0; types++)
        if (jval_is(type->value, types->type))
            return types->meaning;
    return MEANS_NOTHING;
}

/* The type of an event where it is the first member of its data and plain, as
 * every provider writes it; else empty. */
static struct str plain_type(struct str data)
{
    static const struct str tokens[] = {
        {"{", 1}, {"\"type\"", 6}, {":", 1}, {"\"", 1}};
    size_t end;

    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        data = json_skip_space(data);
        if (!str_starts(data, tokens[i]))
            return STR("");
        data = str_skip(data, tokens[i].len);
    }
    end = str_find_char(data, '"');
    if (end == data.len || memchr(data.p, '\\', end))
        return STR("");
    return str_of(data.p, end);
}

/* What the event means by its type: as plain_type() has it; else as the scan
 * finds it; else by its name. */
static enum meaning read_meaning(struct sse_judge *j, const struct sse_event *e,
                                 struct sse_verdict *v)
{
    const struct type_row *types = types_of(j->kind);
    const struct jmember *m = &j->scan.m[JREP_TYPE];
    struct str type = plain_type(e->data);

    if (type.len > 0)
        return meaning_of(types, type);
    if (scan_event(j, e->data, v) && m->type == JT_STRING)
        return meaning_in(types, m);
    return meaning_of(types, e->name);
}

/* What a scanned event of a typed stream carries. */
static void read_typed(const struct jscan *s, struct sse_verdict *v)
{
    static const enum jrep finishes[] = {
        JREP_DELTA_STOP_REASON, JREP_RESPONSE_REASON, JREP_RESPONSE_STATUS};

    v->usage = s->m[JREP_USAGE].type == JT_OBJECT ||
               s->m[JREP_RESPONSE_USAGE].type == JT_OBJECT ||
               s->m[JREP_MESSAGE_USAGE].type == JT_OBJECT;
    for (size_t i = 0; i < sizeof(finishes) / sizeof(finishes[0]); i++) {
        if (s->m[finishes[i]].type == JT_STRING) {
            v->finish = s->m[finishes[i]].value;
            return;
        }
    }
}

static void judge_typed(struct sse_judge *j, const struct sse_event *e,
                        struct sse_verdict *v)
{
    enum meaning means = read_meaning(j, e, v);

    if (is_done(e->data)) {
        v->done = true;
        v->bad_json = false;
        return;
    }
    if (means == MEANS_CONTENT) {
        v->first = !j->content;
        j->content = true;
        return;
    }
    if (str_eq(e->name, STR("error")) || (find_news(e->data) & NEWS_ERROR) != 0)
        v->error = str_eq(e->name, STR("error")) ||
                   (scan_event(j, e->data, v) && has_error(&j->scan));
    if (means == MEANS_NOTHING && !v->error)
        return;
    if (!scan_event(j, e->data, v))
        return;
    if (j->scan.m[JREP_TYPE].type == JT_STRING) /* not only by its head */
        means = meaning_in(types_of(j->kind), &j->scan.m[JREP_TYPE]);
    read_typed(&j->scan, v);
    v->error = v->error || means == MEANS_FAILURE;
    v->ends = means == MEANS_END || means == MEANS_FAILURE;
}

/* A stream of unknown kind: only its errors are known. */
static void judge_other(struct sse_judge *j, const struct sse_event *e,
                        struct sse_verdict *v)
{
    v->done = is_done(e->data);
    v->first = !j->content && !v->done;
    j->content = true;
    if ((find_news(e->data) & (NEWS_ERROR | NEWS_USAGE)) == 0 ||
        !scan_event(j, e->data, v))
        return;
    v->error = has_error(&j->scan);
    v->usage = j->scan.m[JREP_USAGE].type == JT_OBJECT;
}

void sse_judge_event(struct sse_judge *j, const struct sse_event *event,
                     struct sse_verdict *verdict_out)
{
    struct sse_verdict *v = verdict_out;

    *v = (struct sse_verdict){0};
    if (!event->has_data)
        return;
    switch (j->kind) {
    case ENDPOINT_END_NONE:
        judge_other(j, event, v);
        break;
    case ENDPOINT_END_CHAT:
        judge_chat(j, event, v);
        break;
    default:
        judge_typed(j, event, v);
        break;
    }
    v->ends = v->ends || v->error;
    j->complete = j->complete || v->ends;
    j->failed = j->failed || v->error;
}
