/* lanes.c - See lanes.h. */
#include "upstream/lanes.h"

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "conf/conf.h"
#include "exchange/worker.h"
#include "upstream/pool.h"
#include "upstream/xfer.h"

/* Connections that a lane keeps open, those in use included. Beyond it the one
 * idle for longest is closed. */
#define LANE_CONNECTIONS 256L

void lane_act(struct lane *l, curl_socket_t fd, int what)
{
    int running;
    CURLMcode mc;

    clock_update();
    pool_enter(l->pool);
    mc = curl_multi_socket_action(l->multi, fd, what, &running);
    if (mc != CURLM_OK)
        log_err(LOG_UPSTREAM, "libcurl failed: reason=\"%s\"",
                curl_multi_strerror(mc));
    pool_leave(l->pool);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    lane_act(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* CURLMOPT_TIMERFUNCTION */
static int on_multi_timer(CURLM *multi, long after_ms, void *arg)
{
    struct lane *l = arg;
    struct timeval tv;

    (void)multi; /* l->multi */
    if (after_ms < 0) {
        event_del(&l->timer);
        return 0;
    }
    if (after_ms == 0) {
        event_active(&l->timer, EV_TIMEOUT, 0);
        return 0;
    }
    tv.tv_sec = after_ms / 1000;
    tv.tv_usec = (after_ms % 1000) * 1000;
    return event_add(&l->timer, &tv) == 0 ? 0 : -1;
}

/* Make <l> ready for transfers; false without memory. */
static bool lane_open(struct upstream_pool *p, struct lane *l)
{
    CURLM *m = curl_multi_init();

    l->pool = p;
    l->n = 0;
    if (m &&
        curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, pool_watch_socket) ==
            CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_SOCKETDATA, l) == CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_multi_timer) ==
            CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_TIMERDATA, l) == CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, LANE_CONNECTIONS) ==
            CURLM_OK &&
        curl_multi_setopt(m, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) ==
            CURLM_OK) {
        event_assign(&l->timer, p->w->base, -1, 0, on_timer, l);
        l->multi = m;
        return true;
    }
    if (m)
        curl_multi_cleanup(m);
    return false;
}

bool lanes_open(struct upstream_pool *p)
{
    if (!lane_open(p, &p->lanes[0]))
        return false;
    p->n_lanes = 1;
    return true;
}

void lanes_close(struct upstream_pool *p)
{
    for (unsigned i = 0; i < p->n_lanes; i++) {
        BUG_ON(p->lanes[i].n > 0);
        curl_multi_cleanup(p->lanes[i].multi);
        event_del(&p->lanes[i].timer);
    }
    p->n_lanes = 0;
}

/* The first lane with room, else a new one, else the least full. */
static struct lane *lane_choose(struct upstream_pool *p, const struct xfer *xf)
{
    struct lane *best = &p->lanes[0];

    if (xf->up->http2)
        return best;
    for (unsigned i = 0; i < p->n_lanes; i++) {
        struct lane *l = &p->lanes[i];

        if (l->n < LANE_XFERS)
            return l;
        if (l->n < best->n)
            best = l;
    }
    if (p->n_lanes == LANES_MAX || !lane_open(p, &p->lanes[p->n_lanes]))
        return best;
    return &p->lanes[p->n_lanes++];
}

CURLMcode lanes_add(struct upstream_pool *p, struct xfer *xf)
{
    struct lane *l = lane_choose(p, xf);
    CURLMcode mc = curl_multi_add_handle(l->multi, xf->easy);

    xf->lane = mc == CURLM_OK ? l : NULL;
    l->n += mc == CURLM_OK;
    return mc;
}

void lanes_remove(struct xfer *xf)
{
    CURLMcode mc = curl_multi_remove_handle(xf->lane->multi, xf->easy);

    BUG_ON(mc != CURLM_OK);
    xf->lane->n--;
    xf->lane = NULL;
}
