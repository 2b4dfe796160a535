/* recall.c - The seat of the response cache between prompt and serve. */
#include "recall/recall.h"

#include "exchange/exchange.h"

enum verdict recall_run(struct exchange *x)
{
    x->found->how = RECALL_BYPASS;
    return VERDICT_GO;
}
