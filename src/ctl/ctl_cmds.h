/* ctl_cmds.h - What each noun and verb of tollctl takes and how its answer is
 * shown: one table, which also prints the help. */
#ifndef TG_CTL_CTL_CMDS_H
#define TG_CTL_CTL_CMDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* How an option's value is read. */
enum ctl_opt_kind {
    CTL_OPT_TEXT = 0, /* "--name N" -> string */
    CTL_OPT_NUMBER,   /* "--rpm 60" -> integer */
    CTL_OPT_LIST,     /* "--models a,b" -> array */
    CTL_OPT_MORE,     /* "--budget X" again and again -> array */
    CTL_OPT_PAIR,     /* "--metadata k=v" again and again -> object */
    CTL_OPT_CHOICE,   /* one of the words of <value>, "a|b" -> string */
    CTL_OPT_SOFT,     /* "--soft" -> said of the budget before it, or of all */
    CTL_OPT_FLAG,     /* "--drop" -> true */
};

/* One option. */
struct ctl_opt {
    const char *flag;   /* "--name" */
    const char *member; /* of the arguments */
    enum ctl_opt_kind kind;
    const char *value; /* how help names its value */
};

/* Shows the answer to a person. */
typedef void ctl_show_fn(const json_t *data);

/* One command. */
struct ctl_cmd {
    const char *name;           /* "key create", or "status" */
    const char *positional[2];  /* members of positional arguments */
    const struct ctl_opt *opts; /* ended by a NULL flag; or NULL */
    ctl_show_fn *show;
    const char *help;     /* one line */
    const char *required; /* flag of an option that must be given */
};

/* All commands, ended by a NULL name, grouped by noun. */
extern const struct ctl_cmd ctl_cmds[];

/* Print what each engine model of the array <models> is doing. */
void ctl_engine_table(const json_t *models);

#endif
