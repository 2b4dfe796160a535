/* ggufw.c - See ggufw.h. Numbers are written as this machine has them, which
 * is little-endian. */
#include "lib/ggufw.h"

#include <stdlib.h>

#define ALIGN      32
#define CHUNK_ROOM ((size_t)1 << 20)

/* A pair, already in the form of the file. */
struct pair {
    char *key;
    uint32_t type;
    char *value;
    size_t len;
};

struct ggufw {
    uint32_t version;
    struct pair *pairs;
    unsigned n_pairs;
    struct ggufw_tensor *tensors;
    unsigned n_tensors;
    uint64_t data_bytes;
};

/* Bytes that grow. */
struct sink {
    char *p;
    size_t len;
};

static void *must(void *p)
{
    if (!p) {
        fputs("ggufw: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static void put(struct sink *s, const void *p, size_t len)
{
    s->p = must(realloc(s->p, s->len + len + 1));
    if (len)
        memcpy(s->p + s->len, p, len);
    s->len += len;
}

static void put_u32(struct sink *s, uint32_t v)
{
    put(s, &v, sizeof(v));
}

static void put_u64(struct sink *s, uint64_t v)
{
    put(s, &v, sizeof(v));
}

static void put_text(struct sink *s, struct str text)
{
    put_u64(s, text.len);
    put(s, text.p, text.len);
}

struct ggufw *ggufw_new(uint32_t version)
{
    struct ggufw *w = must(calloc(1, sizeof(*w)));

    w->version = version;
    return w;
}

void ggufw_free(struct ggufw *w)
{
    if (!w)
        return;
    for (unsigned i = 0; i < w->n_pairs; i++) {
        free(w->pairs[i].key);
        free(w->pairs[i].value);
    }
    free(w->pairs);
    free(w->tensors);
    free(w);
}

/* --- metadata ----------------------------------------------------------- */

/* Add a pair; takes over the bytes of <value>. */
static void add_pair(struct ggufw *w, const char *key, uint32_t type,
                     struct sink value)
{
    size_t room = (w->n_pairs + 1) * sizeof(*w->pairs);

    w->pairs = must(realloc(w->pairs, room));
    w->pairs[w->n_pairs++] = (struct pair){.key = must(strdup(key)),
                                           .type = type,
                                           .value = value.p,
                                           .len = value.len};
}

void ggufw_raw(struct ggufw *w, const char *key, uint32_t type,
               struct str bytes)
{
    struct sink s = {0};

    put(&s, bytes.p, bytes.len);
    add_pair(w, key, type, s);
}

void ggufw_u32(struct ggufw *w, const char *key, uint32_t v)
{
    ggufw_raw(w, key, GGUF_U32, str_of(&v, sizeof(v)));
}

void ggufw_f32(struct ggufw *w, const char *key, float v)
{
    ggufw_raw(w, key, GGUF_F32, str_of(&v, sizeof(v)));
}

void ggufw_bool(struct ggufw *w, const char *key, bool v)
{
    uint8_t b = v;

    ggufw_raw(w, key, GGUF_BOOL, str_of(&b, sizeof(b)));
}

void ggufw_str(struct ggufw *w, const char *key, const char *v)
{
    struct sink s = {0};

    put_text(&s, str_from(v));
    add_pair(w, key, GGUF_STRING, s);
}

/* The head of an array. */
static struct sink begin_array(enum gguf_type item, size_t n)
{
    struct sink s = {0};

    put_u32(&s, item);
    put_u64(&s, n);
    return s;
}

void ggufw_strs(struct ggufw *w, const char *key, const struct str *v, size_t n)
{
    struct sink s = begin_array(GGUF_STRING, n);
    size_t all = s.len, at = s.len;

    for (size_t i = 0; i < n; i++)
        all += 8 + v[i].len;
    s.p = must(realloc(s.p, all + 1));
    for (size_t i = 0; i < n; i++) {
        uint64_t len = v[i].len;

        memcpy(s.p + at, &len, 8);
        memcpy(s.p + at + 8, v[i].p, v[i].len);
        at += 8 + v[i].len;
    }
    s.len = all;
    add_pair(w, key, GGUF_ARRAY, s);
}

void ggufw_i32s(struct ggufw *w, const char *key, const int32_t *v, size_t n)
{
    struct sink s = begin_array(GGUF_I32, n);

    put(&s, v, n * sizeof(*v));
    add_pair(w, key, GGUF_ARRAY, s);
}

void ggufw_f32s(struct ggufw *w, const char *key, const float *v, size_t n)
{
    struct sink s = begin_array(GGUF_F32, n);

    put(&s, v, n * sizeof(*v));
    add_pair(w, key, GGUF_ARRAY, s);
}

static struct pair *find_pair(struct ggufw *w, const char *key)
{
    for (unsigned i = 0; i < w->n_pairs; i++)
        if (strcmp(w->pairs[i].key, key) == 0)
            return &w->pairs[i];
    return NULL;
}

bool ggufw_set(struct ggufw *w, const char *key, const void *p, size_t len)
{
    struct pair *pair = find_pair(w, key);

    if (!pair || pair->len != len)
        return false;
    memcpy(pair->value, p, len);
    return true;
}

bool ggufw_drop(struct ggufw *w, const char *key)
{
    struct pair *pair = find_pair(w, key);

    if (!pair)
        return false;
    free(pair->key);
    free(pair->value);
    *pair = w->pairs[--w->n_pairs];
    return true;
}

/* --- tensors ------------------------------------------------------------ */

uint32_t ggufw_type(enum krn_dtype t)
{
    uint32_t n = 0;

    while (!gguf_tensor_type_name(n) ||
           strcmp(gguf_tensor_type_name(n), krn_dtype_name(t)) != 0)
        n++;
    return n;
}

unsigned ggufw_tensor(struct ggufw *w, const char *name, enum krn_dtype t,
                      uint64_t n_out, uint64_t n_in)
{
    size_t room = (w->n_tensors + 1) * sizeof(*w->tensors);
    uint64_t rows = n_out ? n_out : 1;
    struct ggufw_tensor *at;

    w->tensors = must(realloc(w->tensors, room));
    at = &w->tensors[w->n_tensors];
    *at = (struct ggufw_tensor){
        .n_dims = n_out ? 2 : 1,
        .dims = {n_in, rows, 1, 1},
        .type = ggufw_type(t),
        .offset = w->data_bytes,
        .bytes = n_in / krn_dtype_block(t) * krn_dtype_bytes(t) * rows,
    };
    snprintf(at->name, sizeof(at->name), "%s", name);
    w->data_bytes += (at->bytes + ALIGN - 1) / ALIGN * ALIGN;
    return w->n_tensors++;
}

struct ggufw_tensor *ggufw_tensors(struct ggufw *w, unsigned *n_out)
{
    *n_out = w->n_tensors;
    return w->tensors;
}

/* --- the file ----------------------------------------------------------- */

static struct sink build_head(const struct ggufw *w)
{
    struct sink s = {0};

    put(&s, "GGUF", 4);
    put_u32(&s, w->version);
    put_u64(&s, w->n_tensors);
    put_u64(&s, w->n_pairs);
    for (unsigned i = 0; i < w->n_pairs; i++) {
        put_text(&s, str_from(w->pairs[i].key));
        put_u32(&s, w->pairs[i].type);
        put(&s, w->pairs[i].value, w->pairs[i].len);
    }
    for (unsigned i = 0; i < w->n_tensors; i++) {
        const struct ggufw_tensor *t = &w->tensors[i];

        put_text(&s, str_from(t->name));
        put_u32(&s, t->n_dims);
        for (unsigned d = 0; d < t->n_dims; d++)
            put_u64(&s, t->dims[d < 4 ? d : 3]);
        put_u32(&s, t->type);
        put_u64(&s, t->offset);
    }
    while (s.len % ALIGN != 0)
        put(&s, "", 1);
    return s;
}

/* Bytes of a chunk of <t>: whole blocks of any type. */
static size_t chunk_of(const struct ggufw_tensor *t, uint64_t at)
{
    size_t unit = 4;
    uint64_t left = t->bytes - at;

    for (unsigned d = 0; d < KRN_DTYPE_COUNT; d++)
        if (ggufw_type((enum krn_dtype)d) == t->type)
            unit = krn_dtype_bytes((enum krn_dtype)d);
    return left < CHUNK_ROOM ? (size_t)left : CHUNK_ROOM / unit * unit;
}

/* Fill tensor <i> at <to> in the chunks that a file is written in. */
static void fill_tensor(const struct ggufw *w, unsigned i, ggufw_fill_fn *fill,
                        void *arg, char *to)
{
    const struct ggufw_tensor *t = &w->tensors[i];
    size_t n;

    for (uint64_t at = 0; at < t->bytes; at += n) {
        n = chunk_of(t, at);
        fill(arg, i, at, to + at, n);
    }
}

char *ggufw_build(struct ggufw *w, ggufw_fill_fn *fill, void *arg,
                  size_t *len_out)
{
    struct sink s = build_head(w);
    size_t head = s.len, at = head;

    s.len += w->data_bytes;
    s.p = must(realloc(s.p, s.len + 1));
    memset(s.p + head, 0, w->data_bytes);
    for (unsigned i = 0; fill && i < w->n_tensors; i++) {
        uint64_t bytes = w->tensors[i].bytes;

        fill_tensor(w, i, fill, arg, s.p + at);
        at += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    *len_out = s.len;
    return s.p;
}

static bool write_tensor(const struct ggufw *w, unsigned i, ggufw_fill_fn *fill,
                         void *arg, FILE *f)
{
    const struct ggufw_tensor *t = &w->tensors[i];
    static const char pad[ALIGN];
    size_t rest = (size_t)(-t->bytes % ALIGN), n;
    char *room = must(calloc(1, CHUNK_ROOM));
    bool ok = true;

    for (uint64_t at = 0; ok && at < t->bytes; at += n) {
        n = chunk_of(t, at);
        if (fill)
            fill(arg, i, at, room, n);
        ok = fwrite(room, 1, n, f) == n;
    }
    free(room);
    return ok && fwrite(pad, 1, rest, f) == rest;
}

bool ggufw_write(struct ggufw *w, ggufw_fill_fn *fill, void *arg, FILE *f)
{
    struct sink s = build_head(w);
    bool ok = fwrite(s.p, 1, s.len, f) == s.len;

    free(s.p);
    for (unsigned i = 0; ok && i < w->n_tensors; i++)
        ok = write_tensor(w, i, fill, arg, f);
    return ok && fflush(f) == 0;
}
