/* keytab_team.c - Teams: found, listed and changed. */
#include <stdlib.h>

#include "account/keytab_priv.h"
#include "account/rate.h"

const struct team *keytab_find_team(struct keytab *tab, struct str name)
{
    pthread_rwlock_rdlock(&tab->lock);
    const struct team_entry *te = keytab_team_entry(tab, name);
    const struct team *t = te ? team_ref(te->team) : NULL;
    pthread_rwlock_unlock(&tab->lock);
    return t;
}

struct rate *keytab_team_rate(struct keytab *tab, struct str name)
{
    struct rate *rate = NULL;

    if (name.len == 0)
        return NULL;
    pthread_rwlock_rdlock(&tab->lock);
    const struct team_entry *te = keytab_team_entry(tab, name);
    if (te)
        rate = rate_ref(te->team->rate);
    pthread_rwlock_unlock(&tab->lock);
    return rate;
}

static int by_team_name(const void *a, const void *b)
{
    const struct team *x = *(const struct team *const *)a;
    const struct team *y = *(const struct team *const *)b;

    /* names are copies with a NUL behind them */
    return strcmp(x->spec.name.p, y->spec.name.p);
}

enum err keytab_list_teams(struct keytab *tab, const struct team ***teams_out,
                           size_t *n_out)
{
    size_t n = 0;

    pthread_rwlock_rdlock(&tab->lock);
    const struct team **teams =
        calloc(HASH_COUNT(tab->teams) + 1, sizeof(*teams));
    for (const struct team_entry *te = tab->teams; teams && te;
         te = (const struct team_entry *)te->hh.next)
        teams[n++] = team_ref(te->team);
    pthread_rwlock_unlock(&tab->lock);
    if (!teams)
        return ERR_NOMEM;
    qsort(teams, n, sizeof(*teams), by_team_name);
    *teams_out = teams;
    *n_out = n;
    return ERR_OK;
}

/* Append a sentence; when there is no room for it the code says enough. */
static enum err refuse(struct buf *why, enum err err, const char *before,
                       struct str what, const char *after)
{
    env_say(why, "%s%.*s%s", before, STR_ARG(what), after);
    return err;
}

static enum err store_team(struct keytab *tab, const struct team *team,
                           struct buf *why)
{
    struct buf payload;

    buf_init(&payload, REC_PAYLOAD_MAX);
    enum err err = team_encode(team, &payload);
    if (err == ERR_OK)
        err =
            keytab_make_durable(tab, LDB_TEAMS, team->spec.name, &payload, why);
    buf_fini(&payload);
    return err;
}

static enum err replace_team(struct keytab *tab, struct team_entry *te,
                             const struct team *model,
                             const struct team **team_out, struct buf *why)
{
    struct team_entry *fresh = te ? NULL : calloc(1, sizeof(*fresh));
    enum err err = key_spec_check(&model->spec, why);
    struct team *team = err == ERR_OK ? team_new(model) : NULL;

    if (team && !team->rate)
        team->rate = rate_new(&team->spec.limits);
    if (team && !team->rate)
        err = ERR_NOMEM;
    if (err == ERR_OK && (!team || (!te && !fresh)))
        err = ERR_NOMEM;
    if (err == ERR_OK)
        err = store_team(tab, team, why);
    if (err != ERR_OK) {
        team_unref(team);
        free(fresh);
        return err;
    }
    keytab_show_team(tab, te ? te : fresh, team, !te, team_out);
    return ERR_OK;
}

enum err keytab_team_create(struct keytab *tab, const struct key_spec *spec,
                            int64_t now_wall_ms, const struct team **team_out,
                            struct buf *why)
{
    const struct team model = {.spec = *spec, .created_wall_ms = now_wall_ms};
    enum err err;

    pthread_mutex_lock(&tab->change);
    if (keytab_team_entry(tab, spec->name))
        err = refuse(why, ERR_EXISTS, "there is a team named \"", spec->name,
                     "\" already");
    else
        err = replace_team(tab, NULL, &model, team_out, why);
    pthread_mutex_unlock(&tab->change);
    return err;
}

enum err keytab_team_update(struct keytab *tab, struct str name,
                            unsigned fields, const struct key_spec *spec,
                            const struct team **team_out, struct buf *why)
{
    enum err err;

    pthread_mutex_lock(&tab->change);
    struct team_entry *te = keytab_team_entry(tab, name);
    if (te) {
        struct team model = *te->team;

        keytab_apply(&model.spec, fields & ~(unsigned)KEY_SET_NAME, spec);
        err = replace_team(tab, te, &model, team_out, why);
    } else {
        err =
            refuse(why, ERR_NOT_FOUND, "there is no team named \"", name, "\"");
    }
    pthread_mutex_unlock(&tab->change);
    return err;
}

/* Take <te> out of the table and free it. */
static void drop_team(struct keytab *tab, struct team_entry *te)
{
    pthread_rwlock_wrlock(&tab->lock);
    HASH_DELETE(hh, tab->teams, te);
    pthread_rwlock_unlock(&tab->lock);
    team_unref(te->team);
    free(te);
}

enum err keytab_team_delete(struct keytab *tab, struct str name,
                            struct buf *why)
{
    enum err err;

    pthread_mutex_lock(&tab->change);
    struct team_entry *te = keytab_team_entry(tab, name);
    if (!te)
        err =
            refuse(why, ERR_NOT_FOUND, "there is no team named \"", name, "\"");
    else if (te->n_keys > 0)
        err = refuse(why, ERR_REFUSED, "team \"", name,
                     "\" still has keys; delete or move them first");
    else
        err =
            keytab_make_durable(tab, LDB_TEAMS, te->team->spec.name, NULL, why);
    if (err == ERR_OK)
        drop_team(tab, te);
    pthread_mutex_unlock(&tab->change);
    return err;
}
