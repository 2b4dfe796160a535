/* ctl_budget.c - See ctl_budget.h. */
#include "ctl/ctl_budget.h"

#include <stdio.h>

#include "ctl/ctl_io.h"
#include "ctl/ctl_text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The row of <b>: texts, since a table does not know money from tokens. */
static json_t *row_of(const json_t *b)
{
    static const char *const members[] = {"spent", "held", "left"};
    json_t *row = json_object();
    char text[160];

    ctl_text_budget(b, text, sizeof(text));
    json_object_set_new(row, "budget", json_string(text));
    for (size_t i = 0; i < COUNT(members); i++) {
        ctl_text_amount(b, members[i], text, sizeof(text));
        json_object_set_new(row, members[i], json_string(text));
    }
    ctl_text_percent(b, text, sizeof(text));
    json_object_set_new(row, "used", json_string(text));
    json_object_set(row, "resets", json_object_get(b, "resets"));
    return row;
}

void ctl_budget_table(const json_t *budgets)
{
    static const struct ctl_column columns[] = {
        {"BUDGET", "budget", false}, {"SPENT", "spent", true},
        {"USED", "used", true},      {"HELD", "held", true},
        {"LEFT", "left", true},      {"RESETS", "resets", false},
    };
    json_t *rows = json_array();

    for (size_t i = 0; i < json_array_size(budgets); i++)
        json_array_append_new(rows, row_of(json_array_get(budgets, i)));
    if (json_array_size(rows) > 0)
        ctl_table(rows, columns, COUNT(columns), "");
    json_decref(rows);
}
