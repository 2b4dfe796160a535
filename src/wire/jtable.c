/* jtable.c - Which members of requests and replies the scanner looks for. See
 * the slots in jscan.h. */
#include "wire/jscan.h"

#define WANT(n, s)                                                             \
    {                                                                          \
        .name = {n, sizeof(n) - 1}, .slot = s                                  \
    }
#define WANT_IN(n, s, t)                                                       \
    {                                                                          \
        .name = {n, sizeof(n) - 1}, .slot = s, .inner = t                      \
    }
#define TABLE(rows, u)                                                         \
    {                                                                          \
        .row = rows, .count = sizeof(rows) / sizeof(rows[0]), .unique = u      \
    }

static const struct jwant stream_options_rows[] = {
    WANT("include_usage", JREQ_INCLUDE_USAGE),
    WANT("include_obfuscation", JREQ_OBFUSCATION),
};

static const struct jtable stream_options_table =
    TABLE(stream_options_rows, true);

static const struct jwant request_rows[] = {
    WANT("model", JREQ_MODEL),
    WANT("stream", JREQ_STREAM),
    WANT_IN("stream_options", JREQ_STREAM_OPTIONS, &stream_options_table),
    WANT("n", JREQ_N),
    WANT("best_of", JREQ_BEST_OF),
    WANT("max_tokens", JREQ_MAX_TOKENS),
    WANT("max_completion_tokens", JREQ_MAX_COMPLETION_TOKENS),
    WANT("max_output_tokens", JREQ_MAX_OUTPUT_TOKENS),
    WANT("messages", JREQ_MESSAGES),
    WANT("input", JREQ_INPUT),
    WANT("prompt", JREQ_PROMPT),
    WANT("user", JREQ_USER),
    WANT("store", JREQ_STORE),
    WANT("service_tier", JREQ_SERVICE_TIER),
    WANT("temperature", JREQ_TEMPERATURE),
    WANT("seed", JREQ_SEED),
    WANT("tools", JREQ_TOOLS),
    WANT("previous_response_id", JREQ_PREVIOUS_RESPONSE_ID),
    WANT("background", JREQ_BACKGROUND),
    WANT("cache_salt", JREQ_CACHE_SALT),
    WANT("prompt_cache_key", JREQ_PROMPT_CACHE_KEY),
};

const struct jtable jscan_request = TABLE(request_rows, true);

static const struct jwant response_reason_rows[] = {
    WANT("reason", JREP_RESPONSE_REASON),
};

static const struct jtable response_reason_table =
    TABLE(response_reason_rows, false);

static const struct jwant response_rows[] = {
    WANT("model", JREP_RESPONSE_MODEL),
    WANT("usage", JREP_RESPONSE_USAGE),
    WANT("status", JREP_RESPONSE_STATUS),
    WANT("error", JREP_RESPONSE_ERROR),
    WANT("id", JREP_RESPONSE_ID),
    WANT_IN("incomplete_details", JREP_RESPONSE_INCOMPLETE,
            &response_reason_table),
};

static const struct jtable response_table = TABLE(response_rows, false);

static const struct jwant message_rows[] = {
    WANT("model", JREP_MESSAGE_MODEL),
    WANT("usage", JREP_MESSAGE_USAGE),
    WANT("id", JREP_MESSAGE_ID),
};

static const struct jtable message_table = TABLE(message_rows, false);

static const struct jwant delta_rows[] = {
    WANT("stop_reason", JREP_DELTA_STOP_REASON),
};

static const struct jtable delta_table = TABLE(delta_rows, false);

static const struct jwant incomplete_rows[] = {
    WANT("reason", JREP_REASON),
};

static const struct jtable incomplete_table = TABLE(incomplete_rows, false);

static const struct jwant reply_rows[] = {
    WANT("model", JREP_MODEL),
    WANT("usage", JREP_USAGE),
    WANT("error", JREP_ERROR),
    WANT("id", JREP_ID),
    WANT("object", JREP_OBJECT),
    WANT("type", JREP_TYPE),
    WANT("choices", JREP_CHOICES),
    WANT("status", JREP_STATUS),
    WANT("stop_reason", JREP_STOP_REASON),
    WANT("meta", JREP_META),
    WANT("data", JREP_DATA),
    WANT("input_tokens", JREP_INPUT_TOKENS),
    WANT_IN("delta", JREP_DELTA, &delta_table),
    WANT_IN("response", JREP_RESPONSE, &response_table),
    WANT_IN("message", JREP_MESSAGE, &message_table),
    WANT_IN("incomplete_details", JREP_INCOMPLETE, &incomplete_table),
};

const struct jtable jscan_reply = TABLE(reply_rows, false);

_Static_assert((int)JREQ_COUNT <= (int)JSCAN_SLOTS &&
                   (int)JREP_COUNT <= (int)JSCAN_SLOTS,
               "a table has more slots than struct jscan");
