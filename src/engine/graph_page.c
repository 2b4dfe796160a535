/* graph_page.c - Pages of keys and values as others move them about. */
#include "engine/graph.h"

#include "engine/graph_priv.h"

bool graph_is_host(const struct graph *g)
{
    return krn_is_host(g->c);
}

unsigned graph_page_tokens(const struct graph *g)
{
    return krn_page_tokens(g->c);
}

size_t graph_page_bytes(const struct graph *g)
{
    return krn_kv_page_bytes(&g->kv);
}

static uint8_t *page_at(struct graph *g, unsigned page)
{
    return (uint8_t *)g->kv.pages + page * krn_kv_page_bytes(&g->kv);
}

enum err graph_page_copy(struct graph *g, unsigned to, unsigned from)
{
    return graph_err(krn_kv_copy(g->c, &g->kv, to, from));
}

void *graph_page_room(struct graph *g, unsigned page)
{
    return krn_is_host(g->c) ? page_at(g, page) : NULL;
}

void *graph_host_alloc(struct graph *g, size_t bytes)
{
    return krn_host_alloc(g->c, bytes);
}

void graph_host_free(struct graph *g, void *p)
{
    krn_host_free(g->c, p);
}

enum err graph_page_out(struct graph *g, unsigned page, void *host,
                        uint64_t *ticket_out)
{
    return graph_err(krn_page_out(g->c, &g->kv, page, host, ticket_out));
}

enum err graph_page_in(struct graph *g, unsigned page, const void *host,
                       uint64_t *ticket_out)
{
    return graph_err(krn_page_in(g->c, &g->kv, page, host, ticket_out));
}

bool graph_page_done(struct graph *g, uint64_t ticket, bool *failed)
{
    return krn_page_done(g->c, ticket, failed);
}
