/* tmpl_val.h - Values of a chat template while it is rendered. Everything
 * lives in the arena of one rendering. Strings carry, byte for byte, whether
 * they came from the context ("tainted") or were written by the template. */
#ifndef TG_TOKEN_TMPL_VAL_H
#define TG_TOKEN_TMPL_VAL_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "token/template.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tmpl_node;
struct tmpl_run;

/* What a value is. */
enum tmpl_type {
    TMPL_MISSING = 0, /* an argument that was not given; no value */
    TMPL_UNDEF,
    TMPL_NONE,
    TMPL_BOOL,
    TMPL_INT,
    TMPL_REAL,
    TMPL_STR,
    TMPL_LIST, /* also tuples and what Python makes lazily */
    TMPL_DICT,
    TMPL_SPACE, /* namespace() */
    TMPL_FUNC,
    TMPL_LOOP,
};

/* Growing bytes with their tags: a string under construction. Several strings
 * may share its beginning; only the one that ends where it ends grows it. */
struct tmpl_room {
    char *p;
    unsigned char *tag; /* 1 = tainted; NULL: all bytes are as <taint> */
    size_t used;
    size_t cap;
    bool taint;
};

/* A string; immutable. */
struct tmpl_str {
    const char *p;
    size_t len;
    const unsigned char *tag; /* as in a room */
    struct tmpl_room *room;   /* where it may grow; NULL = nowhere */
    bool taint;
};

/* A value. <taint>: a scalar that came from the context. */
struct tmpl_val {
    enum tmpl_type type;
    bool taint;
    union {
        bool b;
        int64_t i;
        double r;
        const struct tmpl_str *s;
        struct tmpl_list *list;
        struct tmpl_dict *dict; /* TMPL_DICT, TMPL_SPACE */
        struct tmpl_func *func;
        struct tmpl_loop *loop;
        const struct str *name; /* TMPL_UNDEF: what was not there, or NULL */
    } u;
};

/* Elements, in the arena. */
struct tmpl_list {
    struct tmpl_val *at;
    size_t n;
    size_t cap;
};

/* A member of a mapping. */
struct tmpl_pair {
    struct tmpl_val key;
    struct tmpl_val val;
};

/* Members in the order they came; an index when there are many. */
struct tmpl_dict {
    struct tmpl_pair *at;
    size_t n;
    size_t cap;
    uint32_t *index; /* member + 1, 0 = free; NULL = none */
    size_t mask;
};

/* What a function value is. */
enum tmpl_func_kind {
    TMPL_F_BUILTIN = 0, /* <id>: one of the global functions */
    TMPL_F_METHOD,      /* <id> of <self> */
    TMPL_F_MACRO,       /* <node> with the names of <env> */
    TMPL_F_CALLER,      /* the body of a call block, likewise */
    TMPL_F_LOOP,        /* loop(...): the recursive one of <self> */
    TMPL_F_CYCLER,      /* cycler(): an object with methods */
    TMPL_F_JOINER,      /* joiner(): called, an object */
};

/* A function, or an object that has some. */
struct tmpl_func {
    enum tmpl_func_kind kind;
    int id;
    struct tmpl_val self;
    const struct tmpl_node *node;
    struct tmpl_env *env;
    struct tmpl_list *items; /* cycler, joiner */
    size_t at;               /* cycler: next; joiner: calls */
};

/* The state of a for statement. */
struct tmpl_loop {
    struct tmpl_list *items;
    size_t i;
    size_t depth; /* from 1 */
    struct tmpl_list *seen;
    const struct tmpl_node *node; /* recursive; NULL = not */
    struct tmpl_env *env;
};

/* Arguments of a call, evaluated. */
struct tmpl_args {
    struct tmpl_val *pos;
    size_t n;
    struct tmpl_pair *kw; /* keys are strings */
    size_t n_kw;
};

/* --- failing ------------------------------------------------------------ */

/* Note why <run> stops at the node it is at; returns ERR_SYNTAX. */
enum err tmpl_fail(struct tmpl_run *run, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Count the work of touching <bytes>. ERR_FULL past the bound. */
enum err tmpl_charge(struct tmpl_run *run, size_t bytes) MUST_CHECK;

/* <len> zeroed bytes of the run. ERR_FULL past its bound. */
enum err tmpl_alloc(struct tmpl_run *run, size_t len, void *out) MUST_CHECK;

/* --- making ------------------------------------------------------------- */

/* Undefined; <name> is what was not there, or NULL. */
struct tmpl_val tmpl_undef(const struct str *name);
/* Scalars, trusted. */
struct tmpl_val tmpl_none(void);
struct tmpl_val tmpl_bool(bool b);
struct tmpl_val tmpl_int(int64_t i);
struct tmpl_val tmpl_real(double r);

/* A string of the bytes of <s> (borrowed for the run), all of one trust. */
enum err tmpl_make_str(struct tmpl_run *run, struct str s, bool taint,
                       struct tmpl_val *out) MUST_CHECK;

/* The part [at, at+len) of <s>. */
enum err tmpl_make_part(struct tmpl_run *run, const struct tmpl_str *s,
                        size_t at, size_t len, struct tmpl_val *out) MUST_CHECK;

/* An empty list, dict, and a function value. */
enum err tmpl_make_list(struct tmpl_run *run, struct tmpl_val *out) MUST_CHECK;
enum err tmpl_make_dict(struct tmpl_run *run, struct tmpl_val *out) MUST_CHECK;
enum err tmpl_make_func(struct tmpl_run *run, enum tmpl_func_kind kind, int id,
                        struct tmpl_val self, struct tmpl_val *out) MUST_CHECK;

/* Append <v>. */
enum err tmpl_list_add(struct tmpl_run *run, struct tmpl_list *l,
                       struct tmpl_val v) MUST_CHECK;

/* A list of two. */
enum err tmpl_make_pair(struct tmpl_run *run, struct tmpl_val a,
                        struct tmpl_val b, struct tmpl_val *out) MUST_CHECK;

/* Set <key> to <v>. ERR_SYNTAX when <key> cannot be one. */
enum err tmpl_dict_set(struct tmpl_run *run, struct tmpl_dict *d,
                       struct tmpl_val key, struct tmpl_val v) MUST_CHECK;

/* The value of <key>, NULL when there is none. */
const struct tmpl_val *tmpl_dict_get(const struct tmpl_dict *d,
                                     struct tmpl_val key);

/* The value of the key spelled <name>, NULL when there is none. */
const struct tmpl_val *tmpl_dict_find(const struct tmpl_dict *d,
                                      struct str name);

/* --- building text ------------------------------------------------------ */

/* Append <len> bytes of one trust. ERR_FULL past the run's output bound. */
enum err tmpl_room_put(struct tmpl_run *run, struct tmpl_room *r, struct str s,
                       bool taint) MUST_CHECK;

/* Append <s> with its tags. */
enum err tmpl_room_add(struct tmpl_run *run, struct tmpl_room *r,
                       const struct tmpl_str *s) MUST_CHECK;

/* Append bytes with the tags at <tag> (NULL: all as <taint>). */
enum err tmpl_room_copy(struct tmpl_run *run, struct tmpl_room *r,
                        const struct tmpl_str *s, size_t at,
                        size_t len) MUST_CHECK;

/* The whole of <r> as a string value. */
enum err tmpl_room_str(struct tmpl_run *run, struct tmpl_room *r,
                       struct tmpl_val *out) MUST_CHECK;

/* <a> and <b> one after the other; in <a>'s room where that is possible. */
enum err tmpl_concat(struct tmpl_run *run, const struct tmpl_str *a,
                     const struct tmpl_str *b, struct tmpl_val *out) MUST_CHECK;

/* Whether byte <at> of <s> is tainted. */
static inline bool tmpl_tainted(const struct tmpl_str *s, size_t at)
{
    return s->tag ? s->tag[at] != 0 : s->taint;
}

/* The bytes of a string value. */
static inline struct str tmpl_bytes(struct tmpl_val v)
{
    return (struct str){v.u.s->p, v.u.s->len};
}

/* --- asking ------------------------------------------------------------- */

/* Python's truth. */
bool tmpl_truth(struct tmpl_val v);

/* Python's ==. False too past a depth of 64. */
bool tmpl_equal(struct tmpl_val a, struct tmpl_val b);

/* Like tmpl_equal(), but a boolean equals no number: membership in lists. */
bool tmpl_same(struct tmpl_val a, struct tmpl_val b);

/* What a message calls the type of <v>. */
const char *tmpl_type_name(struct tmpl_val v);

/* Characters of <s>. */
size_t tmpl_str_chars(const struct tmpl_str *s);

/* Order of two values: negative, 0, positive. ERR_SYNTAX when they have none.
 * <fold>: strings without regard to case. */
enum err tmpl_compare(struct tmpl_run *run, struct tmpl_val a,
                      struct tmpl_val b, bool fold, int *out) MUST_CHECK;

/* <v>'s number as a double; false when it is none (booleans are). */
bool tmpl_number(struct tmpl_val v, double *out);

/* The elements of what can be walked through: lists, the keys of mappings, the
 * characters of strings; nothing for undefined. */
enum err tmpl_elements(struct tmpl_run *run, struct tmpl_val v,
                       struct tmpl_list **out) MUST_CHECK;

/* --- writing ------------------------------------------------------------ */

/* How JSON is written. */
struct tmpl_json {
    bool ascii;  /* escape everything beyond ASCII */
    bool sort;   /* members by key */
    bool strict; /* undefined is null, functions are refused */
    bool pretty; /* a line an element, behind <indent> a level */
    struct str indent;
    const struct tmpl_str *comma, *colon;
};

/* Append <v> as JSON. */
enum err tmpl_put_json(struct tmpl_run *run, struct tmpl_room *r,
                       struct tmpl_val v, const struct tmpl_json *how,
                       unsigned depth) MUST_CHECK;

/* Append <v> as a template prints it. */
enum err tmpl_put_val(struct tmpl_run *run, struct tmpl_room *r,
                      struct tmpl_val v) MUST_CHECK;

/* <v> as a string value: itself when it is one. */
enum err tmpl_to_str(struct tmpl_run *run, struct tmpl_val v,
                     struct tmpl_val *out) MUST_CHECK;

/* Python's repr() of a number into <room>; its length. */
size_t tmpl_put_real(double r, char room[40]);

#endif
