/* toolcall.h - How model families write tool calls into their text, and the
 * streaming reader that takes them out of it again. Pure. */
#ifndef TG_TOKEN_TOOLCALL_H
#define TG_TOKEN_TOOLCALL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

/* The families. */
enum toolcall_style {
    TOOLCALL_NONE = 0, /* the template knows no tools */
    TOOLCALL_HERMES,   /* Hermes, Qwen: <tool_call>{"name","arguments"}</...> */
    TOOLCALL_LLAMA3,   /* {"name": ..., "parameters": {...}} as all the text,
                        * maybe after <|python_tag|> */
    TOOLCALL_MISTRAL,  /* [TOOL_CALLS] [{"name","arguments"}, ...], or
                        * [TOOL_CALLS]name[ARGS]{...} */
};

/* The style that <source>, a chat template, asks for. */
enum toolcall_style toolcall_style_of(struct str source);

/* The text that calls of <style> begin with; empty for TOOLCALL_NONE. Where it
 * is a control token of the vocabulary, the reader must be given its text. */
struct str toolcall_marker(enum toolcall_style style);

/* What the reader tells, in the order of the text. Arguments that break off or
 * are broken are never told to end; what follows broken ones is text. A call
 * without arguments is told with "{}". */
enum toolcall_kind {
    TOOLCALL_TEXT = 0, /* ordinary text */
    TOOLCALL_BEGIN,    /* a call begins: <text> is the function's name */
    TOOLCALL_ARGS,     /* more bytes of its arguments, raw JSON */
    TOOLCALL_END,      /* the call is whole */
};

/* Called for each piece; <index> counts calls from 0. */
typedef void toolcall_fn(enum toolcall_kind kind, unsigned index,
                         struct str text, void *arg);

struct toolcall_reader;

/* A reader; NULL without memory. */
struct toolcall_reader *toolcall_reader_new(enum toolcall_style style);

/* Free; NULL is fine. */
void toolcall_reader_free(struct toolcall_reader *r);

/* Read more text (any cut); what may be the beginning of a call waits, at most
 * 64 KiB of it. Text that turns out to be no call after all is told as text,
 * byte for byte; white space between calls and behind them is not. ERR_NOMEM.
 */
enum err toolcall_read(struct toolcall_reader *r, struct str text,
                       toolcall_fn *fn, void *arg) MUST_CHECK;

/* The text is over: tell what waits. ERR_NOMEM. */
enum err toolcall_finish(struct toolcall_reader *r, toolcall_fn *fn,
                         void *arg) MUST_CHECK;

/* Calls begun so far. */
unsigned toolcall_count(const struct toolcall_reader *r);

#endif
