/* discover.c - What upstreams without `models` serve: their GET /models, asked
 * for now and then by one worker, parsed by a thread of the resolver (a long
 * list would hold the loop up), kept in one table that any thread may read.
 * A failure keeps the last list. */
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <sys/queue.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mbox.h"
#include "conf/conf.h"
#include "exchange/producer.h"
#include "exchange/sink.h"
#include "exchange/worker.h"
#include "upstream/model_list.h"
#include "upstream/provider.h"
#include "upstream/resolve.h"
#include "upstream/upstream.h"

/* Bounds of an answer. */
#define BODY_BYTES (4 * 1024 * 1024)
#define PAGES_MAX  100

/* When to ask again. */
#define AGAIN_MS    300000
#define FAILED_MS   15000
#define FETCH_BYTES (256 * 1024)

/* Anthropic pages its list, twenty ids a page unless asked for more. */
#define PAGE_QUERY  "?limit=1000"
#define QUERY_BYTES 1024

/* What is known of one upstream. */
struct known {
    UT_hash_handle hh;
    struct arena *mem;       /* owned; holds this */
    char *name;              /* in <mem> */
    struct model_list *list; /* one reference */
};

/* An answer on its way through a thread. */
struct parse {
    struct resolver_job job;
    struct mbox_msg link;
    struct discover *d;        /* borrowed */
    struct arena *mem;         /* owned; holds this */
    struct str name;           /* in <mem> */
    struct buf body;           /* owned */
    struct model_list *before; /* one reference: earlier pages, or NULL */
    struct model_list *list;   /* the result, one reference, or NULL */
};

/* One upstream that is asked. */
struct fetch {
    struct sink sink; /* first */
    LIST_ENTRY(fetch) link;
    struct discover *d;             /* borrowed */
    struct arena *mem;              /* owned; holds this */
    const struct conf_upstream *up; /* borrowed from d->conf */
    struct arena *round;            /* owned; of the request under way */
    struct producer *producer;      /* of the request under way, or NULL */
    struct parse *parsing;          /* borrowed: its answer, or NULL */
    struct model_list *so_far;      /* one reference: earlier pages, or NULL */
    unsigned pages;                 /* read so far, of this list */
    struct buf body;                /* owned */
    int status;
    bool too_large;
    bool failing;    /* a failure was logged since the last success */
    uint64_t due_us; /* UINT64_MAX while asking or parsing */
};

/* The table and who fills it. */
struct discover {
    struct arena *mem;         /* owned; holds this */
    struct resolver *resolver; /* borrowed */
    pthread_mutex_t lock;      /* guards <table> and <parsing>; innermost */
    pthread_cond_t idle;       /* <parsing> fell to 0 */
    struct known *table;
    unsigned parsing; /* jobs not done yet */
    /* Of the one worker only: */
    struct worker *w;  /* borrowed; NULL: stopped */
    struct conf *conf; /* counted */
    struct event timer;
    struct event parsed_ev;
    struct mbox parsed;
    LIST_HEAD(, fetch) fetches;
};

/* --- on a thread of the resolver ---------------------------------------- */

static void parse_run(struct resolver_job *job)
{
    struct parse *pa = MBOX_ENTRY(job, struct parse, job);
    struct discover *d = pa->d;

    clock_update();
    pa->list = model_list_read(buf_str(&pa->body), pa->before);
    pthread_mutex_lock(&d->lock);
    mbox_push(&d->parsed, &pa->link);
    if (--d->parsing == 0)
        pthread_cond_signal(&d->idle);
    pthread_mutex_unlock(&d->lock);
}

static void parse_free(struct parse *pa)
{
    model_list_unref(pa->before);
    model_list_unref(pa->list);
    buf_fini(&pa->body);
    arena_free(pa->mem);
}

/* Send the body of <f> to a thread; false without memory. */
static bool parse_start(struct fetch *f)
{
    struct discover *d = f->d;
    struct arena *mem = arena_new(512, 4096);
    struct parse *pa = mem ? arena_alloc(mem, sizeof(*pa)) : NULL;

    if (pa)
        pa->name = arena_dup(mem, f->up->name);
    if (!pa || !pa->name.p) {
        arena_free(mem);
        return false;
    }
    pa->mem = mem;
    pa->d = d;
    pa->job.run = parse_run;
    pa->before = f->so_far;
    f->so_far = NULL;
    f->parsing = pa;
    pa->body = f->body;
    buf_init(&f->body, BODY_BYTES);
    pthread_mutex_lock(&d->lock);
    d->parsing++;
    pthread_mutex_unlock(&d->lock);
    resolver_submit(d->resolver, &pa->job);
    return true;
}

/* --- asking ------------------------------------------------------------- */

/* Set the timer for the next request that is due. */
static void discover_arm(struct discover *d)
{
    uint64_t now = clock_mono_us(), at = UINT64_MAX;
    struct fetch *f;
    struct timeval tv;

    LIST_FOREACH(f, &d->fetches, link)
    if (f->due_us < at)
        at = f->due_us;
    if (at == UINT64_MAX)
        return;
    at = at > now ? at - now : 0;
    tv.tv_sec = (time_t)(at / 1000000);
    tv.tv_usec = (suseconds_t)(at % 1000000);
    if (event_add(&d->timer, &tv) != 0)
        log_err(LOG_UPSTREAM, "no timer: models are not asked for again");
}

static void fetch_failed(struct fetch *f, const char *why)
{
    log_at(f->failing ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, LOG_UPSTREAM,
           "model list not fetched: upstream=%.*s status=%d reason=\"%s\"",
           STR_ARG(f->up->name), f->status, why);
    f->failing = true;
    model_list_unref(f->so_far);
    f->so_far = NULL;
    f->pages = 0;
    f->due_us = clock_mono_us() + FAILED_MS * UINT64_C(1000);
    discover_arm(f->d);
}

static void on_head(struct sink *s, const struct reply_head *head)
{
    ((struct fetch *)s)->status = head->status;
}

static enum flow on_data(struct sink *s, struct str bytes)
{
    struct fetch *f = (struct fetch *)s;

    if (!f->too_large && buf_put_str(&f->body, bytes) != ERR_OK)
        f->too_large = true;
    return FLOW_MORE;
}

static void on_end(struct sink *s, const struct produce_end *how)
{
    struct fetch *f = (struct fetch *)s;
    const char *why = NULL;

    f->producer = NULL;
    if (how->err != ERR_OK)
        why = how->text ? how->text : err_name(how->err);
    else if (f->status != 200)
        why = "unexpected status";
    else if (f->too_large)
        why = "the list is too large";
    else if (!parse_start(f))
        why = "no memory";
    if (why)
        fetch_failed(f, why);
    buf_fini(&f->body);
    arena_free(f->round);
    f->round = NULL;
}

static const struct sink_ops fetch_ops = {
    .head = on_head,
    .data = on_data,
    .end = on_end,
};

/* The query for the page that is next, in f->round; p is NULL without
 * memory. */
static struct str page_query(const struct fetch *f)
{
    struct str query = {NULL, 0};
    struct buf b;

    if (f->up->dialect != CONF_DIALECT_ANTHROPIC)
        return STR("");
    if (!f->so_far)
        return STR(PAGE_QUERY);
    buf_init(&b, QUERY_BYTES);
    if (buf_put_str(&b, STR(PAGE_QUERY "&after_id=")) == ERR_OK &&
        provider_put_encoded(&b, f->so_far->next) == ERR_OK)
        query = arena_dup(f->round, buf_str(&b));
    buf_fini(&b);
    return query;
}

static void fetch_start(struct fetch *f)
{
    struct conf_timeouts t = f->up->timeouts;
    struct xfer_spec spec = {
        .up = f->up,
        .method = STR("GET"),
        .suffix = STR("/models"),
        .timeouts = &t,
    };

    t.first_byte_ms = 20000;
    t.idle_ms = 20000;
    t.total_ms = 30000;
    f->status = 0;
    f->too_large = false;
    f->due_us = UINT64_MAX;
    f->round = spec.arena = arena_new(4096, FETCH_BYTES);
    if (f->round)
        spec.query = page_query(f);
    if (spec.query.p)
        f->producer = xfer_start(f->d->w->upstreams, NULL, &spec, &f->sink);
    if (f->producer)
        return;
    arena_free(f->round);
    f->round = NULL;
    fetch_failed(f, "no memory");
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    struct discover *d = arg;
    struct fetch *f;
    uint64_t now;

    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    clock_update();
    now = clock_mono_us();
    LIST_FOREACH(f, &d->fetches, link)
    if (f->due_us <= now)
        fetch_start(f);
    discover_arm(d);
}

/* --- answers ------------------------------------------------------------ */

/* Keep <list> (its reference moves) as what <name> serves. */
static void table_set(struct discover *d, struct str name,
                      struct model_list *list)
{
    struct known *k = NULL;
    struct arena *mem = NULL;

    pthread_mutex_lock(&d->lock);
    HASH_FIND(hh, d->table, name.p, name.len, k);
    if (!k) {
        mem = arena_new(512, 4096);
        k = mem ? arena_alloc(mem, sizeof(*k)) : NULL;
        if (k)
            k->name = arena_printf(mem, "%.*s", STR_ARG(name));
        if (k && k->name) {
            k->mem = mem;
            HASH_ADD_KEYPTR(hh, d->table, k->name, name.len, k);
        }
        if (!k || !k->name || !MAP_ADDED(k)) {
            arena_free(mem);
            k = NULL;
        }
    }
    if (k) {
        model_list_unref(k->list);
        k->list = list;
    }
    pthread_mutex_unlock(&d->lock);
    if (!k)
        model_list_unref(list);
}

/* The page that <f> waited for is read: <list> is all so far, NULL if it is no
 * list. True: that is the whole list now. */
static bool fetch_take(struct fetch *f, struct model_list *list)
{
    f->parsing = NULL;
    if (!list) {
        fetch_failed(f, "the reply is no list of models");
        return false;
    }
    if (list->next.len > 0 && f->up->dialect == CONF_DIALECT_ANTHROPIC &&
        ++f->pages < PAGES_MAX) {
        f->so_far = list;
        fetch_start(f);
        return false;
    }
    f->failing = false;
    f->pages = 0;
    f->due_us = clock_mono_us() + AGAIN_MS * UINT64_C(1000);
    log_debug(LOG_UPSTREAM, "model list fetched: upstream=%.*s models=%zu",
              STR_ARG(f->up->name), list->shown.count);
    discover_arm(f->d);
    return true;
}

static void on_parsed(struct mbox_msg *m, void *arg)
{
    struct parse *pa = MBOX_ENTRY(m, struct parse, link);
    struct discover *d = arg;
    struct model_list *list = pa->list;
    struct fetch *f;

    /* An answer to a request from before a reload is nobody's. */
    LIST_FOREACH(f, &d->fetches, link)
    if (f->parsing == pa)
        break;
    if (f) {
        pa->list = NULL;
        if (fetch_take(f, list))
            table_set(d, pa->name, list);
    }
    parse_free(pa);
}

static void on_parsed_ready(evutil_socket_t fd, short what, void *arg)
{
    struct discover *d = arg;

    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    clock_update();
    mbox_drain(&d->parsed, 0, on_parsed, d);
}

static void drop_parsed(struct mbox_msg *m, void *arg)
{
    (void)arg; /* nobody wants it */
    parse_free(MBOX_ENTRY(m, struct parse, link));
}

/* --- life --------------------------------------------------------------- */

struct discover *discover_new(struct resolver *r)
{
    struct arena *mem = arena_new(sizeof(struct discover) + 64, 4096);
    struct discover *d = mem ? arena_alloc(mem, sizeof(*d)) : NULL;

    if (!d || mbox_init(&d->parsed) != ERR_OK) {
        arena_free(mem);
        return NULL;
    }
    d->mem = mem;
    d->resolver = r;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->idle, NULL);
    LIST_INIT(&d->fetches);
    return d;
}

void discover_stop(struct discover *d)
{
    struct fetch *f;

    while ((f = LIST_FIRST(&d->fetches)) != NULL) {
        LIST_REMOVE(f, link);
        if (f->producer)
            f->producer->ops->cancel(f->producer);
        model_list_unref(f->so_far);
        buf_fini(&f->body);
        arena_free(f->round);
        arena_free(f->mem);
    }
    if (!d->w)
        return;
    event_del(&d->timer);
    event_del(&d->parsed_ev);
    conf_unref(d->conf);
    d->conf = NULL;
    d->w = NULL;
}

/* Forget upstreams that are gone or name their models now. */
static void table_prune(struct discover *d)
{
    struct known *k, *tmp;

    pthread_mutex_lock(&d->lock);
    HASH_ITER(hh, d->table, k, tmp)
    {
        int i = conf_upstream_find(d->conf, str_from(k->name));

        if (i >= 0 && !d->conf->upstreams[i].models_given)
            continue;
        HASH_DEL(d->table, k);
        model_list_unref(k->list);
        arena_free(k->mem);
    }
    pthread_mutex_unlock(&d->lock);
}

static void fetch_new(struct discover *d, const struct conf_upstream *up)
{
    struct arena *mem = arena_new(512, 4096);
    struct fetch *f = mem ? arena_alloc(mem, sizeof(*f)) : NULL;

    if (!f) {
        arena_free(mem);
        log_err(LOG_UPSTREAM, "no memory to ask for models: upstream=%.*s",
                STR_ARG(up->name));
        return;
    }
    f->sink.ops = &fetch_ops;
    f->d = d;
    f->mem = mem;
    f->up = up;
    buf_init(&f->body, BODY_BYTES);
    LIST_INSERT_HEAD(&d->fetches, f, link);
    fetch_start(f);
}

void discover_run(struct discover *d, struct worker *w)
{
    discover_stop(d);
    d->w = w;
    d->conf = conf_ref(w->conf);
    event_assign(&d->timer, w->base, -1, 0, on_due, d);
    event_assign(&d->parsed_ev, w->base, mbox_fd(&d->parsed),
                 EV_READ | EV_PERSIST, on_parsed_ready, d);
    if (event_add(&d->parsed_ev, NULL) != 0)
        log_err(LOG_UPSTREAM, "no event: models are not asked for");
    table_prune(d);
    for (size_t i = 0; i < d->conf->n_upstreams; i++)
        if (!d->conf->upstreams[i].models_given)
            fetch_new(d, &d->conf->upstreams[i]);
}

void discover_free(struct discover *d)
{
    struct known *k, *tmp;

    if (!d)
        return;
    discover_stop(d);
    pthread_mutex_lock(&d->lock);
    while (d->parsing > 0)
        pthread_cond_wait(&d->idle, &d->lock);
    pthread_mutex_unlock(&d->lock);
    mbox_drain(&d->parsed, 0, drop_parsed, NULL);
    mbox_fini(&d->parsed);
    HASH_ITER(hh, d->table, k, tmp)
    {
        HASH_DEL(d->table, k);
        model_list_unref(k->list);
        arena_free(k->mem);
    }
    pthread_cond_destroy(&d->idle);
    pthread_mutex_destroy(&d->lock);
    arena_free(d->mem);
}

/* --- asking the table --------------------------------------------------- */

/* What is known of <name>, with the lock held; or NULL. */
static struct model_list *table_get(struct discover *d, struct str name)
{
    struct known *k = NULL;

    HASH_FIND(hh, d->table, name.p, name.len, k);
    return k ? k->list : NULL;
}

enum discover_answer discover_serves(struct discover *d, struct str name,
                                     struct str model)
{
    enum discover_answer answer = DISCOVER_UNKNOWN;
    struct model_list *l;

    pthread_mutex_lock(&d->lock);
    l = table_get(d, name);
    if (l)
        answer = model_list_has(l, model) ? DISCOVER_YES : DISCOVER_NO;
    pthread_mutex_unlock(&d->lock);
    return answer;
}

const struct discover_list *discover_list_get(struct discover *d,
                                              struct str name)
{
    struct model_list *l;

    pthread_mutex_lock(&d->lock);
    l = table_get(d, name);
    if (l)
        atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&d->lock);
    return l ? &l->shown : NULL;
}

void discover_list_unref(const struct discover_list *l)
{
    /* Lists are const to their readers; only the count changes. */
    model_list_unref((struct model_list *)(uintptr_t)l);
}
