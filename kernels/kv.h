/* kv.h - Where keys and values lie in the pool of pages. Only kernels/ includes
 * this. */
#ifndef TG_KERNELS_KV_H
#define TG_KERNELS_KV_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

/* Positions of one cut: the sums of attention are formed cut by cut. */
#define KV_CUT_TOKENS 256

/* Pages of one cut. */
#define KV_CUT_PAGES (KV_CUT_TOKENS / KRN_PAGE_TOKENS)

/* Tokens of a page of <kv>. */
static inline unsigned kv_tokens(const struct krn_kv *kv)
{
    return kv->page_tokens != 0 ? kv->page_tokens : KRN_PAGE_TOKENS;
}

/* Keys and values of one layer and kv head in one page, on the CPU. */
struct kv_head {
    void *k; /* (d_head, KRN_PAGE_TOKENS) */
    void *v; /* (KRN_PAGE_TOKENS, d_head) */
};

/* Bytes of the scale of a token's keys, or values, of one head: of KRN_FP8,
 * which only GPUs have. */
#define KV_SCALE_BYTES 4

/* Bytes of the keys, or of the values, of one head in one page. */
static inline size_t kv_half_bytes(const struct krn_kv *kv)
{
    size_t one = kv->d_head * krn_dtype_bytes(kv->dtype);

    return kv_tokens(kv) * (one + (kv->dtype == KRN_FP8 ? KV_SCALE_BYTES : 0));
}

/* The page of position <pos> of sequence <seq>, on the CPU; the table has
 * one. */
static inline int32_t kv_page_of(const struct krn_rows *rows, int32_t seq,
                                 int32_t pos)
{
    return rows
        ->table[(size_t)seq * rows->max_pages + (size_t)pos / KRN_PAGE_TOKENS];
}

/* What <page> holds for <layer> and kv head <h>, on the CPU. */
static inline struct kv_head kv_head_of(const struct krn_kv *kv, unsigned layer,
                                        unsigned h, int32_t page)
{
    size_t half = kv_half_bytes(kv);
    uint8_t *at = (uint8_t *)kv->pages + (size_t)page * krn_kv_page_bytes(kv) +
                  (2 * (size_t)layer * kv->n_kv_head + h) * half;

    return (struct kv_head){at, at + kv->n_kv_head * half};
}

#endif
