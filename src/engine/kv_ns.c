/* kv_ns.c - See kv_ns.h. One list of fields serves both the digest and the
 * text for people, so that no field can be in one and not in the other. A
 * float is digested as its bits. */
#include "engine/kv_ns.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/panic.h"

#define FIELDS_MAX  32
#define VALUE_BYTES 72

/* A field: what is digested, and what people read. */
struct field {
    const char *name;
    char value[VALUE_BYTES];
    char shown[VALUE_BYTES];
    bool quoted; /* it is shown as text, not as a number */
};

struct fields {
    struct field v[FIELDS_MAX];
    unsigned n;
};

static const char *const arch_names[] = {
    [MODEL_LLAMA] = "llama", [MODEL_QWEN2] = "qwen2", [MODEL_QWEN3] = "qwen3"};

static const char *const scaling_names[] = {
    [MODEL_ROPE_NONE] = "none",
    [MODEL_ROPE_LINEAR] = "linear",
    [MODEL_ROPE_LLAMA3] = "llama3",
    [MODEL_ROPE_YARN] = "yarn",
};

static uint32_t bits_of(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static void put_le32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

/* --- making -------------------------------------------------------------- */

/* One digest for all divisors, each hashed behind the ones before it. */
static struct digest divisors_digest(const struct model_rope *r)
{
    struct digest d = {{0}};

    for (unsigned i = 0; r->divisors && i < r->n_rot / 2; i++) {
        uint8_t text[DIGEST_BYTES + 4];

        memcpy(text, d.b, DIGEST_BYTES);
        put_le32(text + DIGEST_BYTES, bits_of(r->divisors[i]));
        d = digest_sha256(text, sizeof(text));
    }
    return d;
}

void kv_ns_of(const struct model *m, const struct kv_ns_by *by, uint64_t epoch,
              struct kv_ns *out)
{
    BUG_ON(strlen(m->digest) != DIGEST_HEX_SIZE - 1);
    *out = (struct kv_ns){
        .format = KV_NS_FORMAT,
        .arch = m->p.arch,
        .n_layer = m->p.n_layer,
        .n_kv_head = m->p.n_kv_head,
        .d_head = m->p.d_head,
        .rms_eps = m->p.rms_eps,
        .rope = m->p.rope,
        .divisors = divisors_digest(&m->p.rope),
        .kv_dtype = by->kv_dtype,
        .layout = by->layout,
        .page_tokens = by->page_tokens,
        .numerics = by->numerics,
        .epoch = epoch,
    };
    out->rope.divisors = NULL;
    memcpy(out->weights, m->digest, sizeof(out->weights));
}

size_t kv_ns_page_bytes(const struct kv_ns *ns)
{
    const struct krn_kv kv = {.dtype = ns->kv_dtype,
                              .page_tokens = ns->page_tokens,
                              .n_layer = ns->n_layer,
                              .n_kv_head = ns->n_kv_head,
                              .d_head = ns->d_head};

    return krn_kv_page_bytes(&kv);
}

/* --- fields -------------------------------------------------------------- */

static struct field *field_add(struct fields *all, const char *name)
{
    struct field *f = &all->v[all->n++];

    BUG_ON(all->n > FIELDS_MAX);
    f->name = name;
    return f;
}

static void add_text(struct fields *all, const char *name, const char *text)
{
    struct field *f = field_add(all, name);

    BUG_ON(strlen(text) >= VALUE_BYTES);
    snprintf(f->value, VALUE_BYTES, "%s", text);
    snprintf(f->shown, VALUE_BYTES, "%s", text);
    f->quoted = true;
}

static void add_number(struct fields *all, const char *name, uint64_t v)
{
    struct field *f = field_add(all, name);

    snprintf(f->value, VALUE_BYTES, "%" PRIu64, v);
    snprintf(f->shown, VALUE_BYTES, "%" PRIu64, v);
}

/* Nine digits tell any two floats apart; a float that JSON cannot write is
 * never in a model that was judged, but text all the same. */
static void add_float(struct fields *all, const char *name, float v)
{
    struct field *f = field_add(all, name);

    snprintf(f->value, VALUE_BYTES, "%08" PRIx32, bits_of(v));
    snprintf(f->shown, VALUE_BYTES, "%.9g", (double)v);
    f->quoted = true;
}

static void add_rope(struct fields *all, const struct kv_ns *ns)
{
    const struct model_rope *r = &ns->rope;
    char hex[DIGEST_HEX_SIZE];

    add_text(all, "rope_pairs", r->halves ? "halves" : "neighbours");
    add_number(all, "rope_dimensions", r->n_rot);
    add_float(all, "rope_base", r->base);
    add_text(all, "rope_scaling", scaling_names[r->scaling]);
    add_float(all, "rope_factor", r->factor);
    add_float(all, "rope_low_freq", r->low_freq);
    add_float(all, "rope_high_freq", r->high_freq);
    add_float(all, "rope_ext_factor", r->ext_factor);
    add_float(all, "rope_attn_factor", r->attn_factor);
    add_float(all, "rope_beta_fast", r->beta_fast);
    add_float(all, "rope_beta_slow", r->beta_slow);
    add_number(all, "rope_orig_context", r->orig_context);
    digest_hex(ns->divisors.b, DIGEST_BYTES, hex);
    add_text(all, "rope_divisors", hex);
}

static void fields_of(const struct kv_ns *ns, struct fields *out)
{
    out->n = 0;
    memset(out->v, 0, sizeof(out->v));
    add_number(out, "format", ns->format);
    add_text(out, "weights", ns->weights);
    add_text(out, "arch", arch_names[ns->arch]);
    add_number(out, "layers", ns->n_layer);
    add_number(out, "kv_heads", ns->n_kv_head);
    add_number(out, "head_dim", ns->d_head);
    add_float(out, "rms_eps", ns->rms_eps);
    add_rope(out, ns);
    add_text(out, "kv_dtype", krn_dtype_name(ns->kv_dtype));
    add_text(out, "layout", ns->layout);
    add_number(out, "page_tokens", ns->page_tokens);
    add_text(out, "numerics", ns->numerics);
    add_number(out, "epoch", ns->epoch);
}

/* --- digest and text ------------------------------------------------------ */

static uint8_t *put_piece(uint8_t *at, const char *text)
{
    size_t len = strlen(text);

    put_le32(at, (uint32_t)len);
    memcpy(at + 4, text, len);
    return at + 4 + len;
}

struct digest kv_ns_digest(const struct kv_ns *ns)
{
    static const char tag[] = "tollgate kv namespace";
    uint8_t text[64 + FIELDS_MAX * (2 * (4 + VALUE_BYTES))];
    uint8_t *at = put_piece(text, tag);
    struct fields all;

    fields_of(ns, &all);
    for (unsigned i = 0; i < all.n; i++) {
        BUG_ON(strlen(all.v[i].name) >= VALUE_BYTES);
        at = put_piece(at, all.v[i].name);
        at = put_piece(at, all.v[i].value);
    }
    return digest_sha256(text, (size_t)(at - text));
}

enum err kv_ns_about(const struct kv_ns *ns, struct buf *out)
{
    struct digest d = kv_ns_digest(ns);
    char hex[DIGEST_HEX_SIZE];
    struct fields all;

    digest_hex(d.b, DIGEST_BYTES, hex);
    fields_of(ns, &all);
    ERR_TRY(buf_printf(out, "{\n  \"namespace\": \"%s\",\n", hex));
    for (unsigned i = 0; i < all.n; i++) {
        const struct field *f = &all.v[i];
        const char *quote = f->quoted ? "\"" : "";

        ERR_TRY(buf_printf(out, "  \"%s\": %s%s%s,\n", f->name, quote, f->shown,
                           quote));
    }
    return buf_printf(out, "  \"page_bytes\": %zu\n}\n", kv_ns_page_bytes(ns));
}
