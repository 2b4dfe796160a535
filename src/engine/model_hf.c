/* model_hf.c - A directory as Hugging Face lays it out: config.json, one
 * safetensors file or an index with several, tokenizer files, and what may be
 * there beside them. Every name is a plain one in that directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/model_fault.h"
#include "engine/model_priv.h"
#include "engine/safetensors.h"

#define ONE_FILE   "model.safetensors"
#define INDEX_FILE "model.safetensors.index.json"
#define PATH_ROOM  4096

/* Most bytes of files that are read as a whole. */
#define SMALL_MAX     ((size_t)1 << 20)
#define TEXTS_MAX     ((size_t)16 << 20)
#define TOKENIZER_MAX ((size_t)96 << 20)

/* A directory and what is read from it. */
struct hf {
    const char *path;
    struct model *m;
    struct model_fault *why;
    struct model_entries all;   /* owned */
    struct safetensors *shards; /* (m->store->n_maps), owned */
};

static bool join(const struct hf *h, const char *name, char room[PATH_ROOM])
{
    int n = snprintf(room, PATH_ROOM, "%s/%s", h->path, name);

    return n > 0 && n < PATH_ROOM;
}

static bool is_there(const struct hf *h, const char *name)
{
    char path[PATH_ROOM];

    return join(h, name, path) && access(path, F_OK) == 0;
}

/* Put the name of the file before the sentence. */
static enum err in_file(const struct hf *h, const char *name, enum err e)
{
    if (e != ERR_OK)
        model_fault_place(h->why, name);
    return e;
}

/* --- small files -------------------------------------------------------- */

static enum err read_all(const struct hf *h, int fd, size_t len, char *to)
{
    size_t at = 0;
    ssize_t n;

    while (at < len) {
        n = read(fd, to + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return model_fail(h->why, ERR_IO, "cannot be read: %s",
                              n < 0 ? strerror(errno) : "it became shorter");
        at += (size_t)n;
    }
    return ERR_OK;
}

static enum err read_fd(const struct hf *h, int fd, size_t max, struct str *out)
{
    struct stat st;
    enum err e;
    char *p;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return model_fail(h->why, ERR_IO, "this is not a regular file");
    if (st.st_size < 0 || (uint64_t)st.st_size > max)
        return model_fail(h->why, ERR_SYNTAX, "more than %zu bytes", max);
    p = malloc((size_t)st.st_size + 1);
    if (!p)
        return model_fail(h->why, ERR_NOMEM, "out of memory");
    e = read_all(h, fd, (size_t)st.st_size, p);
    if (e != ERR_OK) {
        free(p);
        return e;
    }
    p[st.st_size] = '\0';
    *out = str_of(p, (size_t)st.st_size);
    return ERR_OK;
}

/* The text of file <name>, to be freed. */
static enum err read_text(const struct hf *h, const char *name, size_t max,
                          struct str *out)
{
    char path[PATH_ROOM];
    enum err e;
    int fd;

    fd = join(h, name, path) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
                             : -1;
    if (fd < 0)
        return in_file(h, name,
                       model_fail(h->why, ERR_IO, "cannot be opened: %s",
                                  strerror(errno)));
    e = read_fd(h, fd, max, out);
    close(fd);
    return in_file(h, name, e);
}

static void free_text(struct str s)
{
    free((void *)(uintptr_t)s.p);
}

/* What takes the text of a file. */
typedef enum err text_fn(struct model *m, struct str text,
                         struct model_fault *why);

/* Hand the text of <name> to <fn>; a file that is not there is no matter. */
static enum err take_text(const struct hf *h, const char *name, size_t max,
                          text_fn *fn)
{
    struct str text;
    enum err e;

    if (!is_there(h, name))
        return ERR_OK;
    e = read_text(h, name, max, &text);
    if (e != ERR_OK)
        return e;
    e = in_file(h, name, fn(h->m, text, h->why));
    free_text(text);
    return e;
}

/* --- weights ------------------------------------------------------------ */

static enum err open_shard(struct hf *h, const char *name)
{
    struct model_store *s = h->m->store;
    char path[PATH_ROOM];
    enum err e;

    if (!join(h, name, path))
        return model_fail(h->why, ERR_IO, "the path is too long");
    e = model_map_open(path, h->why, &s->maps[s->n_maps]);
    if (e != ERR_OK)
        return e;
    s->n_maps++;
    return safetensors_parse(s->maps[s->n_maps - 1].bytes, name, h->why,
                             &h->all, &h->shards[s->n_maps - 1]);
}

static enum err open_shards(struct hf *h, const char *const *names, size_t n)
{
    struct model_store *s = h->m->store;
    enum err e = ERR_OK;

    s->maps = calloc(n, sizeof(*s->maps));
    h->shards = calloc(n, sizeof(*h->shards));
    if (!s->maps || !h->shards)
        return model_fail(h->why, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = in_file(h, names[i], open_shard(h, names[i]));
    return e;
}

static enum err open_weights(struct hf *h)
{
    static const char *const one[] = {ONE_FILE};
    const char **names;
    struct str text;
    enum err e;
    size_t n;

    if (!is_there(h, INDEX_FILE) && !is_there(h, ONE_FILE))
        return model_fail(h->why, ERR_IO,
                          "neither " ONE_FILE " nor " INDEX_FILE
                          " is there; other kinds of weights are not "
                          "supported");
    if (!is_there(h, INDEX_FILE))
        return open_shards(h, one, 1);
    e = read_text(h, INDEX_FILE, TEXTS_MAX, &text);
    if (e != ERR_OK)
        return e;
    e = in_file(h, INDEX_FILE, model_hf_shards(h->m, text, h->why, &names, &n));
    free_text(text);
    return e == ERR_OK ? open_shards(h, names, n) : e;
}

/* Tensors may be named without "model." when the file was saved from inside
 * the model. */
static enum err bind_weights(struct hf *h, struct model_binding *how)
{
    enum err e = model_entries_sort(&h->all, h->why);

    if (e != ERR_OK)
        return e;
    if (model_entry_use(&h->all, STR("embed_tokens.weight")))
        how->prefix = "";
    return model_bind(h->m, &h->all, how, h->why);
}

/* --- the rest ----------------------------------------------------------- */

static enum err take_jinja(struct model *m, struct str text,
                           struct model_fault *why)
{
    m->chat_template = arena_dup(m->store->arena, text);
    return m->chat_template.p ? ERR_OK
                              : model_fail(why, ERR_NOMEM, "out of memory");
}

static enum err read_vocab(const struct hf *h)
{
    struct str tokenizer, config = {0};
    enum err e = read_text(h, "tokenizer.json", TOKENIZER_MAX, &tokenizer);

    if (e != ERR_OK)
        return e;
    if (is_there(h, "tokenizer_config.json"))
        e = read_text(h, "tokenizer_config.json", TEXTS_MAX, &config);
    if (e == ERR_OK)
        e = in_file(
            h, "tokenizer.json",
            model_vocab_from_hf(tokenizer, config, h->why, &h->m->vocab));
    free_text(tokenizer);
    free_text(config);
    return e;
}

/* Later files win over earlier ones, as they do where they come from. */
static enum err read_texts(const struct hf *h)
{
    enum err e =
        take_text(h, "tokenizer_config.json", TEXTS_MAX, model_hf_templates);

    if (e == ERR_OK)
        e = take_text(h, "chat_template.json", TEXTS_MAX, model_hf_templates);
    if (e == ERR_OK)
        e = take_text(h, "chat_template.jinja", TEXTS_MAX, take_jinja);
    if (e == ERR_OK)
        e = take_text(h, "generation_config.json", SMALL_MAX,
                      model_hf_generation);
    if (e == ERR_OK)
        e = take_text(h, "1_Pooling/config.json", SMALL_MAX, model_hf_pooling);
    return e;
}

/* The last part of the path, for people. */
static enum err read_name(const struct hf *h)
{
    struct str s = str_from(h->path);
    size_t at;

    while (s.len > 1 && s.p[s.len - 1] == '/')
        s.len--;
    for (at = s.len; at > 0 && s.p[at - 1] != '/'; at--)
        ;
    h->m->name = arena_dup(h->m->store->arena, str_skip(s, at));
    return h->m->name.p ? ERR_OK
                        : model_fail(h->why, ERR_NOMEM, "out of memory");
}

static enum err read_config(const struct hf *h, struct model_binding *how)
{
    struct model_store *s = h->m->store;
    struct str text;
    enum err e = read_text(h, "config.json", SMALL_MAX, &text);

    if (e != ERR_OK)
        return e;
    e = in_file(h, "config.json", model_hf_config(h->m, text, h->why, how));
    if (e == ERR_OK)
        s->config = arena_dup(s->arena, text);
    if (e == ERR_OK && !s->config.p)
        e = model_fail(h->why, ERR_NOMEM, "out of memory");
    free_text(text);
    return e;
}

static enum err read_directory(struct hf *h)
{
    struct model_binding how;
    enum err e = read_config(h, &how);

    if (e == ERR_OK)
        e = open_weights(h);
    if (e == ERR_OK)
        e = bind_weights(h, &how);
    if (e == ERR_OK)
        e = read_texts(h);
    if (e == ERR_OK)
        e = read_name(h);
    return e == ERR_OK ? read_vocab(h) : e;
}

enum err model_from_hf(struct model *m, const char *path,
                       struct model_fault *why)
{
    struct hf h = {.path = path, .m = m, .why = why};
    enum err e = read_directory(&h);

    for (size_t i = 0; h.shards && i < m->store->n_maps; i++)
        safetensors_fini(&h.shards[i]);
    free(h.shards);
    free(h.all.v);
    return e;
}
