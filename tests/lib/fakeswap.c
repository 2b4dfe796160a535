/* fakeswap.c - See fakeswap.h. */
#include "lib/fakeswap.h"

#include "lib/enginerig.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

static struct kvswap_page *stored(struct kvswap *w, const struct digest *hash)
{
    for (unsigned i = 0; i < w->n_pages; i++)
        if (memcmp(w->pages[i]->hash.b, hash->b, DIGEST_BYTES) == 0)
            return w->pages[i];
    return NULL;
}

unsigned kvswap_era(struct kvswap *w)
{
    return w->era + 1;
}

struct kvswap_page *kvswap_offer(struct kvswap *w, const struct kv_key *key,
                                 void **room_out)
{
    struct kvswap_page *p;

    w->cost_us += key->cost_us;
    if (w->refuse) {
        w->n_refused++;
        return NULL;
    }
    p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->hash = key->hash;
    *room_out = p->payload;
    return p;
}

void kvswap_push(struct kvswap *w, struct kvswap_page *p)
{
    assert_null(stored(w, &p->hash));
    assert_true(w->n_pages < FAKE_PAGES);
    w->pages[w->n_pages++] = p;
}

void kvswap_page_done(struct kvswap *w, struct kvswap_page *p)
{
    (void)w;
    free(p);
}

void kvswap_touch(struct kvswap *w, const struct digest *chain, unsigned n,
                  unsigned n_hit)
{
    (void)chain;
    w->n_touches++;
    w->last_n = n;
    w->last_hit = n_hit;
}

void kvswap_load(struct kvswap *w, struct kvswap_load *l)
{
    assert_true(w->n_loads < FAKE_LOADS);
    w->loads[w->n_loads++] = l;
    w->n_finds += l->stage == KVSWAP_FIND;
    w->n_reads += l->stage == KVSWAP_READ;
}

double kvswap_expect_s(struct kvswap *w, unsigned pages, unsigned warm)
{
    assert_true(pages > 0 && warm <= pages);
    return w->expect_s;
}

void kvswap_count(struct kvswap *w, unsigned found, unsigned restored,
                  uint64_t saved_us)
{
    assert_true(restored <= found);
    w->restored += restored;
    w->recomputed += restored == 0 ? found : 0;
    w->saved_us += saved_us;
}

static void find(struct kvswap *w, struct kvswap_load *l)
{
    l->found = 0;
    while (l->found < l->n && stored(w, &l->chain[l->found]))
        l->found++;
}

static void read_pages(struct kvswap *w, struct kvswap_load *l)
{
    l->done = 0;
    while (l->done < l->n_to && l->from + l->done + 1 != w->bad &&
           !atomic_load(&l->cancelled)) {
        const unsigned i = l->from + l->done;
        const struct kvswap_page *p = stored(w, &l->chain[i]);

        assert_non_null(p);
        memcpy(l->to[i], p->payload, sizeof(p->payload));
        l->done++;
    }
    l->us = 10;
    l->cost_us = 100;
}

void fake_swap_answer(struct kvswap *w)
{
    struct kvswap_load *l = w->loads[0];

    assert_true(w->n_loads > 0);
    memmove(w->loads, w->loads + 1,
            --w->n_loads * sizeof(struct kvswap_load *));
    if (l->stage == KVSWAP_FIND)
        find(w, l);
    else
        read_pages(w, l);
    mbox_push(l->answer, &l->head.link);
}

void fake_swap_finish(struct kvswap *w, struct rig *r)
{
    unsigned idle = 0;

    while (idle < 2) {
        const bool ran = rig_turn(r);

        idle = ran || w->n_loads > 0 ? 0 : idle + 1;
        while (w->n_loads > 0)
            fake_swap_answer(w);
    }
}

void fake_swap_fini(struct kvswap *w)
{
    for (unsigned i = 0; i < w->n_pages; i++)
        free(w->pages[i]);
    w->n_pages = 0;
}
