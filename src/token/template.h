/* template.h - Chat templates: an interpreter of the Jinja subset that models'
 * templates are written in. Unknown constructs are refused when a template is
 * made, with line and column. Text that came from the context is told apart
 * from what the template wrote, so that a user cannot write control tokens. */
#ifndef TG_TOKEN_TEMPLATE_H
#define TG_TOKEN_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "token/vocab.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct template;

/* Where and why a template was refused or stopped. */
struct template_fault {
    unsigned line;   /* from 1; 0 = nowhere */
    unsigned column; /* from 1 */
    bool raised;     /* the template itself called raise_exception() */
    char text[256];
};

/* Compile <source> (copied). ERR_SYNTAX: no such construct, <why> says which
 * and where; ERR_NOMEM. */
enum err template_new(struct str source, struct template_fault *why,
                      struct template **out) MUST_CHECK;

/* Free; NULL is fine. */
void template_free(struct template *t);

/* What was rendered; zeroed is empty. Free with template_text_fini(). */
struct template_text {
    struct buf text;
    struct vocab_span *spans; /* lengths sum to the text's */
    size_t n_spans;
};

/* Render with <context> (an object, borrowed). Strings of the context are
 * untrusted unless their top-level name is bos_token or eos_token. <now_s>:
 * Unix time that strftime_now() tells, in UTC. Bounded in steps, depth and
 * output (<max_bytes>). ERR_SYNTAX with <why>: an undefined operation, or
 * raise_exception(); ERR_FULL past a bound; ERR_NOMEM. Any thread, many at
 * once. */
enum err template_render(const struct template *t, const json_t *context,
                         int64_t now_s, size_t max_bytes,
                         struct template_fault *why,
                         struct template_text *out) MUST_CHECK;

/* Free what <out> holds. */
void template_text_fini(struct template_text *out);

/* What a template can do, found by rendering probes when it is made: whether
 * tools, a system message, tool calls of an assistant, and lists of content
 * parts reach the text. */
struct template_caps {
    bool tools;
    bool tool_calls;
    bool system;
    bool content_parts;       /* content as a list of {type: text} works */
    bool content_string;      /* content as a string works */
    bool call_arguments_text; /* calls' arguments are to be JSON text; else an
                               * object, which most templates write better */
};

/* The capabilities of <t>; valid as long as <t>. */
const struct template_caps *template_caps(const struct template *t);

#endif
