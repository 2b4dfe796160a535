/* engine_device.c - See engine_device.h. Of the CPU's memory a quarter of what
 * is there is left to others; of a GPU's nearly all is taken, since nothing
 * else can use it while the daemon runs, but for a reserve: libraries and
 * recorded graphs take memory of their own while they work. */
#include "engine/engine_device.h"

#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "engine/engine_model.h"
#include "engine/graph.h"
#include "engine/herd.h"
#include "engine/model.h"

#define MIB         (1024ull * 1024)
#define SPARE_BYTES (64 * MIB)  /* left alone beside weights and pool */
#define GPU_SPARE   (512 * MIB) /* the same on a GPU, at least, */
#define GPU_SHARE   20          /* and at least this part of it */

/* "cuda:N" and its end. */
#define NAME_BYTES 32

/* --- choosing ------------------------------------------------------------- */

bool engine_device_is_auto(const struct conf_engine_model *conf)
{
    return str_eq(conf->device, STR("auto")) || conf->device.len == 0;
}

/* How GPU <gpu> is opened. */
static struct krn_opts gpu_opts(int gpu, const struct conf_engine *conf,
                                char name[NAME_BYTES], struct engine_fault *why)
{
    snprintf(name, NAME_BYTES, "cuda:%d", gpu);
    return (struct krn_opts){.device = name,
                             .blas_dir = conf && conf->cuda_blas_dir.len > 0
                                             ? conf->cuda_blas_dir.p
                                             : NULL,
                             .deterministic = conf && conf->deterministic,
                             .why = why->text,
                             .why_bytes = sizeof(why->text)};
}

static bool is_there(int gpu)
{
    struct engine_fault why;
    char name[NAME_BYTES];
    const struct krn_opts o = gpu_opts(gpu, NULL, name, &why);

    return krn_probe(&o) == KRN_OK;
}

/* All GPUs, or the first one where there is none: opening it tells why. */
static unsigned all_gpus(int *out)
{
    unsigned n = 0;

    while (n < HERD_MAX && is_there((int)n)) {
        out[n] = (int)n;
        n++;
    }
    out[0] = 0;
    return n > 0 ? n : 1;
}

/* The numbers of "N,M,...". */
static unsigned listed_gpus(struct str list, int *out)
{
    struct str rest = list;
    struct str one;
    unsigned n = 0;
    uint64_t v;

    while (n < HERD_MAX && rest.len > 0) {
        const size_t comma = str_find(rest, STR(","));

        one = str_of(rest.p, comma < rest.len ? comma : rest.len);
        rest = comma < rest.len ? str_skip(rest, comma + 1) : STR("");
        if (str_to_u64(one, &v))
            out[n++] = (int)v;
    }
    if (n == 0)
        out[n++] = 0;
    return n;
}

unsigned engine_device_gpus(const struct conf_engine_model *conf, int *out)
{
    struct str list;

    out[0] = ENGINE_NO_GPU;
    if (engine_device_is_auto(conf))
        out[0] = conf->kv_dtype == CONF_KV_F32 ? ENGINE_NO_GPU : 0;
    if (!str_starts(conf->device, STR("cuda:")))
        return 1;
    list = str_skip(conf->device, 5);
    return str_eq(list, STR("*")) ? all_gpus(out) : listed_gpus(list, out);
}

bool engine_device_shares(const struct conf_engine_model *a,
                          const struct conf_engine_model *b)
{
    int of_a[HERD_MAX], of_b[HERD_MAX];
    const unsigned n_a = engine_device_gpus(a, of_a);
    const unsigned n_b = engine_device_gpus(b, of_b);

    for (unsigned i = 0; i < n_a; i++)
        for (unsigned k = 0; k < n_b; k++)
            if (of_a[i] == of_b[k])
                return true;
    return false;
}

const char *engine_device_gpu_only(const struct conf_engine_model *conf)
{
    if (conf->weights == CONF_WEIGHTS_FP8)
        return "weights";
    return conf->kv_dtype == CONF_KV_FP8 ? "kv_dtype" : NULL;
}

/* Refuse what the CPU does not do. */
static enum err cpu_judge(const struct conf_engine_model *conf,
                          struct engine_fault *why)
{
    const char *name = engine_device_gpu_only(conf);

    if (!name)
        return ERR_OK;
    snprintf(why->text, sizeof(why->text),
             "%s: fp8 is not supported on the cpu; write %s: auto, or a device "
             "cuda:N",
             name, name);
    return ERR_REFUSED;
}

enum err engine_device_judge(const struct conf_engine_model *conf,
                             struct engine_fault *why)
{
    int gpus[HERD_MAX];
    const unsigned n = engine_device_gpus(conf, gpus);
    char name[NAME_BYTES];
    struct krn_opts o;

    if (gpus[0] == ENGINE_NO_GPU)
        return cpu_judge(conf, why);
    if (engine_device_is_auto(conf))
        return ERR_OK;
    if (conf->kv_dtype == CONF_KV_F32) {
        snprintf(why->text, sizeof(why->text),
                 "kv_dtype: f32 is not supported on a GPU; write f16, bf16 or "
                 "fp8");
        return ERR_REFUSED;
    }
    for (unsigned i = 0; i < n; i++) {
        o = gpu_opts(gpus[i], NULL, name, why);
        if (krn_probe(&o) != KRN_OK)
            return ERR_REFUSED;
    }
    return ERR_OK;
}

enum err engine_device_open(int gpu, const struct engine_load *load,
                            struct engine_fault *why, struct krn_ctx **out)
{
    char name[NAME_BYTES];
    struct krn_opts o = {.device = "cpu",
                         .threads = (unsigned)load->conf->threads};
    enum krn_status st;

    if (gpu != ENGINE_NO_GPU) {
        o = gpu_opts(gpu, load->conf, name, why);
        o.blas_plans = load->plans;
    }
    st = krn_open(&o, out);
    if (st == KRN_OK)
        return ERR_OK;
    if (why->text[0] == '\0')
        snprintf(why->text, sizeof(why->text),
                 "the device %s cannot be opened; write cpu or auto", o.device);
    return st == KRN_NOMEM ? ERR_NOMEM : ERR_REFUSED;
}

/* --- memory --------------------------------------------------------------- */

static uint64_t read_number(const char *path)
{
    unsigned long long v = 0;
    FILE *f = fopen(path, "re");

    if (!f)
        return UINT64_MAX;
    if (fscanf(f, "%llu", &v) != 1)
        v = UINT64_MAX; /* "max" */
    fclose(f);
    return v;
}

/* What this control group may still take. */
static uint64_t group_bytes(void)
{
    uint64_t max = read_number("/sys/fs/cgroup/memory.max");
    uint64_t used = read_number("/sys/fs/cgroup/memory.current");

    if (max == UINT64_MAX || used == UINT64_MAX)
        return UINT64_MAX;
    return max > used ? max - used : 0;
}

/* Memory that is there for the taking. */
static uint64_t available_bytes(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    unsigned long long kib = 0;
    uint64_t group = group_bytes();
    char line[128];

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    if (kib == 0)
        kib = 1024 * 1024;
    return kib * 1024 < group ? kib * 1024 : group;
}

/* What is left alone of a GPU with <all> bytes. */
static uint64_t gpu_reserve(const struct engine_load *load, uint64_t all)
{
    if (load->conf->cuda_reserve_bytes > 0)
        return load->conf->cuda_reserve_bytes;
    return all / GPU_SHARE > GPU_SPARE ? all / GPU_SHARE : GPU_SPARE;
}

/* What may be taken of the GPU <c>, and what it has free. */
static uint64_t gpu_room(const struct krn_ctx *c,
                         const struct engine_load *load, uint64_t *free_out)
{
    uint64_t all, reserve;

    krn_memory(c, free_out, &all);
    reserve = gpu_reserve(load, all);
    return *free_out > reserve ? *free_out - reserve : 0;
}

enum err engine_device_fits(const struct krn_ctx *c,
                            const struct engine_load *load,
                            const struct model *m, bool fp8,
                            struct engine_fault *why)
{
    const uint64_t need = m->file_bytes - (fp8 ? graph_fp8_saves(m) : 0);
    uint64_t all = 0;
    uint64_t have, room;

    if (krn_is_host(c))
        return ERR_OK;
    room = gpu_room(c, load, &have);
    krn_memory(c, &have, &all);
    if (room >= need / 10 * 9)
        return ERR_OK;
    snprintf(why->text, sizeof(why->text),
             "device: the GPU has %llu MiB free of %llu, of which %llu are "
             "left alone, but the weights are %llu MiB; write cpu, another "
             "GPU, or a file of a smaller type of weights",
             (unsigned long long)(have / MIB), (unsigned long long)(all / MIB),
             (unsigned long long)((have - room) / MIB),
             (unsigned long long)(need / MIB));
    return ERR_NOMEM;
}

uint64_t engine_device_room(const struct krn_ctx *c,
                            const struct engine_load *load,
                            const struct model *m)
{
    uint64_t have, need, room;

    if (krn_is_host(c)) {
        have = available_bytes();
        need = m->file_bytes + SPARE_BYTES;
        return have > need ? (have - need) / 4 * 3 : 0;
    }
    /* Those that follow get their weights and as much room as this one. */
    room = gpu_room(c, load, &have);
    room = room > load->later_bytes ? room - load->later_bytes : 0;
    return room / (load->n_later + 1);
}
