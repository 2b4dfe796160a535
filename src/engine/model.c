/* model.c - Opening, digesting and closing models, whatever their format. */
#include "engine/model.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/gguf.h"
#include "engine/model_fault.h"
#include "engine/model_priv.h"
#include "token/vocab.h"

/* Most bytes of what a model keeps on the heap beside its vocabulary: layers,
 * templates, names. */
#define ARENA_CAP ((size_t)64 << 20)

struct model *model_new(size_t cap)
{
    struct model *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->store = calloc(1, sizeof(*m->store));
    if (m->store)
        m->store->arena = arena_new(4096, cap);
    if (!m->store || !m->store->arena) {
        model_close(m);
        return NULL;
    }
    m->sampling = (struct model_sampling){-1, -1, -1, -1, -1};
    return m;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    vocab_free(m->vocab);
    if (m->store) {
        for (size_t i = 0; i < m->store->n_maps; i++)
            model_map_close(&m->store->maps[i]);
        free(m->store->maps);
        arena_free(m->store->arena);
        free(m->store);
    }
    free(m);
}

/* A model with one map, not yet opened. */
static struct model *new_single(struct model_fault *why)
{
    struct model *m = model_new(ARENA_CAP);

    if (m)
        m->store->maps = calloc(1, sizeof(*m->store->maps));
    if (m && m->store->maps)
        return m;
    model_close(m);
    (void)model_fail(why, ERR_NOMEM, "out of memory");
    return NULL;
}

/* End tokens are within the vocabulary, and the vocabulary within the rows of
 * the embedding. */
static enum err check_vocab(struct model *m, struct model_fault *why)
{
    unsigned n = vocab_size(m->vocab);
    int32_t *ids = (int32_t *)(uintptr_t)m->end_ids;
    size_t kept = 0;

    if (n > m->p.n_vocab)
        return model_fail(why, ERR_SYNTAX,
                          "the vocabulary has %u tokens, the embedding only "
                          "%u rows",
                          n, m->p.n_vocab);
    for (size_t i = 0; i < m->n_end_ids; i++)
        if ((unsigned)ids[i] < n)
            ids[kept++] = ids[i];
    m->n_end_ids = kept;
    for (size_t i = 0; i < kept; i++)
        vocab_mark_eog(m->vocab, ids[i]);
    return ERR_OK;
}

static enum err finish(struct model *m, enum err e, struct model_fault *why,
                       struct model **out)
{
    if (e == ERR_OK)
        e = check_vocab(m, why);
    if (e != ERR_OK) {
        model_close(m);
        return e;
    }
    for (size_t i = 0; i < m->store->n_maps; i++)
        m->file_bytes += m->store->maps[i].bytes.len;
    *out = m;
    return ERR_OK;
}

static enum err open_file(const char *path, struct model_fault *why,
                          struct model **out)
{
    struct model *m = new_single(why);
    struct model_map *map;
    enum err e;

    if (!m)
        return ERR_NOMEM;
    map = m->store->maps;
    e = model_map_open(path, why, map);
    if (e == ERR_OK) {
        m->store->n_maps = 1;
        e = model_from_gguf(m, map->bytes, why);
    }
    return finish(m, e, why, out);
}

static enum err open_directory(const char *path, struct model_fault *why,
                               struct model **out)
{
    struct model *m = model_new(ARENA_CAP);

    if (!m)
        return model_fail(why, ERR_NOMEM, "out of memory");
    return finish(m, model_from_hf(m, path, why), why, out);
}

static enum err open_synthetic(struct str spec, struct model_fault *why,
                               struct model **out)
{
    struct model *m = model_new(ARENA_CAP);

    if (!m)
        return model_fail(why, ERR_NOMEM, "out of memory");
    return finish(m, model_from_shape(m, spec, why), why, out);
}

enum err model_open(const char *path, struct model_fault *why,
                    struct model **out)
{
    const struct str kind = STR(MODEL_SYNTHETIC);
    struct stat st;
    enum err e;

    if (str_starts(str_from(path), kind))
        e = open_synthetic(str_skip(str_from(path), kind.len), why, out);
    else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        e = open_directory(path, why, out);
    else
        e = open_file(path, why, out);
    if (e != ERR_OK)
        model_fault_place(why, path);
    return e;
}

enum err model_open_gguf(struct str image, struct model_fault *why,
                         struct model **out)
{
    struct model *m = new_single(why);

    if (!m)
        return ERR_NOMEM;
    m->store->maps[0] = (struct model_map){.fd = -1, .bytes = image};
    m->store->n_maps = 1;
    return finish(m, model_from_gguf(m, image, why), why, out);
}

static enum err open_vocab(struct str image, struct model_fault *why,
                           struct vocab **out)
{
    struct gguf *g;
    enum err e = gguf_parse(image, why, &g);

    if (e != ERR_OK)
        return e;
    e = model_vocab_from_gguf(g, why, out);
    gguf_free(g);
    return e;
}

enum err model_open_vocab(const char *path, struct model_fault *why,
                          struct vocab **out)
{
    struct model_map map;
    enum err e = model_map_open(path, why, &map);

    if (e == ERR_OK) {
        e = open_vocab(map.bytes, why, out);
        model_map_close(&map);
    }
    if (e != ERR_OK)
        model_fault_place(why, path);
    return e;
}
