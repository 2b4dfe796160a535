/* unfold_responses.c - A reply of the Responses API in events. */
#include "wire/unfold_priv.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Where an event belongs. */
struct place {
    struct str item_id;   /* raw */
    int64_t item, part;   /* part: -1 where it is about the item */
    struct str part_name; /* "content_index" or "summary_index" */
};

/* Begin an event of the <type>. */
static void event_begin(struct unfold *u, struct str type)
{
    unfold_begin(u, type);
    unfold_text(u, STR(",\"sequence_number\":"));
    unfold_number(u, u->sequence++);
}

static void event_end(struct unfold *u)
{
    unfold_text(u, STR("}\n\n"));
}

/* Begin an event of the <type> about <at>. */
static void event_at(struct unfold *u, struct str type, const struct place *at)
{
    event_begin(u, type);
    unfold_member(u, STR("item_id"), at->item_id);
    unfold_text(u, STR(",\"output_index\":"));
    unfold_number(u, at->item);
    if (at->part < 0)
        return;
    unfold_member(u, at->part_name, STR(""));
    unfold_number(u, at->part);
}

/* A member that changes while a thing is made, and what it is at first. */
struct change {
    struct str name, first;
};

/* Append <object> as it was at first. */
static void put_early(struct unfold *u, const struct jmember *object,
                      const struct change *changes, size_t count)
{
    struct jmember m;
    struct jiter it;
    bool first = true;

    unfold_text(u, STR("{"));
    jiter_init(&it, object->value);
    while (jiter_next(&it, &m)) {
        size_t i = 0;

        while (i < count && !jval_is(m.key, changes[i].name))
            i++;
        if (!first)
            unfold_text(u, STR(","));
        first = false;
        unfold_raw(u, m.key);
        unfold_text(u, STR(":"));
        unfold_raw(u,
                   i < count && m.type != JT_NULL ? changes[i].first : m.value);
    }
    unfold_text(u, STR("}"));
}

/* ---- text -------------------------------------------------------------- */

/* What a text is called in its events. */
struct text_row {
    struct str type;   /* of the part or item that has it */
    struct str member; /* of that part or item */
    struct str delta, done;
};

static const struct text_row texts[] = {
    {{"output_text", 11},
     {"text", 4},
     {"response.output_text.delta", 26},
     {"response.output_text.done", 25}},
    {{"refusal", 7},
     {"refusal", 7},
     {"response.refusal.delta", 22},
     {"response.refusal.done", 21}},
    {{"reasoning_text", 14},
     {"text", 4},
     {"response.reasoning_text.delta", 29},
     {"response.reasoning_text.done", 28}},
    {{"summary_text", 12},
     {"text", 4},
     {"response.reasoning_summary_text.delta", 37},
     {"response.reasoning_summary_text.done", 36}},
    {{"function_call", 13},
     {"arguments", 9},
     {"response.function_call_arguments.delta", 38},
     {"response.function_call_arguments.done", 37}},
    {{"custom_tool_call", 16},
     {"input", 5},
     {"response.custom_tool_call_input.delta", 37},
     {"response.custom_tool_call_input.done", 36}},
    {{"mcp_call", 8},
     {"arguments", 9},
     {"response.mcp_call_arguments.delta", 33},
     {"response.mcp_call_arguments.done", 32}},
    {{"code_interpreter_call", 21},
     {"code", 4},
     {"response.code_interpreter_call_code.delta", 41},
     {"response.code_interpreter_call_code.done", 40}},
};

/* Logprobs stand in the events of this kind of text only. */
static void put_logprobs(struct unfold *u, const struct text_row *row,
                         struct str raw)
{
    if (row == &texts[0])
        unfold_member(u, STR("logprobs"), raw.len > 0 ? raw : STR("[]"));
}

/* The text of <from>, a part or an item, in pieces and then whole. */
static void put_text(struct unfold *u, const struct place *at,
                     const struct text_row *row, const struct jmember *from)
{
    struct jmember text = jval_member(from, row->member);
    struct jmember logprobs = jval_member(from, STR("logprobs"));
    struct jmember name = jval_member(from, STR("name"));
    struct str rest = unfold_inside(&text), piece, told = logprobs.value;

    if (text.type != JT_STRING)
        return;
    if (logprobs.type != JT_ARRAY || row != &texts[0])
        told.len = 0;
    while (unfold_piece(&rest, &piece)) {
        if (told.len > 2) { /* they belong to all of it */
            piece.len += rest.len;
            rest.len = 0;
        }
        event_at(u, row->delta, at);
        unfold_member(u, STR("delta"), STR("\""));
        unfold_text(u, piece);
        unfold_text(u, STR("\""));
        put_logprobs(u, row, told);
        event_end(u);
    }
    event_at(u, row->done, at);
    if (name.type == JT_STRING && str_eq(row->type, STR("function_call")))
        unfold_member(u, STR("name"), name.value);
    unfold_member(u, row->member, text.value);
    put_logprobs(u, row, told);
    event_end(u);
}

static const struct text_row *text_of(const struct jmember *thing)
{
    struct jmember type = jval_member(thing, STR("type"));

    for (size_t i = 0; i < COUNT(texts); i++)
        if (type.type == JT_STRING && jval_is(type.value, texts[i].type))
            return &texts[i];
    return NULL;
}

/* ---- parts ------------------------------------------------------------- */

static void put_annotations(struct unfold *u, const struct place *at,
                            const struct jmember *part)
{
    struct jmember list = jval_member(part, STR("annotations")), m;
    struct jiter it;
    int64_t n = 0;

    jiter_init(&it, list.value);
    while (jiter_next(&it, &m)) {
        event_at(u, STR("response.output_text.annotation.added"), at);
        unfold_text(u, STR(",\"annotation_index\":"));
        unfold_number(u, n++);
        unfold_member(u, STR("annotation"), m.value);
        event_end(u);
    }
}

static void put_part(struct unfold *u, const struct place *at,
                     const struct jmember *part, struct str added,
                     struct str done)
{
    static const struct change changes[] = {{{"text", 4}, {"\"\"", 2}},
                                            {{"refusal", 7}, {"\"\"", 2}},
                                            {{"annotations", 11}, {"[]", 2}},
                                            {{"logprobs", 8}, {"[]", 2}}};
    const struct text_row *row = text_of(part);

    if (part->type != JT_OBJECT) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    event_at(u, added, at);
    unfold_text(u, STR(",\"part\":"));
    put_early(u, part, changes, row ? COUNT(changes) : 0);
    event_end(u);
    if (row)
        put_text(u, at, row, part);
    if (row == &texts[0])
        put_annotations(u, at, part);
    event_at(u, done, at);
    unfold_member(u, STR("part"), part->value);
    event_end(u);
}

static void put_parts(struct unfold *u, struct place at,
                      const struct jmember *item, bool summary)
{
    struct jmember list =
        jval_member(item, summary ? STR("summary") : STR("content"));
    struct jmember part;
    struct jiter it;

    at.part = 0;
    at.part_name = summary ? STR("summary_index") : STR("content_index");
    if (list.type != JT_ARRAY)
        return;
    jiter_init(&it, list.value);
    for (; u->err == ERR_OK && jiter_next(&it, &part); at.part++) {
        if (summary)
            put_part(u, &at, &part,
                     STR("response.reasoning_summary_part.added"),
                     STR("response.reasoning_summary_part.done"));
        else
            put_part(u, &at, &part, STR("response.content_part.added"),
                     STR("response.content_part.done"));
    }
}

/* ---- items ------------------------------------------------------------- */

/* Events that tell how far a built-in tool is, in their order. */
struct call_row {
    struct str type;
    struct str step[3]; /* before and after the item's text, empty: none */
};

static const struct call_row calls[] = {
    {{"web_search_call", 15},
     {{"response.web_search_call.in_progress", 36},
      {"response.web_search_call.searching", 34},
      {"response.web_search_call.completed", 34}}},
    {{"file_search_call", 16},
     {{"response.file_search_call.in_progress", 37},
      {"response.file_search_call.searching", 35},
      {"response.file_search_call.completed", 35}}},
    {{"code_interpreter_call", 21},
     {{"response.code_interpreter_call.in_progress", 42},
      {"response.code_interpreter_call.interpreting", 43},
      {"response.code_interpreter_call.completed", 40}}},
    {{"image_generation_call", 21},
     {{"response.image_generation_call.in_progress", 42},
      {"response.image_generation_call.generating", 41},
      {"response.image_generation_call.completed", 40}}},
    {{"mcp_call", 8},
     {{"response.mcp_call.in_progress", 29},
      {NULL, 0},
      {"response.mcp_call.completed", 27}}},
};

static const struct call_row *call_of(const struct jmember *item)
{
    struct jmember type = jval_member(item, STR("type"));
    struct jmember status = jval_member(item, STR("status"));

    if (!jval_is_unset(&status) && !jval_is(status.value, STR("completed")))
        return NULL;
    for (size_t i = 0; i < COUNT(calls); i++)
        if (type.type == JT_STRING && jval_is(type.value, calls[i].type))
            return &calls[i];
    return NULL;
}

static void put_step(struct unfold *u, const struct place *at,
                     const struct call_row *call, unsigned step)
{
    if (!call || call->step[step].len == 0)
        return;
    event_at(u, call->step[step], at);
    event_end(u);
}

/* Append the item <item> in an event of the <type>. */
static void item_event(struct unfold *u, struct str type, int64_t n,
                       const struct jmember *item, const struct change *changes,
                       size_t count)
{
    event_begin(u, type);
    unfold_text(u, STR(",\"output_index\":"));
    unfold_number(u, n);
    unfold_text(u, STR(",\"item\":"));
    if (changes)
        put_early(u, item, changes, count);
    else
        unfold_raw(u, item->value);
    event_end(u);
}

static void put_item(struct unfold *u, int64_t n, const struct jmember *item)
{
    static const struct change changes[] = {
        {{"status", 6}, {"\"in_progress\"", 13}},
        {{"content", 7}, {"[]", 2}},
        {{"summary", 7}, {"[]", 2}},
        {{"arguments", 9}, {"\"\"", 2}},
        {{"input", 5}, {"\"\"", 2}},
        {{"code", 4}, {"\"\"", 2}},
        {{"result", 6}, {"null", 4}},
        {{"output", 6}, {"null", 4}}};
    struct jmember id = jval_member(item, STR("id"));
    const struct text_row *row = text_of(item);
    const struct call_row *call = call_of(item);
    struct place at = {.item = n, .part = -1};

    if (item->type != JT_OBJECT) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    at.item_id = id.type == JT_STRING ? id.value : STR("\"\"");
    item_event(u, STR("response.output_item.added"), n, item, changes,
               COUNT(changes));
    put_step(u, &at, call, 0);
    put_parts(u, at, item, true);
    put_parts(u, at, item, false);
    if (row)
        put_text(u, &at, row, item);
    put_step(u, &at, call, 1);
    put_step(u, &at, call, 2);
    item_event(u, STR("response.output_item.done"), n, item, NULL, 0);
}

/* ---- the response ------------------------------------------------------ */

/* The response before anything was generated. */
static void put_begin(struct unfold *u, struct str type,
                      const struct jmember *root)
{
    static const struct change changes[] = {
        {{"status", 6}, {"\"in_progress\"", 13}},
        {{"output", 6}, {"[]", 2}},
        {{"output_text", 11}, {"\"\"", 2}},
        {{"usage", 5}, {"null", 4}},
        {{"completed_at", 12}, {"null", 4}},
        {{"incomplete_details", 18}, {"null", 4}}};

    event_begin(u, type);
    unfold_text(u, STR(",\"response\":"));
    put_early(u, root, changes, COUNT(changes));
    event_end(u);
}

void unfold_response(struct unfold *u, const struct jmember *root)
{
    struct jmember status = jval_member(root, STR("status"));
    struct jmember output = jval_member(root, STR("output")), item;
    const bool cut = jval_is(status.value, STR("incomplete"));
    struct jiter it;
    int64_t n = 0;

    if (output.type != JT_ARRAY || (!cut && !jval_is_unset(&status) &&
                                    !jval_is(status.value, STR("completed")))) {
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
    put_begin(u, STR("response.created"), root);
    put_begin(u, STR("response.in_progress"), root);
    jiter_init(&it, output.value);
    while (u->err == ERR_OK && jiter_next(&it, &item))
        put_item(u, n++, &item);
    event_begin(u,
                cut ? STR("response.incomplete") : STR("response.completed"));
    unfold_member(u, STR("response"), root->value);
    event_end(u);
}
