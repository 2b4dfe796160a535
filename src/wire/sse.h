/* sse.h - Event streams (text/event-stream as the WHATWG defines it): a
 * splitter that gives whole events as their exact bytes, a judge that knows
 * what an event means in each API, and a writer.
 *
 * Splitter: the blocks it gives, put together with what it holds, are the
 * bytes it was fed, whatever the pieces they came in. */
#ifndef TG_WIRE_SSE_H
#define TG_WIRE_SSE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/endpoint.h"
#include "wire/jscan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Default bounds of a line and of an event. */
enum { SSE_LINE_MAX = 1 << 20, SSE_EVENT_MAX = 4 << 20 };

/* A block of lines with the blank line that ends it. All slices borrow the
 * input or the splitter, until its next call. */
struct sse_event {
    struct str raw;  /* every byte of it, terminator included */
    struct str name; /* value of `event`, empty when there is none */
    struct str data; /* values of `data`, joined by LF */
    bool has_data;   /* false: comments or blank lines only; clients of the
                      * stream see no event */
};

/* How the bytes held at the end of the input stop. */
enum sse_tail {
    SSE_TAIL_CLEAN = 0, /* nothing is held: at the boundary of events */
    SSE_TAIL_LINE,      /* after a complete line, the event is not */
    SSE_TAIL_TORN,      /* within a line */
};

/* Splitter of one stream. */
struct sse_in {
    struct buf held;   /* owned: bytes of an event that is not complete */
    struct buf joined; /* owned: data of more than one line */
    size_t line_max;   /* bytes of a line without its terminator */
    size_t line_len;   /* of the line being read */
    bool drop_held;    /* held was given out and goes at the next call */
    unsigned mark;     /* bytes of a byte-order mark seen at the start; 4: past
                        * where one may be */
    bool first;        /* the event at hand begins the stream */
    bool cr;           /* the last byte seen was a CR that ended a line */
    bool bare_cr;      /* the line before ended by a CR alone */
    bool skip_lf;      /* a LF next belongs to the CR that ended an event */
    bool blank_cr;     /* a blank line's CR was seen, perhaps CRLF */
};

/* Start; 0 gives the defaults of both bounds. No memory is taken yet. */
void sse_in_init(struct sse_in *in, size_t line_max, size_t event_max);

/* Free what is held. */
void sse_in_fini(struct sse_in *in);

/* Take bytes off the front of <bytes> until an event is complete. ERR_OK: it
 * is in <event_out>, and <bytes> is what follows. ERR_AGAIN: all bytes were
 * taken, no event is complete. ERR_TOO_LARGE: a bound is passed; ERR_NOMEM;
 * after both the splitter is of no more use. An event that lies whole in
 * <bytes> is not copied. An event that ends by CR waits for one more byte,
 * unless its lines end by CR alone. */
enum err sse_in_next(struct sse_in *in, struct str *bytes,
                     struct sse_event *event_out) MUST_CHECK;

/* At the end of input: an event that only waited to see what follows its CR.
 * ERR_OK as sse_in_next(); ERR_AGAIN: there is none. */
enum err sse_in_end(struct sse_in *in, struct sse_event *event_out) MUST_CHECK;

/* The bytes of the incomplete event, borrowed until the next call. */
struct str sse_in_pending(const struct sse_in *in);

/* How they stop. */
enum sse_tail sse_in_tail(const struct sse_in *in);

/* What an event means. Slices borrow the event. */
struct sse_verdict {
    bool done;         /* "[DONE]" */
    bool ends;         /* with it the stream is complete, see sse_judge */
    bool error;        /* an error of the provider */
    bool bad_json;     /* data had to be looked at and is not JSON */
    bool scanned;      /* <scan> holds the data, scanned by jscan_reply */
    bool usage;        /* carries a usage object */
    bool usage_only;   /* a chat chunk with usage and neither a choice nor an
                        * error: what a client that did not ask for it must
                        * not see */
    bool usage_null;   /* a chat chunk with `usage:null` */
    bool first;        /* the first event of the stream that has content */
    struct str finish; /* finish or stop reason of this event, raw string with
                        * its quotes; empty when unsaid */
};

/* The judge of one stream. Zero it, then sse_judge_init(). */
struct sse_judge {
    enum endpoint_end kind;
    unsigned choices;        /* that must finish; at least 1 */
    unsigned finished;       /* so many have */
    uint64_t finished_at[2]; /* bit i: choice i, of the first 128 */
    bool complete;           /* some event ended the stream */
    bool failed;             /* it was an error */
    bool content;            /* some event had content */
    struct jscan scan;       /* of the last event that was scanned */
};

/* Start judging a stream that ends as <kind> says, of <choices> choices (n of
 * the request; 0 counts as 1, as does every kind but chat). */
void sse_judge_init(struct sse_judge *j, enum endpoint_end kind,
                    unsigned choices);

/* Judge one event, in order. Chat is complete at "[DONE]" or when each choice
 * had a finish_reason; the others at the event of their kind; all of them at an
 * error event. Words inside strings are never taken for members. When
 * v->scanned is set, j->scan holds the scan until the next call. */
void sse_judge_event(struct sse_judge *j, const struct sse_event *event,
                     struct sse_verdict *verdict_out);

/* Append an event: `event: <name>` when the name is not empty, and <data> with
 * a `data: ` line for each of its lines. ERR_NOMEM. */
enum err sse_put(struct buf *out, struct str name, struct str data) MUST_CHECK;

/* Append `data: [DONE]`. ERR_NOMEM. */
enum err sse_put_done(struct buf *out) MUST_CHECK;

/* Append the comment `: ping` and ONE newline: two would make clients that
 * dispatch blank events fail. ERR_NOMEM. */
enum err sse_put_ping(struct buf *out) MUST_CHECK;

/* What must be written after forwarded bytes that stop like <tail>, so that a
 * new event may begin: "", LF or LF LF. */
struct str sse_tail_end(enum sse_tail tail);

#endif
