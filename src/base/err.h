/* err.h - Every way a thing can fail, and its one table: name, HTTP status,
 * OpenAI type and code, whether a client may try again, and how the fault is
 * billed. A status is decided here and nowhere else. */
#ifndef TG_BASE_ERR_H
#define TG_BASE_ERR_H

#include <stdbool.h>

/* Put on every function whose result tells success: ignoring it is a bug. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* Hand a failure of <e>, an enum err, to the caller at once. For functions that
 * hold nothing that they would have to let go. */
#define ERR_TRY(e)                                                             \
    do {                                                                       \
        enum err err_try_ = (e);                                               \
        if (err_try_ != ERR_OK)                                                \
            return err_try_;                                                   \
    } while (0)

/* Failure codes. The first group never reaches a client, but for ERR_NOMEM.
 * That one and each code of the second group, but for ERR_CLIENT_GONE, is a
 * row of the table in doc/http-api.md; `make lint` compares the two. */
enum err {
    ERR_OK = 0,
    ERR_AGAIN,     /* not a failure: arranged to resume later */
    ERR_NOMEM,     /* memory or a stated memory bound is used up */
    ERR_IO,        /* the system refused; errno told why where it was logged */
    ERR_SYNTAX,    /* input is not of its grammar */
    ERR_RANGE,     /* a number or length is outside what is allowed */
    ERR_NOT_FOUND, /* no such thing */
    ERR_EXISTS,    /* a thing of that name is there already */
    ERR_FULL,      /* a bounded container has no room */
    ERR_CORRUPT,   /* stored bytes fail their checksum or structure */
    ERR_CLOSED,    /* the peer or owner is gone */
    ERR_REFUSED,   /* not permitted */

    ERR_BAD_HTTP,          /* 400 message breaks RFC 9112; connection closes */
    ERR_BAD_REQUEST,       /* 400 */
    ERR_BAD_JSON,          /* 400 */
    ERR_BAD_PARAM,         /* 400, with `param` */
    ERR_CONTEXT_LENGTH,    /* 400 context_length_exceeded */
    ERR_AUTH,              /* 401, the same for every cause */
    ERR_MODEL_NOT_FOUND,   /* 404, also for models this key may not use */
    ERR_UNKNOWN_URL,       /* 404 */
    ERR_METHOD,            /* 405 */
    ERR_REQUEST_TIMEOUT,   /* 408 client too slow with its request */
    ERR_TOO_LARGE,         /* 413 */
    ERR_URI_TOO_LONG,      /* 414 */
    ERR_ENCODING,          /* 415 */
    ERR_EXPECTATION,       /* 417 an Expect other than 100-continue */
    ERR_HEADERS_TOO_LARGE, /* 431 */
    ERR_RATE_REQUESTS,     /* 429 rate_limit_exceeded, type requests */
    ERR_RATE_TOKENS,       /* 429 rate_limit_exceeded, type tokens */
    ERR_RATE_PARALLEL,     /* 429 rate_limit_exceeded, requests at once */
    ERR_RATE_SIZE,         /* 429 rate_limit_exceeded, can never fit */
    ERR_UP_LIMIT,          /* 429 rate_limit_exceeded: the upstream limits us */
    ERR_UP_SPENT,          /* 429 insufficient_quota: our account there is
                            * used up */
    ERR_QUOTA,             /* 429 insufficient_quota, never retried */
    ERR_BUDGET_CUT,        /* the same in the middle of a stream */
    ERR_CLIENT_GONE,       /* 499, only in logs and rows */
    ERR_INTERNAL,          /* 500 our own mistake */
    ERR_HTTP_VERSION,      /* 505 */
    ERR_UP_TLS,            /* 502 upstream_tls_error */
    ERR_UP_RESET,          /* 502 upstream_reset */
    ERR_UP_BAD,            /* 502 upstream_bad_response */
    ERR_UP_AUTH,           /* 502 upstream refused our own key */
    ERR_UP_INCOMPLETE,     /* 502, or the error event: stream broke off */
    ERR_UP_UNAVAILABLE,    /* 503 upstream_unavailable */
    ERR_UP_TIMEOUT,        /* 504 upstream_timeout */
    ERR_NOT_CACHED,        /* 504 not_cached: nothing stored fits, and the
                            * client wants nothing else */
    ERR_OVERLOADED,        /* 503 overloaded */
    ERR_DRAINING,          /* 503 overloaded, shutting down */
    ERR_MODEL_DOWN,        /* 503 model_unavailable: ours cannot be served */
    ERR_LEDGER,            /* 503 ledger_unavailable */
    ERR_COUNT
};

/* How a fault is billed: nothing was started, exact usage is known, a part
 * was received, or nobody knows. */
enum outcome { OUTCOME_Z = 0, OUTCOME_E, OUTCOME_C, OUTCOME_H };

/* Whether a client should send the request again (x-should-retry). */
enum retry_hint { RETRY_UNSAID = 0, RETRY_YES, RETRY_NO };

/* One row of the table; strings are static. `code` NULL prints as null. */
struct err_row {
    const char *name;      /* for logs: "up_reset" */
    int status;            /* HTTP status, 0 for codes no client sees */
    const char *type;      /* OpenAI error type */
    const char *code;      /* OpenAI error code or NULL */
    const char *anthropic; /* Anthropic error type */
    enum retry_hint retry; /* x-should-retry */
    enum outcome outcome;  /* when the request had been sent upstream */
    const char *message;   /* default sentence when the failure gives none */
};

/* The row of <e>; codes out of range give the row of ERR_INTERNAL. */
const struct err_row *err_row(enum err e);

/* Short for err_row(e)->name. */
const char *err_name(enum err e);

#endif
