/* template.c - Compiling and rendering chat templates. What comes from the
 * context is tainted, but for the text of bos_token and eos_token, and for
 * roles that are among those every template knows. */
#include "token/template.h"

#include <stdio.h>
#include <stdlib.h>

#include "token/tmpl_run.h"

/* Bytes of a template's source, and of what it is compiled into. */
#define SOURCE_MAX ((size_t)1 << 20)
#define TREE_MAX   ((size_t)128 << 20)
/* Bytes of a rendering's values beside its text. */
#define VALUES_MAX ((size_t)64 << 20)
#define OUTPUT_MAX ((size_t)1 << 30)
/* Deepest nesting of a context. */
#define CONTEXT_DEPTH_MAX 200

/* --- compiling ---------------------------------------------------------- */

/* <source> with its lines ending in \n, without the last one's end. */
static enum err normalize(struct template *t, struct str source)
{
    char *p = arena_alloc(t->arena, source.len + 1);
    size_t n = 0;

    if (!p)
        return ERR_NOMEM;
    for (size_t i = 0; i < source.len; i++) {
        if (source.p[i] != '\r')
            p[n++] = source.p[i];
        else if (i + 1 == source.len || source.p[i + 1] != '\n')
            p[n++] = '\n';
    }
    if (n > 0 && p[n - 1] == '\n')
        n--;
    t->source = str_of(p, n);
    return ERR_OK;
}

enum err template_new(struct str source, struct template_fault *why,
                      struct template **out)
{
    struct template *t;
    enum err e;

    *why = (struct template_fault){0};
    if (source.len > SOURCE_MAX) {
        snprintf(why->text, sizeof(why->text), "the template is too large");
        return ERR_SYNTAX;
    }
    t = calloc(1, sizeof(*t));
    if (!t)
        return ERR_NOMEM;
    t->arena = arena_new(16384, TREE_MAX);
    e = t->arena ? normalize(t, source) : ERR_NOMEM;
    if (e == ERR_OK)
        e = tmpl_parse(t, why);
    if (e == ERR_OK)
        e = tmpl_probe_caps(t);
    if (e != ERR_OK) {
        template_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void template_free(struct template *t)
{
    if (!t)
        return;
    arena_free(t->arena);
    free(t);
}

const struct template_caps *template_caps(const struct template *t)
{
    return &t->caps;
}

/* --- the context -------------------------------------------------------- */

/* Whether <s> is a role that is known to all; such a word can be no one's
 * control token by itself, and some templates make one of it. */
static bool is_role(struct str s)
{
    static const char *const roles[] = {"system",    "user", "assistant",
                                        "developer", "tool", "function"};

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (str_eq(s, str_from(roles[i])))
            return true;
    }
    return false;
}

static enum err convert(struct tmpl_run *run, json_t *j, unsigned depth,
                        struct tmpl_val *out);

static struct str string_of(const json_t *j)
{
    return str_of(json_string_value(j), json_string_length(j));
}

static enum err convert_object(struct tmpl_run *run, json_t *j, unsigned depth,
                               struct tmpl_val *out)
{
    struct tmpl_val key, v;

    ERR_TRY(tmpl_make_dict(run, out));
    for (void *it = json_object_iter(j); it;
         it = json_object_iter_next(j, it)) {
        struct str name =
            str_of(json_object_iter_key(it), json_object_iter_key_len(it));
        json_t *member = json_object_iter_value(it);

        ERR_TRY(tmpl_make_str(run, name, true, &key));
        if (str_eq(name, STR("role")) && json_is_string(member) &&
            is_role(string_of(member)))
            ERR_TRY(tmpl_make_str(run, string_of(member), false, &v));
        else
            ERR_TRY(convert(run, member, depth + 1, &v));
        ERR_TRY(tmpl_dict_set(run, out->u.dict, key, v));
    }
    return ERR_OK;
}

static enum err convert_array(struct tmpl_run *run, json_t *j, unsigned depth,
                              struct tmpl_val *out)
{
    struct tmpl_val v;

    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < json_array_size(j); i++) {
        ERR_TRY(convert(run, json_array_get(j, i), depth + 1, &v));
        ERR_TRY(tmpl_list_add(run, out->u.list, v));
    }
    return ERR_OK;
}

static enum err convert(struct tmpl_run *run, json_t *j, unsigned depth,
                        struct tmpl_val *out)
{
    if (depth > CONTEXT_DEPTH_MAX)
        return tmpl_fail(run, "the context is nested too deeply");
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return convert_object(run, j, depth, out);
    case JSON_ARRAY:
        return convert_array(run, j, depth, out);
    case JSON_STRING:
        return tmpl_make_str(run, string_of(j), true, out);
    case JSON_INTEGER:
        *out = tmpl_int(json_integer_value(j));
        break;
    case JSON_REAL:
        *out = tmpl_real(json_real_value(j));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = tmpl_bool(json_is_true(j));
        break;
    default:
        *out = tmpl_none();
        break;
    }
    out->taint = true;
    return ERR_OK;
}

/* The members of the context that the template asks for. */
static enum err set_context(struct tmpl_run *run, const json_t *context)
{
    const struct template *t = run->t;

    for (unsigned i = 0; i < t->n_names; i++) {
        json_t *j = json_object_getn(context, t->names[i].p, t->names[i].len);
        bool trusted = str_eq(t->names[i], STR("bos_token")) ||
                       str_eq(t->names[i], STR("eos_token"));

        if (!j)
            continue;
        if (trusted && json_is_string(j))
            ERR_TRY(tmpl_make_str(run, string_of(j), false, &run->globals[i]));
        else
            ERR_TRY(convert(run, j, 0, &run->globals[i]));
    }
    return ERR_OK;
}

/* --- rendering ---------------------------------------------------------- */

static int name_id(const struct template *t, const char *name)
{
    for (unsigned i = 0; i < t->n_names; i++) {
        if (str_eq(t->names[i], str_from(name)))
            return (int)i;
    }
    return -1;
}

static enum err start(struct tmpl_run *run, const json_t *context)
{
    const struct template *t = run->t;

    run->loop_id = name_id(t, "loop");
    run->caller_id = name_id(t, "caller");
    run->varargs_id = name_id(t, "varargs");
    run->kwargs_id = name_id(t, "kwargs");
    ERR_TRY(tmpl_alloc(run, (t->n_names + 1) * sizeof(run->globals[0]),
                       &run->globals));
    ERR_TRY(tmpl_alloc(run, sizeof(*run->out), &run->out));
    ERR_TRY(tmpl_funcs_init(run));
    return set_context(run, context);
}

/* Cut the bytes of <r> into runs of one trust. */
static enum err make_spans(const struct tmpl_room *r, struct template_text *out)
{
    size_t n = 0, at = 0;
    struct vocab_span *spans;

    for (size_t i = 0; i < r->used; i++)
        n += i == 0 || (r->tag && r->tag[i] != r->tag[i - 1]);
    if (n == 0)
        return ERR_OK;
    spans = calloc(n, sizeof(spans[0]));
    if (!spans)
        return ERR_NOMEM;
    for (size_t i = 0; i < r->used; i++) {
        if (r->tag && i > 0 && r->tag[i] != r->tag[i - 1])
            at++;
        spans[at].len++;
        spans[at].trusted = r->tag ? r->tag[i] == 0 : !r->taint;
    }
    out->spans = spans;
    out->n_spans = n;
    return ERR_OK;
}

static enum err finish(const struct tmpl_run *run, size_t max_bytes,
                       struct template_text *out)
{
    struct template_text text = {0};
    const struct tmpl_room *r = run->out;
    enum err e;

    buf_init(&text.text, max_bytes);
    e = buf_put(&text.text, r->p, r->used);
    if (e == ERR_OK)
        e = make_spans(r, &text);
    if (e != ERR_OK) {
        template_text_fini(&text);
        return e;
    }
    *out = text;
    return ERR_OK;
}

enum err template_render(const struct template *t, const json_t *context,
                         int64_t now_s, size_t max_bytes,
                         struct template_fault *why, struct template_text *out)
{
    struct tmpl_run run = {.t = t, .now_s = now_s, .why = why};
    enum err e;

    *why = (struct template_fault){0};
    run.max_bytes = max_bytes < OUTPUT_MAX ? max_bytes : OUTPUT_MAX;
    run.cap = VALUES_MAX + 16 * run.max_bytes;
    run.arena = arena_new(16384, run.cap);
    if (!run.arena)
        return ERR_NOMEM;
    e = start(&run, context);
    if (e == ERR_OK)
        e = tmpl_exec(&run, t->root);
    if (e == ERR_OK)
        e = finish(&run, run.max_bytes, out);
    arena_free(run.arena);
    return e;
}

void template_text_fini(struct template_text *out)
{
    buf_fini(&out->text);
    free(out->spans);
    *out = (struct template_text){0};
}
