/* model_digest.c - The digest of a model's bytes. Files are cut into pieces of
 * a fixed size that threads digest at once; the model's digest is that of all
 * lengths and pieces in order, so that it depends on the bytes alone. Files
 * are read through their descriptors: see model_map.c. */
#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/thr.h"
#include "engine/model_priv.h"

#define PIECE_BYTES ((size_t)16 << 20)
#define READ_BYTES  ((size_t)256 << 10)
#define THREADS_MAX 8

/* A piece of a file. */
struct piece {
    const struct model_map *map;
    size_t from, len;
    struct digest digest;
};

/* What the threads share. */
struct digest_job {
    struct piece *pieces;
    size_t n;
    const _Atomic bool *stop;
    _Atomic size_t next;
    _Atomic int err; /* enum err */
};

static enum err digest_part(const struct digest_job *w, const struct piece *p,
                            char *room, struct digest_ctx *ctx)
{
    size_t at = p->from, len = p->len;

    while (len > 0 && !atomic_load(w->stop)) {
        size_t want = len < READ_BYTES ? len : READ_BYTES;
        ssize_t got = pread(p->map->fd, room, want, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        digest_update(ctx, room, (size_t)got);
        at += (size_t)got;
        len -= (size_t)got;
    }
    return len > 0 ? ERR_CLOSED : ERR_OK;
}

static enum err digest_piece(const struct digest_job *w, struct piece *p,
                             char *room, struct digest_ctx *ctx)
{
    enum err e = ERR_OK;

    if (p->map->fd < 0)
        digest_update(ctx, p->map->bytes.p + p->from, p->len);
    else
        e = digest_part(w, p, room, ctx);
    p->digest = digest_final(ctx);
    return e;
}

static void work_body(void *arg)
{
    struct digest_ctx *ctx = digest_new();
    char *room = malloc(READ_BYTES);
    struct digest_job *w = arg;
    enum err e = ctx && room ? ERR_OK : ERR_NOMEM;
    size_t i;

    while (e == ERR_OK && atomic_load(&w->err) == ERR_OK &&
           (i = atomic_fetch_add(&w->next, 1)) < w->n)
        e = digest_piece(w, &w->pieces[i], room, ctx);
    if (e != ERR_OK)
        atomic_store(&w->err, (int)e);
    digest_free(ctx);
    free(room);
}

/* Threads worth having for <n> pieces. */
static unsigned count_threads(size_t n)
{
    unsigned cores = 1;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        cores = (unsigned)CPU_COUNT(&set);
    if (cores > THREADS_MAX)
        cores = THREADS_MAX;
    return n < cores ? (unsigned)n : cores;
}

static enum err run_work(struct digest_job *w)
{
    unsigned n = count_threads(w->n);
    struct thr threads[THREADS_MAX];
    unsigned started = 0;

    while (started + 1 < n &&
           thr_start(&threads[started], "digest", work_body, w) == ERR_OK)
        started++;
    work_body(w);
    for (unsigned i = 0; i < started; i++)
        thr_join(&threads[i]);
    return (enum err)atomic_load(&w->err);
}

static size_t count_pieces(const struct model_store *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_maps; i++)
        n += (s->maps[i].bytes.len + PIECE_BYTES - 1) / PIECE_BYTES;
    return n;
}

static void cut_pieces(const struct model_store *s, struct piece *to)
{
    for (size_t i = 0; i < s->n_maps; i++) {
        const struct model_map *map = &s->maps[i];

        for (size_t at = 0; at < map->bytes.len; at += PIECE_BYTES) {
            size_t left = map->bytes.len - at;

            *to++ =
                (struct piece){.map = map,
                               .from = at,
                               .len = left < PIECE_BYTES ? left : PIECE_BYTES};
        }
    }
}

static void add_length(struct digest_ctx *ctx, uint64_t len)
{
    uint64_t le = htole64(len);

    digest_update(ctx, &le, sizeof(le));
}

/* Put the pieces together. */
static enum err sum_up(const struct digest_job *w, struct model *m)
{
    struct digest_ctx *ctx = digest_new();
    struct digest all;

    if (!ctx)
        return ERR_NOMEM;
    add_length(ctx, m->store->config.len);
    digest_update(ctx, m->store->config.p, m->store->config.len);
    for (size_t i = 0; i < w->n; i++) {
        if (w->pieces[i].from == 0)
            add_length(ctx, w->pieces[i].map->bytes.len);
        digest_update(ctx, w->pieces[i].digest.b, DIGEST_BYTES);
    }
    all = digest_final(ctx);
    digest_free(ctx);
    digest_hex(all.b, DIGEST_BYTES, m->digest);
    return ERR_OK;
}

enum err model_digest(struct model *m)
{
    struct digest_job w = {.n = count_pieces(m->store),
                           .stop = &m->store->stop};
    enum err e;

    w.pieces = calloc(w.n + 1, sizeof(*w.pieces));
    if (!w.pieces)
        return ERR_NOMEM;
    cut_pieces(m->store, w.pieces);
    e = run_work(&w);
    if (e == ERR_OK && !model_is_whole(m))
        e = ERR_IO;
    if (e == ERR_OK)
        e = sum_up(&w, m);
    free(w.pieces);
    return e;
}

void model_digest_stop(struct model *m)
{
    atomic_store(&m->store->stop, true);
}
