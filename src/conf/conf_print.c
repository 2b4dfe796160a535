/* conf_print.c - The snapshot as a file, the option table as text, and what
 * differs between two snapshots; all three walk the table. Only the comparison
 * looks at secrets, in memory that it wipes. */
#include <sys/socket.h>

#include "base/arena.h"
#include "conf/conf_put.h"

#define DIFF_BYTES (8UL * 1024 * 1024)
#define KEYS_BYTES (64UL * 1024 * 1024)

/* --- as a file ----------------------------------------------------------- */

/* Begin a line; the first one of a list entry carries the dash. */
static void begin(struct out *o, unsigned indent, bool *dash)
{
    for (unsigned i = *dash ? 1 : 0; i < indent; i++)
        conf_put(o, STR("  "));
    if (*dash)
        conf_put(o, STR("- "));
    *dash = false;
}

static void print_rows(struct out *o, const struct opt *parent,
                       const void *base, unsigned indent, bool dash);

static void print_list(struct out *o, const struct opt *row, const void *base,
                       unsigned indent, bool *dash)
{
    const char *v = opt_array(row, base);
    size_t n = opt_count(row, base);
    bool given = true;

    if (row->off_given > 0)
        memcpy(&given, (const char *)base + row->off_given, sizeof(given));
    if (!given)
        return;
    begin(o, indent, dash);
    conf_put(o, str_from(opt_leaf(row)));
    conf_put(o, n > 0 ? STR(":\n") : STR(": []\n"));
    for (size_t i = 0; i < n; i++)
        print_rows(o, row, v + i * row->size, indent + 2, true);
}

static void print_row(struct out *o, const struct opt *row, const void *base,
                      unsigned indent, bool *dash)
{
    size_t before = o->b->len;
    bool had = *dash;

    if (row->type == OPT_LIST) {
        print_list(o, row, base, indent, dash);
        return;
    }
    begin(o, indent, dash);
    if (row->type == OPT_MAP) {
        conf_put(o, str_from(opt_leaf(row)));
        conf_put(o, row->flags & OPT_LATER ? STR(": # no effect yet\n")
                                           : STR(":\n"));
        print_rows(o, row, base, indent + 1, false);
    } else if (conf_put_value(o, row, base)) {
        conf_put(o, row->flags & OPT_LATER ? STR(" # no effect yet\n")
                                           : STR("\n"));
    } else {
        o->b->len = before;
        *dash = had;
    }
}

static void print_rows(struct out *o, const struct opt *parent,
                       const void *base, unsigned indent, bool dash)
{
    for (size_t i = 0; i < conf_opts_count; i++)
        if (opt_is_child(&conf_opts[i], parent))
            print_row(o, &conf_opts[i], base, indent, &dash);
}

enum err conf_print(const struct conf *c, struct buf *b)
{
    struct out o = {.b = b};
    size_t before = b->len;

    print_rows(&o, NULL, c, 0, false);
    if (o.e != ERR_OK)
        b->len = before;
    return o.e;
}

enum err conf_describe(struct buf *b)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < conf_opts_count && e == ERR_OK; i++) {
        const struct opt *o = &conf_opts[i];
        bool restart = o->flags & OPT_RESTART;
        bool later = opt_is_later(o);
        bool required = o->flags & OPT_REQUIRED;

        e = buf_printf(b, "%s\t%s\t%s\t%s\t%s%s%s%s\t%s\n", o->path,
                       opt_type_name(o->type), o->def ? o->def : "",
                       o->example ? o->example : "", restart ? "restart " : "",
                       later ? "later " : "", required ? "required " : "",
                       restart || later || required ? "" : "-", o->help);
    }
    return e;
}

/* --- what differs -------------------------------------------------------- */

/* A comparison under way. */
struct diff {
    struct conf_changes *to; /* borrowed */
    struct buf a;            /* values of one snapshot, wiped after use */
    struct buf b;            /* values of the other */
    size_t room;             /* of to->items */
    enum err e;              /* first failure */
};

static void add(struct diff *d, const char *prefix, const char *leaf,
                const char *label, bool restart)
{
    struct conf_changes *to = d->to;
    struct conf_change *more;
    size_t room = d->room ? 2 * d->room : 16;
    char *key =
        arena_printf(to->mem, "%s%s%s%s%s", prefix, leaf, label ? "[" : "",
                     label ? label : "", label ? "]" : "");

    if (to->n_items == d->room) {
        more = arena_alloc(to->mem, room * sizeof(*more));
        if (more && to->n_items > 0)
            memcpy(more, to->items, to->n_items * sizeof(*more));
        if (more) {
            to->items = more;
            d->room = room;
        }
    }
    if (!key || to->n_items == d->room) {
        d->e = ERR_NOMEM;
        return;
    }
    to->items[to->n_items++] = (struct conf_change){key, restart};
    to->n_restart += restart;
}

static void wipe(struct buf *b)
{
    if (b->room > 0)
        explicit_bzero(b->p, b->room);
    buf_clear(b);
}

static void diff_value(struct diff *d, const struct opt *row,
                       const char *prefix, const void *a, const void *b)
{
    struct out x = {.b = &d->a, .bare = true};
    struct out y = {.b = &d->b, .bare = true};
    bool in_a = conf_put_value(&x, row, a);
    bool in_b = conf_put_value(&y, row, b);

    if (x.e != ERR_OK || y.e != ERR_OK)
        d->e = ERR_NOMEM;
    else if (in_a != in_b || !str_eq(buf_str(&d->a), buf_str(&d->b)))
        add(d, prefix, opt_leaf(row), NULL, row->flags & OPT_RESTART);
    wipe(&d->a);
    wipe(&d->b);
}

/* What an entry is called: the text of the first key of its list. */
static const char *label_of(const struct opt *list, const void *e)
{
    const struct opt *first = list + 1;
    struct conf_addr addr;
    struct str s;

    if (first->type == OPT_ADDRESS) {
        memcpy(&addr, (const char *)e + first->off, sizeof(addr));
        s = addr.text;
    } else {
        memcpy(&s, (const char *)e + first->off, sizeof(s));
    }
    return s.p ? s.p : "";
}

static void diff_rows(struct diff *d, const struct opt *parent,
                      const char *prefix, const void *a, const void *b);

static void diff_entry(struct diff *d, const struct opt *row,
                       const char *prefix, const void *a, const void *b)
{
    char *below = arena_printf(d->to->mem, "%s%s[%s].", prefix, opt_leaf(row),
                               label_of(row, a));

    if (below)
        diff_rows(d, row, below, a, b);
    else
        d->e = ERR_NOMEM;
}

/* The entry of <b> called as <a>; NULL if there is none. */
static const char *entry_like(const struct opt *row, const void *a,
                              const char *b, size_t n)
{
    const char *label = label_of(row, a);

    for (size_t i = 0; i < n; i++)
        if (strcmp(label, label_of(row, b + i * row->size)) == 0)
            return b + i * row->size;
    return NULL;
}

/* Entries were added, removed or moved. */
static void diff_moved(struct diff *d, const struct opt *row,
                       const char *prefix, const void *a, const void *b)
{
    const char *x = opt_array(row, a);
    const char *y = opt_array(row, b);
    size_t n = opt_count(row, a);
    size_t m = opt_count(row, b);
    bool restart = row->flags & OPT_RESTART;
    size_t before = d->to->n_items;

    for (size_t i = 0; i < n && d->e == ERR_OK; i++) {
        const char *e = x + i * row->size;
        const char *other = entry_like(row, e, y, m);

        if (!other)
            add(d, prefix, opt_leaf(row), label_of(row, e), restart);
    }
    for (size_t i = 0; i < m && d->e == ERR_OK; i++) {
        const char *e = y + i * row->size;
        const char *other = entry_like(row, e, x, n);

        if (other)
            diff_entry(d, row, prefix, other, e);
        else
            add(d, prefix, opt_leaf(row), label_of(row, e), restart);
    }
    if (d->to->n_items == before)
        add(d, prefix, opt_leaf(row), NULL, false);
}

static void diff_list(struct diff *d, const struct opt *row, const char *prefix,
                      const void *a, const void *b)
{
    const char *x = opt_array(row, a);
    const char *y = opt_array(row, b);
    size_t n = opt_count(row, a);
    size_t m = opt_count(row, b);
    bool same = n == m;

    if (row->flags & OPT_ONE) { /* certificates: reloaded, but not the switch
                                   between plain and TLS */
        if (n != m)
            add(d, prefix, opt_leaf(row), NULL, n == 0 || m == 0);
    } else {
        for (size_t i = 0; i < n && same; i++)
            same = strcmp(label_of(row, x + i * row->size),
                          label_of(row, y + i * row->size)) == 0;
        if (!same) {
            diff_moved(d, row, prefix, a, b);
            return;
        }
    }
    for (size_t i = 0; i < n && i < m && d->e == ERR_OK; i++)
        diff_entry(d, row, prefix, x + i * row->size, y + i * row->size);
}

static void diff_map(struct diff *d, const struct opt *row, const char *prefix,
                     const void *a, const void *b)
{
    char *below = arena_printf(d->to->mem, "%s%s.", prefix, opt_leaf(row));

    if (below)
        diff_rows(d, row, below, a, b);
    else
        d->e = ERR_NOMEM;
}

static void diff_rows(struct diff *d, const struct opt *parent,
                      const char *prefix, const void *a, const void *b)
{
    for (size_t i = 0; i < conf_opts_count && d->e == ERR_OK; i++) {
        const struct opt *row = &conf_opts[i];

        if (!opt_is_child(row, parent))
            continue;
        if (row->type == OPT_MAP)
            diff_map(d, row, prefix, a, b);
        else if (row->type == OPT_LIST)
            diff_list(d, row, prefix, a, b);
        else
            diff_value(d, row, prefix, a, b);
    }
}

enum err conf_diff(const struct conf *a, const struct conf *b,
                   struct conf_changes *out)
{
    struct diff d = {.to = out};

    out->mem = arena_new(4096, KEYS_BYTES);
    if (!out->mem)
        return ERR_NOMEM;
    buf_init(&d.a, DIFF_BYTES);
    buf_init(&d.b, DIFF_BYTES);
    diff_rows(&d, NULL, "", a, b);
    buf_fini(&d.a);
    buf_fini(&d.b);
    if (d.e != ERR_OK)
        conf_changes_fini(out);
    return d.e;
}

void conf_changes_fini(struct conf_changes *ch)
{
    arena_free(ch->mem);
    memset(ch, 0, sizeof(*ch));
}
