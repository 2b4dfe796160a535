/* ctl_budget.h - Budgets as a table. */
#ifndef TG_CTL_CTL_BUDGET_H
#define TG_CTL_CTL_BUDGET_H

#include <jansson.h>

/* Print the array <budgets> as a table: what is spent, held and left of each,
 * and when it resets. Prints nothing when there are none. */
void ctl_budget_table(const json_t *budgets);

#endif
