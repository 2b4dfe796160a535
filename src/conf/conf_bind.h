/* conf_bind.h - Nodes to values, led by the option table. Inside conf/ only. */
#ifndef TG_CONF_CONF_BIND_H
#define TG_CONF_CONF_BIND_H

#include "conf/conf_table.h"
#include "conf/conf_yaml.h"

/* Longest path of a unix socket: sun_path without its NUL. */
#define CONF_SOCKET_MAX 107

/* What a walk carries. */
struct bind {
    const struct say *say; /* borrowed */
    struct arena *mem;     /* borrowed; the snapshot's */
    unsigned flags;        /* enum conf_load_flags */
    size_t visits;         /* values looked at, aliases expanded */
    bool stop;             /* too many visits: told, look no further */
    bool nomem;            /* memory ran out: the result is worthless */
};

/* Fill <c> from <root> (NULL: an empty file), defaults for what is absent.
 * Mistakes go to bind.say, leaving the default in place. */
void conf_bind_all(struct bind *b, const struct ynode *root, struct conf *c);

/* Parse the scalar or array <n> for the row <o> into the struct at <base>. */
void bind_value(struct bind *b, const struct opt *o, const struct ynode *n,
                void *base);

/* A zeroed array of <n> elements of <size> for <o>, hung into <base>; NULL
 * for n == 0 and when memory is out (bind.nomem). */
void *bind_array(struct bind *b, const struct opt *o, void *base, size_t n,
                 size_t size);

/* Count one more value; false, and told once, when there are too many. */
bool bind_visit(struct bind *b, const struct ynode *n);

/* A copy of <s> in the snapshot; sets bind.nomem when there is no memory. */
struct str bind_dup(struct bind *b, struct str s);

/* What a literal secret deserves. */
enum literal { LITERAL_FINE = 0, LITERAL_WARN };

/* Resolve "env:NAME", "file:/path" or a literal into <out>; mistakes are told
 * at <n> without ever repeating the value. With <spaces> the value may hold
 * blanks inside. False: nothing in <out>. */
bool bind_secret(struct bind *b, const struct opt *o, const struct ynode *n,
                 enum literal literal, bool spaces, struct secret *out);

/* Whether a header called <name> likely carries a credential. */
bool conf_header_is_secret(struct str name);

/* Fill the rest of <c> that no single key tells, and check the keys against
 * each other. Mistakes go to bind.say. */
void conf_check_all(struct bind *b, const struct ynode *root, struct conf *c);

/* The part of conf_check_all() that is about the cache. */
void conf_check_cache(struct bind *b, const struct ynode *root,
                      const struct conf *c);

/* As conf_prices_parse(), with the messages as <say> writes them. */
enum err conf_prices_read(const struct say *say, struct str text,
                          const struct conf *c, struct arena *mem,
                          struct conf_prices *out) MUST_CHECK;

#endif
