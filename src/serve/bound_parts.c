/* bound_parts.c - Messages, items and their parts: what is text, and costs no
 * more tokens than it has bytes, what is a picture, a sound or a file, and what
 * stands for something that is not here. A part may say twice what it is; every
 * time counts. What a part of an unknown type is, nobody knows. */
#include "serve/bound_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "account/price.h"

#define FRAMES                                                                 \
    16 /* lists and parts within each other; no client has as many             \
        */
#define TYPE_MAX 40 /* bytes of a type; no known one is longer */

/* What a part of some type is. */
enum type_is {
    IS_UNKNOWN = 0,
    IS_TEXT,
    IS_SEALED, /* text, if what it holds is here and not at the provider */
    IS_MEDIA,
    IS_SOUND,
    IS_DOCUMENT, /* media, if its source is no text */
};

/* Sorted by name. */
static const struct {
    const char *name;
    enum type_is is;
} types[] = {
    {"apply_patch_call", IS_TEXT},
    {"apply_patch_call_output", IS_TEXT},
    {"audio", IS_SOUND},
    {"audio_embeds", IS_SOUND},
    {"audio_url", IS_SOUND},
    {"compaction", IS_SEALED},
    {"computer_call", IS_TEXT},
    {"computer_call_output", IS_TEXT},
    {"computer_screenshot", IS_MEDIA},
    {"custom_tool_call", IS_TEXT},
    {"custom_tool_call_output", IS_TEXT},
    {"document", IS_DOCUMENT},
    {"document_url", IS_MEDIA},
    {"file", IS_MEDIA},
    {"function_call", IS_TEXT},
    {"function_call_output", IS_TEXT},
    {"image", IS_MEDIA},
    {"image_embeds", IS_MEDIA},
    {"image_pil", IS_MEDIA},
    {"image_url", IS_MEDIA},
    {"input_audio", IS_SOUND},
    {"input_file", IS_MEDIA},
    {"input_image", IS_MEDIA},
    {"input_text", IS_TEXT},
    {"input_video", IS_MEDIA},
    {"local_shell_call", IS_TEXT},
    {"local_shell_call_output", IS_TEXT},
    {"message", IS_TEXT},
    {"output_text", IS_TEXT},
    {"reasoning", IS_SEALED},
    {"reasoning_text", IS_TEXT},
    {"redacted_thinking", IS_TEXT},
    {"reference", IS_TEXT},
    {"refusal", IS_TEXT},
    {"search_result", IS_TEXT},
    {"shell_call", IS_TEXT},
    {"shell_call_output", IS_TEXT},
    {"summary_text", IS_TEXT},
    {"text", IS_TEXT},
    {"thinking", IS_TEXT},
    {"tool_result", IS_TEXT},
    {"tool_use", IS_TEXT},
    {"video", IS_MEDIA},
    {"video_url", IS_MEDIA},
};

/* What a member of a part is for us. */
enum key_is {
    KEY_OTHER = 0,
    KEY_TYPE,
    KEY_ROLE,
    KEY_LIST,   /* holds parts, or a part, or a text */
    KEY_MANY,   /* holds pictures and such */
    KEY_SOURCE, /* of a picture or document */
    KEY_MEDIA,
    KEY_SOUND,
    KEY_FAR,  /* names something stored at the provider */
    KEY_ID,   /* does so within a source */
    KEY_DATA, /* bytes or URL within a source */
    KEY_SEAL, /* text that only the provider can read */
};

/* Names are in lower case: some servers do not tell it from upper. */
static const struct {
    struct str name;
    enum key_is is;
} keys[] = {
    {{"type", 4}, KEY_TYPE},           {{"role", 4}, KEY_ROLE},
    {{"content", 7}, KEY_LIST},        {{"output", 6}, KEY_LIST},
    {{"images", 6}, KEY_MANY},         {{"videos", 6}, KEY_MANY},
    {{"audios", 6}, KEY_MANY},         {{"files", 5}, KEY_MANY},
    {{"source", 6}, KEY_SOURCE},       {{"image_url", 9}, KEY_MEDIA},
    {{"image", 5}, KEY_MEDIA},         {{"image_embeds", 12}, KEY_MEDIA},
    {{"image_pil", 9}, KEY_MEDIA},     {{"video", 5}, KEY_MEDIA},
    {{"video_url", 9}, KEY_MEDIA},     {{"file", 4}, KEY_MEDIA},
    {{"file_url", 8}, KEY_MEDIA},      {{"document_url", 12}, KEY_MEDIA},
    {{"audio", 5}, KEY_SOUND},         {{"audio_url", 9}, KEY_SOUND},
    {{"audio_embeds", 12}, KEY_SOUND}, {{"input_audio", 11}, KEY_SOUND},
    {{"file_id", 7}, KEY_FAR},         {{"id", 2}, KEY_ID},
    {{"data", 4}, KEY_DATA},           {{"url", 3}, KEY_DATA},
    {{"file_data", 9}, KEY_DATA},      {{"encrypted_content", 17}, KEY_SEAL},
};

/* Where the walk is. */
enum where { IN_LIST, IN_PART, IN_SOURCE };

/* A list, part or source that is being walked over. */
struct frame {
    struct jiter it;
    enum where where;
    unsigned media;     /* types that are media */
    unsigned documents; /* types that are, if their source is no text */
    unsigned holders;   /* members that hold media */
    uint64_t bytes;     /* of the data in them */
    bool typed, role, content, text_source, other_source;
    bool plain;          /* some type of it is text */
    bool sealed, opened; /* see IS_SEALED */
};

/* A walk. */
struct walk {
    struct bound_judge *j;
    const char *name; /* of the top-level member */
    uint64_t index;   /* of the element of its list; from 1, 0: none */
    struct frame at[FRAMES];
    size_t depth;
};

/* Where the walk is, as people write it: "messages[2]". */
static const char *place(const struct walk *w, char to[64])
{
    if (w->index == 0)
        (void)snprintf(to, 64, "%s", w->name);
    else
        (void)snprintf(to, 64, "%s[%llu]", w->name,
                       (unsigned long long)(w->index - 1));
    return to;
}

static enum err refuse_far(struct walk *w, const char *what)
{
    char at[64];

    (void)place(w, at);
    return bound_refuse(w->j, at,
                        "'%s' has %s, which stands for something that is "
                        "stored elsewhere and of any length. A key with a hard "
                        "budget must send it itself.",
                        at, what);
}

static enum err refuse_type(struct walk *w, const struct jmember *m)
{
    char at[64], type[TYPE_MAX];

    (void)place(w, at);
    bound_show(m->type == JT_STRING ? m->value : STR(""), type, sizeof(type));
    return bound_refuse(w->j, at,
                        "'%s' has something of type '%s': nobody can tell how "
                        "many tokens it is, and this key has a hard budget.",
                        at, type);
}

static enum err refuse_media(struct walk *w)
{
    char at[64];

    (void)place(w, at);
    return bound_refuse(w->j, at,
                        "'%s' has a picture, a sound or a file: nobody can "
                        "tell how many tokens it is, and this key has a hard "
                        "budget. Leave it out, or have budgets.media_tokens "
                        "say how many to count for each.",
                        at);
}

static enum err push(struct walk *w, enum where where, struct str value)
{
    char at[64];

    if (w->depth == FRAMES) {
        (void)place(w, at);
        return bound_refuse(w->j, at,
                            "'%s' has parts within parts, too deep for a key "
                            "with a hard budget.",
                            at);
    }
    w->at[w->depth] = (struct frame){.where = where};
    jiter_init(&w->at[w->depth].it, value);
    w->depth++;
    return ERR_OK;
}

/* Walk into <m> if there may be parts in it. */
static enum err enter(struct walk *w, const struct jmember *m)
{
    if (m->type == JT_OBJECT)
        return push(w, IN_PART, m->value);
    return m->type == JT_ARRAY ? push(w, IN_LIST, m->value) : ERR_OK;
}

static int compare_type(const void *name, const void *row)
{
    return strcmp(name, *(const char *const *)row);
}

static enum type_is type_of(const struct jmember *m)
{
    const size_t n = sizeof(types) / sizeof(types[0]);
    char name[TYPE_MAX];
    const void *row;
    size_t len;

    if (jval_copy(m, name, sizeof(name) - 1, &len) != ERR_OK)
        return IS_UNKNOWN;
    name[len] = '\0';
    if (strlen(name) != len)
        return IS_UNKNOWN;
    row = bsearch(name, types, n, sizeof(types[0]), compare_type);
    return row ? types[((const char *)row - (const char *)types) /
                       (ptrdiff_t)sizeof(types[0])]
                     .is
               : IS_UNKNOWN;
}

/* The key <raw> unescaped and in lower case, as far as it fits <cap>. */
static struct str fold_key(struct str raw, char *to, size_t cap)
{
    const struct jmember m = {.value = raw, .type = JT_STRING};
    size_t len = 0;

    if (jval_copy(&m, to, cap, &len) != ERR_OK)
        len = 0;
    for (size_t i = 0; i < len; i++)
        if (to[i] >= 'A' && to[i] <= 'Z')
            to[i] = (char)(to[i] + ('a' - 'A'));
    return str_of(to, len);
}

static enum key_is key_of(struct str raw)
{
    char room[TYPE_MAX];
    struct str key = raw.len >= 2 ? str_of(raw.p + 1, raw.len - 2) : raw;

    if (memchr(key.p, '\\', key.len))
        key = fold_key(raw, room, sizeof(room));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (str_ieq(key, keys[i].name))
            return keys[i].is;
    return KEY_OTHER;
}

static enum err take_type(struct walk *w, struct frame *f,
                          const struct jmember *m)
{
    if (m->type == JT_NULL)
        return ERR_OK;
    f->typed = true;
    switch (type_of(m)) {
    case IS_TEXT:
        f->plain = true;
        return ERR_OK;
    case IS_SEALED:
        f->plain = true;
        f->sealed = true;
        return ERR_OK;
    case IS_SOUND:
        w->j->out->kinds |= PRICE_KIND(ROW_TOK_AUDIO_IN);
        f->media++;
        return ERR_OK;
    case IS_MEDIA:
        f->media++;
        return ERR_OK;
    case IS_DOCUMENT:
        f->documents++;
        return ERR_OK;
    default:
        return refuse_type(w, m);
    }
}

/* A member that holds pictures or such, or says where they are. */
static enum err take_holder(struct walk *w, struct frame *f,
                            const struct jmember *m)
{
    struct jmember inner;
    struct jiter it;

    jiter_init(&it, m->type == JT_ARRAY ? m->value : STR(""));
    while (jiter_next(&it, &inner))
        f->holders++;
    if (m->type == JT_ARRAY)
        return push(w, IN_LIST, m->value);
    f->holders++;
    if (m->type == JT_OBJECT)
        return push(w, IN_SOURCE, m->value);
    if (m->type == JT_STRING)
        f->bytes += m->value.len;
    return ERR_OK;
}

/* Whether there is something in the text or list <m>. */
static bool has_some(const struct jmember *m)
{
    struct jmember first;
    struct jiter it;

    if (m->type == JT_STRING)
        return m->value.len > 2;
    jiter_init(&it, m->value);
    return m->type == JT_ARRAY && jiter_next(&it, &first);
}

static enum err step_part(struct walk *w, struct frame *f,
                          const struct jmember *m)
{
    enum key_is is = key_of(m->key);

    if (is == KEY_TYPE)
        return take_type(w, f, m);
    if (m->type == JT_NULL)
        return ERR_OK;
    switch (is) {
    case KEY_ROLE:
        f->role = true;
        return ERR_OK;
    case KEY_LIST:
        f->content = true;
        f->opened = f->opened || has_some(m);
        return enter(w, m);
    case KEY_SEAL:
        f->opened = f->opened || (m->type == JT_STRING && has_some(m));
        return ERR_OK;
    case KEY_SOUND:
        w->j->out->kinds |= PRICE_KIND(ROW_TOK_AUDIO_IN);
        return take_holder(w, f, m);
    case KEY_MEDIA:
    case KEY_MANY:
        return take_holder(w, f, m);
    case KEY_SOURCE:
        return m->type == JT_OBJECT ? push(w, IN_SOURCE, m->value) : ERR_OK;
    case KEY_DATA: /* file_data stands beside the type of an input_file */
        if (m->type == JT_STRING)
            f->bytes += m->value.len;
        return ERR_OK;
    case KEY_FAR:
        return refuse_far(w, "a file_id");
    default:
        return ERR_OK;
    }
}

static enum err step_source(struct walk *w, struct frame *f,
                            const struct jmember *m)
{
    enum key_is is = key_of(m->key);

    if (m->type == JT_NULL)
        return ERR_OK;
    switch (is) {
    case KEY_TYPE:
        if (jval_is(m->value, STR("text")) || jval_is(m->value, STR("content")))
            f->text_source = true;
        else
            f->other_source = true;
        return ERR_OK;
    case KEY_LIST:
        return enter(w, m);
    case KEY_DATA:
        if (m->type == JT_STRING)
            f->bytes += m->value.len;
        return ERR_OK;
    case KEY_FAR:
    case KEY_ID:
        return refuse_far(w, "an id");
    default:
        return ERR_OK;
    }
}

/* The source <f> of <part> ends: what there is of it but text is media. */
static void close_source(const struct frame *f, struct frame *part)
{
    bool text = f->text_source && !f->other_source;

    part->text_source = part->text_source || text;
    if (text)
        return;
    part->other_source = true;
    if (!f->text_source)
        part->bytes += f->bytes;
}

/* A part, message or item ends. */
static enum err close_part(struct walk *w, const struct frame *f, bool item)
{
    bool text = f->text_source && !f->other_source && f->holders == 0;
    unsigned media = f->media + (text ? 0 : f->documents);
    unsigned held = f->holders + (f->other_source && f->holders == 0);

    if (media < held)
        media = held;
    if (media > 0 && w->j->rules->media_tok == 0)
        return refuse_media(w);
    if (media > 0 && !text && !f->plain)
        w->j->media_bytes += f->bytes;
    w->j->out->media += media;
    if (!item || w->j->op != BOUND_RESPONSES)
        return ERR_OK;
    if (!f->typed && !(f->role && f->content))
        return refuse_far(w, "an item with no type and no content");
    if (f->sealed && !f->opened)
        return refuse_far(w, "reasoning without its encrypted_content");
    return ERR_OK;
}

static enum err close_frame(struct walk *w)
{
    const struct frame f = w->at[--w->depth];

    switch (f.where) {
    case IN_SOURCE:
        close_source(&f, &w->at[w->depth - 1]);
        return ERR_OK;
    case IN_PART:
        return close_part(w, &f, w->depth < 2);
    default:
        return ERR_OK;
    }
}

static enum err step(struct walk *w)
{
    struct frame *f = &w->at[w->depth - 1];
    struct jmember m;

    if (!jiter_next(&f->it, &m))
        return close_frame(w);
    switch (f->where) {
    case IN_PART:
        return step_part(w, f, &m);
    case IN_SOURCE:
        return step_source(w, f, &m);
    default:
        if (w->depth == 1)
            w->index++;
        return enter(w, &m);
    }
}

enum err bound_judge_parts(struct bound_judge *j, const char *name,
                           const struct jmember *m)
{
    struct walk w;

    w.j = j;
    w.name = name;
    w.index = 0;
    w.depth = 0;
    ERR_TRY(enter(&w, m));
    while (w.depth > 0)
        ERR_TRY(step(&w));
    return ERR_OK;
}
