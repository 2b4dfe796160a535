/* unfold_priv.h - What the writers of event streams share. Not for others. */
#ifndef TG_WIRE_UNFOLD_PRIV_H
#define TG_WIRE_UNFOLD_PRIV_H

#include "wire/jscan.h"
#include "wire/unfold.h"

/* Raw bytes of text that an event carries, about. */
#define UNFOLD_PIECE 1024

/* A stream that is being written; zeroed but for what is given. */
struct unfold {
    struct buf *out; /* borrowed */
    enum err err;    /* the first thing that went wrong, and stays */
    enum endpoint kind;
    bool include_usage;
    struct buf base;  /* chat: what every chunk begins with */
    struct buf more;  /* chat: members that only the last chunk has */
    struct str usage; /* chat: raw; empty: the reply says none */
    int64_t sequence; /* responses: of the next event */
};

/* Note that <e> went wrong, when nothing had. */
void unfold_fail(struct unfold *u, enum err e);

/* Append plain text, as it is. */
void unfold_text(struct unfold *u, struct str text);

/* Append the raw value <raw>: line ends, which mean nothing within JSON, are
 * left out, since a line of the stream ends there. */
void unfold_raw(struct unfold *u, struct str raw);

/* Append `,"<name>":<raw>`. */
void unfold_member(struct unfold *u, struct str name, struct str raw);

/* Append <n> in decimal. */
void unfold_number(struct unfold *u, int64_t n);

/* Begin an event of the type <type>, which is its name too: up to the value of
 * its `type`. */
void unfold_begin(struct unfold *u, struct str type);

/* Append <object>'s members without its braces, each with a comma before it,
 * but those that <skip> (plain names, <count> of them) names. */
void unfold_rest(struct unfold *u, struct str object, const struct str *skip,
                 size_t count);

/* Take the next piece of text off <rest>, the inside of a raw string: no escape
 * and no character is torn, nor two halves of a pair. False at the end. */
bool unfold_piece(struct str *rest, struct str *piece_out);

/* The inside of the raw string <v>; empty when it is none. */
struct str unfold_inside(const struct jmember *v);

/* Write the stream of <root>, a validated object. */
void unfold_chat(struct unfold *u, const struct jmember *root);
void unfold_message(struct unfold *u, const struct jmember *root);
void unfold_response(struct unfold *u, const struct jmember *root);

#endif
