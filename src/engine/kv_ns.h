/* kv_ns.h - The namespace of stored pages: all that the numbers in a page of
 * keys and values depend on, beside the text itself. Pages of one namespace
 * may stand in for each other, pages of two never may. Names and paths of
 * models are no part of it. Pure functions. */
#ifndef TG_ENGINE_KV_NS_H
#define TG_ENGINE_KV_NS_H

#include "base/buf.h"
#include "base/digest.h"
#include "engine/model.h"

/* Version of what a namespace's files look like and how texts are hashed;
 * part of every namespace. */
#define KV_NS_FORMAT 1

/* Names of the orders in which a page holds its numbers, in memory of the host
 * and of a GPU: see struct krn_kv. */
#define KV_NS_LAYOUT        "layer-half-head-k:dim,token-v:token,dim"
#define KV_NS_LAYOUT_DEVICE "layer-half-head-k:token,dim-v:token,dim"

/* A namespace. */
struct kv_ns {
    unsigned format;               /* KV_NS_FORMAT */
    char weights[DIGEST_HEX_SIZE]; /* digest of the weights, in hex */
    enum model_arch arch;
    unsigned n_layer;
    unsigned n_kv_head;
    unsigned d_head;
    float rms_eps;
    struct model_rope rope; /* without divisors */
    struct digest divisors; /* of the rope's divisors; zeros = it has none */
    enum krn_dtype kv_dtype;
    const char *layout; /* static */
    unsigned page_tokens;
    const char *numerics; /* krn_numerics(), borrowed */
    uint64_t epoch;       /* the operator's; another one, other pages */
};

/* What computes the numbers of a page. */
struct kv_ns_by {
    const char *numerics; /* krn_numerics(), borrowed */
    const char *layout;   /* KV_NS_LAYOUT or KV_NS_LAYOUT_DEVICE */
    unsigned page_tokens;
    enum krn_dtype kv_dtype; /* of the elements */
};

/* The namespace of <m>, whose digest is known, computed by <by>. */
void kv_ns_of(const struct model *m, const struct kv_ns_by *by, uint64_t epoch,
              struct kv_ns *out);

/* Bytes of a page's keys and values. */
size_t kv_ns_page_bytes(const struct kv_ns *ns);

/* SHA-256 over all fields, each with its name and both with their lengths. */
struct digest kv_ns_digest(const struct kv_ns *ns);

/* Append the namespace for people, as JSON with a line a field, "namespace"
 * (the digest) and "page_bytes" (a number) among them. Equal namespaces give
 * equal text. ERR_NOMEM. */
enum err kv_ns_about(const struct kv_ns *ns, struct buf *out) MUST_CHECK;

#endif
