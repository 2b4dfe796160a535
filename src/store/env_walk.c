/* env_walk.c - Looking at an LMDB file from a child process: the only way to
 * touch one that may be damaged, since LMDB trusts its pages and a bad one
 * ends the process. Must never run in the parent. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/child.h"
#include "store/env_priv.h"

void env_say(struct buf *why, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    if (len > why->cap - why->len)
        len = why->cap - why->len;
    if (buf_put(why, text, len) != ERR_OK)
        return; /* without memory there is no sentence */
}

enum err env_look(const struct env_opts *opts, bool shared, env_look_fn *fn,
                  void *arg, struct buf *out)
{
    const unsigned lock = shared ? 0 : MDB_NOLOCK;
    const unsigned ahead = (opts->flags & ENV_WATCHED) != 0 ? MDB_NORDAHEAD : 0;
    struct env env = {.opts = *opts};
    struct txn t = {.env = &env};
    int rc = mdb_env_create(&env.mdb);

    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxdbs(env.mdb, ENV_TABLES_MAX);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(env.mdb, opts->dir,
                          MDB_RDONLY | MDB_NOTLS | lock | ahead, 0600);
    if (rc == MDB_SUCCESS)
        rc = mdb_txn_begin(env.mdb, NULL, MDB_RDONLY, &t.mdb);
    for (unsigned i = 0; rc == MDB_SUCCESS && i < opts->n_tables; i++) {
        rc = mdb_dbi_open(t.mdb, opts->tables[i], 0, &env.dbi[i]);
        if (rc == MDB_NOTFOUND)
            rc = MDB_SUCCESS; /* made by a version that has it not; dbi 0 */
    }
    if (rc != MDB_SUCCESS) {
        env_say(out, "%s", mdb_strerror(rc));
        return env_error(&env, rc) == ERR_NOMEM ? ERR_NOMEM : ERR_CORRUPT;
    }
    return fn(&t, arg, out);
}

/* --- whose a page is ------------------------------------------------------ */

/* Pages of the file that were met, for an ENV_WATCHED environment: none belongs
 * to two things. Nothing is read for it but what the walk reads anyway. */
struct census {
    uint8_t *met; /* (n) bits; NULL: no census is taken */
    size_t n;     /* pages of the file */
    size_t page_bytes;
    uintptr_t base; /* of the map, 0: not known yet */
    uintptr_t leaf; /* the one the walk is at */
};

static enum err meet(struct census *s, size_t page, size_t n, struct buf *out)
{
    for (size_t i = page; i < page + n; i++) {
        if (i < 2 || i >= s->n || (s->met[i / 8] & 1u << i % 8) != 0) {
            env_say(out, "page %zu is used twice, or is none", i);
            return ERR_CORRUPT;
        }
        s->met[i / 8] |= (uint8_t)(1u << i % 8);
    }
    return ERR_OK;
}

/* A leaf begins with its number, and the map with page 0. */
static enum err meet_leaf(struct census *s, uintptr_t leaf, struct buf *out)
{
    size_t page;

    if (leaf == s->leaf)
        return ERR_OK;
    memcpy(&page, (const void *)leaf, sizeof(page));
    if (s->base == 0 && page < s->n)
        s->base = leaf - page * s->page_bytes;
    if (s->base == 0 || leaf < s->base ||
        page != (leaf - s->base) / s->page_bytes) {
        env_say(out, "a page has the number of another one");
        return ERR_CORRUPT;
    }
    if (!env_page_is_sound((const uint8_t *)leaf, s->page_bytes,
                           ENV_PAGE_LEAF)) {
        env_say(out, "page %zu is no leaf", page);
        return ERR_CORRUPT;
    }
    s->leaf = leaf;
    return meet(s, page, 1, out);
}

/* The pages of a record. */
static enum err meet_record(struct census *s, struct str key, struct str value,
                            struct buf *out)
{
    const uintptr_t at = (uintptr_t)value.p;
    const uintptr_t mask = ~(uintptr_t)(s->page_bytes - 1);

    if (!s->met)
        return ERR_OK;
    ERR_TRY(meet_leaf(s, (uintptr_t)key.p & mask, out));
    if ((at & mask) == s->leaf)
        return ERR_OK;
    if ((at & ~mask) != PAGE_HEAD || at < s->base) {
        env_say(out, "a value begins within a page");
        return ERR_CORRUPT;
    }
    return meet(s, (at - s->base) / s->page_bytes,
                (PAGE_HEAD + value.len + s->page_bytes - 1) / s->page_bytes,
                out);
}

static enum err meet_tables(struct txn *t, struct census *s, struct buf *out)
{
    enum err err = ERR_OK;
    MDB_cursor *c;
    MDB_val k;
    MDB_val v;

    if (mdb_cursor_open(t->mdb, DBI_TABLES, &c) != MDB_SUCCESS)
        return ERR_CORRUPT;
    while (err == ERR_OK && mdb_cursor_get(c, &k, &v, MDB_NEXT) == MDB_SUCCESS)
        err = meet_record(s, str_of(k.mv_data, k.mv_size),
                          str_of(v.mv_data, v.mv_size), out);
    return err;
}

static enum err meet_free(struct census *s, const size_t *list, struct buf *out)
{
    enum err err = ERR_OK;

    for (size_t i = 1; s->met && err == ERR_OK && i <= list[0]; i++)
        err = meet(s, list[i], 1, out);
    return err;
}

/* What was not met is a branch. */
static enum err meet_branches(struct census *s, struct buf *out)
{
    for (size_t i = 2; s->met && s->base != 0 && i < s->n; i++) {
        const uint8_t *page = (const uint8_t *)(s->base + i * s->page_bytes);
        size_t number;

        if ((s->met[i / 8] & 1u << i % 8) != 0)
            continue;
        memcpy(&number, page, sizeof(number));
        if (number != i ||
            !env_page_is_sound(page, s->page_bytes, ENV_PAGE_BRANCH)) {
            env_say(out, "page %zu is no branch", i);
            return ERR_CORRUPT;
        }
    }
    return ERR_OK;
}

/* --- the walk ------------------------------------------------------------- */

static enum err walk_free_list(struct txn *t, size_t last_page,
                               struct census *s, struct buf *out)
{
    MDB_cursor *c;
    MDB_val k;
    MDB_val v;

    if (mdb_cursor_open(t->mdb, DBI_FREE, &c) != MDB_SUCCESS)
        return ERR_CORRUPT;
    while (mdb_cursor_get(c, &k, &v, MDB_NEXT) == MDB_SUCCESS) {
        const size_t *list = v.mv_data;
        const size_t n = v.mv_size / sizeof(*list);
        size_t above = last_page + 1;

        if (k.mv_size != sizeof(size_t) || n == 0 || list[0] > n - 1) {
            env_say(out, "its list of free pages is not one");
            return ERR_CORRUPT;
        }
        for (size_t i = 1; i <= list[0]; i++) {
            if (list[i] < 2 || list[i] >= above) {
                env_say(out, "its list of free pages is out of order");
                return ERR_CORRUPT;
            }
            above = list[i];
        }
        ERR_TRY(meet_record(s, str_of(k.mv_data, k.mv_size),
                            str_of(v.mv_data, v.mv_size), out));
        ERR_TRY(meet_free(s, list, out));
    }
    return ERR_OK;
}

static bool is_above(struct str key, struct str last)
{
    const size_t n = key.len < last.len ? key.len : last.len;
    const int d = n ? memcmp(key.p, last.p, n) : 0;

    return d > 0 || (d == 0 && key.len > last.len);
}

static enum err walk_table(struct txn *t, unsigned table, struct census *s,
                           struct buf *out)
{
    const char *name = t->env->opts.tables[table];
    struct cursor c;
    char last[ENV_KEY_MAX];
    size_t last_len = 0;
    uint64_t n = 0;
    uint64_t count;

    if (txn_count(t, table, &count) != ERR_OK ||
        cursor_open(t, table, &c) != ERR_OK)
        return ERR_CORRUPT;
    enum err err = cursor_next(&c);
    for (; err == ERR_OK; err = cursor_next(&c)) {
        if (n++ >= count || c.key.len == 0 || c.key.len > sizeof(last) ||
            !is_above(c.key, str_of(last, last_len))) {
            env_say(out, "table %s is out of order at record %llu", name,
                    (unsigned long long)n);
            return ERR_CORRUPT;
        }
        ERR_TRY(meet_record(s, c.key, c.value, out));
        memcpy(last, c.key.p, c.key.len);
        last_len = c.key.len;
        env_check_fn *check = t->env->opts.check;
        if (check && check(table, c.key, c.value, out) != ERR_OK) {
            env_say(out, " (table %s, record %llu)", name,
                    (unsigned long long)n);
            return ERR_CORRUPT;
        }
    }
    if (err == ERR_NOT_FOUND && n == count)
        return ERR_OK;
    env_say(out, "table %s has %llu records where its head says %llu", name,
            (unsigned long long)n, (unsigned long long)count);
    return ERR_CORRUPT;
}

/* What walk_in_child() needs. */
struct walk {
    const struct env_opts *opts;
    const char *path;
};

static enum err census_begin(struct txn *t, size_t pages, struct census *out)
{
    MDB_stat st;

    *out = (struct census){.n = pages};
    if ((t->env->opts.flags & ENV_WATCHED) == 0)
        return ERR_OK;
    if (mdb_env_stat(t->env->mdb, &st) != MDB_SUCCESS)
        return ERR_CORRUPT;
    out->page_bytes = st.ms_psize;
    out->met = calloc(pages / 8 + 1, 1);
    return out->met ? ERR_OK : ERR_NOMEM;
}

static enum err walk_all(struct txn *t, void *arg, struct buf *out)
{
    const struct walk *w = arg;
    struct census s;
    MDB_envinfo info;

    if (mdb_env_info(t->env->mdb, &info) != MDB_SUCCESS) {
        env_say(out, "its head cannot be read");
        return ERR_CORRUPT;
    }
    enum err err = census_begin(t, info.me_last_pgno + 1, &s);
    if (err == ERR_OK)
        err = walk_free_list(t, info.me_last_pgno, &s, out);
    if (err == ERR_OK && s.met)
        err = meet_tables(t, &s, out);
    for (unsigned i = 0; err == ERR_OK && i < w->opts->n_tables; i++) {
        if (t->env->dbi[i] != 0)
            err = walk_table(t, i, &s, out);
    }
    if (err == ERR_OK)
        err = meet_branches(&s, out);
    free(s.met);
    return err;
}

/* The size is compared before a transaction looks at a page: opening the
 * tables does, so the two heads alone are read here. */
static enum err check_size(const struct walk *w, struct buf *out)
{
    MDB_env *mdb;
    MDB_envinfo info;
    MDB_stat st;
    struct stat file;
    int rc = mdb_env_create(&mdb);

    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(mdb, w->opts->dir,
                          MDB_RDONLY | MDB_NOTLS | MDB_NOLOCK, 0600);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(mdb, &info);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_stat(mdb, &st);
    if (rc != MDB_SUCCESS) {
        env_say(out, "%s", mdb_strerror(rc));
        return ERR_CORRUPT;
    }
    if (stat(w->path, &file) != 0)
        return ERR_IO;
    const uint64_t want = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
    mdb_env_close(mdb);
    if (want <= (uint64_t)file.st_size)
        return ERR_OK;
    env_say(out, "it is cut short: %llu bytes where its head says %llu",
            (unsigned long long)file.st_size, (unsigned long long)want);
    return ERR_CORRUPT;
}

static enum err walk_in_child(void *arg, struct buf *out)
{
    const struct walk *w = arg;
    const enum err err = check_size(w, out);

    if (err != ERR_OK)
        return err;
    return env_look(w->opts, false, walk_all, arg, out);
}

enum err env_walk(const struct env_opts *opts, const char *path,
                  struct buf *why)
{
    struct walk w = {.opts = opts, .path = path};
    struct child child;
    struct buf said;

    if (child_start(walk_in_child, &w, &child) != ERR_OK) {
        env_say(why, "%s %s cannot be checked: no child process", opts->what,
                path);
        return ERR_IO;
    }
    buf_init(&said, 4096);
    const enum err err = child_finish(&child, &said);
    const struct str cause =
        said.len > 0 ? buf_str(&said) : STR("its pages cannot be read");
    if (err != ERR_OK)
        env_say(why,
                "%s %s is damaged: %.*s; put back a copy of it, or move the "
                "directory away to begin anew",
                opts->what, path, STR_ARG(cause));
    buf_fini(&said);
    return err;
}
