/* cache_store.c - The store of replies as others see it: what is asked of the
 * queue and of the file, and the one thread that writes. It never waits for
 * more to come: what is there is one transaction, what comes meanwhile is the
 * next one. */
#include "store/cache_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thr.h"
#include "store/cache_queue.h"

/* How long opening waits for the file, if nothing else is said. */
#define OPEN_WAIT_MS 300

/* Replies that wait take no more memory than this, or two of the largest. */
#define QUEUE_BYTES ((uint64_t)64 << 20)

/* How often the file is tended, dead readers are looked for, and a file that
 * cannot be opened is tried again; while another process holds it, sooner. */
#define TEND_MS   1000
#define READER_MS 60000
#define AGAIN_MS  3000
#define HELD_MS   100

/* How often a step of a purge that found no room is tried again. */
#define PURGE_TRIES 8

struct cache_store {
    struct cache_db db;
    struct cache_queue q;
    struct thr writer;
    _Atomic uint64_t next_id;
    uint64_t tended_ms; /* the writer's own, as the rest */
    uint64_t readers_ms;
    uint64_t again_ms;
    struct cache_take take;
};

/* --- the writer ---------------------------------------------------------- */

static uint64_t now_ms(void)
{
    return clock_now_us() / 1000;
}

static bool is_open(const struct cache_store *s)
{
    return atomic_load_explicit(&s->db.is_open, memory_order_relaxed);
}

static void write_puts(struct cache_store *s, struct cache_take *t)
{
    if (t->n == 0)
        return;
    if (!is_open(s)) {
        cache_count(&s->db, CACHE_N_DROPPED_SHUT, t->n);
        return;
    }
    const enum err err = cache_db_write(&s->db, t->puts, t->n);
    if (err != ERR_OK)
        cache_count(&s->db, CACHE_N_DROPPED_ERROR, t->n);
    if (err != ERR_OK && log_is_on(LOG_LEVEL_DEBUG))
        log_debug(LOG_STORE, "replies are not kept: count=%u error=%s", t->n,
                  err_name(err));
}

static void delete_some(struct cache_store *s, struct cache_take *t)
{
    for (unsigned i = 0; i < t->n_bad && is_open(s); i++)
        cache_db_mend(&s->db, cache_db_delete(&s->db, &t->bad[i]));
    for (unsigned i = 0; i < t->n_drops && is_open(s); i++)
        cache_db_mend(&s->db, cache_db_drop(&s->db, &t->drops[i]));
}

/* Open the file where it is not. */
static void open_again(struct cache_store *s)
{
    if (is_open(s) || now_ms() < s->again_ms)
        return;
    const enum err err = cache_db_open(&s->db);
    s->again_ms = now_ms() + (err == ERR_EXISTS ? HELD_MS : AGAIN_MS);
    if (err != ERR_EXISTS)
        cache_queue_tried(&s->q);
}

static void tend(struct cache_store *s)
{
    const uint64_t now = now_ms();

    open_again(s);
    if (!is_open(s) || now < s->tended_ms)
        return;
    s->tended_ms = now + TEND_MS;
    cache_db_tend(&s->db);
    struct env *env = atomic_load(&s->db.env);
    if (env_probe(env) != ENV_FINE)
        cache_db_mend(&s->db, ERR_IO);
    if (now < s->readers_ms)
        return;
    s->readers_ms = now + READER_MS;
    env_drop_stale_readers(env);
}

static void writer_main(void *arg)
{
    struct cache_store *s = arg;
    struct cache_take *t = &s->take;

    do {
        tend(s);
        cache_queue_take(&s->q, s->db.batch, is_open(s) ? TEND_MS : HELD_MS, t);
        write_puts(s, t);
        delete_some(s, t);
        if (t->job)
            t->job->result = t->job->fn(&s->db, t->job);
        cache_queue_done(&s->q, t);
    } while (!t->is_over);
}

/* --- open and close ------------------------------------------------------ */

static uint64_t queue_bytes(const struct cache_db *d)
{
    return d->max_entry_bytes > QUEUE_BYTES / 2 ? 2 * d->max_entry_bytes
                                                : QUEUE_BYTES;
}

enum err cache_store_open(const struct cache_store_opts *opts,
                          struct cache_store **out)
{
    struct cache_store *s = calloc(1, sizeof(*s));
    uint64_t id;

    if (!s)
        return ERR_NOMEM;
    enum err err = cache_db_init(&s->db, opts);
    cache_queue_init(&s->q, queue_bytes(&s->db));
    digest_random(&id, sizeof(id));
    atomic_store(&s->next_id, id);
    if (err == ERR_OK)
        err = thr_start(&s->writer, "cache", writer_main, s);
    if (err != ERR_OK) {
        cache_store_close(s);
        return err;
    }
    cache_queue_wait(&s->q, opts->wait_ms ? opts->wait_ms : OPEN_WAIT_MS);
    *out = s;
    return ERR_OK;
}

void cache_store_close(struct cache_store *s)
{
    if (!s)
        return;
    cache_queue_end(&s->q);
    thr_join(&s->writer);
    cache_db_close(&s->db);
    cache_queue_fini(&s->q);
    free(s);
}

/* --- finding ------------------------------------------------------------- */

/* Give the next bytes of <p>, which waits. */
static enum err give(const struct cache_put *p, struct cache_found *f,
                     struct buf *out)
{
    const uint64_t left = p->bytes.len - f->bytes_read;
    const size_t n =
        left < CACHE_PIECE_BYTES ? (size_t)left : CACHE_PIECE_BYTES;

    ERR_TRY(buf_put(out, p->bytes.p + f->bytes_read, n));
    f->bytes_read += n;
    return ERR_OK;
}

static enum err give_first(const struct cache_put *p,
                           const struct cache_key *key, struct cache_found *out,
                           struct buf *bytes_out)
{
    struct cache_found f = {
        .key = p->key,
        .is_exact = memcmp(p->key.exact.b, key->exact.b, DIGEST_BYTES) == 0,
        .made_wall_ms = p->made_wall_ms,
        .until_wall_ms = p->until_wall_ms,
        .bytes_total = p->bytes.len,
        .id = p->id};

    ERR_TRY(give(p, &f, bytes_out));
    *out = f;
    return ERR_OK;
}

/* Have deleted what a reader found to be of no use. */
static void report(struct cache_store *s, const struct cache_bad *bad)
{
    if (!bad->is_any)
        return;
    cache_count(&s->db, bad->is_over ? CACHE_N_EXPIRED : CACHE_N_CORRUPT, 1);
    if (!bad->is_over)
        log_warn(LOG_STORE,
                 "a stored reply is damaged, and deleted: dir=%s entry=%llu",
                 s->db.dir, (unsigned long long)bad->seq);
    cache_queue_bad(&s->q, bad);
}

static enum err find_in_file(struct cache_store *s, const struct cache_key *key,
                             enum cache_how how, int64_t now_wall_ms,
                             struct cache_found *out, struct buf *bytes_out)
{
    struct cache_bad bad;
    const enum err err =
        cache_db_find(&s->db, key, how, now_wall_ms, out, bytes_out, &bad);

    report(s, &bad);
    return err;
}

enum err cache_store_find(struct cache_store *s, const struct cache_key *key,
                          enum cache_how how, int64_t now_wall_ms,
                          struct cache_found *out, struct buf *bytes_out)
{
    struct cache_put *p = cache_queue_find(&s->q, key, how, now_wall_ms);
    enum err err = ERR_NOT_FOUND;

    /* One that is on disk and exact is better than one that is not. */
    if (p && memcmp(p->key.exact.b, key->exact.b, DIGEST_BYTES) != 0)
        err =
            find_in_file(s, key, CACHE_EXACT_ONLY, now_wall_ms, out, bytes_out);
    if (p && err != ERR_OK)
        err = give_first(p, key, out, bytes_out);
    else if (!p)
        err = find_in_file(s, key, how, now_wall_ms, out, bytes_out);
    cache_put_unref(p);
    return err;
}

enum err cache_store_read_on(struct cache_store *s, struct cache_found *found,
                             struct buf *bytes_out)
{
    struct cache_put *p = cache_queue_find_id(&s->q, &found->key, found->id);
    struct cache_bad bad = {.is_any = false};
    enum err err;

    if (p)
        err = give(p, found, bytes_out);
    else
        err = cache_db_read_on(&s->db, found, bytes_out, &bad);
    cache_put_unref(p);
    report(s, &bad);
    return err;
}

void cache_store_drop(struct cache_store *s, const struct cache_key *key)
{
    cache_queue_drop(&s->q, key);
}

/* --- keeping ------------------------------------------------------------- */

struct cache_put *cache_put_new(struct cache_store *s,
                                const struct cache_about *about)
{
    const struct str texts[3] = {about->key_id, about->team, about->model};
    const size_t len = texts[0].len + texts[1].len + texts[2].len;
    size_t at = 0;

    if (len > CACHE_TEXT_MAX)
        return NULL;
    struct cache_put *p = calloc(1, sizeof(*p) + len);
    if (!p)
        return NULL;
    atomic_store(&p->refs, 1);
    buf_init(&p->bytes, (size_t)s->db.max_entry_bytes);
    for (unsigned i = 0; i < 3; i++) {
        p->text_len[i] = (uint16_t)texts[i].len;
        if (texts[i].len > 0)
            memcpy(p->text + at, texts[i].p, texts[i].len);
        at += texts[i].len;
    }
    return p;
}

void cache_put_free(struct cache_put *p)
{
    cache_put_unref(p);
}

/* Why <p> is not even queued; CACHE_N_COUNT: it is. */
static enum cache_count refused(struct cache_store *s, struct cache_put *p)
{
    if (p->bytes.len > s->db.max_entry_bytes)
        return CACHE_N_DROPPED_SIZE;
    if (!is_open(s))
        return CACHE_N_DROPPED_SHUT;
    switch (cache_queue_put(&s->q, p)) {
    case ERR_OK:
        return CACHE_N_COUNT;
    case ERR_FULL:
        return CACHE_N_DROPPED_QUEUE;
    default:
        return CACHE_N_PURGED;
    }
}

void cache_store_put(struct cache_store *s, struct cache_put *p)
{
    p->id = atomic_fetch_add(&s->next_id, 1);
    const enum cache_count why = refused(s, p);
    if (why == CACHE_N_COUNT)
        return; /* it is the writer's now */
    cache_count(&s->db, why, 1);
    if (p->done)
        p->done(p->arg);
    cache_put_unref(p);
}

static enum err no_job(struct cache_db *d, struct cache_job *j)
{
    (void)d;
    (void)j;
    return ERR_OK;
}

void cache_store_flush(struct cache_store *s)
{
    do {
        struct cache_job job = {.fn = no_job};

        cache_queue_run(&s->q, &job);
    } while (cache_queue_bytes(&s->q) > 0);
}

uint64_t cache_store_epoch(const struct cache_store *s)
{
    return atomic_load(&s->q.epoch);
}

/* --- purging, verifying, counting ---------------------------------------- */

static bool is_all(const struct cache_purge *what)
{
    return what->key_id.len + what->team.len + what->model.len == 0;
}

static enum err purge_all(struct cache_db *d, struct cache_job *j)
{
    j->purged->entries = atomic_load(&d->entries);
    j->purged->bytes = atomic_load(&d->used_pages) * CACHE_PAGE_BYTES;
    cache_count(d, CACHE_N_PURGED, j->purged->entries);
    return cache_db_anew(d, NULL, false);
}

/* Delete what is meant from *<seq> on, as far as one transaction goes. Deleting
 * takes pages, too, and those of the transaction before are not free while
 * somebody reads what was there then. */
static enum err purge_some(struct cache_db *d, struct cache_job *j,
                           uint64_t *seq)
{
    enum err err = cache_db_purge(d, j->purge, seq, j->purged);

    for (unsigned i = 0; err == ERR_FULL && i < PURGE_TRIES; i++) {
        (void)env_wait_held(atomic_load(&d->env));
        err = cache_db_purge(d, j->purge, seq, j->purged);
    }
    return err;
}

static enum err purge_job(struct cache_db *d, struct cache_job *j)
{
    uint64_t seq = 0;
    enum err err;

    cache_db_forget_aside(d);
    if (is_all(j->purge))
        return purge_all(d, j);
    if (!atomic_load(&d->is_open))
        return ERR_CLOSED;
    do
        err = purge_some(d, j, &seq);
    while (err == ERR_OK);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    cache_db_mend(d, err);
    return ERR_IO;
}

enum err cache_store_purge(struct cache_store *s,
                           const struct cache_purge *what,
                           struct cache_purged *out)
{
    struct cache_purged purged = {0};
    struct cache_job job = {.fn = purge_job, .purge = what, .purged = &purged};

    cache_queue_purge(&s->q, what);
    cache_queue_run(&s->q, &job);
    if (job.result == ERR_OK)
        *out = purged;
    return job.result;
}

/* Delete the damaged ones of <p>. */
static enum err bad_job(struct cache_db *d, struct cache_job *j)
{
    const struct cache_proof *p = j->proof;
    enum err err = ERR_OK;

    for (unsigned i = 0; err == ERR_OK && i < p->n_bad; i++)
        err = cache_db_delete(d, &p->bad[i]);
    return err;
}

enum err cache_store_verify(struct cache_store *s, struct cache_verified *out)
{
    struct cache_proof *p = calloc(1, sizeof(*p));
    struct cache_verified v = {0};
    enum err err = p ? ERR_OK : ERR_NOMEM;

    while (err == ERR_OK) {
        struct cache_job job = {.fn = bad_job, .proof = p};

        err = cache_db_prove(&s->db, p);
        v.damaged += p->n_bad;
        if (p->n_bad == 0)
            continue;
        cache_count(&s->db, CACHE_N_CORRUPT, p->n_bad);
        cache_queue_run(&s->q, &job);
        if (err == ERR_OK)
            err = job.result;
    }
    v.entries = p ? p->entries : 0;
    free(p);
    if (err != ERR_NOT_FOUND)
        return err;
    *out = v;
    return ERR_OK;
}

void cache_store_stats(struct cache_store *s, struct cache_stats *out)
{
    const struct cache_db *d = &s->db;
    uint64_t n[CACHE_N_COUNT];

    for (unsigned i = 0; i < CACHE_N_COUNT; i++)
        n[i] = atomic_load_explicit(&d->n[i], memory_order_relaxed);
    *out = (struct cache_stats){.is_open = atomic_load(&d->is_open),
                                .is_disk_full = atomic_load(&d->is_disk_full),
                                .entries = atomic_load(&d->entries),
                                .bytes = atomic_load(&d->used_pages) *
                                         CACHE_PAGE_BYTES,
                                .file_bytes = atomic_load(&d->file_bytes),
                                .max_bytes = d->max_bytes,
                                .queued_bytes = cache_queue_bytes(&s->q),
                                .stored = n[CACHE_N_STORED],
                                .replaced = n[CACHE_N_REPLACED],
                                .evicted = n[CACHE_N_EVICTED],
                                .kept = n[CACHE_N_KEPT],
                                .expired = n[CACHE_N_EXPIRED],
                                .purged = n[CACHE_N_PURGED],
                                .corrupt = n[CACHE_N_CORRUPT],
                                .dropped_queue = n[CACHE_N_DROPPED_QUEUE],
                                .dropped_size = n[CACHE_N_DROPPED_SIZE],
                                .dropped_shut = n[CACHE_N_DROPPED_SHUT],
                                .dropped_error = n[CACHE_N_DROPPED_ERROR],
                                .write_errors = n[CACHE_N_WRITE_ERRORS],
                                .anew = n[CACHE_N_ANEW]};
}
