/* conf_report.c - Collects mistakes and warnings, bounded, in file order.
 * Counting never fails: a mistake that finds no memory for its sentence is
 * still counted, so the file is still refused. */
#include <stdarg.h>
#include <stdio.h>

#include "conf/conf_yaml.h"

#define REPORT_MAX   200
#define REPORT_BYTES (1024 * 1024)

void conf_report_fini(struct conf_report *r)
{
    arena_free(r->mem);
    memset(r, 0, sizeof(*r));
}

struct quoted conf_quote(struct str s)
{
    struct quoted q;
    size_t n = s.len > 60 ? 57 : s.len;

    for (size_t i = 0; i < n; i++)
        q.c[i] = s.p[i] >= 0x20 && s.p[i] < 0x7f ? s.p[i] : '?';
    if (s.len > 60) {
        memcpy(q.c + n, "...", 3);
        n += 3;
    }
    q.c[n] = '\0';
    return q;
}

/* Room for one more item, NULL when the report is full or memory is out. */
static struct conf_problem *next_item(struct conf_report *r)
{
    if (!r->mem)
        r->mem = arena_new(4096, REPORT_BYTES);
    if (r->mem && !r->items)
        r->items = arena_alloc(r->mem, REPORT_MAX * sizeof(*r->items));
    if (!r->items || r->n_items >= REPORT_MAX)
        return NULL;
    return &r->items[r->n_items];
}

__attribute__((format(printf, 4, 0))) static void add(const struct say *say,
                                                      bool warning,
                                                      const struct ynode *at,
                                                      const char *fmt,
                                                      va_list ap)
{
    struct conf_report *r = say->report;
    struct conf_problem *p = next_item(r);
    char text[512];

    if (warning)
        r->n_warnings++;
    else
        r->n_errors++;
    if (!p)
        return;
    vsnprintf(text, sizeof(text), fmt, ap);
    p->warning = warning;
    p->line = at ? at->line : 1;
    p->column = at ? at->column : 1;
    p->text = arena_printf(r->mem, "%s:%u:%u: %s%s", say->file, p->line,
                           p->column, warning ? "warning: " : "", text);
    if (p->text)
        r->n_items++;
}

void say_error(const struct say *say, const struct ynode *at, const char *fmt,
               ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(say, false, at, fmt, ap);
    va_end(ap);
}

void say_warning(const struct say *say, const struct ynode *at, const char *fmt,
                 ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(say, true, at, fmt, ap);
    va_end(ap);
}

static bool comes_after(const struct conf_problem *a,
                        const struct conf_problem *b)
{
    if (a->line != b->line)
        return a->line > b->line;
    return a->column > b->column;
}

void say_sort(const struct say *say, size_t from)
{
    struct conf_problem *v = say->report->items;

    for (size_t i = from + 1; i < say->report->n_items; i++) {
        struct conf_problem p = v[i];
        size_t j = i;

        while (j > from && comes_after(&v[j - 1], &p)) {
            v[j] = v[j - 1];
            j--;
        }
        v[j] = p;
    }
}
