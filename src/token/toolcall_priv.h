/* toolcall_priv.h - The state of the reader of tool calls. */
#ifndef TG_TOKEN_TOOLCALL_PRIV_H
#define TG_TOKEN_TOOLCALL_PRIV_H

#include "token/toolcall.h"

/* Most bytes that wait to become a call or text; brackets within arguments. */
#define TOOLCALL_HOLD_MAX  65536u
#define TOOLCALL_DEPTH_MAX 256u

/* Where the reader is. */
enum toolcall_phase {
    PHASE_TEXT = 0, /* outside of calls */
    PHASE_OPEN,     /* behind a marker, a bracket, or what separates calls */
    PHASE_OBJECT,   /* within a call's object */
    PHASE_GAP,      /* behind a call */
};

/* Where it is within an object. */
enum toolcall_obj_state {
    OBJ_OPEN = 0, /* before its brace */
    OBJ_FIRST,    /* before the first key, or the end */
    OBJ_KEY,      /* before a key */
    OBJ_KEY_TEXT, /* within a key */
    OBJ_COLON,
    OBJ_VALUE, /* before a value */
    OBJ_TEXT,  /* within a string */
    OBJ_NEST,  /* within brackets */
    OBJ_PLAIN, /* within a number or word */
    OBJ_NEXT,  /* behind a value */
};

/* What a member is for. */
enum toolcall_key { KEY_OTHER = 0, KEY_NAME, KEY_ARGS };

/* Bytes of the buffer. */
struct toolcall_part {
    size_t from;
    size_t len;
};

/* The object that is read; zeroed is before its brace. */
struct toolcall_obj {
    enum toolcall_obj_state state;
    enum toolcall_key key;
    struct toolcall_part part; /* the string or value being read */
    struct toolcall_part name, args;
    bool has_name, has_args;
    bool text_args; /* the arguments are JSON within a string */
    bool null_args;
    bool bare_args; /* the object is the arguments themselves */
    bool begun;     /* the call was told */
    bool in_args;   /* and its arguments are being told */
    bool in_text;   /* within brackets: within a string */
    bool escaped;   /* behind a backslash */
    unsigned depth;
    bool kinds[TOOLCALL_DEPTH_MAX]; /* of open brackets; true = brace */
};

/* The reader. */
struct toolcall_reader {
    enum toolcall_style style;
    struct buf buf; /* not told yet */
    size_t at;      /* how much of it was looked at */
    enum toolcall_phase phase;
    bool at_start;   /* nothing was told yet */
    bool after_call; /* nothing but white space since a call */
    bool in_list;    /* the calls are elements of a list */
    bool skip;       /* the byte at <at> is one further on already */
    unsigned count;
    struct toolcall_obj obj;
};

/* Whom to tell. */
struct toolcall_out {
    toolcall_fn *fn;
    void *arg;
};

/* White space of JSON. */
static inline bool toolcall_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Drop the first <n> bytes of the buffer. */
void toolcall_consume(struct toolcall_reader *r, size_t n);

/* Tell the first <n> bytes as text, and drop them. */
void toolcall_tell_text(struct toolcall_reader *r, const struct toolcall_out *o,
                        size_t n);

/* Go on outside of calls, at the beginning of the buffer. */
void toolcall_to_text(struct toolcall_reader *r);

/* What is held is no call: its beginning is text, the rest is looked at anew.
 */
void toolcall_give_up(struct toolcall_reader *r, const struct toolcall_out *o);

/* Tell that a call begins; false when its name is none. */
bool toolcall_begin(struct toolcall_reader *r, const struct toolcall_out *o);

/* Tell that the call is whole. */
void toolcall_end(struct toolcall_reader *r, const struct toolcall_out *o);

/* Read on within the object of a call. */
void toolcall_run_object(struct toolcall_reader *r,
                         const struct toolcall_out *o);

#endif
