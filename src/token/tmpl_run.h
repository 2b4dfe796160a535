/* tmpl_run.h - One rendering of a chat template: its names, its bounds, and
 * what its parts ask of each other. */
#ifndef TG_TOKEN_TMPL_RUN_H
#define TG_TOKEN_TMPL_RUN_H

#include "token/tmpl_ast.h"

/* Bounds of a rendering: nodes evaluated (with a step for every 256 bytes
 * touched), nodes within nodes, elements of a range. */
#define TMPL_STEPS_MAX 20000000u
#define TMPL_DEPTH_MAX 700u
#define TMPL_RANGE_MAX 100000

/* The names of a scope. */
struct tmpl_env {
    struct tmpl_env *up; /* NULL: of the run itself */
    struct tmpl_slot {
        int id;
        struct tmpl_val v;
    } * at;
    unsigned n;
    unsigned cap;
};

/* Whether the statements that follow are run. */
enum tmpl_flow { TMPL_GOES_ON = 0, TMPL_BREAKS, TMPL_CONTINUES };

/* A rendering. */
struct tmpl_run {
    const struct template *t;
    struct arena *arena;
    size_t cap; /* of the arena */
    size_t max_bytes;
    int64_t now_s;
    struct template_fault *why;
    const struct tmpl_node *at;
    uint64_t steps;
    unsigned depth;
    unsigned loops;
    struct tmpl_val *globals; /* by name; MISSING = not set */
    struct tmpl_env *env;     /* the innermost; NULL = only globals */
    struct tmpl_room *out;
    enum tmpl_flow flow;
    struct tmpl_val hole;                          /* of a filter block */
    int loop_id, caller_id, varargs_id, kwargs_id; /* -1 = not used */
};

/* --- tmpl_run.c: statements --------------------------------------------- */

/* Run a statement. */
enum err tmpl_exec(struct tmpl_run *run, const struct tmpl_node *n) MUST_CHECK;

/* Run <n> (NULL: nothing) in the scope <env>; its text as a string. */
enum err tmpl_capture(struct tmpl_run *run, const struct tmpl_node *n,
                      struct tmpl_env *env, struct tmpl_val *out) MUST_CHECK;

/* A scope within <up>. */
enum err tmpl_env_new(struct tmpl_run *run, struct tmpl_env *up,
                      struct tmpl_env **out) MUST_CHECK;

/* Set a name in the innermost scope, <run>'s or <env>. */
enum err tmpl_env_set(struct tmpl_run *run, struct tmpl_env *env, int id,
                      struct tmpl_val v) MUST_CHECK;

/* Run the rounds of a for statement over <iter> in the scope <env>. */
enum err tmpl_exec_for(struct tmpl_run *run, const struct tmpl_node *n,
                       struct tmpl_val iter, struct tmpl_env *env,
                       size_t depth) MUST_CHECK;

/* Call a macro or the body of a call block. <caller>: MISSING when none. */
enum err tmpl_call_macro(struct tmpl_run *run, const struct tmpl_func *f,
                         const struct tmpl_args *args, struct tmpl_val caller,
                         struct tmpl_val *out) MUST_CHECK;

/* --- tmpl_eval.c: expressions ------------------------------------------- */

/* Evaluate <n>. */
enum err tmpl_eval(struct tmpl_run *run, const struct tmpl_node *n,
                   struct tmpl_val *out) MUST_CHECK;

/* Evaluate the call <n>, handing <caller> to a macro. */
enum err tmpl_eval_call(struct tmpl_run *run, const struct tmpl_node *n,
                        struct tmpl_val caller,
                        struct tmpl_val *out) MUST_CHECK;

/* Fail because <v> is undefined. */
enum err tmpl_fail_undef(struct tmpl_run *run, struct tmpl_val v);

/* What <name> of <v> is, asked for as v.name; undefined when there is none. */
enum err tmpl_get_attr(struct tmpl_run *run, struct tmpl_val v, struct str name,
                       struct tmpl_val *out) MUST_CHECK;

/* What v[key] is. */
enum err tmpl_get_item(struct tmpl_run *run, struct tmpl_val v,
                       struct tmpl_val key, struct tmpl_val *out) MUST_CHECK;

/* Call a value. */
enum err tmpl_call(struct tmpl_run *run, struct tmpl_val f,
                   const struct tmpl_args *args, struct tmpl_val caller,
                   struct tmpl_val *out) MUST_CHECK;

/* --- tmpl_op.c: operators ----------------------------------------------- */

/* <a> <op> <b>, arithmetic. */
enum err tmpl_arith(struct tmpl_run *run, enum tmpl_op op, struct tmpl_val a,
                    struct tmpl_val b, struct tmpl_val *out) MUST_CHECK;

/* <a> <op> <b>, comparison or membership. */
enum err tmpl_relate(struct tmpl_run *run, enum tmpl_op op, struct tmpl_val a,
                     struct tmpl_val b, bool *out) MUST_CHECK;

/* v[from:to:step]; NONE where left out. */
enum err tmpl_slice(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val bounds[3],
                    struct tmpl_val *out) MUST_CHECK;

/* Python's "%" of a string. */
enum err tmpl_format(struct tmpl_run *run, const struct tmpl_str *fmt,
                     const struct tmpl_val *args, size_t n,
                     struct tmpl_val *out) MUST_CHECK;

/* --- arguments ---------------------------------------------------------- */

/* Most parameters of a filter, test or function. */
#define TMPL_PARAMS_MAX 6

/* Bind <args> to the parameters that <names> lists with spaces between, in
 * their order; MISSING where none was given. A surplus or unknown one fails,
 * naming <what>. */
enum err tmpl_bind(struct tmpl_run *run, const char *what, const char *names,
                   const struct tmpl_args *args,
                   struct tmpl_val out[TMPL_PARAMS_MAX]) MUST_CHECK;

/* <v> as an integer, <def> when it is MISSING or none. */
enum err tmpl_want_int(struct tmpl_run *run, const char *what,
                       struct tmpl_val v, int64_t def, int64_t *out) MUST_CHECK;

/* <v> as a string, <def> (may be NULL: it must be there) when MISSING. */
enum err tmpl_want_str(struct tmpl_run *run, const char *what,
                       struct tmpl_val v, const struct tmpl_str *def,
                       const struct tmpl_str **out) MUST_CHECK;

/* --- what is called ----------------------------------------------------- */

/* What filter number <id> makes of <v>. */
enum err tmpl_filter_call(struct tmpl_run *run, int id, struct tmpl_val v,
                          const struct tmpl_args *args,
                          struct tmpl_val *out) MUST_CHECK;

/* Whether <v> passes test number <id>. */
enum err tmpl_test_call(struct tmpl_run *run, int id, struct tmpl_val v,
                        const struct tmpl_args *args, bool *out) MUST_CHECK;

/* Set the names of the global functions. */
enum err tmpl_funcs_init(struct tmpl_run *run) MUST_CHECK;

/* Call a global function, a cycler, a joiner. */
enum err tmpl_func_call(struct tmpl_run *run, struct tmpl_func *f,
                        const struct tmpl_args *args,
                        struct tmpl_val *out) MUST_CHECK;

/* Parts of cyclers; MISSING when <v> has no such one. */
enum err tmpl_func_attr(struct tmpl_run *run, struct tmpl_val v,
                        struct str name, struct tmpl_val *out) MUST_CHECK;

/* loop.cycle() and, unless <cycles>, loop.changed(). */
enum err tmpl_loop_call(struct tmpl_run *run, struct tmpl_loop *l, bool cycles,
                        const struct tmpl_args *args,
                        struct tmpl_val *out) MUST_CHECK;

/* str.format(). */
enum err tmpl_str_format(struct tmpl_run *run, const struct tmpl_str *fmt,
                         const struct tmpl_args *args,
                         struct tmpl_val *out) MUST_CHECK;

/* strftime() of run->now_s. */
enum err tmpl_strftime(struct tmpl_run *run, const struct tmpl_str *fmt,
                       struct tmpl_val *out) MUST_CHECK;

/* The method <name> of <v>; MISSING when it has none. */
enum err tmpl_method_find(struct tmpl_run *run, struct tmpl_val v,
                          struct str name, struct tmpl_val *out) MUST_CHECK;

/* Call it. */
enum err tmpl_method_call(struct tmpl_run *run, const struct tmpl_func *f,
                          const struct tmpl_args *args,
                          struct tmpl_val *out) MUST_CHECK;

/* --- strings, for filters and methods ----------------------------------- */

/* Ways to change the case of a string. */
enum tmpl_case { TMPL_UPPER = 0, TMPL_LOWER, TMPL_CAPITAL, TMPL_TITLE };

/* <s> in another case; TMPL_TITLE as the filter does it when <filter>. */
enum err tmpl_recase(struct tmpl_run *run, const struct tmpl_str *s,
                     enum tmpl_case how, bool filter,
                     struct tmpl_val *out) MUST_CHECK;

/* <s> without the characters of <set> (NULL: white space) at its ends. */
enum err tmpl_strip(struct tmpl_run *run, const struct tmpl_str *s,
                    const struct tmpl_str *set, bool left, bool right,
                    struct tmpl_val *out) MUST_CHECK;

/* <s> with <count> (-1: all) of <from> made <to>. */
enum err tmpl_replace(struct tmpl_run *run, const struct tmpl_str *s,
                      const struct tmpl_val from_to[2], int64_t count,
                      struct tmpl_val *out) MUST_CHECK;

/* The parts of <s> between <sep> (NULL: white space), at most <max> cuts (-1:
 * any), from the right end when <right>. */
enum err tmpl_split(struct tmpl_run *run, const struct tmpl_str *s,
                    const struct tmpl_str *sep, int64_t max, bool right,
                    struct tmpl_val *out) MUST_CHECK;

/* The lines of <s>. */
enum err tmpl_splitlines(struct tmpl_run *run, const struct tmpl_str *s,
                         bool keep, struct tmpl_val *out) MUST_CHECK;

/* Where a string is padded. */
enum tmpl_side { TMPL_PAD_LEFT = 0, TMPL_PAD_RIGHT, TMPL_PAD_BOTH };

/* <s> padded: a[0] is the width, 80 when MISSING, a[1] the character, a space
 * when MISSING. */
enum err tmpl_pad(struct tmpl_run *run, const struct tmpl_str *s,
                  const struct tmpl_val *a, enum tmpl_side side,
                  struct tmpl_val *out) MUST_CHECK;

/* <s> with zeros behind its sign up to <width>. */
enum err tmpl_zfill(struct tmpl_run *run, const struct tmpl_str *s,
                    struct tmpl_val width, struct tmpl_val *out) MUST_CHECK;

/* The elements of <l> as text with <sep> between them. */
enum err tmpl_join(struct tmpl_run *run, const struct tmpl_list *l,
                   const struct tmpl_str *sep, struct tmpl_val *out) MUST_CHECK;

/* The value of <path>, a number or names with dots between, in <v>. */
enum err tmpl_get_path(struct tmpl_run *run, struct tmpl_val v,
                       struct tmpl_val path, struct tmpl_val *out) MUST_CHECK;

/* Sort <at> in place, stable. <path>: what to sort by, MISSING = itself. */
enum err tmpl_sort(struct tmpl_run *run, struct tmpl_list *l,
                   struct tmpl_val path, bool fold, bool reverse) MUST_CHECK;

#endif
