/* model_hf_text.c - Chat templates and lists of shards from the JSON files of a
 * Hugging Face directory. */
#include <jansson.h>
#include <stdlib.h>

#include "engine/model_fault.h"
#include "engine/model_json.h"
#include "engine/model_priv.h"

#define TEXT_MAX   ((size_t)16 << 20)
#define INDEX_MAX  ((size_t)4 << 20)
#define SHARDS_MAX 1024

static bool copy_text(struct model *m, const char *text, struct str *out)
{
    *out = arena_dup(m->store->arena, str_from(text));
    return out->p != NULL;
}

/* One of a list: {"name": ..., "template": ...}; "default" is the main one. */
static enum err take_named(struct model *m, const json_t *v,
                           struct model_template *to, struct model_fault *why)
{
    const char *name = json_string_value(json_object_get(v, "name"));
    const char *text = json_string_value(json_object_get(v, "template"));
    bool ok;

    if (!name || !text)
        return model_fail(why, ERR_SYNTAX,
                          "a chat template of the list has no name or text");
    if (strcmp(name, "default") == 0) {
        ok = copy_text(m, text, &m->chat_template);
    } else {
        ok = copy_text(m, name, &to->name) && copy_text(m, text, &to->text);
        m->n_templates += ok;
    }
    return ok ? ERR_OK : model_fail(why, ERR_NOMEM, "out of memory");
}

static enum err take_list(struct model *m, const json_t *list,
                          struct model_fault *why)
{
    size_t n = json_array_size(list);
    struct model_template *to =
        arena_alloc(m->store->arena, (n + 1) * sizeof(*to));
    enum err e = ERR_OK;

    if (!to)
        return model_fail(why, ERR_NOMEM, "out of memory");
    m->templates = to;
    m->n_templates = 0;
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = take_named(m, json_array_get(list, i), &to[m->n_templates], why);
    return e;
}

static enum err take_templates(struct model *m, const json_t *v,
                               struct model_fault *why)
{
    if (!v || json_is_null(v))
        return ERR_OK;
    if (json_is_array(v))
        return take_list(m, v, why);
    if (!json_is_string(v))
        return model_fail(why, ERR_SYNTAX,
                          "'chat_template' is neither a string nor a list");
    if (!copy_text(m, json_string_value(v), &m->chat_template))
        return model_fail(why, ERR_NOMEM, "out of memory");
    return ERR_OK;
}

enum err model_hf_templates(struct model *m, struct str text,
                            struct model_fault *why)
{
    json_t *root;
    enum err e = mjson_parse_texts(text, TEXT_MAX, why, &root);

    if (e != ERR_OK)
        return e;
    e = take_templates(m, json_object_get(root, "chat_template"), why);
    json_decref(root);
    return e;
}

/* --- shards ------------------------------------------------------------- */

/* Whether <name> is a plain name of a safetensors file: nothing that could lead
 * out of the directory. */
static bool is_plain(const char *name)
{
    struct str s = str_from(name);

    if (s.len == 0 || s.len > 255 || s.p[0] == '.' ||
        !str_ends(s, STR(".safetensors")))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] == '/' || s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return true;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Copy each of the <n> sorted names once. */
static enum err keep_names(struct model *m, const char **names, size_t n,
                           struct model_fault *why, size_t *n_out)
{
    struct str copy;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && strcmp(names[kept - 1], names[i]) == 0)
            continue;
        if (kept == SHARDS_MAX)
            return model_fail(why, ERR_SYNTAX, "there are more than %d files",
                              SHARDS_MAX);
        if (!copy_text(m, names[i], &copy))
            return model_fail(why, ERR_NOMEM, "out of memory");
        names[kept++] = copy.p;
    }
    *n_out = kept;
    return ERR_OK;
}

static enum err list_shards(struct model *m, const json_t *map,
                            struct model_fault *why, const char ***out,
                            size_t *n_out)
{
    size_t n = json_object_size(map), i = 0;
    const char **names, *tensor, *name;
    const json_t *v;

    if (n == 0)
        return model_fail(why, ERR_SYNTAX, "'weight_map' is missing or empty");
    names = arena_alloc(m->store->arena, n * sizeof(*names));
    if (!names)
        return model_fail(why, ERR_NOMEM, "out of memory");
    json_object_foreach((json_t *)(uintptr_t)map, tensor, v)
    {
        name = json_string_value(v);
        if (!name || !is_plain(name))
            return model_fail(why, ERR_SYNTAX,
                              "tensor '%s' lies in '%s', which is no plain "
                              "name of a .safetensors file",
                              model_show(str_from(tensor)).text,
                              model_show(str_from(name ? name : "?")).text);
        names[i++] = name;
    }
    qsort(names, n, sizeof(*names), name_order);
    *out = names;
    return keep_names(m, names, n, why, n_out);
}

enum err model_hf_shards(struct model *m, struct str text,
                         struct model_fault *why, const char ***out,
                         size_t *n_out)
{
    json_t *root;
    enum err e = mjson_parse_texts(text, INDEX_MAX, why, &root);

    if (e != ERR_OK)
        return e;
    e = list_shards(m, json_object_get(root, "weight_map"), why, out, n_out);
    json_decref(root);
    return e;
}
