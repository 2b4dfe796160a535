/* no_price.h - Which of the models that a configuration names have no price,
 * before anybody asks for one. */
#ifndef TG_DAEMON_NO_PRICE_H
#define TG_DAEMON_NO_PRICE_H

struct conf;

/* Called with a sentence, without a newline; borrowed. */
typedef void no_price_fn(const char *text, void *arg);

/* Tell <fn> of each model that <c> names in full, at an upstream, and has no
 * price for: a bounded number of them, and then how many more there are. None
 * without a price file, which is told in other words. */
void no_price_tell(const struct conf *c, no_price_fn *fn, void *arg);

#endif
