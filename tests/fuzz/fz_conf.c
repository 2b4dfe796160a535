/* fz_conf.c - Any text as a configuration: it is refused with something to
 * say, or it gives a snapshot that prints, loads again to the same and does
 * not differ from itself. */
#include "base/panic.h"
#include "conf/conf.h"

#include <stdio.h>

#define PRINT_BYTES (64UL * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether a problem is one line of printable text with its place. */
static void check_report(const struct conf_report *r)
{
    for (size_t i = 0; i < r->n_items; i++) {
        const struct conf_problem *p = &r->items[i];

        BUG_ON(strncmp(p->text, "F:", 2) != 0);
        BUG_ON(p->line == 0 || p->column == 0);
        for (const char *c = p->text; *c; c++)
            BUG_ON(*c < 0x20 || *c >= 0x7f);
        BUG_ON(i > 0 && r->items[i - 1].line > p->line);
    }
    BUG_ON(r->n_items > r->n_errors + r->n_warnings);
}

/* What has mistakes is good for its socket alone, but must be whole. */
static void check_mistaken(struct conf *c)
{
    struct buf text;

    BUG_ON(c->control_socket.p == NULL || c->n_listen == 0);
    buf_init(&text, PRINT_BYTES);
    BUG_ON(conf_print(c, &text) != ERR_OK && text.len > 0);
    buf_fini(&text);
}

static struct conf *load(struct str text)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    enum err e = conf_load_text("F", text, CONF_OFFLINE, &r, &c);

    check_report(&r);
    BUG_ON(e != ERR_OK && e != ERR_SYNTAX && e != ERR_NOMEM);
    BUG_ON((e == ERR_OK) != (c != NULL));
    BUG_ON(e == ERR_SYNTAX && r.n_errors == 0);
    if (c && r.n_errors > 0) {
        check_mistaken(c);
        conf_unref(c);
        c = NULL;
    }
    conf_report_fini(&r);
    return c;
}

static void check_same(const struct conf *a, const struct conf *b)
{
    struct conf_changes ch = {0};

    if (conf_diff(a, b, &ch) == ERR_OK)
        BUG_ON(ch.n_items > 0);
    conf_changes_fini(&ch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *c = load(str_of(data, size));
    struct conf *d;
    struct buf one;
    struct buf two;

    if (!c)
        return 0;
    buf_init(&one, PRINT_BYTES);
    buf_init(&two, PRINT_BYTES);
    if (conf_print(c, &one) == ERR_OK) {
        d = load(buf_str(&one));
        BUG_ON(!d);
        BUG_ON(conf_print(d, &two) != ERR_OK);
        BUG_ON(!str_eq(buf_str(&one), buf_str(&two)));
        check_same(c, c);
        conf_unref(d);
    }
    buf_fini(&one);
    buf_fini(&two);
    conf_unref(c);
    return 0;
}
