/* blas_plan.c - Plans of products: which algorithm, asked of the library or
 * measured, by what the product is. The file of plans is a text: a line that
 * says whom it is for, a line a plan, and a line with the sum of all before it;
 * an algorithm is the library's own 64 bytes, which it checks again before they
 * are used. */
#include "kernels/cuda/blas_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file's format. */
#define PLANS_VERSION 1

/* Runs that are timed together, and how often; the least time counts. */
#define TIMED_RUNS 4
#define TIMED      3

/* --- plans -----------------------------------------------------------------
 */

/* The end of the bucket of <m>: 16, 32, 64 and so on. */
static unsigned bucket_of(unsigned m)
{
    unsigned top = 16;

    while (top < m && top <= UINT32_MAX / 2)
        top *= 2;
    return top < m ? m : top;
}

struct blas_key blas_key_of(const struct blas_gemm *g)
{
    size_t in = krn_dtype_bytes(g->in);
    size_t out = krn_dtype_bytes(g->out);
    uint64_t all = 16 | g->x | g->w | g->y | g->bias | g->ldx * in |
                   g->ldw * in | g->ldy * out;
    struct blas_key k = {
        .m = bucket_of(g->m),
        .n = g->n,
        .k = g->k,
        .align = (unsigned)(all & -all),
        .ldx = g->ldx,
        .ldw = g->ldw,
        .ldy = g->ldy,
        .in = g->in,
        .out = g->out,
        .add = g->add,
        .bias = g->bias != 0,
    };

    return k;
}

static bool is_same(const struct blas_key *a, const struct blas_key *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k &&
           a->align == b->align && a->ldx == b->ldx && a->ldw == b->ldw &&
           a->ldy == b->ldy && a->in == b->in && a->out == b->out &&
           a->add == b->add && a->bias == b->bias;
}

static unsigned list_of(const struct blas_key *k)
{
    uint64_t h = k->m;

    h = h * 0x9e3779b97f4a7c15u + k->n;
    h = h * 0x9e3779b97f4a7c15u + k->k;
    h = h * 0x9e3779b97f4a7c15u + k->ldy;
    h = h * 0x9e3779b97f4a7c15u + (unsigned)k->out * 4 + k->add * 2u + k->bias;
    return (unsigned)(h >> 32) % BLAS_LISTS;
}

static cudaDataType type_of(enum krn_dtype t)
{
    return t == KRN_F16 ? CUDA_R_16F : t == KRN_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static void plan_free(struct blas *b, struct blas_plan *p)
{
    if (p->lw)
        b->lib.layout_destroy(p->lw);
    if (p->lx)
        b->lib.layout_destroy(p->lx);
    if (p->ly)
        b->lib.layout_destroy(p->ly);
    if (p->desc)
        b->lib.desc_destroy(p->desc);
    free(p);
}

/* Describe the product of <p>'s key to the library. */
static bool plan_describe(struct blas *b, struct blas_plan *p)
{
    const struct blas_key *k = &p->key;
    int32_t op = CUBLAS_OP_T;
    uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const struct blas_lib *l = &b->lib;

    p->cols = k->m;
    if (l->desc_create(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) ||
        l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op, sizeof(op)) ||
        l->layout_create(&p->lw, type_of(k->in), k->k, k->n, (int64_t)k->ldw) ||
        l->layout_create(&p->lx, type_of(k->in), k->k, k->m, (int64_t)k->ldx) ||
        l->layout_create(&p->ly, type_of(k->out), k->n, k->m, (int64_t)k->ldy))
        return false;
    return !k->bias ||
           l->desc_set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                       sizeof(epilogue)) == CUBLAS_STATUS_SUCCESS;
}

struct blas_plan *blas_plan_get(struct blas *b, const struct blas_key *key)
{
    unsigned at = list_of(key);
    struct blas_plan *p;

    for (p = b->list[at]; p; p = p->next) {
        if (is_same(&p->key, key))
            return p;
    }
    p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->key = *key;
    if (!plan_describe(b, p)) {
        plan_free(b, p);
        return NULL;
    }
    p->next = b->list[at];
    b->list[at] = p;
    return p;
}

void blas_plans_free(struct blas *b)
{
    for (unsigned i = 0; i < BLAS_LISTS; i++) {
        while (b->list[i]) {
            struct blas_plan *p = b->list[i];

            b->list[i] = p->next;
            plan_free(b, p);
        }
    }
}

bool blas_plan_rows(struct blas *b, struct blas_plan *p, unsigned m)
{
    uint64_t cols = m;

    if (p->cols == m)
        return true;
    p->cols = 0;
    if (b->lib.layout_set(p->lx, CUBLASLT_MATRIX_LAYOUT_COLS, &cols,
                          sizeof(cols)) != CUBLAS_STATUS_SUCCESS ||
        b->lib.layout_set(p->ly, CUBLASLT_MATRIX_LAYOUT_COLS, &cols,
                          sizeof(cols)) != CUBLAS_STATUS_SUCCESS)
        return false;
    p->cols = m;
    return true;
}

bool blas_plan_fits(struct blas *b, const struct blas_plan *p,
                    const cublasLtMatmulAlgo_t *a)
{
    cublasLtMatmulHeuristicResult_t r;

    return b->lib.algo_check(b->handle, p->desc, p->lw, p->lx, p->ly, p->ly, a,
                             &r) == CUBLAS_STATUS_SUCCESS &&
           r.workspaceSize <= BLAS_WORK_BYTES;
}

/* What the library may propose for <p>. */
static bool pref_fill(struct blas *b, cublasLtMatmulPreference_t pref,
                      const struct blas_plan *p)
{
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    };
    uint64_t bytes = BLAS_WORK_BYTES;
    uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    uint32_t align = p->key.align;

    for (int i = 0; i < 4; i++) {
        if (b->lib.pref_set(pref, aligned[i], &align, sizeof(align)))
            return false;
    }
    return !b->lib.pref_set(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                            &bytes, sizeof(bytes)) &&
           !b->lib.pref_set(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                            &scheme, sizeof(scheme));
}

bool blas_plan_ask(struct blas *b, struct blas_plan *p, unsigned m)
{
    cublasLtMatmulHeuristicResult_t r[BLAS_ALGOS];
    cublasLtMatmulPreference_t pref = NULL;
    unsigned before = p->n_algo;
    int n = 0;

    if (m == p->key.m)
        p->asked = true;
    if (!blas_plan_rows(b, p, m) ||
        b->lib.pref_create(&pref) != CUBLAS_STATUS_SUCCESS)
        return false;
    if (!pref_fill(b, pref, p) ||
        b->lib.heuristic(b->handle, p->desc, p->lw, p->lx, p->ly, p->ly, pref,
                         BLAS_ALGOS, r, &n) != CUBLAS_STATUS_SUCCESS)
        n = 0;
    b->lib.pref_destroy(pref);
    /* Where all fail these rows, the slowest makes room. */
    if (before == BLAS_ALGOS && n > 0)
        p->n_algo = --before;
    for (int i = 0; i < n && p->n_algo < BLAS_ALGOS; i++) {
        if (r[i].state == CUBLAS_STATUS_SUCCESS &&
            r[i].workspaceSize <= BLAS_WORK_BYTES)
            p->algo[p->n_algo++] = r[i].algo;
    }
    return p->n_algo > before;
}

/* --- measuring -------------------------------------------------------------
 */

/* A stopwatch on the device. */
struct watch {
    CUevent from, to;
};

static bool watch_open(struct cuda *d, struct watch *w)
{
    *w = (struct watch){NULL, NULL};
    if (d->drv->event_create(&w->from, CU_EVENT_DEFAULT) == CUDA_SUCCESS &&
        d->drv->event_create(&w->to, CU_EVENT_DEFAULT) == CUDA_SUCCESS)
        return true;
    if (w->from)
        d->drv->event_destroy(w->from);
    return false;
}

static void watch_close(struct cuda *d, const struct watch *w)
{
    d->drv->event_destroy(w->from);
    d->drv->event_destroy(w->to);
}

/* Microseconds that one <g> takes by <a>, the least that was seen; *us_out < 0:
 * it cannot be computed so. */
static enum krn_status time_algo(struct blas *b, const struct blas_plan *p,
                                 const struct blas_gemm *g,
                                 const cublasLtMatmulAlgo_t *a,
                                 const struct watch *w, float *us_out)
{
    struct cuda *d = b->cuda;
    float least = -1;

    *us_out = -1;
    /* The first run loads code and is not timed. */
    if (!blas_plan_fits(b, p, a) || blas_run(b, p, g, a))
        return KRN_OK;
    for (int i = 0; i < TIMED; i++) {
        float ms = 0;
        CUresult r = d->drv->event_record(w->from, d->compute);

        for (int j = 0; j < TIMED_RUNS; j++) {
            if (blas_run(b, p, g, a))
                return KRN_OK;
        }
        if (r == CUDA_SUCCESS)
            r = d->drv->event_record(w->to, d->compute);
        if (r == CUDA_SUCCESS)
            r = d->drv->event_sync(w->to);
        if (r == CUDA_SUCCESS)
            r = d->drv->event_ms(&ms, w->from, w->to);
        if (r != CUDA_SUCCESS)
            return cuda_check(d, r, "timing of a product");
        if (least < 0 || ms < least)
            least = ms;
    }
    *us_out = least * 1000 / TIMED_RUNS;
    return KRN_OK;
}

/* Put algorithm <a> of time <us> in its place among the first <n>, which are in
 * order. */
static void insert(cublasLtMatmulAlgo_t *algo, float *us, unsigned n,
                   const cublasLtMatmulAlgo_t *a, float time)
{
    unsigned at = n;

    while (at > 0 && us[at - 1] > time) {
        algo[at] = algo[at - 1];
        us[at] = us[at - 1];
        at--;
    }
    algo[at] = *a;
    us[at] = time;
}

/* Measure each of <p>'s and put the quickest first. */
static enum krn_status plan_measure(struct blas *b, struct blas_plan *p,
                                    const struct blas_gemm *g)
{
    cublasLtMatmulAlgo_t algo[BLAS_ALGOS];
    float us[BLAS_ALGOS];
    unsigned n = 0;
    struct watch w;

    if (!watch_open(b->cuda, &w))
        return KRN_NOMEM;
    for (unsigned i = 0; i < p->n_algo; i++) {
        float time;
        enum krn_status st = time_algo(b, p, g, &p->algo[i], &w, &time);

        if (st != KRN_OK) {
            watch_close(b->cuda, &w);
            return st;
        }
        if (time >= 0)
            insert(algo, us, n++, &p->algo[i], time);
    }
    watch_close(b->cuda, &w);
    if (n == 0)
        return KRN_UNSUPPORTED;
    memcpy(p->algo, algo, n * sizeof(algo[0]));
    p->n_algo = n;
    p->us = us[0];
    p->m = 0;
    p->measured = true;
    b->unsaved = true;
    return KRN_OK;
}

enum krn_status blas_tune(struct blas *b, const struct blas_gemm *g)
{
    enum krn_status st = blas_check(g);
    struct blas_key key;
    struct blas_plan *p;

    if (st != KRN_OK || b->cuda->recording || b->cuda->deterministic)
        return st;
    key = blas_key_of(g);
    p = blas_plan_get(b, &key);
    if (!p)
        return KRN_UNSUPPORTED;
    if (p->measured)
        return KRN_OK;
    /* Asks for proposals, and sees that one of them does. */
    st = blas_gemm(b, g);
    if (st != KRN_OK)
        return st;
    return plan_measure(b, p, g);
}

/* --- the file ---------------------------------------------------------------
 */

/* The first line: whom the file is for. */
static bool title_write(struct blas *b, char *buf, size_t bytes)
{
    char name[128] = "";
    int n;

    if (b->cuda->drv->device_name(name, sizeof(name), b->cuda->device) !=
        CUDA_SUCCESS)
        return false;
    n = snprintf(buf, bytes, "tollgate plans %d, cuBLASLt %zu, %s\n",
                 PLANS_VERSION, b->lib.version(), name);
    return n > 0 && (size_t)n < bytes;
}

/* FNV-1a of <s> added to <sum>. */
static uint64_t sum_add(uint64_t sum, const char *s)
{
    for (; *s != '\0'; s++)
        sum = (sum ^ (unsigned char)*s) * 0x100000001b3u;
    return sum;
}

#define SUM_BEGIN 0xcbf29ce484222325u

/* The bytes of the longest line, and some. */
#define LINE_BYTES 2048

/* A plan as a line. */
static void plan_write(const struct blas_plan *p, char *buf, size_t bytes)
{
    const struct blas_key *k = &p->key;
    int at = snprintf(
        buf, bytes,
        "%u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %d %d %d %d %.2f %u",
        k->m, k->n, k->k, k->align, k->ldx, k->ldw, k->ldy, (int)k->in,
        (int)k->out, k->add, k->bias, (double)p->us, p->n_algo);

    for (unsigned i = 0; i < p->n_algo * 8; i++)
        at += snprintf(buf + at, bytes - (size_t)at, " %" PRIx64,
                       p->algo[i / 8].data[i % 8]);
    snprintf(buf + at, bytes - (size_t)at, "\n");
}

/* A line as a plan's key, time and algorithms. */
static bool plan_read(const char *line, struct blas_plan *p)
{
    struct blas_key *k = &p->key;
    int in, out, add, bias;
    int at = 0;

    if (sscanf(line,
               "%u %u %u %u %" SCNu64 " %" SCNu64 " %" SCNu64
               " %d %d %d %d %f %u%n",
               &k->m, &k->n, &k->k, &k->align, &k->ldx, &k->ldw, &k->ldy, &in,
               &out, &add, &bias, &p->us, &p->n_algo, &at) != 13 ||
        p->n_algo == 0 || p->n_algo > BLAS_ALGOS)
        return false;
    k->in = (enum krn_dtype)in;
    k->out = (enum krn_dtype)out;
    k->add = add != 0;
    k->bias = bias != 0;
    for (unsigned i = 0; i < p->n_algo * 8; i++) {
        int len = 0;

        if (sscanf(line + at, " %" SCNx64 "%n", &p->algo[i / 8].data[i % 8],
                   &len) != 1)
            return false;
        at += len;
    }
    return true;
}

/* Take the plan of <line>, unless there is one. */
static bool plan_take(struct blas *b, const char *line)
{
    struct blas_plan read = {.next = NULL};
    struct blas_plan *p;

    if (!plan_read(line, &read))
        return false;
    p = blas_plan_get(b, &read.key);
    if (!p || p->measured)
        return false;
    memcpy(p->algo, read.algo, sizeof(p->algo));
    p->n_algo = read.n_algo;
    p->us = read.us;
    p->m = 0;
    p->measured = true;
    return true;
}

/* Whether <f> is for this GPU and whole. */
static bool file_is_ours(struct blas *b, FILE *f)
{
    char line[LINE_BYTES];
    char title[LINE_BYTES];
    uint64_t sum = SUM_BEGIN;
    uint64_t said;

    if (!title_write(b, title, sizeof(title)) ||
        !fgets(line, sizeof(line), f) || strcmp(line, title) != 0)
        return false;
    do {
        sum = sum_add(sum, line);
        if (!fgets(line, sizeof(line), f))
            return false;
    } while (strncmp(line, "sum ", 4) != 0);
    return sscanf(line, "sum %" SCNx64, &said) == 1 && said == sum;
}

unsigned blas_plans_load(struct blas *b, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[LINE_BYTES];
    unsigned n = 0;

    if (!f)
        return 0;
    if (file_is_ours(b, f)) {
        rewind(f);
        while (fgets(line, sizeof(line), f))
            n += plan_take(b, line);
    }
    fclose(f);
    return n;
}

/* Write all measured plans. */
static bool file_write(struct blas *b, FILE *f)
{
    char line[LINE_BYTES];
    uint64_t sum = SUM_BEGIN;

    if (!title_write(b, line, sizeof(line)))
        return false;
    sum = sum_add(sum, line);
    fputs(line, f);
    for (unsigned i = 0; i < BLAS_LISTS; i++) {
        for (const struct blas_plan *p = b->list[i]; p; p = p->next) {
            if (!p->measured)
                continue;
            plan_write(p, line, sizeof(line));
            sum = sum_add(sum, line);
            fputs(line, f);
        }
    }
    fprintf(f, "sum %" PRIx64 "\n", sum);
    return fflush(f) == 0 && !ferror(f);
}

bool blas_plans_save(struct blas *b, const char *path)
{
    char beside[4096];
    FILE *f;
    bool ok;
    int n = snprintf(beside, sizeof(beside), "%s.%ld", path, (long)getpid());

    if (!b->unsaved)
        return true;
    if (n <= 0 || (size_t)n >= sizeof(beside)) {
        errno = ENAMETOOLONG;
        return false;
    }
    /* What another context has put there since stays. */
    (void)blas_plans_load(b, path);
    f = fopen(beside, "w");
    if (!f)
        return false;
    ok = file_write(b, f);
    ok = fclose(f) == 0 && ok;
    if (ok && rename(beside, path) == 0) {
        b->unsaved = false;
        return true;
    }
    unlink(beside);
    return false;
}
