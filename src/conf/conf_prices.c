/* conf_prices.c - Reads the price file: a date, and a list of entries that
 * each name models and tell what they cost. Decides in which order names are
 * looked at; what a missing price means is decided where costs are computed.
 *
 *   updated: 2026-11-21
 *   stale_after: 90d
 *   prices:
 *     - {target: openai, model: gpt-5*, aliases: [fast], input: 1.25, ...}
 */
#include "conf/conf_prices.h"

#include <stdlib.h>

#include "base/clock.h"
#include "conf/conf_bind.h"
#include "conf/conf_parse.h"

#define NAMES_MAX      20000
#define DAY_MS         INT64_C(86400000)
#define STALE_AFTER_MS (90 * DAY_MS)
#define STALE_MAX_MS   (36500 * DAY_MS)
#define NODES_CAP      (256UL * 1024 * 1024)

/* A name on its way, with its place in the file. */
struct slot {
    struct conf_price_name name;
    const struct ynode *at;
};

/* What a reading carries. */
struct reader {
    const struct say *say;   /* borrowed */
    const struct conf *conf; /* borrowed; NULL: targets are not checked */
    struct arena *mem;       /* borrowed; the snapshot's */
    struct conf_prices p;
    struct conf_price *prices; /* p.prices while they are filled */
    struct slot *slots;        /* in the nodes' arena */
    size_t n_slots;
    int64_t now_days;
    bool nomem;
};

static const char *const top_keys[] = {"updated", "stale_after", "prices",
                                       NULL};
static const char *const entry_keys[] = {"model", "target", "aliases",
                                         "updated", NULL};

static struct str dup(struct reader *r, struct str s)
{
    struct str d = arena_dup(r->mem, s);

    r->nomem = r->nomem || !d.p;
    return d;
}

/* --- keys --------------------------------------------------------------- */

static bool is_one_of(struct str key, const char *const *keys)
{
    for (; *keys; keys++)
        if (str_eq(key, str_from(*keys)))
            return true;
    return false;
}

static void nearest(struct str key, const char *name, unsigned *best,
                    const char **near)
{
    unsigned d = conf_parse_distance(key, str_from(name));

    if (d > *best || (*near && d == *best))
        return;
    *best = d;
    *near = name;
}

static void unknown_key(const struct reader *r, const struct ynode *key,
                        const char *const *keys, bool items)
{
    unsigned best = 1 + (unsigned)(key->text.len / 3);
    const char *near = NULL;

    for (size_t i = 0; keys[i]; i++)
        nearest(key->text, keys[i], &best, &near);
    for (int i = 0; items && i < CONF_PRICE_COUNT; i++)
        nearest(key->text, conf_price_item_name((enum conf_price_item)i), &best,
                &near);
    if (near)
        say_error(r->say, key, "unknown key %s%s; write %s",
                  conf_quote(key->text).c, items ? " in prices[]" : "", near);
    else
        say_error(r->say, key,
                  "unknown key %s%s; remove it, or see PRICES in "
                  "tollgate.yaml(5)",
                  conf_quote(key->text).c, items ? " in prices[]" : "");
}

/* The price called <key>, CONF_PRICE_COUNT if there is none. */
static enum conf_price_item item_of(struct str key)
{
    enum conf_price_item i = CONF_PRICE_INPUT;

    while (i < CONF_PRICE_COUNT &&
           !str_eq(key, str_from(conf_price_item_name(i))))
        i++;
    return i;
}

/* --- values ------------------------------------------------------------- */

static void read_amount(struct reader *r, const struct ynode *n,
                        enum conf_price_item i, struct conf_price *out)
{
    const char *fault;

    if (n->kind == YNODE_NULL)
        return;
    out->given |= 1U << i;
    if (n->kind != YNODE_SCALAR) {
        say_error(r->say, n, "prices[].%s must be an amount of USD, e.g. 1.25",
                  conf_price_item_name(i));
        return;
    }
    fault =
        conf_price_parse(n->text, i < CONF_PRICE_TOKENS ? 6 : 9, &out->at[i]);
    if (fault)
        say_error(r->say, n, "prices[].%s: \"%s\" %s", conf_price_item_name(i),
                  conf_quote(n->text).c, fault);
}

/* Read the day of <n>; <what> names the key. */
static bool read_day(const struct reader *r, const struct ynode *n,
                     const char *what, int64_t *out)
{
    if (n->kind != YNODE_SCALAR || !conf_price_day(n->text, out)) {
        say_error(r->say, n, "%s: \"%s\" is no day; write e.g. 2026-11-21",
                  what, conf_quote(n->text).c);
        return false;
    }
    if (*out > r->now_days + 1)
        say_warning(r->say, n,
                    "%s: %s is in the future; write the day on which the "
                    "prices were checked",
                    what, conf_quote(n->text).c);
    else if (r->p.stale_after_ms > 0 &&
             (r->now_days - *out) * DAY_MS > r->p.stale_after_ms)
        say_warning(r->say, n,
                    "%s: the prices of %s are stale, they were checked %lld "
                    "days ago; check them and write the day",
                    what, conf_quote(n->text).c,
                    (long long)(r->now_days - *out));
    return true;
}

static void read_stale_after(struct reader *r, const struct ynode *n)
{
    int64_t ms = 0;

    r->p.stale_after_ms = STALE_AFTER_MS;
    if (!n)
        return;
    if (n->kind != YNODE_SCALAR || !conf_parse_duration(n->text, &ms) ||
        ms > STALE_MAX_MS)
        say_error(r->say, n,
                  "stale_after: \"%s\" is no such duration; write 0 for never, "
                  "or e.g. 90d",
                  conf_quote(n->text).c);
    else
        r->p.stale_after_ms = ms;
}

/* --- names -------------------------------------------------------------- */

static bool is_glob(struct str s)
{
    return str_find_char(s, '*') < s.len || str_find_char(s, '?') < s.len;
}

/* Whether <n> is a name or glob; told if it is not. */
static bool name_is_good(const struct reader *r, const struct ynode *n,
                         const char *key)
{
    if (n->kind == YNODE_SCALAR && conf_parse_is_glob(n->text))
        return true;
    say_error(r->say, n,
              "prices[].%s must be a name or a glob of at most 8 stars; write "
              "e.g. gpt-5*",
              key);
    return false;
}

/* How many names <n> holds at most. */
static size_t count_names(const struct ynode *n)
{
    if (!n)
        return 0;
    return n->kind == YNODE_LIST ? n->n_pairs : 1;
}

static void add_name(struct reader *r, const struct ynode *at, struct str model,
                     const struct conf_price_name *shape)
{
    struct slot *s = &r->slots[r->n_slots];

    s->at = at;
    s->name = *shape;
    s->name.order = (unsigned)r->n_slots++;
    s->name.model = dup(r, model);
    s->name.model_glob = is_glob(model);
}

/* Add the names of <n>, a name or a list of them. */
static void add_names(struct reader *r, const struct ynode *n, const char *key,
                      const struct conf_price_name *shape)
{
    const struct ypair *p = n->kind == YNODE_LIST ? n->pairs : NULL;

    if (n->kind == YNODE_LIST && n->n_pairs == 0)
        say_error(r->say, n, "prices[].%s is empty; name a model", key);
    if (n->kind != YNODE_LIST && name_is_good(r, n, key))
        add_name(r, n, n->text, shape);
    for (; p; p = p->next)
        if (name_is_good(r, p->node, key))
            add_name(r, p->node, p->node->text, shape);
}

static bool target_is_known(const struct conf *c, struct str name)
{
    for (size_t i = 0; i < c->engine.n_models; i++)
        if (str_eq(c->engine.models[i].name, name))
            return true;
    return conf_upstream_find(c, name) >= 0;
}

static void read_target(struct reader *r, const struct ynode *n,
                        struct conf_price_name *shape)
{
    shape->rank = 2;
    if (!n || !name_is_good(r, n, "target"))
        return;
    shape->target = dup(r, n->text);
    shape->rank = is_glob(n->text) ? 1 : 0;
    if (shape->rank == 0 && r->conf && !target_is_known(r->conf, n->text))
        say_warning(r->say, n,
                    "prices[].target: no upstream or engine model is called "
                    "\"%s\"; this price is never used",
                    conf_quote(n->text).c);
}

/* --- entries ------------------------------------------------------------ */

static void read_items(struct reader *r, const struct ynode *map,
                       struct conf_price *out)
{
    for (const struct ypair *p = map->pairs; p; p = p->next) {
        enum conf_price_item i = item_of(p->key->text);

        if (i < CONF_PRICE_COUNT)
            read_amount(r, p->node, i, out);
        else if (!is_one_of(p->key->text, entry_keys))
            unknown_key(r, p->key, entry_keys, true);
    }
    if (out->given == 0)
        say_error(r->say, map,
                  "prices[] tells no price; write e.g. input: 1.25 and "
                  "output: 10, 0 for what is free");
}

static void read_entry(struct reader *r, const struct ynode *map,
                       struct conf_price *out)
{
    const struct ynode *model = ynode_get(map, "model");
    const struct ynode *aliases = ynode_get(map, "aliases");
    const struct ynode *target = ynode_get(map, "target");
    const struct ynode *updated = ynode_get(map, "updated");
    struct conf_price_name shape = {.price = out};

    if (map->kind != YNODE_MAP) {
        say_error(r->say, map,
                  "prices[] must be KEY: VALUE lines; write e.g. model: "
                  "gpt-5-mini");
        return;
    }
    out->line = map->line;
    out->updated_days = r->p.updated_days;
    if (updated)
        (void)read_day(r, updated, "prices[].updated", &out->updated_days);
    read_items(r, map, out);
    read_target(r, target, &shape);
    if (!model && !target)
        say_error(r->say, map,
                  "prices[] names neither a model nor a target; add model: "
                  "gpt-5-mini, or model: \"*\" for all");
    if (aliases && !model)
        say_error(r->say, aliases,
                  "prices[].aliases are other names of a model; add model:");
    if (model)
        add_names(r, model, "model", &shape);
    else
        add_name(r, map, STR("*"), &shape);
    if (aliases)
        add_names(r, aliases, "aliases", &shape);
}

/* --- the order of names ------------------------------------------------- */

static int compare_bytes(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

    if (c != 0)
        return c;
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

static int compare_order(const struct conf_price_name *a,
                         const struct conf_price_name *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Equal names stand together, the earlier first. */
static int by_text(const void *pa, const void *pb)
{
    const struct conf_price_name *a = &((const struct slot *)pa)->name;
    const struct conf_price_name *b = &((const struct slot *)pb)->name;
    int c = compare_bytes(a->model, b->model);

    if (c == 0)
        c = compare_bytes(a->target, b->target);
    return c != 0 ? c : compare_order(a, b);
}

/* Exact names by text, then globs as they are looked at. */
static int by_use(const void *pa, const void *pb)
{
    const struct conf_price_name *a = &((const struct slot *)pa)->name;
    const struct conf_price_name *b = &((const struct slot *)pb)->name;
    int c;

    if (a->model_glob != b->model_glob)
        return a->model_glob ? 1 : -1;
    c = a->model_glob ? 0 : compare_bytes(a->model, b->model);
    return c != 0 ? c : compare_order(a, b);
}

static void warn_repeated(struct reader *r)
{
    for (size_t i = 1; i < r->n_slots; i++) {
        const struct slot *was = &r->slots[i - 1];
        const struct slot *s = &r->slots[i];

        if (str_eq(was->name.model, s->name.model) &&
            str_eq(was->name.target, s->name.target))
            say_warning(r->say, s->at,
                        "prices[]: \"%s\" has a price in line %u already, "
                        "which holds; remove one of them",
                        conf_quote(s->name.model).c, was->at->line);
    }
}

static void index_names(struct reader *r)
{
    struct conf_price_name *all;
    size_t exact = 0;

    if (r->n_slots == 0 || r->nomem)
        return;
    qsort(r->slots, r->n_slots, sizeof(*r->slots), by_text);
    warn_repeated(r);
    qsort(r->slots, r->n_slots, sizeof(*r->slots), by_use);
    all = arena_alloc(r->mem, r->n_slots * sizeof(*all));
    if (!all) {
        r->nomem = true;
        return;
    }
    for (size_t i = 0; i < r->n_slots; i++) {
        all[i] = r->slots[i].name;
        exact += !all[i].model_glob;
    }
    r->p.exact = all;
    r->p.n_exact = exact;
    r->p.globs = all + exact;
    r->p.n_globs = r->n_slots - exact;
}

/* --- the file ----------------------------------------------------------- */

/* Names that <list> may hold; false, and told, when they are too many. */
static bool room_for(struct reader *r, const struct ynode *list,
                     struct arena *nodes)
{
    size_t n = 0;

    for (const struct ypair *p = list->pairs; p && n <= NAMES_MAX; p = p->next)
        n += 1 + count_names(ynode_get(p->node, "model")) +
             count_names(ynode_get(p->node, "aliases"));
    if (n > NAMES_MAX) {
        say_error(r->say, list, "prices holds more than %d names; use globs",
                  NAMES_MAX);
        return false;
    }
    r->slots = arena_alloc(nodes, (n + 1) * sizeof(*r->slots));
    r->prices = arena_alloc(r->mem, (list->n_pairs + 1) * sizeof(*r->prices));
    r->nomem = !r->slots || !r->prices;
    return !r->nomem;
}

static void read_list(struct reader *r, const struct ynode *list,
                      struct arena *nodes)
{
    if (list->kind != YNODE_LIST) {
        say_error(r->say, list,
                  "prices must be a list of entries; begin each with \"- \"");
        return;
    }
    if (!room_for(r, list, nodes))
        return;
    for (const struct ypair *p = list->pairs; p; p = p->next)
        read_entry(r, p->node, &r->prices[r->p.n_prices++]);
    r->p.prices = r->prices;
    index_names(r);
}

static void read_top(struct reader *r, const struct ynode *root,
                     struct arena *nodes)
{
    const struct ynode *updated = ynode_get(root, "updated");
    const struct ynode *list = ynode_get(root, "prices");

    if (root && root->kind != YNODE_MAP) {
        say_error(r->say, root,
                  "the file must hold KEY: VALUE lines; write e.g. updated: "
                  "2026-11-21");
        return;
    }
    for (const struct ypair *p = root ? root->pairs : NULL; p; p = p->next)
        if (!is_one_of(p->key->text, top_keys))
            unknown_key(r, p->key, top_keys, false);
    read_stale_after(r, ynode_get(root, "stale_after"));
    if (!updated)
        say_error(r->say, root,
                  "updated is missing; add the day on which the prices were "
                  "checked, e.g. updated: 2026-11-21");
    else
        (void)read_day(r, updated, "updated", &r->p.updated_days);
    if (list)
        read_list(r, list, nodes);
}

enum err conf_prices_read(const struct say *say, struct str text,
                          const struct conf *c, struct arena *mem,
                          struct conf_prices *out)
{
    struct arena *nodes = arena_new(16384, NODES_CAP);
    size_t errors = say->report->n_errors, items = say->report->n_items;
    struct reader r = {.say = say, .conf = c, .mem = mem};
    struct ynode *root = NULL;
    enum err e = nodes ? yaml_read(say, text, nodes, &root) : ERR_NOMEM;

    r.now_days = (int64_t)clock_now_wall_ms() / DAY_MS;
    if (e == ERR_OK)
        read_top(&r, root, nodes);
    if (e == ERR_OK && r.nomem)
        e = ERR_NOMEM;
    arena_free(nodes);
    say_sort(say, items);
    if (e == ERR_OK && say->report->n_errors > errors)
        e = ERR_SYNTAX;
    if (e != ERR_OK)
        return e;
    *out = r.p;
    return ERR_OK;
}

enum err conf_prices_parse(const char *name, struct str text,
                           const struct conf *c, struct arena *mem,
                           struct conf_report *report, struct conf_prices *out)
{
    const struct say say = {report, name};

    return conf_prices_read(&say, text, c, mem, out);
}
