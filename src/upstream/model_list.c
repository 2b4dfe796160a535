/* model_list.c - See model_list.h. Names are sorted, so that looking one up is
 * a binary search; what cannot be a name is passed over. */
#include "upstream/model_list.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"

#define LIST_BYTES (8 * 1024 * 1024)

static int id_compare(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n > 0 ? memcmp(x->p, y->p, n) : 0;

    if (c != 0)
        return c;
    return x->len < y->len ? -1 : x->len > y->len;
}

/* Whether <id> may be a model's name. */
static bool id_is_good(struct str id)
{
    for (size_t i = 0; i < id.len; i++)
        if ((unsigned char)id.p[i] < ' ' || id.p[i] == 0x7f)
            return false;
    return id.len > 0 && id.len <= MODEL_LIST_ID_BYTES;
}

/* Sort <ids> and drop those that stand twice. */
static size_t ids_settle(struct str *ids, size_t n)
{
    size_t kept = 0;

    qsort(ids, n, sizeof(*ids), id_compare);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !str_eq(ids[kept - 1], ids[i]))
            ids[kept++] = ids[i];
    return kept;
}

static struct str id_of(const json_t *s)
{
    return (struct str){json_string_value(s), json_string_length(s)};
}

/* Copy <id> to the end of <l>, whose <ids> has room for it. */
static bool add_id(struct model_list *l, struct str *ids, struct str id)
{
    struct str copy = arena_dup(l->mem, id);

    if (!copy.p)
        return false;
    ids[l->shown.count++] = copy;
    return true;
}

/* Fill <l> with the names of <before> and of the array <data>. */
static bool take_ids(struct model_list *l, const json_t *data,
                     const struct model_list *before)
{
    size_t old = before ? before->shown.count : 0;
    size_t all = json_array_size(data);
    size_t room = old + all < MODEL_LIST_MAX ? old + all : MODEL_LIST_MAX;
    struct str *ids = arena_alloc(l->mem, (room + 1) * sizeof(*ids));

    if (!ids)
        return false;
    for (size_t i = 0; i < old; i++)
        if (!add_id(l, ids, before->shown.ids[i]))
            return false;
    for (size_t i = 0; i < all && l->shown.count < room; i++) {
        struct str id = id_of(json_object_get(json_array_get(data, i), "id"));

        if (id_is_good(id) && !add_id(l, ids, id))
            return false;
    }
    l->shown.ids = ids;
    l->shown.count = ids_settle(ids, l->shown.count);
    return true;
}

/* Whether the page <root> is followed by another: `has_more` and `last_id`. */
static bool take_next(struct model_list *l, const json_t *root,
                      const struct model_list *before)
{
    struct str last = id_of(json_object_get(root, "last_id"));
    size_t old = before ? before->shown.count : 0;

    if (!json_is_true(json_object_get(root, "has_more")) || !id_is_good(last) ||
        l->shown.count <= old || l->shown.count >= MODEL_LIST_MAX)
        return true;
    l->next = arena_dup(l->mem, last);
    return l->next.p != NULL;
}

static struct model_list *list_new(const json_t *root,
                                   const struct model_list *before)
{
    const json_t *data =
        json_is_array(root) ? root : json_object_get(root, "data");
    struct arena *mem;
    struct model_list *l;

    if (!json_is_array(data))
        return NULL;
    mem = arena_new(4096, LIST_BYTES);
    l = mem ? arena_alloc(mem, sizeof(*l)) : NULL;
    if (l)
        l->mem = mem;
    if (!l || !take_ids(l, data, before) || !take_next(l, root, before)) {
        arena_free(mem);
        return NULL;
    }
    l->shown.fetched_wall_ms = clock_wall_ms();
    atomic_init(&l->refs, 1);
    return l;
}

struct model_list *model_list_read(struct str body,
                                   const struct model_list *before)
{
    json_t *root = json_loadb(body.p, body.len, 0, NULL);
    struct model_list *l = list_new(root, before);

    json_decref(root);
    return l;
}

bool model_list_has(const struct model_list *l, struct str id)
{
    return bsearch(&id, l->shown.ids, l->shown.count, sizeof(id), id_compare) !=
           NULL;
}

void model_list_unref(struct model_list *l)
{
    if (l && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
        arena_free(l->mem);
}
