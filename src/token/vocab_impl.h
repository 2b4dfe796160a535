/* vocab_impl.h - What a vocabulary is made of; for the files of the tokenizer
 * only. Everything is immutable once vocab_build() has returned. */
#ifndef TG_TOKEN_VOCAB_IMPL_H
#define TG_TOKEN_VOCAB_IMPL_H

#include "token/merge.h"
#include "token/pretok.h"
#include "token/specials.h"
#include "token/strmap.h"
#include "token/vocab.h"

/* U+2581, which SPM writes for a space. */
#define VOCAB_BAR "\xe2\x96\x81"

/* What a piece id is when there is none. */
#define VOCAB_NONE UINT32_MAX

/* Where a space is put before a run of plain text. */
enum vocab_prefix {
    VOCAB_PREFIX_NONE = 0,
    VOCAB_PREFIX_ALWAYS, /* at the start and after each special token */
    VOCAB_PREFIX_UNLESS, /* the same, unless a space is there already */
    VOCAB_PREFIX_FIRST,  /* at the start of the text, unless one is there */
};

/* Flags of a token. */
enum vocab_flag {
    VOCAB_EOG = 1,    /* ends a generation */
    VOCAB_LSTRIP = 2, /* swallows white space before it */
    VOCAB_RSTRIP = 4, /* swallows white space after it */
};

/* One merge. */
struct vocab_merge {
    struct str left, right;
};

/* What vocab_build() needs beyond a struct vocab_spec. */
struct vocab_plan {
    const struct vocab_spec *spec;
    bool raw; /* BPE over UTF-8, not over GPT-2's bytes */
    const struct vocab_merge *merges; /* (spec->n_merges) */
    const uint8_t *strip;     /* (n) VOCAB_LSTRIP, VOCAB_RSTRIP; or NULL */
    const struct pretok *pre; /* BPE, copied; NULL: the text is one word */
    enum vocab_prefix prefix;
    bool ignore_merges; /* a word that is a token is that token */
    bool nfc;           /* text is put into NFC first */
    bool byte_fallback; /* raw BPE: <0xNN> for unknown characters */
    bool fuse_unk;      /* runs of unknown characters are one token */
    bool unk_missing;   /* BPE: what cannot be said is the unknown token */
    bool adds_bos, adds_eos;
};

/* Everything of a vocabulary. */
struct vocab {
    enum vocab_kind kind;
    bool raw, ignore_merges, nfc, byte_fallback, fuse_unk, unk_missing;
    bool adds_bos, adds_eos;
    enum vocab_prefix prefix;
    bool one_word; /* no pre-tokenizer */
    struct pretok pre;
    size_t n;            /* tokens */
    size_t n_pieces;     /* tokens, and what only merges name */
    char *text;          /* stored texts of all pieces, one after another */
    struct str *stored;  /* (n_pieces) slices of text */
    char *plain;         /* bytes that tokens stand for */
    struct str *shown;   /* (n) slices of plain or text */
    uint8_t *type;       /* (n) enum vocab_type */
    uint8_t *flags;      /* (n) enum vocab_flag */
    uint32_t *order;     /* (n) SPM: place by falling score, ties equal */
    struct strmap ids;   /* stored text -> token */
    struct strmap extra; /* stored text -> piece that is no plain token */
    size_t longest;      /* bytes of the longest stored text */
    uint32_t byte_piece[256]; /* piece of each byte, or VOCAB_NONE */
    struct merges merges;     /* BPE */
    size_t n_merges;
    struct specials *specials;
    int32_t bos, eos, eot, eom, unk;
};

/* A vocabulary from <plan>; errors as vocab_new(). */
enum err vocab_build(const struct vocab_plan *plan, struct vocab_fault *why,
                     struct vocab **out) MUST_CHECK;

/* Mark the tokens that are control tokens or end a generation by their name,
 * as published models have them. */
void vocab_mark_names(struct vocab *v);

/* Find v->byte_piece, and the bytes that tokens stand for. ERR_NOMEM. */
enum err vocab_make_shown(struct vocab *v) MUST_CHECK;

/* Fill v->byte_piece. */
void vocab_make_bytes(struct vocab *v);

/* The token for plain text <s>: never a control, unknown or byte token.
 * VOCAB_NONE when there is none. */
uint32_t vocab_plain(const struct vocab *v, struct str s);

/* Whether tokens of <type> are made from plain text by merging. */
bool vocab_type_is_plain(uint8_t type);

/* Say why a vocabulary is refused. */
void vocab_fault_set(struct vocab_fault *why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The two bytes or one of GPT-2's alphabet for <byte>, in <out>; its length. */
size_t vocab_gpt2_put(unsigned char byte, char out[2]);

/* The byte that code point <cp> of GPT-2's alphabet stands for, or -1. */
int vocab_gpt2_byte(uint32_t cp);

/* Append <id>. ERR_NOMEM, ERR_FULL past <max>. */
enum err vocab_ids_add(struct vocab_ids *out, size_t max,
                       int32_t id) MUST_CHECK;

/* Rooms that one vocab_encode() uses again and again. */
struct vocab_room {
    const struct vocab *v;
    size_t max; /* ids */
    struct vocab_ids *out;
    struct merge_room merge;
    struct pretok_room words;
    struct buf text; /* a fragment with its prefix, bars for spaces */
};

/* Append the ids of <text>, which has no special tokens, spaces already
 * written as bars. ERR_NOMEM, ERR_FULL. */
enum err spm_encode(struct vocab_room *r, struct str text) MUST_CHECK;

/* The same for BPE; raw BPE wants bars for spaces too. */
enum err bpe_encode(struct vocab_room *r, struct str text) MUST_CHECK;

#endif
