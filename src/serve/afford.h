/* afford.h - What a request may take of the budgets of its key and team is held
 * here, before it is sent. */
#ifndef TG_SERVE_AFFORD_H
#define TG_SERVE_AFFORD_H

#include "exchange/stage.h"

struct choice;
struct exchange;

/* Hold the most that <x> may take at <c>, and set the cap that its body must
 * have for that. GO: it may be sent; WAIT: again after WAKE_QUOTA; SKIP: it was
 * failed. The engine's models hold for themselves. */
enum verdict afford_run(struct exchange *x, const struct choice *c);

#endif
