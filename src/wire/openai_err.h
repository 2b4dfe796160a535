/* openai_err.h - Errors as clients expect them: bodies and stream events in
 * OpenAI's and in Anthropic's shape, and masking of secrets in text that is
 * relayed or logged. Type, code and default sentence come from err_row(). */
#ifndef TG_WIRE_OPENAI_ERR_H
#define TG_WIRE_OPENAI_ERR_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/endpoint.h"

/* An error to be told. Zeroed fields are left to the table or left out. */
struct err_reply {
    enum endpoint_shape shape;
    enum err code;
    struct str message;    /* UTF-8 or not; empty: the row's sentence */
    struct str param;      /* the field at fault; empty: null */
    struct str request_id; /* empty: left out */
    int upstream_status;   /* 0: left out */
};

/* Append the JSON body: {"error":{"message","type","param","code"}} or
 * {"type":"error","error":{"type","message"},"request_id"}. The message goes
 * through redact_put(). OpenAI's shape carries request_id and upstream_status
 * as further members of `error`. ERR_NOMEM: nothing is appended. */
enum err err_body_put(struct buf *out, const struct err_reply *r) MUST_CHECK;

/* Append the same as a stream event: `data: ...`, in Anthropic's shape with
 * `event: error`. No "[DONE]" follows. ERR_NOMEM. */
enum err err_event_put(struct buf *out, const struct err_reply *r) MUST_CHECK;

/* Append <text> with what looks like a secret masked: `sk-` keys keep their
 * first letters ("sk-proj-***"), `Bearer`, `Basic` and `x-api-key:` lose
 * their value, as do the AIza, gsk_, hf_, xai- and eyJ kinds. ERR_NOMEM. */
enum err redact_put(struct buf *out, struct str text) MUST_CHECK;

#endif
