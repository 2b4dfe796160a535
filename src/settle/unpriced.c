/* unpriced.c - See unpriced.h. Names of models come from clients, so what is
 * remembered is bounded: past the bound one line tells that there are more,
 * and the metrics go on counting. Only requests without a sound price come
 * here, and these take one lock. */
#include "settle/unpriced.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "account/price.h"
#include "base/digest.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"

#define SAID_MAX 512 /* lines between two loads of the prices */

/* Lock: guards all of it; rank: leaf. */
struct unpriced {
    pthread_mutex_t lock;
    struct digest said[SAID_MAX]; /* of mark, target and model */
    size_t n;
    bool full; /* has been told */
};

struct unpriced *unpriced_new(void)
{
    struct unpriced *u = calloc(1, sizeof(*u));

    if (u)
        pthread_mutex_init(&u->lock, NULL);
    return u;
}

void unpriced_free(struct unpriced *u)
{
    if (!u)
        return;
    pthread_mutex_destroy(&u->lock);
    free(u);
}

void unpriced_reset(struct unpriced *u)
{
    pthread_mutex_lock(&u->lock);
    u->n = 0;
    u->full = false;
    pthread_mutex_unlock(&u->lock);
}

/* What is to be said about one thing. */
enum news { NEWS_NONE = 0, NEWS_SAY, NEWS_FULL };

static enum news note(struct unpriced *u, const struct digest *d)
{
    enum news news = NEWS_SAY;

    pthread_mutex_lock(&u->lock);
    for (size_t i = 0; i < u->n && news == NEWS_SAY; i++)
        if (memcmp(&u->said[i], d, sizeof(*d)) == 0)
            news = NEWS_NONE;
    if (news == NEWS_SAY && u->n == SAID_MAX) {
        news = u->full ? NEWS_NONE : NEWS_FULL;
        u->full = true;
    } else if (news == NEWS_SAY) {
        u->said[u->n++] = *d;
    }
    pthread_mutex_unlock(&u->lock);
    return news;
}

static struct digest digest_of(unsigned marks, struct str target,
                               struct str model)
{
    char text[600];
    size_t at = 0;

    text[at++] = (char)('0' + marks);
    if (target.len > 200)
        target.len = 200;
    if (model.len > 300)
        model.len = 300;
    memcpy(text + at, target.p, target.len);
    at += target.len;
    text[at++] = '\n';
    if (model.len > 0)
        memcpy(text + at, model.p, model.len);
    return digest_sha256(text, at + model.len);
}

static const char *what_is_wrong(unsigned marks)
{
    if ((marks & PRICE_MISSING) != 0)
        return "no price for this model: its cost counts as 0";
    if ((marks & PRICE_PART) != 0)
        return "the price of this model leaves out a part of what it used: "
               "its cost is not exact";
    return "the price of this model is stale";
}

void unpriced_note(struct unpriced *u, const struct exchange *x, unsigned marks,
                   struct str target, struct str model)
{
    struct str file = x->conf->price.file;
    struct digest d;

    if (!u || marks == 0)
        return;
    if (model.len == 0)
        model = str_from(x->in->ep.row->name);
    d = digest_of(marks, target, model);
    switch (note(u, &d)) {
    case NEWS_SAY:
        log_warn(LOG_SETTLE, "%s: target=%.*s model=%.*s endpoint=%s file=%.*s",
                 what_is_wrong(marks), STR_ARG(target), STR_ARG(model),
                 x->in->ep.row->name, STR_ARG(file));
        break;
    case NEWS_FULL:
        log_warn(LOG_SETTLE,
                 "more models without a sound price; they are not told one by "
                 "one, see tollgate_unpriced_requests_total");
        break;
    default:
        break;
    }
}
