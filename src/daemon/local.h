/* local.h - The endpoints that tollgate answers itself. */
#ifndef TG_DAEMON_LOCAL_H
#define TG_DAEMON_LOCAL_H

struct exchange;

/* Fill x->local for an ENDPOINT_LOCAL row, or fail <x>. Installed as
 * services.local; needs local_bind() before. Worker threads. */
void local_answer(struct exchange *x);

#endif
