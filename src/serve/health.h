/* health.h - Looking after upstreams without a request: of each that has
 * `health.interval`, now and then, whether it can be reached, or lists its
 * models. Neither costs anything. What is found goes the way of what attempts
 * meet: failures open a breaker before a client has to find out, and one that
 * opened since nobody was there is closed by the first check that goes well.
 * Runs on one worker. */
#ifndef TG_SERVE_HEALTH_H
#define TG_SERVE_HEALTH_H

struct health;
struct target_table;
struct worker;

/* Nothing is checked yet. <t> is borrowed until health_free(). NULL without
 * memory. */
struct health *health_new(struct target_table *t);

/* Free <h>; no worker runs any more. NULL is fine. */
void health_free(struct health *h);

/* Check the upstreams of w->conf over w->upstreams, each when its interval is
 * over. Call it on one worker only, on its thread, at its start and after each
 * reload. What there is no memory for is not checked. */
void health_run(struct health *h, struct worker *w);

/* Stop checking; on the worker that health_run() was called on, before its
 * pool is freed. */
void health_stop(struct health *h);

#endif
