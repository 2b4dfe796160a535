/* answer_put.c - The writer of replies, and the parts that all of them have. */
#include "engine/answer_put.h"

#include "wire/jsplice.h"

/* --- the writer --------------------------------------------------------- */

void put_bytes(struct put *w, struct str s)
{
    if (w->err == ERR_OK)
        w->err = buf_put_str(w->b, s);
}

void put_json(struct put *w, struct str s)
{
    if (w->err == ERR_OK)
        w->err = json_put_str(w->b, s);
}

void put_int(struct put *w, int64_t v)
{
    if (w->err == ERR_OK)
        w->err = buf_put_i64(w->b, v);
}

void put_float(struct put *w, float v)
{
    if (w->err == ERR_OK)
        w->err = buf_printf(w->b, "%.9g", (double)v);
}

/* --- parts of a reply --------------------------------------------------- */

void put_chunk_begin(struct put *w, const struct answer *a)
{
    PUT(w, "data: ");
    put_bytes(w, buf_str(&a->head));
    PUT(w, "\"choices\":[");
}

void put_chunk_end(struct put *w, const struct answer *a)
{
    if (a->p->include_usage)
        PUT(w, "],\"usage\":null}\n\n");
    else
        PUT(w, "]}\n\n");
}

void put_finish(struct put *w, const struct answer_choice *c)
{
    if (c->n_calls > 0 && c->finish == GEN_FINISH_STOP)
        PUT(w, "\"tool_calls\"");
    else if (c->finish == GEN_FINISH_LENGTH || c->finish == GEN_FINISH_CUT)
        PUT(w, "\"length\"");
    else
        PUT(w, "\"stop\"");
}
