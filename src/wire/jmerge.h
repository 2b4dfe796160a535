/* jmerge.h - A JSON value that comes in pieces, as the chunks of a stream
 * bring it: strings grow, objects are merged by their names, lists are put
 * together. What came is only ever copied: no number is read, no string is
 * taken apart. Not for other folders. */
#ifndef TG_WIRE_JMERGE_H
#define TG_WIRE_JMERGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/jscan.h"

#include <stdbool.h>
#include <stdint.h>

/* Most names of one object and elements of one numbered list; how deep pieces
 * are merged. */
enum { JMERGE_NAMES = 256, JMERGE_NUMBERS = 1024, JMERGE_DEPTH = 8 };

/* Where the values live. All text given must outlive it, and be validated. */
struct jmerge {
    struct arena *arena; /* borrowed */
    size_t steps;        /* that may still be made in search of names and
                          * numbers: none left is ERR_NOT_FOUND */
    enum err err;        /* the first thing that went wrong, and stays:
                          * ERR_NOMEM, or ERR_NOT_FOUND for pieces that are of
                          * no one value */
};

/* How a value is held. */
enum jnode_kind {
    JNODE_NONE = 0, /* nothing came yet: null */
    JNODE_RAW,      /* as it came, whole */
    JNODE_TEXT,     /* a string in pieces, without quotes */
    JNODE_OBJECT,
    JNODE_LIST,     /* an array: pieces are its elements with their commas */
    JNODE_NUMBERED, /* an array whose elements say their `index` */
};

/* A stretch of text. */
struct jpiece {
    struct jpiece *next;
    struct str text;
};

/* A value; zeroed = nothing. */
struct jnode {
    enum jnode_kind kind;
    struct str key;              /* raw, with its quotes; empty in arrays */
    int64_t index;               /* in a numbered list */
    struct str raw;              /* JNODE_RAW */
    struct jpiece *first, *last; /* JNODE_TEXT, JNODE_LIST */
    struct jnode *child, *tail;  /* JNODE_OBJECT, JNODE_NUMBERED */
    struct jnode *hit;           /* the child asked for last, or NULL */
    struct jnode *next;
    unsigned count; /* children */
};

/* Note that <e> went wrong, when nothing had. */
void jmerge_fail(struct jmerge *m, enum err e);

/* The member with the raw <key> of <object>, added when it is new. NULL once
 * something went wrong; every call takes that NULL. */
struct jnode *jnode_member(struct jmerge *m, struct jnode *object,
                           struct str key);

/* The member <name> (plain text) of <object>, or NULL. */
struct jnode *jnode_find(const struct jnode *object, struct str name);

/* The element of that <index> of <list>, added in its order when it is new;
 * NULL as jnode_member(). */
struct jnode *jnode_at(struct jmerge *m, struct jnode *list, int64_t index);

/* <node> is <raw> from now on, whatever it was. */
void jnode_set(struct jnode *node, struct str raw);

/* As jnode_set() with <v>, unless that is null and <node> is something. */
void jnode_set_said(struct jnode *node, const struct jmember *v);

/* Append the string <v> to what <node> is: nothing, null or a string. */
void jnode_add_text(struct jmerge *m, struct jnode *node,
                    const struct jmember *v);

/* Append <raw>, elements with commas between them, to what <node> is: nothing,
 * null or a list. */
void jnode_add_elements(struct jmerge *m, struct jnode *node, struct str raw);

/* Merge <v> into <node>: strings are appended, but those that name something
 * (role, id, type and their like), of which the last that is not empty counts,
 * as it does of numbers; objects and lists are merged; null changes nothing. */
void jnode_merge(struct jmerge *m, struct jnode *node, const struct jmember *v);

/* Whether <node> is an empty string, null or nothing. */
bool jnode_is_blank(const struct jnode *node);

/* Bytes of the pieces of <node>. */
size_t jnode_text_len(const struct jnode *node);

/* Append <node> as JSON; no space but what came. ERR_NOMEM. */
enum err jnode_put(const struct jnode *node, struct buf *out) MUST_CHECK;

#endif
