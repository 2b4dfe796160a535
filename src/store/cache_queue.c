/* cache_queue.c - See cache_queue.h. A reply stays in its bucket until it is on
 * disk, so that whoever looks here first and in the file then finds it in one
 * of the two. */
#include "store/cache_queue.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/panic.h"

/* Bytes that a reply takes beside its own. */
#define PUT_BYTES 512

/* --- replies ------------------------------------------------------------- */

void cache_put_unref(struct cache_put *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    buf_fini(&p->bytes);
    free(p);
}

static uint64_t bytes_of(const struct cache_put *p)
{
    return p->bytes.room + PUT_BYTES;
}

static struct str text_of(const struct cache_put *p, unsigned i)
{
    size_t at = 0;

    for (unsigned k = 0; k < i; k++)
        at += p->text_len[k];
    return str_of(p->text + at, p->text_len[i]);
}

/* --- buckets ------------------------------------------------------------- */

static struct cache_put **bucket_of(struct cache_queue *q,
                                    const struct cache_key *key)
{
    uint16_t n;

    memcpy(&n, key->same.b, sizeof(n));
    return &q->buckets[n % CACHE_BUCKETS];
}

static void bucket_remove(struct cache_queue *q, struct cache_put *p)
{
    struct cache_put **at = bucket_of(q, &p->key);

    while (*at && *at != p)
        at = &(*at)->next_same;
    BUG_ON(!*at);
    *at = p->next_same;
    atomic_fetch_sub(&q->n_pending, 1);
}

static bool is_same(const struct digest *a, const struct digest *b)
{
    return memcmp(a->b, b->b, DIGEST_BYTES) == 0;
}

static struct cache_put *ref(struct cache_put *p)
{
    if (p)
        atomic_fetch_add(&p->refs, 1);
    return p;
}

struct cache_put *cache_queue_find(struct cache_queue *q,
                                   const struct cache_key *key,
                                   enum cache_how how, int64_t now_wall_ms)
{
    struct cache_put *any = NULL;
    struct cache_put *p;

    if (atomic_load_explicit(&q->n_pending, memory_order_acquire) == 0)
        return NULL;
    pthread_mutex_lock(&q->lock);
    for (p = *bucket_of(q, key); p; p = p->next_same) {
        if (atomic_load(&p->is_off) || !is_same(&p->key.same, &key->same) ||
            p->until_wall_ms <= now_wall_ms)
            continue;
        if (is_same(&p->key.exact, &key->exact))
            break;
        any = any ? any : p;
    }
    if (!p && how == CACHE_ANY)
        p = any;
    ref(p);
    pthread_mutex_unlock(&q->lock);
    return p;
}

struct cache_put *cache_queue_find_id(struct cache_queue *q,
                                      const struct cache_key *key, uint64_t id)
{
    struct cache_put *p;

    if (atomic_load_explicit(&q->n_pending, memory_order_acquire) == 0)
        return NULL;
    pthread_mutex_lock(&q->lock);
    for (p = *bucket_of(q, key); p; p = p->next_same)
        if (p->id == id && !atomic_load(&p->is_off))
            break;
    ref(p);
    pthread_mutex_unlock(&q->lock);
    return p;
}

/* --- purges -------------------------------------------------------------- */

/* The texts that <what> gives, or those of a reply that fit its fields, as one
 * digest: what is remembered of a purge has one size. */
static struct digest texts_digest(uint8_t fields, const struct str texts[3])
{
    uint8_t room[CACHE_TEXT_MAX + 16];
    size_t n = 0;

    room[n++] = fields;
    for (unsigned i = 0; i < 3; i++) {
        const size_t len = texts[i].len;

        if ((fields & 1u << i) == 0)
            continue;
        BUG_ON(n + 2 + len > sizeof(room));
        room[n++] = (uint8_t)len;
        room[n++] = (uint8_t)(len >> 8);
        memcpy(room + n, texts[i].p, len);
        n += len;
    }
    return digest_sha256(room, n);
}

/* Whether the purge <past> means <p>. */
static bool past_means(const struct cache_past *past, const struct cache_put *p)
{
    const struct str texts[3] = {text_of(p, 0), text_of(p, 1), text_of(p, 2)};

    if (past->is_any)
        return true;
    const struct digest is = texts_digest(past->fields, texts);
    return memcmp(is.b, past->what.b, DIGEST_BYTES) == 0;
}

/* Whether a purge since <p> was asked for means it. */
static bool was_purged(const struct cache_queue *q, const struct cache_put *p)
{
    const uint64_t now = atomic_load(&q->epoch);

    if (p->epoch + CACHE_PURGES < now)
        return true;
    for (uint64_t e = p->epoch + 1; e <= now; e++)
        if (past_means(&q->past[e % CACHE_PURGES], p))
            return true;
    return false;
}

static void past_note(struct cache_queue *q, const struct cache_purge *what)
{
    const struct str texts[3] = {what->key_id, what->team, what->model};
    const uint64_t e = atomic_load(&q->epoch) + 1;
    struct cache_past *past = &q->past[e % CACHE_PURGES];
    size_t len = 0;

    *past = (struct cache_past){.epoch = e};
    for (unsigned i = 0; i < 3; i++) {
        past->fields |= (uint8_t)(texts[i].len > 0 ? 1u << i : 0);
        len += texts[i].len;
    }
    past->is_any = past->fields == 0;
    if (len <= CACHE_TEXT_MAX) /* else nothing has such texts */
        past->what = texts_digest(past->fields, texts);
    atomic_store(&q->epoch, e);
}

void cache_queue_purge(struct cache_queue *q, const struct cache_purge *what)
{
    pthread_mutex_lock(&q->lock);
    past_note(q, what);
    for (unsigned i = 0; i < CACHE_BUCKETS; i++)
        for (struct cache_put *p = q->buckets[i]; p; p = p->next_same)
            if (cache_purge_means(what, text_of(p, 0), text_of(p, 1),
                                  text_of(p, 2)))
                atomic_store(&p->is_off, true);
    pthread_mutex_unlock(&q->lock);
}

/* --- handing over -------------------------------------------------------- */

enum err cache_queue_put(struct cache_queue *q, struct cache_put *p)
{
    struct cache_put **bucket = bucket_of(q, &p->key);
    enum err err = ERR_OK;

    pthread_mutex_lock(&q->lock);
    if (was_purged(q, p))
        err = ERR_REFUSED;
    else if (q->is_over ||
             (q->bytes > 0 && q->bytes + bytes_of(p) > q->max_bytes))
        err = ERR_FULL;
    if (err == ERR_OK) {
        p->next_same = *bucket;
        *bucket = p;
        if (q->last)
            q->last->next_queued = p;
        else
            q->first = p;
        q->last = p;
        q->bytes += bytes_of(p);
        atomic_fetch_add(&q->n_pending, 1);
        pthread_cond_signal(&q->work);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

void cache_queue_bad(struct cache_queue *q, const struct cache_bad *bad)
{
    pthread_mutex_lock(&q->lock);
    if (q->n_bad < CACHE_BAD_MAX)
        q->bad[q->n_bad++] = *bad;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
}

void cache_queue_drop(struct cache_queue *q, const struct cache_key *key)
{
    pthread_mutex_lock(&q->lock);
    for (struct cache_put *p = *bucket_of(q, key); p; p = p->next_same)
        if (is_same(&p->key.same, &key->same) &&
            is_same(&p->key.exact, &key->exact))
            atomic_store(&p->is_off, true);
    if (q->n_drops < CACHE_BAD_MAX)
        q->drops[q->n_drops++] = *key;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
}

void cache_queue_run(struct cache_queue *q, struct cache_job *j)
{
    struct cache_job **at = &q->jobs;

    pthread_mutex_lock(&q->lock);
    while (*at)
        at = &(*at)->next;
    *at = j;
    pthread_cond_signal(&q->work);
    while (!j->is_done)
        pthread_cond_wait(&q->state, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

static struct timespec in_ms(uint32_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

void cache_queue_wait(struct cache_queue *q, uint32_t wait_ms)
{
    const struct timespec until = in_ms(wait_ms);

    pthread_mutex_lock(&q->lock);
    while (!q->is_tried &&
           pthread_cond_timedwait(&q->state, &q->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&q->lock);
}

/* --- the writer's side --------------------------------------------------- */

static void take_puts(struct cache_queue *q, uint64_t max_pages,
                      struct cache_take *out)
{
    uint64_t pages = 0;

    while (q->first && out->n < CACHE_BATCH_MAX) {
        struct cache_put *p = q->first;

        pages += cache_put_pages(p);
        if (out->n > 0 && pages > max_pages)
            return;
        q->first = p->next_queued;
        if (!q->first)
            q->last = NULL;
        out->puts[out->n++] = p;
    }
}

static void take_rest(struct cache_queue *q, struct cache_take *out)
{
    const unsigned room = sizeof(out->bad) / sizeof(out->bad[0]);

    while (q->n_bad > 0 && out->n_bad < room)
        out->bad[out->n_bad++] = q->bad[--q->n_bad];
    while (q->n_drops > 0 && out->n_drops < room)
        out->drops[out->n_drops++] = q->drops[--q->n_drops];
    out->job = q->jobs;
    if (out->job)
        q->jobs = out->job->next;
}

void cache_queue_take(struct cache_queue *q, uint64_t max_pages,
                      uint32_t wait_ms, struct cache_take *out)
{
    const struct timespec until = in_ms(wait_ms);

    out->n = out->n_bad = out->n_drops = 0;
    pthread_mutex_lock(&q->lock);
    while (!q->first && q->n_bad == 0 && q->n_drops == 0 && !q->jobs &&
           !q->is_over &&
           pthread_cond_timedwait(&q->work, &q->lock, &until) == 0)
        continue;
    take_puts(q, max_pages, out);
    take_rest(q, out);
    out->is_over = q->is_over && !q->first && !q->jobs;
    pthread_mutex_unlock(&q->lock);
}

void cache_queue_done(struct cache_queue *q, struct cache_take *t)
{
    pthread_mutex_lock(&q->lock);
    for (unsigned i = 0; i < t->n; i++) {
        bucket_remove(q, t->puts[i]);
        q->bytes -= bytes_of(t->puts[i]);
    }
    if (t->job) {
        t->job->is_done = true;
        pthread_cond_broadcast(&q->state);
    }
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0; i < t->n; i++) {
        if (t->puts[i]->done)
            t->puts[i]->done(t->puts[i]->arg);
        cache_put_unref(t->puts[i]);
    }
    t->n = 0;
    t->job = NULL;
}

void cache_queue_tried(struct cache_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->is_tried = true;
    pthread_cond_broadcast(&q->state);
    pthread_mutex_unlock(&q->lock);
}

void cache_queue_end(struct cache_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->is_over = true;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
}

uint64_t cache_queue_bytes(struct cache_queue *q)
{
    pthread_mutex_lock(&q->lock);
    const uint64_t bytes = q->bytes;
    pthread_mutex_unlock(&q->lock);
    return bytes;
}

void cache_queue_init(struct cache_queue *q, uint64_t max_bytes)
{
    pthread_condattr_t attr;

    memset(q, 0, sizeof(*q));
    q->max_bytes = max_bytes;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->work, &attr);
    pthread_cond_init(&q->state, &attr);
    pthread_condattr_destroy(&attr);
}

void cache_queue_fini(struct cache_queue *q)
{
    BUG_ON(q->first || q->jobs);
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->state);
    pthread_mutex_destroy(&q->lock);
}
