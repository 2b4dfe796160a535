/* model_list.h - What an upstream says it serves: read from the pages of its
 * GET /models, immutable once read, counted. */
#ifndef TG_UPSTREAM_MODEL_LIST_H
#define TG_UPSTREAM_MODEL_LIST_H

#include "base/str.h"
#include "upstream/upstream.h"

#include <stdatomic.h>
#include <stdbool.h>

struct arena;

/* Most names of a list, and the longest one. */
#define MODEL_LIST_MAX      10000
#define MODEL_LIST_ID_BYTES 256

/* A list with what its users need not see; <shown> first. */
struct model_list {
    struct discover_list shown;
    struct arena *mem; /* owned; holds this */
    struct str next;   /* in <mem>: another page begins after this id; empty:
                        * the list is whole */
    _Atomic unsigned refs;
};

/* The names on the page <body> and those of <before>, the pages so far (NULL:
 * it is the first), with one reference. A page that adds no name is the last.
 * Blocks for a long page: not for a loop. NULL: <body> is no list of models,
 * or no memory. */
struct model_list *model_list_read(struct str body,
                                   const struct model_list *before);

/* Whether <id> is in <l>. */
bool model_list_has(const struct model_list *l, struct str id);

/* Drop a reference; NULL is fine. Any thread. */
void model_list_unref(struct model_list *l);

#endif
