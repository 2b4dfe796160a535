/* hf_pretok.h - The normalizer and pre_tokenizer of a tokenizer.json, as the
 * rules that this tokenizer has. What has none is refused by its text. */
#ifndef TG_TOKEN_HF_PRETOK_H
#define TG_TOKEN_HF_PRETOK_H

#include "token/vocab_impl.h"

#include <jansson.h>

/* What a tokenizer.json does to text before BPE. */
struct hf_pretok {
    struct pretok rule;
    size_t n_passes;
    enum vocab_prefix prefix;
    bool bars;       /* spaces become U+2581: raw BPE */
    bool byte_level; /* bytes of GPT-2's alphabet */
    bool nfc;
};

/* Read <normalizer> and <pre_tokenizer>, either of which may be NULL or null,
 * into <out>. ERR_REFUSED with <why>. */
enum err hf_pretok_read(const json_t *normalizer, const json_t *pre_tokenizer,
                        struct vocab_fault *why,
                        struct hf_pretok *out) MUST_CHECK;

/* The pass that regular expression <re> is, or PRETOK_END. */
enum pretok_pass hf_pretok_regex(struct str re);

#endif
