/* sched_stage.c - Pages between the device and the host, where the device has
 * memory of its own: what is brought back is read into staging memory and
 * copied from there, wave by wave, the next one being read while the last one
 * is copied; what is stored is copied out beside the steps. Nothing here waits:
 * copies are looked at once a turn. On the host a page is read into its own
 * place, in one wave without a copy. */
#include <stdlib.h>

#include "base/panic.h"
#include "engine/graph.h"
#include "engine/kvswap.h"
#include "engine/sched_priv.h"

/* Staging memory: at most so many bytes, and slots of a page each. */
#define STAGE_BYTES ((size_t)256 << 20)

/* --- slots ---------------------------------------------------------------- */

/* Take staging memory at its first use; false without any. */
static bool stage_open(struct sched *s)
{
    struct stage *g = &s->stage;
    size_t n;

    if (g->base)
        return true;
    g->slot_bytes = (graph_page_bytes(s->g) + 4095) / 4096 * 4096;
    n = STAGE_BYTES / g->slot_bytes;
    g->n = n < 2 ? 2 : n < STAGE_SLOTS ? (unsigned)n : STAGE_SLOTS;
    g->base = graph_host_alloc(s->g, g->n * g->slot_bytes);
    return g->base != NULL;
}

void sched_stage_close(struct sched *s)
{
    if (s->stage.base)
        graph_host_free(s->g, s->stage.base);
    s->stage.base = NULL;
}

/* A free slot, or -1. */
static int slot_take(struct stage *g)
{
    for (unsigned i = 0; i < g->n; i++)
        if (!g->used[i]) {
            g->used[i] = true;
            return (int)i;
        }
    return -1;
}

static void *slot_room(const struct stage *g, int slot)
{
    return (char *)g->base + (size_t)slot * g->slot_bytes;
}

/* --- waves ---------------------------------------------------------------- */

/* <v> is over: its slots are free. */
static void wave_end(struct sched *s, struct wave *v)
{
    for (unsigned i = 0; i < v->n_slots; i++)
        s->stage.used[v->slot[i]] = false;
    v->n_slots = 0;
    v->at = WAVE_IDLE;
}

/* Let the wave <v>, which is idle, be as many of the next pages of <r> as there
 * are slots for; false when there is none. */
static bool wave_begin(struct sched *s, struct restore *r, struct wave *v)
{
    unsigned n = r->n_pages - r->n_read;

    if (!stage_open(s))
        return false;
    if (n > s->stage.n / 2)
        n = s->stage.n / 2;
    v->first = r->n_read;
    while (v->n_slots < n) {
        int slot = slot_take(&s->stage);

        if (slot < 0)
            break;
        r->load.to[v->first + v->n_slots] = slot_room(&s->stage, slot);
        v->slot[v->n_slots++] = slot;
    }
    return v->n_slots > 0;
}

/* Have the next pages of <r> read, when there is room for them. */
static void read_next(struct sched *s, struct restore *r)
{
    struct wave *v = &r->wave[r->wave[0].at != WAVE_IDLE];

    if (r->ended || r->n_read == r->n_pages || v->at != WAVE_IDLE ||
        r->wave[0].at == WAVE_READ || r->wave[1].at == WAVE_READ)
        return;
    if (graph_is_host(s->g)) {
        for (unsigned i = 0; i < r->n_pages; i++)
            r->load.to[i] = graph_page_room(s->g, (unsigned)r->pages[i]);
        r->load.n_to = r->n_pages;
    } else if (wave_begin(s, r, v)) {
        r->load.n_to = v->n_slots;
    } else if (!s->stage.base) {
        r->ended = true; /* no memory: what was read so far is what there is */
        return;
    } else {
        return;
    }
    v->at = WAVE_READ;
    r->load.from = r->n_read;
    kvswap_load(atomic_load(&s->swap), &r->load);
}

/* Queue the copies of the first <n> pages of <v>; how many were. */
static unsigned copy_in(struct sched *s, struct restore *r, struct wave *v,
                        unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++)
        if (graph_page_in(s->g, (unsigned)r->pages[v->first + i],
                          r->load.to[v->first + i], &v->ticket) != ERR_OK)
            break;
    return i;
}

void sched_read_begin(struct sched *s, struct restore *r)
{
    r->load.stage = KVSWAP_READ;
    read_next(s, r);
}

void sched_read_answer(struct sched *s, struct restore *r)
{
    const struct kvswap_load *l = &r->load;
    struct wave *v = &r->wave[r->wave[0].at != WAVE_READ];

    BUG_ON(v->at != WAVE_READ);
    r->us += l->us;
    r->cost_us += l->cost_us;
    r->n_read += l->done;
    if (l->done < l->n_to)
        r->ended = true;
    if (graph_is_host(s->g)) {
        r->n_ok = r->n_read;
        v->at = WAVE_IDLE;
        return;
    }
    v->n_copies = copy_in(s, r, v, l->done);
    if (v->n_copies < l->done)
        r->ended = true;
    if (v->n_copies > 0)
        v->at = WAVE_COPY;
    else
        wave_end(s, v);
    read_next(s, r);
}

/* Look whether the copies of <v> are over. */
static void wave_look(struct sched *s, struct restore *r, struct wave *v)
{
    bool failed = false;

    if (v->at != WAVE_COPY || !graph_page_done(s->g, v->ticket, &failed))
        return;
    if (failed)
        r->ended = true;
    else if (v->first == r->n_ok)
        r->n_ok += v->n_copies;
    wave_end(s, v);
}

bool sched_read_over(struct sched *s, struct restore *r)
{
    struct wave *old = &r->wave[r->wave[1].at == WAVE_COPY &&
                                r->wave[1].first < r->wave[0].first];

    if (r->load.stage != KVSWAP_READ)
        return false;
    wave_look(s, r, old);
    wave_look(s, r, old == &r->wave[0] ? &r->wave[1] : &r->wave[0]);
    if (atomic_load(&r->load.cancelled))
        r->ended = true;
    read_next(s, r);
    return r->wave[0].at == WAVE_IDLE && r->wave[1].at == WAVE_IDLE &&
           (r->ended || r->n_read == r->n_pages);
}

/* --- pages to be stored --------------------------------------------------- */

/* The copy <o> is over: hand it to the disk, unless it is not to be stored any
 * more. */
static void out_end(struct sched *s, struct page_out *o, bool failed)
{
    struct kvswap *w = atomic_load(&s->swap);

    if (failed && s->kept[o->page] == o->era)
        s->kept[o->page] = 0;
    if (failed || o->era != kvswap_era(w))
        kvswap_page_done(w, o->p);
    else
        kvswap_push(w, o->p);
    s->copying[o->page]--;
}

enum err sched_page_out(struct sched *s, int32_t page, struct kvswap_page *p,
                        void *room, unsigned era)
{
    struct page_out *o = calloc(1, sizeof(*o));
    bool failed = false;
    enum err e;

    if (!o)
        return ERR_NOMEM;
    *o = (struct page_out){.p = p, .page = page, .era = era};
    e = graph_page_out(s->g, (unsigned)page, room, &o->ticket);
    if (e != ERR_OK) {
        free(o);
        return e;
    }
    s->copying[page]++;
    s->kept[page] = era;
    if (STAILQ_EMPTY(&s->outs) && graph_page_done(s->g, o->ticket, &failed)) {
        out_end(s, o, failed);
        free(o);
    } else {
        STAILQ_INSERT_TAIL(&s->outs, o, link);
    }
    return ERR_OK;
}

void sched_outs(struct sched *s)
{
    struct page_out *o;

    while ((o = STAILQ_FIRST(&s->outs)) != NULL) {
        bool failed = false;

        if (!graph_page_done(s->g, o->ticket, &failed))
            return;
        STAILQ_REMOVE_HEAD(&s->outs, link);
        out_end(s, o, failed);
        free(o);
    }
}

bool sched_has_copies(const struct sched *s)
{
    const struct restore *r;

    LIST_FOREACH(r, &s->restores, link)
    if (r->wave[0].at == WAVE_COPY || r->wave[1].at == WAVE_COPY)
        return true;
    return !STAILQ_EMPTY(&s->outs);
}
