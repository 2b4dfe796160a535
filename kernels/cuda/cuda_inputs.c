/* cuda_inputs.c - A step's inputs: padding them to a shape, laying and
 * uploading them. They have been checked (krn_step_begin()). What is nobody's
 * has sequence 0, position -1, token 0 and no pages. */
#include "kernels/cuda/cuda_inputs.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/a_attend.h"

/* Rows of a decode step are padded to the next of these. */
static const unsigned buckets[] = {1,  2,  4,  8,   16,  24, 32,
                                   48, 64, 96, 128, 192, 256};
enum { BUCKET_COUNT = sizeof(buckets) / sizeof(buckets[0]) };

/* Fewest columns of a decode step's page table. */
#define PAGES_MIN 8

/* Each input begins at a multiple of this. */
#define INPUT_ALIGN 256

/* Smallest buffer of inputs, bytes. */
#define INPUT_BYTES_MIN ((size_t)1 << 20)

/* Where the inputs of a shape lie, bytes from the buffer's begin. */
struct places {
    size_t ids, wanted, table;
    struct {
        size_t seq, pos, plan;
    } set[2];
    size_t bytes; /* of all */
};

/* --- buffers ------------------------------------------------------------- */

enum krn_status inputs_open(struct cuda *d, struct inputs *in)
{
    enum krn_status st = KRN_OK;

    for (int i = 0; st == KRN_OK && i < 2; i++)
        st = cuda_check(
            d, d->drv->event_create(&in->up[i].done, CU_EVENT_DISABLE_TIMING),
            "making an event");
    return st;
}

/* Free the buffers of inputs. */
static void inputs_free(struct cuda *d, struct inputs *in)
{
    cuda_free(d, in->dev);
    in->dev = 0;
    in->bytes = 0;
    for (int i = 0; i < 2; i++) {
        if (in->up[i].host)
            (void)d->drv->host_free(in->up[i].host);
        in->up[i].host = NULL;
    }
}

void inputs_close(struct cuda *d, struct inputs *in)
{
    inputs_free(d, in);
    for (int i = 0; i < 2; i++) {
        if (in->up[i].done)
            (void)d->drv->event_destroy(in->up[i].done);
    }
    free(in->met);
    in->met = NULL;
}

/* Buffers of at least <bytes>: what was recorded goes when they grow. */
static enum krn_status inputs_grow(struct cuda *d, struct inputs *in,
                                   size_t bytes)
{
    size_t want = INPUT_BYTES_MIN;
    enum krn_status st;

    if (bytes <= in->bytes)
        return KRN_OK;
    while (want < bytes)
        want *= 2;
    st = cuda_check(d, d->drv->stream_sync(d->compute), "waiting");
    if (st != KRN_OK)
        return st;
    cuda_record_drop(d);
    inputs_free(d, in);
    in->dev = cuda_alloc(d, want);
    for (int i = 0; in->dev != 0 && i < 2; i++) {
        void *p = NULL;

        st = cuda_check(d, d->drv->host_alloc(&p, want, 0),
                        "taking pinned memory");
        if (st != KRN_OK)
            break;
        in->up[i].host = p;
    }
    if (in->dev == 0 || st != KRN_OK) {
        inputs_free(d, in);
        return d->dead ? KRN_DEVICE : KRN_NOMEM;
    }
    in->bytes = want;
    return KRN_OK;
}

/* --- shapes -------------------------------------------------------------- */

unsigned inputs_bucket(unsigned m)
{
    for (unsigned i = 0; i < BUCKET_COUNT; i++) {
        if (m <= buckets[i])
            return buckets[i];
    }
    return m;
}

/* Whether <s> is a decode step: all rows wanted, one a sequence. */
static bool step_is_decode(struct inputs *in, const struct krn_step *s)
{
    const struct krn_rows *w = &s->rows;

    if (s->n_wanted != w->m || w->m > buckets[BUCKET_COUNT - 1] ||
        w->m > w->n_seq)
        return false;
    memset(in->met, 0, w->n_seq);
    for (unsigned i = 0; i < w->m; i++) {
        if (in->met[w->seq[i]]++ != 0)
            return false;
    }
    return true;
}

/* Pages of the longest sequence. */
static unsigned pages_of(const struct krn_rows *w)
{
    int32_t last = 0;

    for (unsigned i = 0; i < w->m; i++)
        last = w->pos[i] > last ? w->pos[i] : last;
    return (unsigned)last / CUDA_PAGE_TOKENS + 1;
}

enum krn_status inputs_shape(struct inputs *in, const struct krn_step *s,
                             struct shape *out, bool *decode_out)
{
    const unsigned pages = pages_of(&s->rows);

    if (s->rows.n_seq > in->n_met) {
        uint8_t *p = realloc(in->met, s->rows.n_seq);

        if (!p)
            return KRN_NOMEM;
        in->met = p;
        in->n_met = s->rows.n_seq;
    }
    *out = (struct shape){
        .kind = s->kind,
        .m = s->rows.m,
        .n_wanted = s->n_wanted,
        .n_seq = s->rows.n_seq,
        .max_pages = pages,
        .n_kv_head = s->kv->n_kv_head,
        .pages = s->kv->pages,
    };
    *decode_out = step_is_decode(in, s);
    if (!*decode_out)
        return KRN_OK;
    out->m = inputs_bucket(s->rows.m);
    out->n_wanted = out->m;
    out->n_seq = inputs_bucket(s->rows.n_seq);
    for (out->max_pages = PAGES_MIN; out->max_pages < pages;)
        out->max_pages *= 2;
    return KRN_OK;
}

/* --- laying -------------------------------------------------------------- */

/* Take <bytes> at *at. */
static size_t place(size_t *at, size_t bytes)
{
    const size_t here = *at;

    *at += (bytes + INPUT_ALIGN - 1) / INPUT_ALIGN * INPUT_ALIGN;
    return here;
}

/* Where the inputs of <s> lie; for <same> the two sets are one. */
static struct places places_of(const struct cuda *d, const struct shape *s,
                               bool same)
{
    struct places p;
    size_t at = 0;

    p.ids = place(&at, (size_t)s->m * sizeof(int32_t));
    p.wanted = place(&at, (size_t)s->n_wanted * sizeof(uint32_t));
    p.table = place(&at, (size_t)s->n_seq * s->max_pages * sizeof(int32_t));
    /* The plan of all rows is last: what it does not use is not uploaded. */
    for (int i = KRN_WANTED; i >= KRN_ALL; i--) {
        const unsigned m = i == KRN_ALL ? s->m : s->n_wanted;

        if (i == KRN_WANTED && same)
            continue;
        p.set[i].seq = place(&at, (size_t)m * sizeof(int32_t));
        p.set[i].pos = place(&at, (size_t)m * sizeof(int32_t));
        p.set[i].plan =
            place(&at, cuda_plan_bytes(d, m, s->n_seq, s->max_pages));
    }
    if (same)
        p.set[KRN_WANTED] = p.set[KRN_ALL];
    p.bytes = at;
    return p;
}

/* Tell the operations where their inputs are. */
static void inputs_set(struct cuda *d, CUdeviceptr at, const struct shape *s,
                       const struct places *p)
{
    d->in.ids = at + p->ids;
    d->in.wanted = at + p->wanted;
    d->in.table = at + p->table;
    d->in.n_seq = s->n_seq;
    d->in.max_pages = s->max_pages;
    for (int i = 0; i < 2; i++)
        d->in.set[i] = (struct cuda_set){
            .m = i == KRN_ALL ? s->m : s->n_wanted,
            .seq = at + p->set[i].seq,
            .pos = at + p->set[i].pos,
            .plan = at + p->set[i].plan,
        };
}

/* Write sequences, positions and plan of set <set> behind <base>. */
static enum krn_status set_lay(struct cuda *d, const struct krn_step *s,
                               const struct shape *sh, const struct places *p,
                               enum krn_set set, uint8_t *base)
{
    const bool all = set == KRN_ALL;
    const unsigned m = all ? sh->m : sh->n_wanted;
    const unsigned used = all ? s->rows.m : s->n_wanted;
    int32_t *seq = (int32_t *)(void *)(base + p->set[set].seq);
    int32_t *pos = (int32_t *)(void *)(base + p->set[set].pos);

    for (unsigned i = 0; i < m; i++) {
        const unsigned row = i >= used ? 0 : all ? i : s->wanted[i];

        seq[i] = i < used ? s->rows.seq[row] : 0;
        pos[i] = i < used ? s->rows.pos[row] : -1;
    }
    if (m == 0)
        return KRN_OK;
    return cuda_plan_write(d, set, s->kv, m, seq, pos, base + p->set[set].plan);
}

/* Write the page table behind <base>: what is not a page of the step is -1. */
static void table_lay(const struct krn_step *s, const struct shape *sh,
                      int32_t *out)
{
    const struct krn_rows *w = &s->rows;
    const unsigned n =
        w->max_pages < sh->max_pages ? w->max_pages : sh->max_pages;

    memset(out, 0xff, (size_t)sh->n_seq * sh->max_pages * sizeof(*out));
    for (unsigned i = 0; i < w->n_seq; i++)
        memcpy(out + (size_t)i * sh->max_pages,
               w->table + (size_t)i * w->max_pages, n * sizeof(*out));
}

/* Write all inputs of <s> to <base>; *bytes_out is how many there are. */
static enum krn_status inputs_lay(struct cuda *d, const struct krn_step *s,
                                  const struct shape *sh,
                                  const struct places *p, uint8_t *base,
                                  size_t *bytes_out)
{
    int32_t *ids = (int32_t *)(void *)(base + p->ids);
    uint32_t *wanted = (uint32_t *)(void *)(base + p->wanted);
    const struct att_plan *plan = (void *)(base + p->set[KRN_ALL].plan);
    enum krn_status st;

    for (unsigned i = 0; i < sh->m; i++)
        ids[i] = i < s->rows.m ? s->ids[i] : 0;
    for (unsigned i = 0; i < sh->n_wanted; i++)
        wanted[i] = i < s->n_wanted ? s->wanted[i] : 0;
    table_lay(s, sh, (int32_t *)(void *)(base + p->table));
    st = set_lay(d, s, sh, p, KRN_ALL, base);
    if (st == KRN_OK && p->set[KRN_WANTED].seq != p->set[KRN_ALL].seq)
        st = set_lay(d, s, sh, p, KRN_WANTED, base);
    *bytes_out = p->set[KRN_ALL].plan + plan->bytes;
    return st;
}

enum krn_status inputs_upload(struct cuda *d, struct inputs *in,
                              const struct krn_step *s, const struct shape *sh)
{
    const bool same = s->n_wanted == s->rows.m;
    const struct places p = places_of(d, sh, same);
    struct upload *u;
    size_t bytes = 0;
    enum krn_status st = inputs_grow(d, in, p.bytes);

    if (st != KRN_OK)
        return st;
    u = &in->up[in->turn];
    in->turn ^= 1;
    st = cuda_check(d, d->drv->event_sync(u->done), "uploading a step");
    if (st != KRN_OK)
        return st;
    st = inputs_lay(d, s, sh, &p, u->host, &bytes);
    if (st != KRN_OK)
        return st;
    inputs_set(d, in->dev, sh, &p);
    st = cuda_check(d, d->drv->to_device(in->dev, u->host, bytes, d->compute),
                    "uploading a step");
    if (st == KRN_OK)
        st = cuda_check(d, d->drv->event_record(u->done, d->compute),
                        "uploading a step");
    return st;
}
