/* front.h - Stage 1: listening sockets, TLS, client connections and HTTP, up
 * to an exchange whose endpoint is known. This is all that daemon/ sees of
 * front/; later stages reach a connection through struct client alone.
 *
 *   main thread                          each worker's thread
 *
 *   front_net_open(conf, n_workers)
 *                                        front_open(w, net)
 *                                        ... event_base_loop ...
 *   front_net_reload(net, conf)     -->  front_reconf(f)
 *                                        front_drain(f)
 *                                        ... until front_clients(f) == 0 ...
 *                                        front_close(f)
 *   front_net_close(net)
 *
 * The process must ignore SIGPIPE (TLS writes by write(2)), and the worker's
 * event base must offer EV_FEATURE_ET and EV_FEATURE_EARLY_CLOSE (epoll). */
#ifndef TG_FRONT_FRONT_H
#define TG_FRONT_FRONT_H

#include "base/err.h"
#include "conf/conf.h"
#include "exchange/stage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct front;
struct front_net;
struct worker;

/* ---- the process: one, made by the main thread ------------------------- */

/* Bytes that hold any address text of front_net_address(), with its NUL. */
#define FRONT_ADDRESS_BYTES 128

/* Bind every address of <c> (listen and metrics) for <n_workers> workers and
 * load the certificates. TCP: one SO_REUSEPORT socket a worker, where port 0
 * becomes one free port for all of them; unix: one socket for all, replacing
 * a socket file that nobody answers on. Clients can connect from now on and
 * wait until a worker opens. The reason for a failure is logged: ERR_IO for a
 * socket, ERR_EXISTS when the address is taken, ERR_SYNTAX for a certificate
 * or key, ERR_NOMEM. */
enum err front_net_open(const struct conf *c, unsigned n_workers,
                        struct front_net **net_out) MUST_CHECK;

/* Load the certificates that <c> names for the listeners that exist and use
 * them for new connections, once each worker has called front_reconf(). On
 * failure (logged) the old ones stay. Listeners that <c> adds or lacks need a
 * restart. Main thread. */
enum err front_net_reload(struct front_net *net,
                          const struct conf *c) MUST_CHECK;

/* Load the certificate <c> and its key and let them go again: what is wrong
 * with them. This is what conf_report.judge_cert asks. */
size_t front_judge_cert(const struct conf_cert *c,
                        struct conf_cert_fault faults[CONF_CERT_FAULTS]);

/* Memory is <short_of>: while it is, requests that come are refused with 503,
 * before their bodies are read. Any thread. */
void front_net_set_short(struct front_net *net, bool short_of);

/* Request bodies may take <bytes> together, if limits.max_buffered does not say
 * less; 0 = as that says. Any thread. */
void front_net_set_bodies(struct front_net *net, uint64_t bytes);

/* How many addresses are bound. */
size_t front_net_count(const struct front_net *net);

/* Text of bound address <i>, with the real port: "127.0.0.1:4141",
 * "[::1]:4141" or "unix:/path". */
void front_net_address(const struct front_net *net, size_t i,
                       char out[FRONT_ADDRESS_BYTES]);

/* TCP port of bound address <i>; 0 for a unix socket. */
uint16_t front_net_port(const struct front_net *net, size_t i);

/* Close what is left, remove unix socket files, free <net>. After every
 * front_close(). NULL is fine. */
void front_net_close(struct front_net *net);

/* ---- a worker: every call on its thread -------------------------------- */

/* Begin to accept connections for <w> (its index, base, conf, stages, stats,
 * chunks and scratch must be there). ERR_NOMEM; ERR_IO (logged). */
enum err front_open(struct worker *w, struct front_net *net,
                    struct front **front_out) MUST_CHECK;

/* w->conf was swapped: take over the certificates of the last
 * front_net_reload(). Limits and CORS rules are read from w->conf by
 * themselves. */
void front_reconf(struct front *f);

/* Stop: accept what already waits, close the listeners, close idle
 * connections. The metrics listener and its connections go on to the end, so
 * that who watches can see the drain. Replies under way end with the close of
 * their connection, and requests that still come on open connections fail with
 * ERR_DRAINING. The worker sets w->draining before. */
void front_drain(struct front *f);

/* Client connections that are open, with those in their last bytes. */
unsigned front_conns(const struct front *f);

/* Of them, those that did not come by the metrics listener: a drain waits for
 * these alone. */
unsigned front_clients(const struct front *f);

/* A timer of the worker's loop ran <lag_us> after its moment: tell it often.
 * <busy_us> is what its thread has had of a processor since it began. While the
 * loop is late by its own work, requests that come are refused. */
void front_note_lag(struct front *f, uint64_t lag_us, uint64_t busy_us);

/* Look at every deadline now, as after a move of the clock in tests. */
void front_check_deadlines(struct front *f);

/* Reset all connections (exchanges get WAKE_GONE), free <f>. The worker's
 * loop must not be inside a callback of front/. NULL is fine. */
void front_close(struct front *f);

/* ---- the stage --------------------------------------------------------- */

/* STAGE_FRONT: classify the request that was parsed into x->in, and refuse
 * what no later stage needs to see (bad HTTP, unknown URL, method, encoding,
 * size, draining). A CORS preflight is answered here through x->local. */
enum verdict front_run(struct exchange *x);

/* STAGE_FRONT never waits; only a client that left is passed on. */
enum verdict front_resume(struct exchange *x, enum wake why);

#endif
