/* pretok.h - Pre-tokenizers: text is cut into words before byte-level BPE joins
 * bytes within each. A rule is a row of passes, each of which cuts the pieces
 * that the pass before left; the passes are the published regular expressions
 * of the models, matched by hand. */
#ifndef TG_TOKEN_PRETOK_H
#define TG_TOKEN_PRETOK_H

#include "base/err.h"
#include "base/str.h"

/* What a code point is, in bits; 0: none of these. */
enum pretok_class {
    PRETOK_L = 1,       /* letter */
    PRETOK_N = 2,       /* number */
    PRETOK_P = 4,       /* punctuation */
    PRETOK_S = 8,       /* symbol */
    PRETOK_M = 16,      /* mark */
    PRETOK_Z = 32,      /* white space */
    PRETOK_UPPER = 64,  /* with L: Lu, Lt */
    PRETOK_LOWER = 128, /* with L: Ll */
};

/* A text as code points; a byte that is no UTF-8 is U+FFFD, one byte wide. */
struct pretok_text {
    const uint32_t *cp;
    const uint8_t *cls; /* enum pretok_class */
};

/* A pass; <head> in the comments is one code point that is neither a letter
 * nor a number nor a line end. */
enum pretok_pass {
    PRETOK_END = 0,
    /* Runs of one kind. */
    PRETOK_DIGIT,            /* \p{N} */
    PRETOK_DIGITS,           /* \p{N}+ */
    PRETOK_DIGITS3,          /* \p{N}{1,3} */
    PRETOK_ASCII3,           /* [0-9][0-9][0-9] */
    PRETOK_LINE_END,         /* [\r\n] */
    PRETOK_LINES,            /* [^\n]+|[\n]+ */
    PRETOK_TRAILING,         /* \s+$ */
    PRETOK_DEFAULT_PUNCT,    /* [\p{P}\$\+<=>\^~\|]+ */
    PRETOK_FALCON_PUNCT,     /* [\p{P}\$\+<=>\^~\|`]+ */
    PRETOK_LETTERS,          /* \s?\p{L}+ */
    PRETOK_PUNCT,            /* \s?\p{P}+ */
    PRETOK_DEEPSEEK_LETTERS, /* \s?[letters of its own list]+ */
    PRETOK_DEEPSEEK_PUNCT,   /* \s?[punctuation of its own list]+ */
    PRETOK_DEEPSEEK_CJK,     /* [U+0800-4E00 U+4E00-9FA5 U+AC00-D7FF]+ */
    PRETOK_DEEPSEEK3_CJK,    /* [U+3040-30FF U+4E00-9FA5]+ */
    PRETOK_BLOOM,            /* ' '?[no white space nor some punctuation]+ */
    PRETOK_BARS,             /* [U+2581]?[^U+2581]* */
    /* All of a text. */
    PRETOK_GPT2,
    PRETOK_LLAMA3,
    PRETOK_QWEN2,
    PRETOK_QWEN35,
    PRETOK_MINICPM5,
    PRETOK_SEED_CODER,
    PRETOK_UFAKZEKA,
    PRETOK_EXAONE_MOE,
    PRETOK_GPT4O,
    PRETOK_TEKKEN,
    PRETOK_GPT4O_GGUF,  /* the same, but case is ASCII's and marks are no */
    PRETOK_TEKKEN_GGUF, /* letters */
    PRETOK_DEEPSEEK3,
    PRETOK_PASS_COUNT
};

/* Passes of a rule, at most. */
#define PRETOK_PASSES 6

/* A rule. */
struct pretok {
    unsigned char passes[PRETOK_PASSES]; /* enum pretok_pass, to PRETOK_END */
    bool published; /* as the models were trained; else as GGUF files are read
                     * everywhere: lists see white space beyond ASCII as a
                     * vertical tab */
};

/* A rule, and what else the models have in common that use it. */
struct pretok_family {
    struct pretok rule;
    bool ignore_merges; /* a word that is a token is that token */
    bool adds_bos;      /* when a file does not say */
};

/* The family called <name>; empty is "default". NULL: not supported. */
const struct pretok_family *pretok_by_name(struct str name);

/* The <i>th of the names that are supported, or NULL past the last. */
const char *pretok_nth_name(size_t i);

/* Room for one text after another; zeroed is empty. */
struct pretok_room {
    uint32_t *cp;
    uint8_t *cls;
    uint8_t *width; /* bytes */
    uint8_t *cut;   /* 1: a word begins here */
    size_t n;
    size_t cap;
};

/* Cut <text>: code points, widths and cuts are then in <r>; cut[0] is 1.
 * ERR_NOMEM. */
enum err pretok_split(struct pretok_room *r, const struct pretok *rule,
                      struct str text) MUST_CHECK;

/* Free the room. */
void pretok_room_fini(struct pretok_room *r);

/* The class of a code point; anything above U+10FFFF has none. */
uint8_t pretok_class_of(uint32_t cp);

/* Whether a match of <pass> begins at <at> in the piece that ends at <end>
 * (at < end); then it ends at <to_out>, else none begins before <to_out>.
 * Either way at < *to_out <= end. Runs of one kind. */
bool pretok_scan_run(enum pretok_pass pass, const struct pretok_text *t,
                     size_t at, size_t end, size_t *to_out);

/* The same for the passes from PRETOK_GPT2 on. */
bool pretok_scan_words(enum pretok_pass pass, const struct pretok_text *t,
                       size_t at, size_t end, size_t *to_out);

/* Whether <cp> is in the list of a pass that has one of its own, from
 * PRETOK_DEEPSEEK_LETTERS to PRETOK_DEEPSEEK3_CJK. */
bool pretok_is_listed(enum pretok_pass pass, uint32_t cp);

/* Code points in that list; those of two ranges count twice. */
uint32_t pretok_count_listed(enum pretok_pass pass);

#endif
