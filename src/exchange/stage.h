/* stage.h - The stages of a request, what a stage may answer, and why a
 * waiting one is woken. The table that joins them is daemon/stages.c. */
#ifndef TG_EXCHANGE_STAGE_H
#define TG_EXCHANGE_STAGE_H

#include <stdint.h>

struct exchange;

/* Where an exchange stands. */
enum stage {
    STAGE_FRONT = 0, /* head parsed, endpoint known */
    STAGE_ADMIT,     /* key and its limits judged, from the head alone */
    STAGE_PROMPT,    /* body taken in; model and parameters judged */
    STAGE_HOLD,      /* tokens it may use are charged to its limits */
    STAGE_RECALL,    /* something stored may answer */
    STAGE_SERVE,     /* route, attempts, until the first byte is committed */
    STAGE_RELAY,     /* reply on its way to the client */
    STAGE_SETTLE,    /* metered, billed, logged: exactly once */
    STAGE_DONE,      /* about to be freed */
    STAGE_COUNT
};

/* What a stage function answers. */
enum verdict {
    VERDICT_GO = 0, /* next stage now */
    VERDICT_WAIT,   /* exchange_wake() will come */
    VERDICT_SKIP,   /* the reply is decided (or the client gone): to RELAY */
};

/* Why a waiting stage is run again. */
enum wake {
    WAKE_BODY = 0, /* front: the collected body is complete, or more came */
    WAKE_HEAD,     /* serve: a reply is ready to be committed */
    WAKE_DRAINED,  /* front: the output queue fell below its low mark */
    WAKE_END,      /* relay: the producer ended and all is queued */
    WAKE_QUOTA,    /* quota: what it waits for may be there; see quota.h */
    WAKE_RETRY,    /* serve: the pause before the next attempt is over */
    WAKE_TURN,     /* serve: its turn at a target has come, or will not */
    WAKE_TAPE,     /* recall: what it follows or reads has come further */
    WAKE_READERS,  /* recall: somebody else waits for the reply now, or nobody
                    * does any more */
    WAKE_FAIL,     /* exchange_fail() was called outside a stage function */
    WAKE_GONE,     /* front: the client is gone, x->client is NULL */
    WAKE_DRAIN,    /* daemon: drain time is over, end with an error */
};

/* First call of a stage for an exchange. */
typedef enum verdict stage_run_fn(struct exchange *x);

/* Later call, after VERDICT_WAIT; unknown reasons must give VERDICT_WAIT. */
typedef enum verdict stage_resume_fn(struct exchange *x, enum wake why);

/* One row of the stage table. */
struct stage_row {
    const char *name;        /* for logs */
    stage_run_fn *run;       /* NULL only for DONE */
    stage_resume_fn *resume; /* NULL where a stage never waits */
    uint32_t next;           /* bit per stage that may follow */
};

/* The bit of stage <s> in stage_row.next. */
#define STAGE_BIT(s) (1u << (s))

#endif
