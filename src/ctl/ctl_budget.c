/* ctl_budget.c - See ctl_budget.h. Amounts are integers, of money decimal
 * strings of dollars; only percentages are worked out here. */
#include "ctl/ctl_budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl_io.h"

#define PERCENT_MOST 9999.0 /* more is not told */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool is_money(const json_t *b)
{
    const char *unit = json_string_value(json_object_get(b, "unit"));

    return unit && strcmp(unit, "usd") == 0;
}

/* "$9.41", "12,345"; "-" for what was not told. */
static void put_amount(const json_t *b, const char *member, char *out,
                       size_t room)
{
    const json_t *v = json_object_get(b, member);
    char text[64];

    ctl_text(v, text, sizeof(text));
    snprintf(out, room, "%s%s", is_money(b) && json_is_string(v) ? "$" : "",
             text);
}

static double number_of(const json_t *b, const char *member)
{
    const json_t *v = json_object_get(b, member);
    const char *text = json_string_value(v);

    return text ? strtod(text, NULL) : json_number_value(v);
}

/* How much of <b> is spent, rounded down: 100% is reached and not near. */
static void put_percent(const json_t *b, char *out, size_t room)
{
    const double amount = number_of(b, "amount");
    const double spent = number_of(b, "spent");

    if (json_is_null(json_object_get(b, "spent")))
        snprintf(out, room, "-");
    else if (amount <= 0)
        snprintf(out, room, "100%%");
    else if (spent / amount >= PERCENT_MOST / 100)
        snprintf(out, room, ">%.0f%%", PERCENT_MOST);
    else
        snprintf(out, room, "%ld%%", (long)(spent * 100 / amount));
}

void ctl_budget_name(const json_t *b, char *out, size_t room)
{
    const char *unit = json_string_value(json_object_get(b, "unit"));
    const char *window = json_string_value(json_object_get(b, "window"));
    const char *soft =
        json_is_true(json_object_get(b, "soft")) ? " (soft)" : "";
    char text[72], noun[32] = "";

    put_amount(b, "amount", text, sizeof(text));
    if (unit && !is_money(b))
        snprintf(noun, sizeof(noun), " %s", unit);
    for (char *at = noun; (at = strchr(at, '_')) != NULL;)
        *at = ' ';
    snprintf(out, room, "%s%s/%s%s", text, noun, window ? window : "?", soft);
}

void ctl_budget_text(const json_t *b, char *out, size_t room)
{
    char name[160], percent[32];

    ctl_budget_name(b, name, sizeof(name));
    put_percent(b, percent, sizeof(percent));
    snprintf(out, room, "%s %s", name, percent);
}

/* The row of <b>: texts, since a table does not know money from tokens. */
static json_t *row_of(const json_t *b)
{
    static const char *const members[] = {"spent", "held", "left"};
    json_t *row = json_object();
    char text[160];

    ctl_budget_name(b, text, sizeof(text));
    json_object_set_new(row, "budget", json_string(text));
    for (size_t i = 0; i < COUNT(members); i++) {
        put_amount(b, members[i], text, sizeof(text));
        json_object_set_new(row, members[i], json_string(text));
    }
    put_percent(b, text, sizeof(text));
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
