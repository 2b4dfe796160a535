/* unfold_chat.c - A reply of chat or of completions in chunks. */
#include "wire/unfold_priv.h"

/* More than any API gives, and than clients take. */
enum { CHOICES_MAX = 128 };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- chunks ------------------------------------------------------------ */

/* A choice that is being told. */
struct choice {
    struct str index;    /* raw */
    struct str logprobs; /* raw, not yet told; empty: none are said */
    bool says_logprobs;
};

/* Begin a chunk for <c>: up to the value of its delta or text. */
static void chunk_begin(struct unfold *u, const struct choice *c)
{
    unfold_text(u, STR("data: {"));
    unfold_text(u, buf_str(&u->base));
    unfold_text(u, STR(",\"choices\":[{\"index\":"));
    unfold_raw(u, c->index);
    unfold_text(u, u->kind == ENDPOINT_CHAT ? STR(",\"delta\":")
                                            : STR(",\"text\":"));
}

/* What the chunks of a reply without usage say of it: nothing. */
static void put_no_usage(struct unfold *u)
{
    if (u->include_usage && u->usage.len > 0)
        unfold_text(u, STR(",\"usage\":null"));
}

static void chunk_end(struct unfold *u, struct choice *c)
{
    if (c->says_logprobs) {
        unfold_member(u, STR("logprobs"),
                      c->logprobs.len > 0 ? c->logprobs : STR("null"));
        c->logprobs.len = 0;
    }
    unfold_text(u, STR(",\"finish_reason\":null}]"));
    put_no_usage(u);
    unfold_text(u, STR("}\n\n"));
}

/* A chunk whose delta is <head>, <text> and <tail>, in a row. */
static void put_delta(struct unfold *u, struct choice *c, struct str head,
                      struct str text, struct str tail)
{
    chunk_begin(u, c);
    unfold_text(u, head);
    unfold_raw(u, text);
    unfold_text(u, tail);
    chunk_end(u, c);
}

/* The string <v> as deltas `{<key>:"..."}` with the raw <key>; whole where its
 * logprobs go with it. */
static void put_string(struct unfold *u, struct choice *c, struct str key,
                       const struct jmember *v, bool whole)
{
    struct str rest = unfold_inside(v), piece;

    while (unfold_piece(&rest, &piece)) {
        if (whole) {
            piece.len += rest.len;
            rest.len = 0;
        }
        chunk_begin(u, c);
        if (u->kind == ENDPOINT_CHAT) {
            unfold_text(u, STR("{"));
            unfold_raw(u, key);
            unfold_text(u, STR(":"));
        }
        unfold_text(u, STR("\""));
        unfold_text(u, piece);
        unfold_text(u, u->kind == ENDPOINT_CHAT ? STR("\"}") : STR("\""));
        chunk_end(u, c);
    }
}

/* ---- the parts of a message -------------------------------------------- */

/* The call <call> without the text of <what> ("function", "custom"), whose
 * member <text> comes in pieces. */
static void put_call(struct unfold *u, struct choice *c, int64_t n,
                     const struct jmember *call, struct str what,
                     struct str text)
{
    const struct str skip[] = {what, STR("index")};
    struct jmember body = jval_member(call, what);
    struct jmember args = jval_member(&body, text);
    struct str rest = unfold_inside(&args), piece;

    chunk_begin(u, c);
    unfold_text(u, STR("{\"tool_calls\":[{\"index\":"));
    unfold_number(u, n);
    unfold_rest(u, call->value, skip, COUNT(skip));
    unfold_member(u, what, STR("{\""));
    unfold_text(u, text);
    unfold_text(u, STR("\":\"\""));
    unfold_rest(u, body.value, &text, 1);
    unfold_text(u, STR("}}]}"));
    chunk_end(u, c);
    while (unfold_piece(&rest, &piece)) {
        chunk_begin(u, c);
        unfold_text(u, STR("{\"tool_calls\":[{\"index\":"));
        unfold_number(u, n);
        unfold_member(u, what, STR("{\""));
        unfold_text(u, text);
        unfold_text(u, STR("\":\""));
        unfold_text(u, piece);
        unfold_text(u, STR("\"}}]}"));
        chunk_end(u, c);
    }
}

static void put_calls(struct unfold *u, struct choice *c,
                      const struct jmember *calls)
{
    struct jmember call, function, custom;
    struct jiter it;
    int64_t n = 0;

    jiter_init(&it, calls->value);
    while (u->err == ERR_OK && jiter_next(&it, &call)) {
        function = jval_member(&call, STR("function"));
        custom = jval_member(&call, STR("custom"));
        if (function.type == JT_OBJECT)
            put_call(u, c, n, &call, STR("function"), STR("arguments"));
        else if (custom.type == JT_OBJECT)
            put_call(u, c, n, &call, STR("custom"), STR("input"));
        else
            unfold_fail(u, ERR_NOT_FOUND);
        n++;
    }
}

static void put_function_call(struct unfold *u, struct choice *c,
                              const struct jmember *call)
{
    struct jmember name = jval_member(call, STR("name"));
    struct jmember args = jval_member(call, STR("arguments"));
    struct str rest = unfold_inside(&args), piece;

    if (name.type != JT_STRING) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    put_delta(u, c, STR("{\"function_call\":{\"name\":"), name.value,
              STR(",\"arguments\":\"\"}}"));
    while (unfold_piece(&rest, &piece))
        put_delta(u, c, STR("{\"function_call\":{\"arguments\":\""), piece,
                  STR("\"}}"));
}

/* Audio is told a member at a time; when it expires comes last, alone, by which
 * clients know its end. */
static void put_audio(struct unfold *u, struct choice *c,
                      const struct jmember *audio)
{
    struct jmember m, last = {0};
    struct jiter it;

    jiter_init(&it, audio->value);
    while (jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("expires_at"))) {
            last = m;
            continue;
        }
        chunk_begin(u, c);
        unfold_text(u, STR("{\"audio\":{"));
        unfold_raw(u, m.key);
        unfold_text(u, STR(":"));
        unfold_raw(u, m.value);
        unfold_text(u, STR("}}"));
        chunk_end(u, c);
    }
    if (last.type != JT_NONE)
        put_delta(u, c, STR("{\"audio\":{\"expires_at\":"), last.value,
                  STR("}}"));
}

/* Whether <m> has nothing that could come later. */
static bool is_told_first(const struct jmember *m)
{
    return m->type == JT_NULL ||
           ((m->type == JT_STRING || m->type == JT_ARRAY) &&
            m->value.len == 2 && !jval_is(m->key, STR("role")));
}

/* The first chunk: whose message it is, and what of it is null. Text is begun
 * with none, as the API does it. */
static void put_first(struct unfold *u, struct choice *c,
                      const struct jmember *message)
{
    struct jmember role = jval_member(message, STR("role")), m;
    struct str logprobs = c->logprobs;
    struct jiter it;

    c->logprobs.len = 0;
    chunk_begin(u, c);
    unfold_text(u, STR("{\"role\":"));
    unfold_raw(u, role.type == JT_STRING ? role.value : STR("\"assistant\""));
    jiter_init(&it, message->value);
    while (jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("content")))
            unfold_member(u, STR("content"),
                          m.type == JT_STRING ? STR("\"\"") : STR("null"));
        else if (is_told_first(&m)) {
            unfold_text(u, STR(","));
            unfold_raw(u, m.key);
            unfold_text(u, STR(":"));
            unfold_raw(u, m.value);
        }
    }
    unfold_text(u, STR("}"));
    chunk_end(u, c);
    c->logprobs = logprobs;
}

/* The member <m> of a message, but its role, content and refusal. */
static void put_member(struct unfold *u, struct choice *c,
                       const struct jmember *m)
{
    if (is_told_first(m))
        return;
    if (jval_is(m->key, STR("tool_calls")) && m->type == JT_ARRAY)
        put_calls(u, c, m);
    else if (jval_is(m->key, STR("function_call")) && m->type == JT_OBJECT)
        put_function_call(u, c, m);
    else if (jval_is(m->key, STR("audio")) && m->type == JT_OBJECT)
        put_audio(u, c, m);
    else if (m->type == JT_STRING)
        put_string(u, c, m->key, m, false);
    else {
        chunk_begin(u, c);
        unfold_text(u, STR("{"));
        unfold_raw(u, m->key);
        unfold_text(u, STR(":"));
        unfold_raw(u, m->value);
        unfold_text(u, STR("}"));
        chunk_end(u, c);
    }
}

/* Members that are told after the text: what the model does next. */
static bool is_late(struct str key)
{
    return jval_is(key, STR("tool_calls")) ||
           jval_is(key, STR("function_call")) ||
           jval_is(key, STR("annotations")) || jval_is(key, STR("audio"));
}

static void put_members(struct unfold *u, struct choice *c,
                        const struct jmember *message, bool late)
{
    struct jmember m;
    struct jiter it;

    jiter_init(&it, message->value);
    while (u->err == ERR_OK && jiter_next(&it, &m)) {
        if (!jval_is(m.key, STR("role")) && !jval_is(m.key, STR("content")) &&
            !jval_is(m.key, STR("refusal")) && is_late(m.key) == late)
            put_member(u, c, &m);
    }
}

static void put_message(struct unfold *u, struct choice *c,
                        const struct jmember *choice)
{
    struct jmember message = jval_member(choice, STR("message"));
    struct jmember content = jval_member(&message, STR("content"));
    struct jmember refusal = jval_member(&message, STR("refusal"));
    struct str logprobs = c->logprobs;

    if (message.type != JT_OBJECT ||
        (content.type != JT_STRING && !jval_is_unset(&content))) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    put_first(u, c, &message);
    c->logprobs.len = 0;
    put_members(u, c, &message, false);
    c->logprobs = logprobs;
    put_string(u, c, STR("\"content\""), &content, c->logprobs.len > 0);
    put_string(u, c, STR("\"refusal\""), &refusal, c->logprobs.len > 0);
    put_members(u, c, &message, true);
}

/* ---- choices ----------------------------------------------------------- */

/* The last chunk of a choice: why it ended, and what else is said of it. <last>
 * of the reply too. */
static void put_finish(struct unfold *u, struct choice *c,
                       const struct jmember *choice, bool last)
{
    static const struct str skip[] = {
        {"index", 5}, {"message", 7}, {"text", 4}, {"logprobs", 8}};
    chunk_begin(u, c);
    unfold_text(u, u->kind == ENDPOINT_CHAT ? STR("{}") : STR("\"\""));
    if (c->says_logprobs)
        unfold_member(u, STR("logprobs"),
                      c->logprobs.len > 0 ? c->logprobs : STR("null"));
    unfold_rest(u, choice->value, skip, COUNT(skip));
    unfold_text(u, STR("}]"));
    if (last)
        unfold_text(u, buf_str(&u->more));
    put_no_usage(u);
    unfold_text(u, STR("}\n\n"));
}

static void put_choice(struct unfold *u, const struct jmember *choice,
                       int64_t nth, bool last)
{
    struct jmember index = jval_member(choice, STR("index"));
    struct jmember logprobs = jval_member(choice, STR("logprobs"));
    struct jmember text = jval_member(choice, STR("text"));
    char room[STR_I64_MAX];
    struct choice c = {.says_logprobs = logprobs.type != JT_NONE};

    c.index = index.type == JT_NUMBER ? index.value : str_put_i64(room, nth);
    if (!jval_is_unset(&logprobs))
        c.logprobs = logprobs.value;
    if (choice->type != JT_OBJECT ||
        (u->kind == ENDPOINT_COMPLETIONS && text.type != JT_STRING)) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    if (u->kind == ENDPOINT_CHAT)
        put_message(u, &c, choice);
    else
        put_string(u, &c, STR(""), &text, c.logprobs.len > 0);
    put_finish(u, &c, choice, last);
}

/* ---- the reply --------------------------------------------------------- */

/* Members that every chunk has. */
static bool is_base(struct str key)
{
    static const struct str names[] = {{"id", 2},
                                       {"created", 7},
                                       {"model", 5},
                                       {"service_tier", 12},
                                       {"system_fingerprint", 18},
                                       {"provider", 8}};

    for (size_t i = 0; i < COUNT(names); i++)
        if (jval_is(key, names[i]))
            return true;
    return false;
}

/* Sort the members of the reply into what every chunk has and what one has. */
static void read_members(struct unfold *u, const struct jmember *root)
{
    struct buf *sse = u->out;
    struct jmember m;
    struct jiter it;

    u->out = &u->base;
    unfold_text(u, u->kind == ENDPOINT_CHAT
                       ? STR("\"object\":\"chat.completion.chunk\"")
                       : STR("\"object\":\"text_completion\""));
    jiter_init(&it, root->value);
    while (jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("object")) || jval_is(m.key, STR("choices")))
            continue;
        if (jval_is(m.key, STR("usage"))) {
            u->usage = m.type == JT_OBJECT ? m.value : STR("");
            continue;
        }
        u->out = is_base(m.key) ? &u->base : &u->more;
        unfold_text(u, STR(","));
        unfold_raw(u, m.key);
        unfold_text(u, STR(":"));
        unfold_raw(u, m.value);
    }
    u->out = sse;
}

static void put_choices(struct unfold *u, const struct jmember *choices)
{
    struct jmember choice, next;
    struct jiter it;
    int64_t n = 0;

    jiter_init(&it, choices->value);
    if (choices->type != JT_ARRAY || !jiter_next(&it, &choice)) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    do {
        bool more = jiter_next(&it, &next);

        if (n == CHOICES_MAX)
            unfold_fail(u, ERR_NOT_FOUND);
        put_choice(u, &choice, n++, !more);
        choice = next;
    } while (u->err == ERR_OK && choice.type != JT_NONE);
}

void unfold_chat(struct unfold *u, const struct jmember *root)
{
    struct jmember choices = jval_member(root, STR("choices"));

    buf_init(&u->base, root->value.len + 64);
    buf_init(&u->more, root->value.len + 64);
    read_members(u, root);
    put_choices(u, &choices);
    if (u->include_usage && u->usage.len > 0) {
        unfold_text(u, STR("data: {"));
        unfold_text(u, buf_str(&u->base));
        unfold_member(u, STR("choices"), STR("[]"));
        unfold_member(u, STR("usage"), u->usage);
        unfold_text(u, STR("}\n\n"));
    }
    unfold_text(u, STR("data: [DONE]\n\n"));
    buf_fini(&u->base);
    buf_fini(&u->more);
}
