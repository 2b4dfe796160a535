/* fz_budget_spec.c - Any text as a budget: refused, or printed to a text that
 * means the same and prints to itself. */
#include "account/budget_spec.h"
#include "base/panic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct budget_spec spec = {.amount = -7};
    struct budget_spec again;
    struct buf text;

    if (budget_spec_parse(str_of(data, size), &spec) != ERR_OK) {
        BUG_ON(spec.amount != -7);
        return 0;
    }
    BUG_ON(spec.amount < 0);
    buf_init(&text, 256);
    BUG_ON(budget_spec_print(&spec, &text) != ERR_OK);
    BUG_ON(budget_spec_parse(buf_str(&text), &again) != ERR_OK);
    BUG_ON(again.amount != spec.amount || again.unit != spec.unit ||
           again.window != spec.window);
    buf_fini(&text);
    return 0;
}
