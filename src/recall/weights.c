/* weights.c - See weights.h. The digests of files are put together so that
 * their order does not matter: a directory has none. */
#include "recall/weights.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/conf.h"

/* Longest path that is looked at. */
#define PATH_BYTES 4352

/* What tells two files apart. */
struct file_mark {
    struct digest path; /* of its text */
    int64_t size, mtime_s, mtime_ns;
};

static void mix(struct digest *sum, const struct digest *one)
{
    for (size_t i = 0; i < sizeof(sum->b); i++)
        sum->b[i] ^= one->b[i];
}

static void add_file(struct digest *sum, const char *path,
                     const struct stat *st)
{
    struct file_mark m;
    struct digest d;

    memset(&m, 0, sizeof(m));
    m.path = digest_sha256(path, strlen(path));
    m.size = st->st_size;
    m.mtime_s = st->st_mtim.tv_sec;
    m.mtime_ns = st->st_mtim.tv_nsec;
    d = digest_sha256(&m, sizeof(m));
    mix(sum, &d);
}

static void add_dir(struct digest *sum, const char *path)
{
    DIR *dir = opendir(path);
    char name[PATH_BYTES];
    struct dirent *e;
    struct stat st;

    if (!dir)
        return;
    while ((e = readdir(dir)) != NULL)
        if (snprintf(name, sizeof(name), "%s/%s", path, e->d_name) <
                (int)sizeof(name) &&
            stat(name, &st) == 0 && S_ISREG(st.st_mode))
            add_file(sum, name, &st);
    closedir(dir);
}

struct digest weights_mark(const struct conf *conf)
{
    struct digest sum = {{0}};
    char path[PATH_BYTES];
    struct stat st;

    for (size_t i = 0; i < conf->engine.n_models; i++) {
        const struct str at = conf->engine.models[i].path;

        if (snprintf(path, sizeof(path), "%.*s", STR_ARG(at)) >=
                (int)sizeof(path) ||
            stat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            add_dir(&sum, path);
        else
            add_file(&sum, path, &st);
    }
    return sum;
}
