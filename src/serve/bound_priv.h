/* bound_priv.h - What the files of bound.c share: the table of members that a
 * request may have, and the judge that looks at their values. Not for others.
 */
#ifndef TG_SERVE_BOUND_PRIV_H
#define TG_SERVE_BOUND_PRIV_H

#include "serve/bound.h"
#include "wire/jscan.h"

/* Operations whose members are judged; bits. */
enum bound_op {
    BOUND_CHAT = 1,
    BOUND_TEXT = 2, /* the older completions */
    BOUND_EMBED = 4,
    BOUND_RESPONSES = 8,
    BOUND_MESSAGES = 16,
    BOUND_RERANK = 32,
    BOUND_SCORE = 64,
    BOUND_POOL = 128, /* classify, pooling */
    BOUND_MODERATE = 256,
};

/* How the value of a member is judged. */
enum bound_rule {
    BOUND_ANY = 0,   /* it cannot raise the cost */
    BOUND_UNSET,     /* taken only as null, false, [] or {} */
    BOUND_CAP,       /* a cap of the output */
    BOUND_N,         /* choices */
    BOUND_BEST_OF,   /* choices that are made, of which n are shown */
    BOUND_CONTENT,   /* text, or parts */
    BOUND_INPUT,     /* one input or many */
    BOUND_PROMPT,    /* one prompt or many, each answered */
    BOUND_SIDE_A,    /* what is compared with each of the other side */
    BOUND_SIDE_B,    /* the other side */
    BOUND_TOOLS,     /* tools */
    BOUND_FUNCTIONS, /* the older functions */
    BOUND_KWARGS,    /* switches of the template, some of which add text */
    BOUND_TIER,      /* service tier: some are dearer */
    BOUND_SPEED,     /* the same of Anthropic's speed */
    BOUND_PLACE,     /* and of where it is computed */
    BOUND_MODES,     /* kinds of output */
    BOUND_VOICE,     /* how it sounds, when it does */
    BOUND_GUESS,     /* predicted output, billed where it is wrong */
    BOUND_THINKING,  /* Anthropic's budget of thinking */
    BOUND_REASONS,   /* whether it thinks, and how much */
    BOUND_SHOWS,     /* how its thoughts are shown, if they are */
    BOUND_CONTEXT,   /* what is done with a context that grows */
};

/* A member that is known. */
struct bound_field {
    struct str name;
    unsigned ops; /* enum bound_op: where it is known */
    enum bound_rule rule;
    const char *why; /* of BOUND_UNSET: why it has no bound */
};

/* The row of the member <key>, raw and with its quotes, in <op>; NULL when it
 * is not known there. */
const struct bound_field *bound_field_find(struct str key, enum bound_op op);

/* All rows, sorted by name; more than one may have a name. */
const struct bound_field *bound_field_list(size_t *n_out);

/* What has been found of a request so far. */
struct bound_judge {
    const struct bound_rules *rules;
    struct bound *out;
    struct bound_no *no;
    enum bound_op op;
    uint64_t media_bytes; /* bytes of pictures and such, which are no text */
    uint64_t tool_marks;  /* brackets and commas of tools */
    uint64_t tool_kinds;  /* tools that the model was trained on */
    uint64_t n, best_of;
    uint64_t prompts; /* each is answered */
    uint64_t inputs;  /* each may get marks of its own */
    uint64_t thinking;
    struct {
        uint64_t bytes, items;
    } side[2];
    bool tools;
};

/* Note why there is no bound, naming <param>; gives ERR_BAD_PARAM. */
enum err bound_refuse(struct bound_judge *j, const char *param, const char *fmt,
                      ...) __attribute__((format(printf, 3, 4))) MUST_CHECK;

/* Judge the member <m> of the request, whatever it is. */
enum err bound_judge_member(struct bound_judge *j,
                            const struct jmember *m) MUST_CHECK;

/* Judge <m>, called <name>: a text, or a list of messages, items or parts,
 * within each other. What is no text counts as media, or is refused. */
enum err bound_judge_parts(struct bound_judge *j, const char *name,
                           const struct jmember *m) MUST_CHECK;

/* Judge <m>, a list of tools. */
enum err bound_judge_tools(struct bound_judge *j,
                           const struct jmember *m) MUST_CHECK;

/* Write the text of the raw string <raw> into <to> of <cap> bytes, with a NUL,
 * as far as it fits and may be shown: other than printable ASCII becomes '?'.
 */
void bound_show(struct str raw, char *to, size_t cap);

/* Tokens that <text>, valid UTF-8, may have beyond its bytes because it is
 * brought into a normal form first; <folds>: into the one that replaces what
 * only looks different, as models for embeddings do. */
uint64_t bound_growth(struct str text, bool folds);

/* Whether <m>, which is about thinking, asks for any: it is not null, false, 0,
 * "none" or "disabled", nor an object that says so. */
bool bound_thinks(const struct jmember *m);

/* Whether models of the family of <model> think out of sight. */
bool bound_hides_thoughts(struct str model);

/* Bytes of <s> that are one of <set>, at most 8 of them. */
uint64_t bound_count(struct str s, struct str set);

#endif
