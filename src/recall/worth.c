/* worth.c - See worth.h. The relay has judged the same bytes as they passed,
 * but it must pass on what it only suspects; what is kept is read once more. */
#include "recall/worth.h"

#include "base/buf.h"
#include "exchange/tape.h"
#include "wire/jscan.h"
#include "wire/sse.h"

/* Whether <m> is an error that says something. */
static bool is_error(const struct jmember *m)
{
    return m->type == JT_OBJECT || m->type == JT_ARRAY || m->type == JT_TRUE ||
           m->type == JT_NUMBER || (m->type == JT_STRING && m->value.len > 2);
}

/* Whether <m> is the status of a response that failed or is not there yet. */
static bool is_unfinished(const struct jmember *m)
{
    static const struct str words[] = {
        {"failed", 6}, {"cancelled", 9}, {"queued", 6}, {"in_progress", 11}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (m->type == JT_STRING && jval_is(m->value, words[i]))
            return true;
    return false;
}

/* ---- streams ------------------------------------------------------------- */

/* Whether the event goes on with what was asked for. */
static bool event_is_good(struct sse_judge *judge, const struct sse_event *ev)
{
    struct sse_verdict v;

    sse_judge_event(judge, ev, &v);
    if (v.error || v.bad_json)
        return false;
    return !ev->has_data || ev->data.len == 0 || v.done || v.scanned ||
           jscan_is_valid(ev->data);
}

/* All events of <bytes>. */
static bool events_are_good(struct sse_in *in, struct sse_judge *judge,
                            struct str bytes)
{
    struct sse_event ev;
    enum err e;

    while ((e = sse_in_next(in, &bytes, &ev)) == ERR_OK)
        if (!event_is_good(judge, &ev))
            return false;
    return e == ERR_AGAIN;
}

static bool stream_is_good(struct sse_in *in, struct sse_judge *judge,
                           const struct tape *t)
{
    struct tape_pos pos = {0};
    struct sse_event ev;
    struct str frame;
    uint32_t ms;

    while (tape_scan(t, &pos, &frame, &ms))
        if (!events_are_good(in, judge, frame))
            return false;
    if (sse_in_end(in, &ev) == ERR_OK && !event_is_good(judge, &ev))
        return false;
    return sse_in_tail(in) == SSE_TAIL_CLEAN &&
           (judge->complete || judge->kind == ENDPOINT_END_NONE);
}

/* ---- other bodies -------------------------------------------------------- */

static bool json_is_good(const struct endpoint_row *row, struct str body)
{
    struct jscan s;

    if (jscan_run(&s, body, &jscan_reply, NULL) != ERR_OK)
        return false;
    if (s.root.type != JT_OBJECT)
        return row->end == ENDPOINT_END_NONE && s.root.type == JT_ARRAY;
    if (is_error(&s.m[JREP_ERROR]) ||
        (s.m[JREP_TYPE].type == JT_STRING &&
         jval_is(s.m[JREP_TYPE].value, STR("error"))))
        return false;
    return row->end != ENDPOINT_END_RESPONSES ||
           !is_unfinished(&s.m[JREP_STATUS]);
}

static bool body_is_good(const struct endpoint_row *row, const struct tape *t)
{
    struct tape_pos pos = {0};
    struct str frame = {NULL, 0};
    struct buf all;
    uint32_t ms;
    bool good = true;

    buf_init(&all, (size_t)tape_bytes(t));
    if (tape_frames(t) == 1)
        return tape_scan(t, &pos, &frame, &ms) && json_is_good(row, frame);
    while (good && tape_scan(t, &pos, &frame, &ms))
        good = buf_put_str(&all, frame) == ERR_OK;
    good = good && json_is_good(row, buf_str(&all));
    buf_fini(&all);
    return good;
}

bool worth_keeping(const struct endpoint_row *row, unsigned choices,
                   const struct tape *t)
{
    struct sse_judge judge = {0};
    struct sse_in in;
    bool good;

    if (tape_head(t)->status != 200)
        return false;
    if (!tape_head(t)->events)
        return body_is_good(row, t);
    sse_judge_init(&judge, row->end, choices);
    sse_in_init(&in, 0, 0);
    good = stream_is_good(&in, &judge, t);
    sse_in_fini(&in);
    return good;
}
