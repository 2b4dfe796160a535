/* prep_text.c - Prompts and inputs that come without a template: text, which
 * is never trusted with control tokens, or ids, which are taken as they are. */
#include "engine/prep.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "engine/engine_model.h"
#include "engine/model.h"
#include "token/vocab.h"

static enum err put_id(struct vocab_ids *ids, int32_t id)
{
    int32_t *more = realloc(ids->ids, (ids->n + 1) * sizeof(*more));

    if (!more)
        return ERR_NOMEM;
    more[ids->n++] = id;
    ids->ids = more;
    ids->cap = ids->n;
    return ERR_OK;
}

enum err prep_encode(const struct engine_model *m, struct str text,
                     bool special, bool trusted, struct prep_ids *out)
{
    const struct vocab *v = m->model->vocab;
    const struct vocab_span all = {.len = text.len, .trusted = true};
    struct vocab_ids ids = {0};
    enum err e = ERR_OK;

    if (special && vocab_adds_bos(v) && vocab_bos(v) >= 0)
        e = put_id(&ids, vocab_bos(v));
    if (e == ERR_OK)
        e = vocab_encode(v, text, &all, trusted ? 1 : 0, PREP_IDS_MAX, &ids);
    if (e == ERR_OK && special && vocab_adds_eos(v) && vocab_eos(v) >= 0)
        e = put_id(&ids, vocab_eos(v));
    if (e != ERR_OK) {
        free(ids.ids);
        return e == ERR_FULL ? ERR_CONTEXT_LENGTH : e;
    }
    *out = (struct prep_ids){.ids = ids.ids, .n = ids.n, .text = text};
    return ERR_OK;
}

/* One prompt of the list, or the only one. */
static enum err read_prompt(struct prep *p, const json_t *v, const char *at,
                            struct prep_ids *out)
{
    unsigned n_vocab = vocab_size(p->m->model->vocab);
    const int32_t *ids = NULL;
    enum err e;

    if (p->kind == ENDPOINT_EMBEDDINGS && json_is_string(v) &&
        json_string_length(v) == 0)
        return params_refuse(&p->why, at, "Invalid '%s': it may not be empty.",
                             at);
    if (json_is_string(v))
        return prep_encode(p->m, params_str(v), true, false, out);
    e = params_need(v, PARAMS_STRING | PARAMS_ARRAY, at, &p->why);
    if (e != ERR_OK)
        return e;
    e = params_ids(v, at, n_vocab, p->mem, &p->why, &ids);
    if (e != ERR_OK)
        return e;
    out->n = json_array_size(v);
    out->ids = malloc((out->n + 1) * sizeof(*out->ids));
    if (!out->ids)
        return ERR_NOMEM;
    memcpy(out->ids, ids, out->n * sizeof(*out->ids));
    return ERR_OK;
}

/* Whether <v> is a list of prompts rather than one. */
static bool is_list(const json_t *v)
{
    const json_t *first = json_array_get(v, 0);

    return json_is_string(first) || json_is_array(first);
}

enum err prep_texts(struct prep *p, const json_t *body, const char *name,
                    struct prep_ids **out, size_t *n_out)
{
    const json_t *v = params_get(body, name);
    size_t n = is_list(v) ? json_array_size(v) : 1;
    struct prep_ids *all;
    enum err e = ERR_OK;
    char at[48];

    if (!v || (json_is_array(v) && json_array_size(v) == 0))
        return params_refuse(&p->why, name,
                             v ? "Invalid '%s': it may not be empty."
                               : "Missing required parameter: '%s'.",
                             name);
    if (n > PREP_PROMPTS_MAX)
        return params_refuse(&p->why, name,
                             "Invalid '%s': array too long. Expected at most "
                             "%d elements, but got %zu instead.",
                             name, PREP_PROMPTS_MAX, n);
    all = arena_alloc(p->mem, n * sizeof(*all));
    if (!all)
        return ERR_NOMEM;
    *out = all;
    *n_out = n;
    for (size_t i = 0; i < n && e == ERR_OK; i++) {
        snprintf(at, sizeof(at), is_list(v) ? "%s[%zu]" : "%s", name, i);
        e = read_prompt(p, is_list(v) ? json_array_get(v, i) : v, at, &all[i]);
        if (e == ERR_OK && all[i].n == 0)
            e = params_refuse(&p->why, at, "Invalid '%s': it has no tokens.",
                              at);
    }
    return e;
}
