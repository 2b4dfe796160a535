/* control_budget.h - How budgets stand, as admin commands tell it. */
#ifndef TG_DAEMON_CONTROL_BUDGET_H
#define TG_DAEMON_CONTROL_BUDGET_H

#include "account/budget_spec.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>

struct daemon;
struct key_spec;

/* <amount> of <unit>: tokens as integers, money as a decimal string of dollars.
 * New reference. */
json_t *control_budget_amount(enum budget_unit unit, int64_t amount);

/* Budgets of the key (its id) or team called <owner>, each with what is spent,
 * held for requests under way and left, and when it resets (null: never); all
 * of these null where the ledger cannot be read. New reference. */
json_t *control_budget_list(struct daemon *d, bool is_team, struct str owner,
                            const struct key_spec *spec);

/* All keys and teams together: how many budgets there are, "hard" and "soft",
 * how many of the hard are "used_up" and of the soft "passed"; and how many
 * requests now hold a part of one ("holds"), or wait for it ("waiting"). New
 * reference; null where that is not known. */
json_t *control_budget_sums(struct daemon *d);

#endif
