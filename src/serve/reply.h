/* reply.h - How an upstream's reply is taken, by its head; and what an error
 * in it says. Pure but for the arena. */
#ifndef TG_SERVE_REPLY_H
#define TG_SERVE_REPLY_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct exchange;
struct jscan;
struct reply_head;
struct retry_end;

/* Most bytes of a collected reply. */
#define REPLY_COLLECT_MAX (64u * 1024 * 1024)

/* Most bytes of a stream that are kept back for its first event. */
#define REPLY_PEEK_MAX (64u * 1024)

/* How a reply is taken. */
enum reply_mode {
    REPLY_PASS = 0, /* as it comes */
    REPLY_COLLECT,  /* whole, so that a broken one becomes a clean error */
    REPLY_PEEK,     /* as it comes, once its first event is no error */
};

/* How the reply of an upstream to <x> with <head> is taken. <passthrough>: no
 * model was named. */
enum reply_mode reply_mode_of(const struct exchange *x,
                              const struct reply_head *head, bool passthrough);

/* The error that an upstream's answer of <status> becomes when its body says
 * nothing that a client could read. */
enum err reply_err_of(int status);

/* Put what the error object of <scan> says into type, code and message of
 * <end>; the texts are decoded into the arena of <x> where they must be. What
 * it lacks stays empty. */
void reply_error_words(struct exchange *x, const struct jscan *scan,
                       struct retry_end *end);

#endif
