/* blas_load.c - Finding cuBLASLt. It comes with a toolkit, with packages of
 * distributions, and with Python's packages, and is seldom where the loader
 * looks: so the places where those put it are tried, first what somebody said
 * by name. A library that is newer than the driver does not start: then the
 * next place may have an older one. */
#include "kernels/cuda/blas_priv.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The first version of the driver's interface that the library's 13 needs. */
#define DRIVER_13 13000

static const char *const sonames[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
enum { SONAME_COUNT = sizeof(sonames) / sizeof(sonames[0]) };

/* Folders of a toolkit, and of a folder of Python's packages. */
static const char *const toolkit[] = {"lib64", "targets/x86_64-linux/lib",
                                      "lib"};
static const char *const wheel[] = {"nvidia/cu13/lib", "nvidia/cublas/lib"};
enum {
    TOOLKIT_COUNT = sizeof(toolkit) / sizeof(toolkit[0]),
    WHEEL_COUNT = sizeof(wheel) / sizeof(wheel[0]),
};

/* Where folders of Python's packages are; patterns of glob(). */
static const char *const pythons[] = {
    "/usr/local/lib/python3*/dist-packages",
    "/usr/local/lib/python3*/site-packages",
    "/usr/lib/python3*/dist-packages",
    "/usr/lib/python3*/site-packages",
    "/opt/*/.venv/lib/python3*/site-packages",
    "/opt/*/lib/python3*/site-packages",
};
enum { PYTHON_COUNT = sizeof(pythons) / sizeof(pythons[0]) };

struct row {
    const char *symbol;
    size_t offset; /* of the member of struct blas_lib */
};

#define ROW(member, symbol, type, params)                                      \
    {#symbol, offsetof(struct blas_lib, member)},
static const struct row rows[] = {BLAS_CALLS(ROW)};
#undef ROW
enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

/* A search under way. */
struct search {
    struct blas_lib *lib;
    cublasLtHandle_t handle;
    unsigned first;    /* of sonames: what the driver can run */
    char trouble[512]; /* with the first library that was there */
};

/* Remember what is wrong with <path>, if it is the first such. */
static void say(struct search *s, const char *path, const char *what)
{
    if (s->trouble[0] == '\0')
        snprintf(s->trouble, sizeof(s->trouble), "%s: %s", path, what);
}

/* The file that the function <lib>->create is in. */
static void name_file(struct blas_lib *lib, const char *path)
{
    Dl_info info;
    void *p;

    memcpy(&p, &lib->create, sizeof(p));
    if (dladdr(p, &info) != 0 && info.dli_fname)
        path = info.dli_fname;
    snprintf(lib->path, sizeof(lib->path), "%s", path);
}

/* Take the library <path>, a file or a name for the loader. */
static bool try_file(struct search *s, const char *path)
{
    struct blas_lib *lib = s->lib;
    cublasStatus_t st;
    char what[64];

    lib->so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!lib->so) {
        const char *e = dlerror();

        /* What is not there is no trouble. */
        if (strchr(path, '/') && e)
            say(s, path, e);
        return false;
    }
    for (size_t i = 0; i < ROW_COUNT; i++) {
        void *p = dlsym(lib->so, rows[i].symbol);

        if (!p) {
            snprintf(what, sizeof(what), "it has no %s", rows[i].symbol);
            say(s, path, what);
            return false;
        }
        memcpy((char *)lib + rows[i].offset, &p, sizeof(p));
    }
    st = lib->create(&s->handle);
    if (st != CUBLAS_STATUS_SUCCESS) {
        snprintf(what, sizeof(what), "it does not start, status %d", (int)st);
        say(s, path, what);
        return false;
    }
    name_file(lib, path);
    return true;
}

/* Try the libraries of one folder. */
static bool try_folder(struct search *s, const char *folder)
{
    char path[4096];

    for (unsigned i = s->first; i < SONAME_COUNT; i++) {
        struct stat st;
        int n = snprintf(path, sizeof(path), "%s/%s", folder, sonames[i]);

        if (n > 0 && (size_t)n < sizeof(path) && stat(path, &st) == 0 &&
            try_file(s, path))
            return true;
    }
    return false;
}

/* Try each of <n> folders <subs> of each folder that <pattern> matches. */
static bool try_pattern(struct search *s, const char *pattern,
                        const char *const *subs, size_t n)
{
    glob_t g;
    bool found = false;

    if (glob(pattern, 0, NULL, &g) != 0)
        return false;
    for (size_t i = 0; i < g.gl_pathc && !found; i++) {
        for (size_t j = 0; j < n && !found; j++) {
            char path[4096];
            int len =
                snprintf(path, sizeof(path), "%s/%s", g.gl_pathv[i], subs[j]);

            found =
                len > 0 && (size_t)len < sizeof(path) && try_folder(s, path);
        }
    }
    globfree(&g);
    return found;
}

/* Try what somebody named: a folder or a file. */
static bool try_named(struct search *s, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        say(s, path, "there is no such file or folder");
        return false;
    }
    if (!S_ISDIR(st.st_mode))
        return try_file(s, path);
    if (try_folder(s, path))
        return true;
    say(s, path, "no libcublasLt.so in it that the driver can run");
    return false;
}

/* Try the packages of Python below <prefix>/lib. */
static bool try_prefix(struct search *s, const char *prefix)
{
    static const char *const kinds[] = {"site-packages", "dist-packages"};
    char pattern[4096];

    for (int i = 0; i < 2; i++) {
        int n = snprintf(pattern, sizeof(pattern), "%s/lib/python3*/%s", prefix,
                         kinds[i]);

        if (n > 0 && (size_t)n < sizeof(pattern) &&
            try_pattern(s, pattern, wheel, WHEEL_COUNT))
            return true;
    }
    return false;
}

/* Try the packages of the Python in folder <bin> of <len> characters. */
static bool try_python(struct search *s, const char *bin, size_t len)
{
    char path[4096];
    struct stat st;

    if (len == 0 || len > sizeof(path) - 16)
        return false;
    snprintf(path, sizeof(path), "%.*s/python3", (int)len, bin);
    if (stat(path, &st) != 0)
        return false;
    snprintf(path, sizeof(path), "%.*s/..", (int)len, bin);
    return try_prefix(s, path);
}

/* Try the packages of each Python of PATH. */
static bool try_path(struct search *s)
{
    const char *at = getenv("PATH");

    while (at && *at != '\0') {
        size_t len = strcspn(at, ":");

        if (try_python(s, at, len))
            return true;
        at += len;
        at += *at == ':';
    }
    return false;
}

/* Try all the usual places. */
static bool try_usual(struct search *s)
{
    const char *home = getenv("CUDA_HOME");
    const char *venv = getenv("VIRTUAL_ENV");
    const char *conda = getenv("CONDA_PREFIX");

    for (unsigned i = s->first; i < SONAME_COUNT; i++) {
        if (try_file(s, sonames[i]))
            return true;
    }
    if (home && home[0] != '\0' && try_pattern(s, home, toolkit, TOOLKIT_COUNT))
        return true;
    if (venv && venv[0] != '\0' && try_prefix(s, venv))
        return true;
    if (conda && conda[0] != '\0' &&
        (try_pattern(s, conda, toolkit, TOOLKIT_COUNT) || try_prefix(s, conda)))
        return true;
    if (try_pattern(s, "/usr/local/cuda", toolkit, TOOLKIT_COUNT) ||
        try_pattern(s, "/usr/local/cuda-*", toolkit, TOOLKIT_COUNT) ||
        try_path(s))
        return true;
    for (size_t i = 0; i < PYTHON_COUNT; i++) {
        if (try_pattern(s, pythons[i], wheel, WHEEL_COUNT))
            return true;
    }
    return false;
}

enum krn_status blas_load(const struct drv *drv, const char *dir, char *why,
                          size_t why_bytes, struct blas_lib *lib,
                          cublasLtHandle_t *handle_out)
{
    struct search s = {.lib = lib};
    const char *env = getenv("TOLLGATE_CUBLASLT");
    int version = 0;

    if (env && strcmp(env, "none") == 0) {
        snprintf(why, why_bytes,
                 "TOLLGATE_CUBLASLT says that there is no "
                 "cuBLASLt");
        return KRN_UNSUPPORTED;
    }
    if (drv->version(&version) != CUDA_SUCCESS || version < DRIVER_13)
        s.first = 1;
    if ((dir && dir[0] != '\0' && !drv->fake && try_named(&s, dir)) ||
        (env && env[0] != '\0' && try_named(&s, env)) ||
        (!drv->fake && try_usual(&s))) {
        *handle_out = s.handle;
        return KRN_OK;
    }
    snprintf(why, why_bytes,
             "no cuBLASLt (libcublasLt.so.%s12) is found%s%s; prompts are read "
             "slowly without it: install the CUDA toolkit, or name the "
             "library's folder",
             s.first == 0 ? "13 or " : "", s.trouble[0] == '\0' ? "" : "; ",
             s.trouble);
    return KRN_UNSUPPORTED;
}
