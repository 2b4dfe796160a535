/* listener.h - One worker's listening sockets: accepts connections within the
 * bounds of connections and descriptors, and never spins. Private to front/. */
#ifndef TG_FRONT_LISTENER_H
#define TG_FRONT_LISTENER_H

#include "base/err.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct front;
struct tls;

/* One listening socket of one worker. Zeroed with fd -1 is closed. */
struct listener {
    struct front *f; /* borrowed */
    size_t at;       /* index in front_net.sockets */
    int fd;          /* owned, or -1 */
    bool metrics;    /* serves /metrics and health only */
    struct event ev;
    struct event pause; /* ends a pause after descriptors ran out */
    struct tls *tls;    /* counted; NULL = plain HTTP */
    uint64_t said_us;   /* monotonic: last line about a shortage */
    uint64_t unsaid;    /* shortages since */
};

/* Begin to accept on the socket <at> of f->net. ERR_IO when the event cannot
 * be added; ERR_OK also when there is no such socket for this worker. */
enum err listener_open(struct listener *l, struct front *f,
                       size_t at) MUST_CHECK;

/* Take over the certificates that f->net has now. */
void listener_reconf(struct listener *l);

/* Stop listening; with <drain> what waits in the queue is accepted before. */
void listener_close(struct listener *l, bool drain);

#endif
