/* err.c - The error table. See err.h. */
#include "base/err.h"

#include <stddef.h>

#define IRE "invalid_request_error"
#define UPE "upstream_error"
#define SVE "server_error"

static const struct err_row rows[ERR_COUNT] = {
    [ERR_OK] = {"ok", 200, "", NULL, "", RETRY_UNSAID, OUTCOME_E, ""},
    [ERR_AGAIN] = {"again", 0, SVE, NULL, "api_error", RETRY_UNSAID, OUTCOME_Z,
                   "not finished"},
    [ERR_NOMEM] = {"nomem", 503, SVE, "overloaded", "overloaded_error",
                   RETRY_YES, OUTCOME_Z, "The server is out of memory."},
    [ERR_IO] = {"io", 500, SVE, NULL, "api_error", RETRY_UNSAID, OUTCOME_H,
                "An input or output operation failed."},
    [ERR_SYNTAX] = {"syntax", 400, IRE, NULL, IRE, RETRY_NO, OUTCOME_Z,
                    "The input could not be parsed."},
    [ERR_RANGE] = {"range", 400, IRE, NULL, IRE, RETRY_NO, OUTCOME_Z,
                   "A value is out of range."},
    [ERR_NOT_FOUND] = {"not_found", 404, IRE, NULL, "not_found_error", RETRY_NO,
                       OUTCOME_Z, "Not found."},
    [ERR_EXISTS] = {"exists", 409, IRE, NULL, IRE, RETRY_NO, OUTCOME_Z,
                    "It exists already."},
    [ERR_FULL] = {"full", 503, SVE, "overloaded", "overloaded_error", RETRY_YES,
                  OUTCOME_Z, "A queue is full."},
    [ERR_CORRUPT] = {"corrupt", 500, SVE, NULL, "api_error", RETRY_NO,
                     OUTCOME_H, "Stored data is damaged."},
    [ERR_CLOSED] = {"closed", 0, SVE, NULL, "api_error", RETRY_UNSAID,
                    OUTCOME_C, "The connection is closed."},
    [ERR_REFUSED] = {"refused", 403, IRE, NULL, "permission_error", RETRY_NO,
                     OUTCOME_Z, "Not permitted."},

    [ERR_BAD_HTTP] = {"bad_http", 400, IRE, NULL, IRE, RETRY_NO, OUTCOME_Z,
                      "The HTTP request is malformed."},
    [ERR_BAD_REQUEST] = {"bad_request", 400, IRE, NULL, IRE, RETRY_NO,
                         OUTCOME_Z, "The request is not valid."},
    [ERR_BAD_JSON] = {"bad_json", 400, IRE, NULL, IRE, RETRY_NO, OUTCOME_Z,
                      "The request body is not valid JSON."},
    [ERR_BAD_PARAM] = {"bad_param", 400, IRE, NULL, IRE, RETRY_NO, OUTCOME_Z,
                       "A parameter is not valid."},
    [ERR_CONTEXT_LENGTH] = {"context_length", 400, IRE,
                            "context_length_exceeded", IRE, RETRY_NO, OUTCOME_Z,
                            "The prompt and the asked output exceed the "
                            "model's context."},
    [ERR_AUTH] = {"auth", 401, IRE, "invalid_api_key", "authentication_error",
                  RETRY_NO, OUTCOME_Z,
                  "Incorrect API key provided. Send a valid key as "
                  "'Authorization: Bearer <key>'."},
    [ERR_MODEL_NOT_FOUND] = {"model_not_found", 404, IRE, "model_not_found",
                             "not_found_error", RETRY_NO, OUTCOME_Z,
                             "The model does not exist or you do not have "
                             "access to it."},
    [ERR_UNKNOWN_URL] = {"unknown_url", 404, IRE, "unknown_url",
                         "not_found_error", RETRY_NO, OUTCOME_Z,
                         "Unknown request URL."},
    [ERR_METHOD] = {"method", 405, IRE, "method_not_allowed", IRE, RETRY_NO,
                    OUTCOME_Z, "This URL does not take this method."},
    [ERR_REQUEST_TIMEOUT] = {"request_timeout", 408, IRE, "request_timeout",
                             "timeout_error", RETRY_YES, OUTCOME_Z,
                             "The request did not arrive in time."},
    [ERR_TOO_LARGE] = {"too_large", 413, IRE, "request_too_large",
                       "request_too_large", RETRY_NO, OUTCOME_Z,
                       "The request body is too large."},
    [ERR_URI_TOO_LONG] = {"uri_too_long", 414, IRE, "uri_too_long", IRE,
                          RETRY_NO, OUTCOME_Z, "The request URL is too long."},
    [ERR_ENCODING] = {"encoding", 415, IRE, "unsupported_encoding", IRE,
                      RETRY_NO, OUTCOME_Z,
                      "Content-Encoding is not supported; send the body "
                      "uncompressed."},
    [ERR_EXPECTATION] = {"expectation", 417, IRE, "expectation_failed", IRE,
                         RETRY_NO, OUTCOME_Z,
                         "The only expectation met here is 100-continue."},
    [ERR_HEADERS_TOO_LARGE] = {"headers_too_large", 431, IRE,
                               "headers_too_large", IRE, RETRY_NO, OUTCOME_Z,
                               "The request header is too large."},
    [ERR_RATE_REQUESTS] = {"rate_requests", 429, "requests",
                           "rate_limit_exceeded", "rate_limit_error", RETRY_YES,
                           OUTCOME_Z, "Too many requests."},
    [ERR_RATE_TOKENS] = {"rate_tokens", 429, "tokens", "rate_limit_exceeded",
                         "rate_limit_error", RETRY_YES, OUTCOME_Z,
                         "Too many tokens."},
    [ERR_QUOTA] = {"quota", 429, "insufficient_quota", "insufficient_quota",
                   "billing_error", RETRY_NO, OUTCOME_Z,
                   "The budget of this key is used up."},
    [ERR_CLIENT_GONE] = {"client_gone", 499, IRE, "client_gone", IRE,
                         RETRY_UNSAID, OUTCOME_C,
                         "The client closed the connection."},
    [ERR_INTERNAL] = {"internal", 500, SVE, "internal_error", "api_error",
                      RETRY_UNSAID, OUTCOME_H, "Internal error."},
    [ERR_HTTP_VERSION] = {"http_version", 505, IRE,
                          "http_version_not_supported", IRE, RETRY_NO,
                          OUTCOME_Z,
                          "Only HTTP/1.0 and HTTP/1.1 are spoken here."},
    [ERR_UP_TLS] = {"up_tls", 502, UPE, "upstream_tls_error", "api_error",
                    RETRY_NO, OUTCOME_Z,
                    "The TLS connection to the upstream failed."},
    [ERR_UP_RESET] = {"up_reset", 502, UPE, "upstream_reset", "api_error",
                      RETRY_YES, OUTCOME_H,
                      "The upstream closed the connection before it answered."},
    [ERR_UP_BAD] = {"up_bad", 502, UPE, "upstream_bad_response", "api_error",
                    RETRY_YES, OUTCOME_H,
                    "The upstream's answer is broken or incomplete."},
    [ERR_UP_AUTH] = {"up_auth", 502, UPE, "upstream_auth_failed", "api_error",
                     RETRY_NO, OUTCOME_Z,
                     "The upstream refused the gateway's own key."},
    [ERR_UP_INCOMPLETE] = {"up_incomplete", 502, UPE, "upstream_incomplete",
                           "api_error", RETRY_YES, OUTCOME_C,
                           "The upstream's stream broke off."},
    [ERR_UP_UNAVAILABLE] = {"up_unavailable", 503, UPE, "upstream_unavailable",
                            "overloaded_error", RETRY_YES, OUTCOME_Z,
                            "No upstream can be reached for this model."},
    [ERR_UP_TIMEOUT] = {"up_timeout", 504, UPE, "upstream_timeout",
                        "timeout_error", RETRY_YES, OUTCOME_H,
                        "The upstream did not answer in time."},
    [ERR_OVERLOADED] = {"overloaded", 503, SVE, "overloaded",
                        "overloaded_error", RETRY_YES, OUTCOME_Z,
                        "The server is overloaded."},
    [ERR_DRAINING] = {"draining", 503, SVE, "overloaded", "overloaded_error",
                      RETRY_YES, OUTCOME_Z, "The server is shutting down."},
    [ERR_MODEL_DOWN] = {"model_down", 503, SVE, "model_unavailable",
                        "api_error", RETRY_NO, OUTCOME_Z,
                        "The model cannot be served."},
    [ERR_LEDGER] = {"ledger", 503, SVE, "ledger_unavailable", "api_error",
                    RETRY_YES, OUTCOME_Z,
                    "Usage cannot be recorded at the moment."},
};

const struct err_row *err_row(enum err e)
{
    if ((unsigned)e >= ERR_COUNT || !rows[e].name)
        return &rows[ERR_INTERNAL];
    return &rows[e];
}

const char *err_name(enum err e)
{
    return err_row(e)->name;
}
