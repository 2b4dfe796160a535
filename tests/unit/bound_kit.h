/* bound_kit.h - Requests for the tests of serve/bound.h, as the stages before
 * it leave them. */
#ifndef TG_UNIT_BOUND_KIT_H
#define TG_UNIT_BOUND_KIT_H

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "account/budget_spec.h"
#include "account/price.h"
#include "exchange/exchange.h"
#include "serve/bound.h"
#include "serve/bound_priv.h"

#define TOKENS (1U << BUDGET_TOKENS)
#define MONEY  (1U << BUDGET_NUSD)

/* Prices of text, as most models have. */
#define TEXT_PRICES                                                            \
    (1U << CONF_PRICE_INPUT | 1U << CONF_PRICE_CACHED_INPUT |                  \
     1U << CONF_PRICE_OUTPUT)

#define CHAT_HEAD "{\"model\":\"m\",\"messages\":[]"

/* A request as the stages before have left it. */
struct rig {
    struct exchange x;
    struct request in;
    struct ask ask;
    struct jscan scan;
    struct bound_rules rules;
    struct bound bound;
    struct bound_no no;
};

static inline void rig_init(struct rig *r, enum endpoint kind)
{
    memset(r, 0, sizeof(*r));
    r->x.in = &r->in;
    r->x.ask = &r->ask;
    r->in.ep.row = endpoint_row(kind);
    r->in.head.method = HTTP1_POST;
    r->rules.units = TOKENS | MONEY;
    r->rules.priced = TEXT_PRICES;
    r->rules.default_output = 4096;
}

/* The bound of <body>; one that is not JSON is a form. */
static inline enum err rig_ask(struct rig *r, const char *body)
{
    r->ask.scan = NULL;
    if (*body == '{' || *body == '[') {
        assert_int_equal(
            jscan_run(&r->scan, str_from(body), &jscan_request, NULL), ERR_OK);
        r->ask.scan = &r->scan;
    }
    memset(&r->bound, 0xA5, sizeof(r->bound));
    memset(&r->no, 0, sizeof(r->no));
    return bound_of(&r->x, &r->rules, &r->bound, &r->no);
}

/* A chat with <more> members is refused for <param>; NULL: it is not. */
static inline void chat_case(struct rig *r, const char *more, const char *param)
{
    char body[4096];
    enum err e;

    (void)snprintf(body, sizeof(body), CHAT_HEAD "%s}", more);
    e = rig_ask(r, body);
    if (!param && e != ERR_OK)
        fail_msg("%s: %s", more, r->no.text);
    if (param && (e != ERR_BAD_PARAM || strcmp(r->no.param, param) != 0))
        fail_msg("%s: %d, '%s' instead of '%s'", more, (int)e, r->no.param,
                 param);
    if (param && !strstr(r->no.text, "hard budget"))
        fail_msg("%s: no hint in \"%s\"", more, r->no.text);
}

/* A body of <kind> is refused for <param>; NULL: it is not. */
static inline void body_case(enum endpoint kind, const char *body,
                             const char *param)
{
    struct rig r;
    enum err e;

    rig_init(&r, kind);
    e = rig_ask(&r, body);
    if (!param && e != ERR_OK)
        fail_msg("%s: %s", body, r.no.text);
    if (param && (e != ERR_BAD_PARAM || strcmp(r.no.param, param) != 0))
        fail_msg("%s: %d, '%s' instead of '%s'", body, (int)e, r.no.param,
                 param);
}

static inline struct bound bound_for(enum endpoint kind, const char *body)
{
    struct rig r;

    rig_init(&r, kind);
    if (rig_ask(&r, body) != ERR_OK)
        fail_msg("%s: %s", body, r.no.text);
    return r.bound;
}

#endif
