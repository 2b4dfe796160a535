/* conf_table.h - The options as data: one row a key. Parsing, defaults,
 * printing, comparing and the checks of the documents all walk this table.
 * Inside conf/ only. */
#ifndef TG_CONF_CONF_TABLE_H
#define TG_CONF_CONF_TABLE_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a value is written and what the snapshot keeps of it. */
enum opt_type {
    OPT_MAP = 0,  /* keys below "PATH." */
    OPT_LIST,     /* maps, keys below "PATH[]."; pointer and count */
    OPT_BOOL,     /* bool */
    OPT_COUNT,    /* uint64_t */
    OPT_DURATION, /* int64_t, ms */
    OPT_SIZE,     /* uint64_t, bytes */
    OPT_RATE,     /* uint64_t, bytes a second: SIZE/s */
    OPT_MODE,     /* uint32_t, octal */
    OPT_ENUM,     /* an enum of int size; <names> */
    OPT_SET,      /* unsigned: bit i is there for <names>[i]; a list of names */
    OPT_NAME,     /* struct str: letters, digits, . _ - */
    OPT_MODEL,    /* struct str: a model's name: those and / : @ + */
    OPT_TEXT,     /* struct str: any text a file may hold */
    OPT_GLOB,     /* struct str: model name or glob */
    OPT_HOST,     /* struct str: host name */
    OPT_PATH,     /* struct str: absolute path */
    OPT_ACCESS,   /* struct str: stderr, off or absolute path */
    OPT_WEIGHTS,  /* struct str: absolute path, or synthetic:SHAPE[:TYPE] */
    OPT_DEVICE,   /* struct str: auto, cpu, cuda:N */
    OPT_HTTP_URL, /* struct str: http or https URL */
    OPT_ADDRESS,  /* struct conf_addr */
    OPT_BASE_URL, /* struct conf_url */
    OPT_SECRET,   /* an array of one struct secret; pointer and count */
    OPT_SECRETS,  /* struct secrets; pointer and count */
    OPT_PROXY,    /* struct secret holding a proxy URL */
    OPT_REDIS,    /* struct secret holding a redis URL */
    OPT_GLOBS,    /* struct strs: model names or globs; pointer and count */
    OPT_STRS,     /* struct strs; pointer and count */
    OPT_ORIGINS,  /* struct strs: "*" or scheme://host; pointer and count */
    OPT_HOSTS,    /* struct strs: host names; pointer and count */
    OPT_HEADERS,  /* struct conf_headers; pointer and count */
    OPT_TYPE_COUNT
};

/* Row flags. */
enum opt_flags {
    OPT_RESTART = 1,  /* a reload does not change it */
    OPT_LATER = 2,    /* checked, but has no effect yet; holds below too */
    OPT_REQUIRED = 4, /* must be given where its map is given */
    OPT_ONE = 8,      /* of a list: a single map stands for a list of one */
    OPT_AUTO = 16,    /* of a count: "auto" is written for 0 */
    OPT_EMPTY = 32,   /* "" is allowed and means absent */
};

/* One key. Offsets are into struct conf, or into the element of the innermost
 * list above the key. */
struct opt {
    const char *path; /* "upstreams[].timeouts.connect" */
    enum opt_type type;
    unsigned flags;
    size_t off;               /* of the value, or of the array pointer */
    size_t off_n;             /* of the array's count (size_t) */
    size_t off_given;         /* of a bool set when the key is there; 0 none */
    size_t size;              /* of one element of a list */
    const char *def;          /* as written in YAML; NULL = absent */
    const char *example;      /* shown where there is no default */
    int64_t min, max;         /* range of numbers, or of array counts */
    const char *const *names; /* of an enum or set, NULL at the end */
    const char *help;         /* one line, no full stop */
};

/* The rows in the order of the sample file: each after the map it is in. */
extern const struct opt conf_opts[];

/* How many rows there are. */
extern const size_t conf_opts_count;

/* What comes after the last '.' of the path. */
const char *opt_leaf(const struct opt *o);

/* Whether <o> stands directly in the map or list row <parent>; NULL stands
 * for the top level. */
bool opt_is_child(const struct opt *o, const struct opt *parent);

/* Whether the row, or one above it, has no effect yet. */
bool opt_is_later(const struct opt *o);

/* The row of exactly <path>, NULL if there is none. */
const struct opt *opt_find(const char *path);

/* Name of a type for people: "duration". */
const char *opt_type_name(enum opt_type t);

#endif
