/* stages.c - The life of a request, as data. Read this file first.
 *
 * exchange/exchange.c walks the table: GO is the next row, SKIP is relay (or
 * settle, from relay), WAIT stops until exchange_wake(). */
#include "daemon/stages.h"

#include "admit/admit.h"
#include "admit/limits.h"
#include "front/front.h"
#include "prompt/prompt.h"
#include "recall/recall.h"
#include "relay/relay.h"
#include "serve/serve.h"
#include "settle/settle.h"

#define BIT STAGE_BIT

const struct stage_row stage_table[STAGE_COUNT] = {
    [STAGE_FRONT] = {"front", front_run, front_resume,
                     BIT(STAGE_ADMIT) | BIT(STAGE_RELAY)},
    [STAGE_ADMIT] = {"admit", admit_run, NULL,
                     BIT(STAGE_PROMPT) | BIT(STAGE_RELAY)},
    [STAGE_PROMPT] = {"prompt", prompt_run, prompt_resume,
                      BIT(STAGE_HOLD) | BIT(STAGE_RELAY)},
    [STAGE_HOLD] = {"hold", hold_run, NULL,
                    BIT(STAGE_RECALL) | BIT(STAGE_RELAY)},
    [STAGE_RECALL] = {"recall", recall_run, recall_resume,
                      BIT(STAGE_SERVE) | BIT(STAGE_RELAY)},
    [STAGE_SERVE] = {"serve", serve_run, serve_resume, BIT(STAGE_RELAY)},
    [STAGE_RELAY] = {"relay", relay_run, relay_resume, BIT(STAGE_SETTLE)},
    [STAGE_SETTLE] = {"settle", settle_run, NULL, BIT(STAGE_DONE)},
    [STAGE_DONE] = {"done", NULL, NULL, 0},
};
