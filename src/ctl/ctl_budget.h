/* ctl_budget.h - Budgets as people read them. */
#ifndef TG_CTL_CTL_BUDGET_H
#define TG_CTL_CTL_BUDGET_H

#include <jansson.h>
#include <stddef.h>

/* Put budget <b> into <out> of <room> bytes, without its use:
 * "500,000 tokens/day", "$25.00/month (soft)". */
void ctl_budget_name(const json_t *b, char *out, size_t room);

/* The same with how much of it is spent: "$25.00/month 38%". */
void ctl_budget_text(const json_t *b, char *out, size_t room);

/* Print the array <budgets> as a table: what is spent, held and left of each,
 * and when it resets. Prints nothing when there are none. */
void ctl_budget_table(const json_t *budgets);

#endif
