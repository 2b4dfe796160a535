/* unfold_messages.c - A message (Anthropic's) in events. */
#include "wire/jsplice.h"
#include "wire/unfold_priv.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Members of a message that are told in its last event but one. */
static bool is_late(struct str key)
{
    return jval_is(key, STR("stop_reason")) ||
           jval_is(key, STR("stop_sequence")) ||
           jval_is(key, STR("stop_details"));
}

/* Counts that are only known at the end. */
static bool is_late_count(struct str key)
{
    return jval_is(key, STR("output_tokens")) ||
           jval_is(key, STR("output_tokens_details")) ||
           jval_is(key, STR("server_tool_use"));
}

/* Append `"key":value` with a comma before it, but for the <first>. */
static void put_pair(struct unfold *u, const struct jmember *m, struct str raw,
                     bool *first)
{
    if (!*first)
        unfold_text(u, STR(","));
    *first = false;
    unfold_raw(u, m->key);
    unfold_text(u, STR(":"));
    unfold_raw(u, raw);
}

/* The usage at the start: nothing was generated yet. */
static void put_first_usage(struct unfold *u, const struct jmember *usage)
{
    struct jmember m;
    struct jiter it;
    bool first = true;

    unfold_text(u, STR("{"));
    jiter_init(&it, usage->value);
    while (jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("output_tokens")))
            put_pair(u, &m, STR("0"), &first);
        else if (!is_late_count(m.key) || m.type == JT_NULL)
            put_pair(u, &m, m.value, &first);
    }
    unfold_text(u, STR("}"));
}

static void message_start(struct unfold *u, const struct jmember *root)
{
    struct jmember m;
    struct jiter it;
    bool first = true;

    unfold_begin(u, STR("message_start"));
    unfold_text(u, STR(",\"message\":{"));
    jiter_init(&it, root->value);
    while (jiter_next(&it, &m)) {
        if (jval_is(m.key, STR("content")))
            put_pair(u, &m, STR("[]"), &first);
        else if (is_late(m.key) || jval_is(m.key, STR("container")))
            put_pair(u, &m, STR("null"), &first);
        else if (jval_is(m.key, STR("usage")) && m.type == JT_OBJECT) {
            put_pair(u, &m, STR(""), &first);
            put_first_usage(u, &m);
        } else if (!jval_is(m.key, STR("context_management")))
            put_pair(u, &m, m.value, &first);
    }
    unfold_text(u, STR("}}\n\n"));
}

/* Begin an event about the block <n>. */
static void block_begin(struct unfold *u, struct str type, int64_t n)
{
    unfold_begin(u, type);
    unfold_member(u, STR("index"), STR(""));
    unfold_number(u, n);
}

/* Pieces of <text> as deltas of the <type> in the member <name>. */
static void put_deltas(struct unfold *u, int64_t n, struct str type,
                       struct str name, struct str text)
{
    struct str piece;

    while (unfold_piece(&text, &piece)) {
        block_begin(u, STR("content_block_delta"), n);
        unfold_member(u, STR("delta"), STR("{\"type\":\""));
        unfold_text(u, type);
        unfold_text(u, STR("\",\""));
        unfold_text(u, name);
        unfold_text(u, STR("\":\""));
        unfold_text(u, piece);
        unfold_text(u, STR("\"}}\n\n"));
    }
}

/* The block <b> as it begins: members named in <grows> are empty. */
static void block_start(struct unfold *u, int64_t n, const struct jmember *b,
                        const struct str *grows, size_t count)
{
    bool first = true;
    struct jmember m;
    struct jiter it;

    block_begin(u, STR("content_block_start"), n);
    unfold_text(u, STR(",\"content_block\":{"));
    jiter_init(&it, b->value);
    while (jiter_next(&it, &m)) {
        static const struct str none[] = {[JT_STRING] = {"\"\"", 2},
                                          [JT_ARRAY] = {"[]", 2},
                                          [JT_OBJECT] = {"{}", 2}};
        size_t i = 0;

        while (i < count && !jval_is(m.key, grows[i]))
            i++;
        put_pair(u, &m,
                 i < count && m.type >= JT_STRING ? none[m.type] : m.value,
                 &first);
    }
    unfold_text(u, STR("}}\n\n"));
}

static void put_citations(struct unfold *u, int64_t n, const struct jmember *b)
{
    struct jmember list = jval_member(b, STR("citations")), m;
    struct jiter it;

    jiter_init(&it, list.value);
    while (jiter_next(&it, &m)) {
        block_begin(u, STR("content_block_delta"), n);
        unfold_text(u, STR(",\"delta\":{\"type\":\"citations_delta\","
                           "\"citation\":"));
        unfold_raw(u, m.value);
        unfold_text(u, STR("}}\n\n"));
    }
}

static void put_text_block(struct unfold *u, int64_t n, const struct jmember *b)
{
    static const struct str grows[] = {{"text", 4}, {"citations", 9}};
    struct jmember text = jval_member(b, STR("text"));

    block_start(u, n, b, grows, COUNT(grows));
    put_deltas(u, n, STR("text_delta"), STR("text"), unfold_inside(&text));
    put_citations(u, n, b);
}

static void put_thinking_block(struct unfold *u, int64_t n,
                               const struct jmember *b)
{
    static const struct str grows[] = {{"thinking", 8}, {"signature", 9}};
    struct jmember text = jval_member(b, STR("thinking"));
    struct jmember signature = jval_member(b, STR("signature"));

    block_start(u, n, b, grows, COUNT(grows));
    put_deltas(u, n, STR("thinking_delta"), STR("thinking"),
               unfold_inside(&text));
    if (signature.type != JT_STRING || signature.value.len == 2)
        return;
    block_begin(u, STR("content_block_delta"), n);
    unfold_text(u, STR(",\"delta\":{\"type\":\"signature_delta\","
                       "\"signature\":"));
    unfold_raw(u, signature.value);
    unfold_text(u, STR("}}\n\n"));
}

/* The input of a tool comes as the text of its JSON, in pieces. */
static void put_tool_block(struct unfold *u, int64_t n, const struct jmember *b)
{
    static const struct str grows[] = {{"input", 5}};
    struct jmember input = jval_member(b, STR("input")), any;
    struct jiter it;
    struct buf text;

    block_start(u, n, b, grows, COUNT(grows));
    block_begin(u, STR("content_block_delta"), n);
    unfold_text(u, STR(",\"delta\":{\"type\":\"input_json_delta\","
                       "\"partial_json\":\"\"}}\n\n"));
    jiter_init(&it, input.value);
    if (input.type != JT_OBJECT || !jiter_next(&it, &any))
        return;
    buf_init(&text, 6 * input.value.len);
    if (json_put_text(&text, input.value) != ERR_OK)
        unfold_fail(u, ERR_NOMEM);
    put_deltas(u, n, STR("input_json_delta"), STR("partial_json"),
               buf_str(&text));
    buf_fini(&text);
}

static void put_block(struct unfold *u, int64_t n, const struct jmember *b)
{
    struct jmember type = jval_member(b, STR("type"));

    if (b->type != JT_OBJECT || type.type != JT_STRING) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    if (jval_is(type.value, STR("text")))
        put_text_block(u, n, b);
    else if (jval_is(type.value, STR("thinking")))
        put_thinking_block(u, n, b);
    else if (jval_is(type.value, STR("tool_use")) ||
             jval_is(type.value, STR("server_tool_use")) ||
             jval_is(type.value, STR("mcp_tool_use")))
        put_tool_block(u, n, b);
    else
        block_start(u, n, b, NULL, 0);
    block_begin(u, STR("content_block_stop"), n);
    unfold_text(u, STR("}\n\n"));
}

static void message_delta(struct unfold *u, const struct jmember *root)
{
    struct jmember usage = jval_member(root, STR("usage")), m;
    struct jmember context = jval_member(root, STR("context_management"));
    struct jiter it;
    bool first = true;

    unfold_begin(u, STR("message_delta"));
    unfold_text(u, STR(",\"delta\":{"));
    jiter_init(&it, root->value);
    while (jiter_next(&it, &m))
        if (is_late(m.key) || jval_is(m.key, STR("container")))
            put_pair(u, &m, m.value, &first);
    unfold_text(u, STR("},\"usage\":{"));
    first = true;
    jiter_init(&it, usage.value);
    while (jiter_next(&it, &m))
        if (is_late_count(m.key) && m.type != JT_NULL)
            put_pair(u, &m, m.value, &first);
    unfold_text(u, STR("}"));
    if (context.type != JT_NONE)
        unfold_member(u, STR("context_management"), context.value);
    unfold_text(u, STR("}\n\n"));
}

void unfold_message(struct unfold *u, const struct jmember *root)
{
    struct jmember type = jval_member(root, STR("type"));
    struct jmember content = jval_member(root, STR("content")), block;
    struct jiter it;
    int64_t n = 0;

    if (!jval_is(type.value, STR("message")) || content.type != JT_ARRAY) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    message_start(u, root);
    jiter_init(&it, content.value);
    while (u->err == ERR_OK && jiter_next(&it, &block))
        put_block(u, n++, &block);
    message_delta(u, root);
    unfold_begin(u, STR("message_stop"));
    unfold_text(u, STR("}\n\n"));
}
