/* flight_meter.c - What a request may make, and what it made, to the token and
 * at any moment: events only tell later. */
#include "engine/meter.h"
#include "engine/port.h"

enum err flight_meter_open(struct flight *f, uint64_t most)
{
    f->meter = meter_new(most);
    if (!f->meter)
        return ERR_NOMEM;
    for (unsigned i = 0; i < f->n_jobs; i++)
        f->prep->jobs[i]->meter = meter_ref(f->meter);
    return ERR_OK;
}

void flight_meter_note(struct flight *f)
{
    struct made *made = f->x->made;
    struct meter_counts n;

    if (!f->meter)
        return;
    meter_read(f->meter, &n);
    if (n.prompt_tok == 0 && !f->head_sent)
        return; /* nothing was begun, nor said to be */
    made->counted = true;
    made->input_tok = n.prompt_tok - n.cached_tok;
    made->cached_tok = n.cached_tok;
    made->output_tok = n.output_tok;
}

void flight_meter_close(struct flight *f)
{
    if (!f->meter)
        return;
    meter_close(f->meter);
    flight_meter_note(f);
}
