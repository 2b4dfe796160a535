/* kvpool.c - See kvpool.h. Lists are links between entries of one table, so
 * that no page ever allocates. Holders give their pages back from the last to
 * the first; a cached page is therefore always older than the page before it
 * in its text, and giving up the oldest gives up ends, never middles. */
#include "engine/kvpool.h"

#include <stdlib.h>

#include "base/panic.h"

enum err kvpool_init(struct kvpool *p, unsigned n_pages)
{
    struct kvpage *pages = calloc(n_pages, sizeof(*pages));

    BUG_ON(n_pages == 0 || n_pages > INT32_MAX);
    if (!pages)
        return ERR_NOMEM;
    for (unsigned i = 0; i < n_pages; i++)
        pages[i].next = i + 1 < n_pages ? (int32_t)i + 1 : -1;
    *p = (struct kvpool){.pages = pages,
                         .n_pages = n_pages,
                         .n_free = n_pages,
                         .oldest = -1,
                         .newest = -1};
    return ERR_OK;
}

void kvpool_fini(struct kvpool *p)
{
    free(p->pages);
    p->pages = NULL;
}

/* The entry of <page>. */
static struct kvpage *entry(const struct kvpool *p, int32_t page)
{
    BUG_ON(page < 0 || (unsigned)page >= p->n_pages);
    return &p->pages[page];
}

static void make_free(struct kvpool *p, int32_t page)
{
    p->pages[page].next = p->free_head;
    p->free_head = page;
    p->n_free++;
}

static void make_cached(struct kvpool *p, int32_t page)
{
    struct kvpage *e = &p->pages[page];

    e->prev = p->newest;
    e->next = -1;
    if (p->newest >= 0)
        p->pages[p->newest].next = page;
    else
        p->oldest = page;
    p->newest = page;
    p->n_cached++;
}

/* Take <page> out of the cached ones. */
static void uncache(struct kvpool *p, int32_t page)
{
    struct kvpage *e = &p->pages[page];

    if (e->prev >= 0)
        p->pages[e->prev].next = e->next;
    else
        p->oldest = e->next;
    if (e->next >= 0)
        p->pages[e->next].prev = e->prev;
    else
        p->newest = e->prev;
    p->n_cached--;
}

int32_t kvpool_take(struct kvpool *p)
{
    int32_t page = p->free_head;

    if (page < 0)
        return -1;
    p->free_head = p->pages[page].next;
    p->n_free--;
    p->pages[page].refs = 1;
    return page;
}

void kvpool_ref(struct kvpool *p, int32_t page)
{
    struct kvpage *e = entry(p, page);

    BUG_ON(e->refs == 0 && !e->indexed);
    if (e->refs == 0)
        uncache(p, page);
    e->refs++;
}

void kvpool_unref(struct kvpool *p, int32_t page)
{
    struct kvpage *e = entry(p, page);

    BUG_ON(e->refs == 0);
    e->refs--;
    if (e->refs > 0)
        return;
    if (e->indexed)
        make_cached(p, page);
    else
        make_free(p, page);
}

void kvpool_mark(struct kvpool *p, int32_t page)
{
    struct kvpage *e = entry(p, page);

    BUG_ON(e->refs == 0 || e->indexed);
    e->indexed = true;
}

void kvpool_unmark(struct kvpool *p, int32_t page)
{
    struct kvpage *e = entry(p, page);

    BUG_ON(!e->indexed);
    e->indexed = false;
    if (e->refs > 0)
        return;
    uncache(p, page);
    make_free(p, page);
}

bool kvpool_is_private(const struct kvpool *p, int32_t page)
{
    const struct kvpage *e = entry(p, page);

    return e->refs == 1 && !e->indexed;
}
