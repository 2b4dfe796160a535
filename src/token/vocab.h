/* vocab.h - A vocabulary: text to token ids and back. Two kinds: SPM (merges
 * by score, byte fallback, prefix space) and byte-level BPE (merges by rank
 * after a pre-tokenizer). Immutable after it is made; any thread may use it at
 * once. Every operation is linear in its input, but for a logarithm. */
#ifndef TG_TOKEN_VOCAB_H
#define TG_TOKEN_VOCAB_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vocab;

/* How text is split and merged. */
enum vocab_kind { VOCAB_SPM = 0, VOCAB_BPE };

/* What a token is; numbers as in GGUF's token_type. */
enum vocab_type {
    VOCAB_NORMAL = 1,
    VOCAB_UNKNOWN = 2,
    VOCAB_CONTROL = 3, /* never made from text, shown as nothing */
    VOCAB_USER = 4,    /* matched in text as a whole, shown as it is */
    VOCAB_UNUSED = 5,
    VOCAB_BYTE = 6, /* SPM: <0xNN> */
};

/* -1 and "absent" stand for what a file does not say. */
enum vocab_said { VOCAB_NO = 0, VOCAB_YES = 1, VOCAB_UNSAID = 2 };

/* A vocabulary as a file has it; everything is borrowed for the call. */
struct vocab_spec {
    enum vocab_kind kind;
    struct str pre;         /* BPE: name of the pre-tokenizer, "llama-bpe",
                             * "qwen2", ...; empty = default */
    size_t n;               /* tokens */
    const struct str *text; /* (n) as stored: SPM with U+2581 for spaces, BPE
                             * in the byte alphabet of GPT-2 */
    const float *scores;    /* (n) SPM; may be NULL */
    const int32_t *types;   /* (n) enum vocab_type; NULL = all normal */
    size_t n_merges;
    const struct str *merges;             /* "left right", in rank order; BPE */
    int32_t bos, eos, eot, eom, unk, pad; /* -1 = absent: SPM then has the
                                           * usual 1, 2, - , -, 0, - */
    enum vocab_said add_bos, add_eos, add_space_prefix;
    struct str model_name; /* general.name, may be empty: special tokens of
                            * "phi-3" models swallow white space after them */
};

/* Why a vocabulary was refused. */
struct vocab_fault {
    char text[256];
};

/* A vocabulary from <spec>. ERR_SYNTAX: inconsistent; ERR_REFUSED: a kind or
 * pre-tokenizer that is not supported, by name with what is; ERR_NOMEM. */
enum err vocab_new(const struct vocab_spec *spec, struct vocab_fault *why,
                   struct vocab **out) MUST_CHECK;

/* A vocabulary from the texts of Hugging Face's tokenizer.json and
 * tokenizer_config.json (may be empty). Errors as vocab_new(). */
enum err vocab_from_hf(struct str tokenizer, struct str config,
                       struct vocab_fault *why, struct vocab **out) MUST_CHECK;

/* Free; NULL is fine. */
void vocab_free(struct vocab *v);

/* --- facts -------------------------------------------------------------- */

/* Tokens; ids are 0 .. vocab_size()-1. */
unsigned vocab_size(const struct vocab *v);

/* Ids of the named tokens, -1 when there is none. */
int32_t vocab_bos(const struct vocab *v);
int32_t vocab_eos(const struct vocab *v);

/* Whether <id> ends a generation: eos, eot, eom and what is known by name
 * (<|im_end|>, <|eot_id|>, <|end|>, ...). */
bool vocab_is_eog(const struct vocab *v, int32_t id);

/* Let <id>, one of <v>, end generations too: some files say so elsewhere. Only
 * before <v> is shared. */
void vocab_mark_eog(struct vocab *v, int32_t id);

/* Whether <id> is a control token. False for ids that are none. */
bool vocab_is_control(const struct vocab *v, int32_t id);

/* The bytes that <id> stands for in running text (a word's leading space
 * included), also of control tokens: their names. Borrowed from <v>; empty for
 * ids that are none. */
struct str vocab_bytes(const struct vocab *v, int32_t id);

/* The token whose stored text is <text>, or -1. */
int32_t vocab_find(const struct vocab *v, struct str text);

/* Whether a prompt begins with bos, ends with eos, by what the file says. */
bool vocab_adds_bos(const struct vocab *v);
bool vocab_adds_eos(const struct vocab *v);

/* --- encoding ----------------------------------------------------------- */

/* A growing list of ids; zeroed is empty. Free ids with free(). */
struct vocab_ids {
    int32_t *ids;
    size_t n;
    size_t cap;
};

/* A run of text of one trust. */
struct vocab_span {
    size_t len;   /* bytes */
    bool trusted; /* written by the template: control tokens are parsed */
};

/* Append the ids of <text> to <out>, without bos or eos. <spans> cut the text
 * into runs, their lengths sum to text.len; n_spans == 0: nothing is trusted.
 * A control token is matched only where all its bytes are trusted; user-defined
 * tokens are matched everywhere. Runs do not cut words: only trust matters.
 * Invalid UTF-8 is encoded byte by byte. ERR_NOMEM, ERR_FULL past <max> ids. */
enum err vocab_encode(const struct vocab *v, struct str text,
                      const struct vocab_span *spans, size_t n_spans,
                      size_t max, struct vocab_ids *out) MUST_CHECK;

/* --- decoding ----------------------------------------------------------- */

/* A streaming decoder: bytes of an unfinished UTF-8 character wait. Zeroed is
 * the start of a text. */
struct detok {
    unsigned char held[8];
    unsigned n_held;
    bool begun; /* a first token was seen: SPM's prefix space is behind */
};

/* Append the text that <id> completes to <out>. Control tokens give nothing
 * unless <special>. Bytes that can never be UTF-8 become U+FFFD. ERR_NOMEM. */
enum err detok_push(struct detok *d, const struct vocab *v, int32_t id,
                    bool special, struct buf *out) MUST_CHECK;

/* Append what is still held, as U+FFFD. ERR_NOMEM. */
enum err detok_finish(struct detok *d, struct buf *out) MUST_CHECK;

#endif
