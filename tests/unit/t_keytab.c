/* t_keytab.c - Who is let in: verdicts, rotation with grace, changes that are
 * durable before they are seen, and lookups beside them. */
#include "account/keytab.h"

#include "unit/state_dir.h"

#include <pthread.h>
#include <stdatomic.h>

#include "account/rate.h"
#include "base/clock.h"

/* A ledger with its table. */
struct fixture {
    char *dir;
    struct ledger *ledger;
    struct keytab *tab;
    struct buf why;
};

static void open_all(struct fixture *f)
{
    const struct ledger_opts opts = {.state_dir = f->dir, .workers = 4};

    assert_int_equal(ledger_open(&opts, &f->ledger, &f->why), ERR_OK);
    assert_int_equal(keytab_open(f->ledger, &f->tab, &f->why), ERR_OK);
}

static void close_all(struct fixture *f)
{
    keytab_close(f->tab);
    ledger_close(f->ledger);
}

static void reopen(struct fixture *f)
{
    close_all(f);
    open_all(f);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->dir = state_dir_make();
    buf_init(&f->why, 1024);
    open_all(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    state_dir_drop(f->dir);
    buf_fini(&f->why);
    free(f);
    return 0;
}

/* Verdict on <secret> at <now>, its key dropped. */
static enum key_verdict check(struct fixture *f, const char *secret,
                              int64_t now)
{
    const struct key *k = NULL;
    const enum key_verdict v = keytab_check(f->tab, str_from(secret), now, &k);

    key_unref(k);
    return v;
}

static void create(struct fixture *f, const char *name,
                   char secret[KEY_SECRET_LEN + 1])
{
    const struct key_spec spec = {.name = str_from(name)};

    assert_int_equal(keytab_create(f->tab, &spec, 1000, secret, NULL, &f->why),
                     ERR_OK);
}

static void fresh_key_is_let_in(void **state)
{
    struct fixture *f = *state;
    char secret[KEY_SECRET_LEN + 1];
    const struct key *k = NULL;

    create(f, "me", secret);
    assert_int_equal(keytab_check(f->tab, str_from(secret), 0, &k), KEY_OK);
    assert_memory_equal(k->spec.name.p, "me", 2);
    assert_memory_equal(k->id.p, "key_", 4);
    key_unref(k);
}

static void others_are_not(void **state)
{
    struct fixture *f = *state;
    char secret[KEY_SECRET_LEN + 1];
    static char huge[10000];

    create(f, "me", secret);
    secret[20] ^= 1;
    assert_int_equal(check(f, secret, 0), KEY_UNKNOWN);
    assert_int_equal(check(f, "", 0), KEY_MISSING);
    assert_int_equal(check(f, "sk-tg-", 0), KEY_UNKNOWN);
    memset(huge, 'a', sizeof(huge) - 1);
    assert_int_equal(check(f, huge, 0), KEY_UNKNOWN);
}

static void secret_is_nowhere_on_disk(void **state)
{
    struct fixture *f = *state;
    char secret[KEY_SECRET_LEN + 1];
    char path[4096];
    static char bytes[8 << 20];

    create(f, "me", secret);
    FILE *file = fopen(state_dir_path(f->dir, "ledger/data.mdb", path), "r");
    assert_non_null(file);
    const size_t n = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    assert_true(n > 0);
    assert_null(memmem(bytes, n, secret + 6, 20));
}

static void key_outlives_a_restart(void **state)
{
    struct fixture *f = *state;
    char secret[KEY_SECRET_LEN + 1];

    create(f, "me", secret);
    reopen(f);
    assert_int_equal(check(f, secret, 0), KEY_OK);
    assert_int_equal(keytab_count(f->tab), 1);
}

static void name_is_unique(void **state)
{
    struct fixture *f = *state;
    const struct key_spec spec = {.name = STR("me")};
    char secret[KEY_SECRET_LEN + 1];

    create(f, "me", secret);
    assert_int_equal(keytab_create(f->tab, &spec, 1000, secret, NULL, &f->why),
                     ERR_EXISTS);
    assert_true(f->why.len > 0);
}

static void found_by_id_name_and_secret(void **state)
{
    struct fixture *f = *state;
    char secret[KEY_SECRET_LEN + 1];

    create(f, "me", secret);
    const struct key *a = keytab_find(f->tab, STR("me"));
    assert_non_null(a);
    const struct key *b = keytab_find(f->tab, a->id);
    const struct key *c = keytab_find(f->tab, str_from(secret));
    assert_ptr_equal(a, b);
    assert_ptr_equal(a, c);
    assert_null(keytab_find(f->tab, STR("you")));
    key_unref(a);
    key_unref(b);
    key_unref(c);
}

static void block_and_unblock_hold_at_once(void **state)
{
    struct fixture *f = *state;
    char secret[KEY_SECRET_LEN + 1];

    create(f, "me", secret);
    assert_int_equal(keytab_block(f->tab, STR("me"), true, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(check(f, secret, 0), KEY_BLOCKED);
    reopen(f);
    assert_int_equal(check(f, secret, 0), KEY_BLOCKED);
    assert_int_equal(keytab_block(f->tab, STR("me"), false, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(check(f, secret, 0), KEY_OK);
}

static void expiry_is_judged_by_the_time_given(void **state)
{
    struct fixture *f = *state;
    const struct key_spec spec = {.name = STR("x"), .expires_wall_ms = 5000};
    char secret[KEY_SECRET_LEN + 1];

    assert_int_equal(keytab_create(f->tab, &spec, 1, secret, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(check(f, secret, 4999), KEY_OK);
    assert_int_equal(check(f, secret, 5000), KEY_EXPIRED);
}

static void old_secret_holds_for_its_grace_only(void **state)
{
    struct fixture *f = *state;
    const struct key_rotation when = {.now_wall_ms = 1000, .grace_ms = 500};
    char old[KEY_SECRET_LEN + 1];
    char new[KEY_SECRET_LEN + 1];

    create(f, "me", old);
    assert_int_equal(keytab_rotate(f->tab, STR("me"), when, new, NULL, &f->why),
                     ERR_OK);
    assert_string_not_equal(old, new);
    assert_int_equal(check(f, new, 1000), KEY_OK);
    assert_int_equal(check(f, old, 1499), KEY_OK);
    assert_int_equal(check(f, old, 1500), KEY_UNKNOWN);
    reopen(f);
    assert_int_equal(check(f, old, 1499), KEY_OK);
    assert_int_equal(check(f, old, 1500), KEY_UNKNOWN);
}

static void second_rotation_ends_the_first_grace(void **state)
{
    struct fixture *f = *state;
    const struct key_rotation when = {.now_wall_ms = 1000, .grace_ms = 500};
    const struct key_rotation at_once = {.now_wall_ms = 1100};
    char a[KEY_SECRET_LEN + 1];
    char b[KEY_SECRET_LEN + 1];
    char c[KEY_SECRET_LEN + 1];

    create(f, "me", a);
    assert_int_equal(keytab_rotate(f->tab, STR("me"), when, b, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(keytab_rotate(f->tab, STR("me"), when, c, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(check(f, a, 1001), KEY_UNKNOWN);
    assert_int_equal(check(f, b, 1001), KEY_OK);
    assert_int_equal(
        keytab_rotate(f->tab, STR("me"), at_once, a, NULL, &f->why), ERR_OK);
    assert_int_equal(check(f, c, 1101), KEY_UNKNOWN);
    assert_int_equal(check(f, b, 1101), KEY_UNKNOWN);
    assert_int_equal(check(f, a, 1101), KEY_OK);
}

static void old_secret_still_names_its_key(void **state)
{
    struct fixture *f = *state;
    const struct key_rotation when = {.now_wall_ms = 1000, .grace_ms = 500};
    const struct key *key;
    char old[KEY_SECRET_LEN + 1];
    char new[KEY_SECRET_LEN + 1];

    create(f, "me", old);
    assert_int_equal(keytab_rotate(f->tab, STR("me"), when, new, NULL, &f->why),
                     ERR_OK);
    key = keytab_find(f->tab, str_from(old));
    assert_non_null(key);
    assert_true(str_eq(key->spec.name, STR("me")));
    key_unref(key);
    assert_int_equal(keytab_block(f->tab, str_from(old), true, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(check(f, new, 1001), KEY_BLOCKED);
    assert_int_equal(check(f, old, 1001), KEY_BLOCKED);
}

static void block_reaches_the_old_secret_too(void **state)
{
    struct fixture *f = *state;
    const struct key_rotation when = {.now_wall_ms = 1000, .grace_ms = 500};
    char old[KEY_SECRET_LEN + 1];
    char new[KEY_SECRET_LEN + 1];

    create(f, "me", old);
    assert_int_equal(keytab_rotate(f->tab, STR("me"), when, new, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(keytab_block(f->tab, STR("me"), true, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(check(f, old, 1001), KEY_BLOCKED);
}

static void deleted_key_is_gone_but_lives_for_its_holders(void **state)
{
    struct fixture *f = *state;
    char secret[KEY_SECRET_LEN + 1];
    const struct key *held = NULL;

    create(f, "me", secret);
    assert_int_equal(keytab_check(f->tab, str_from(secret), 0, &held), KEY_OK);
    assert_int_equal(keytab_delete(f->tab, STR("me"), &f->why), ERR_OK);
    assert_int_equal(check(f, secret, 0), KEY_UNKNOWN);
    assert_memory_equal(held->spec.name.p, "me", 2);
    key_unref(held);
    reopen(f);
    assert_int_equal(check(f, secret, 0), KEY_UNKNOWN);
    assert_int_equal(keytab_delete(f->tab, STR("me"), &f->why), ERR_NOT_FOUND);
}

static void update_sets_what_is_named_alone(void **state)
{
    struct fixture *f = *state;
    const struct str globs[] = {STR("gpt-*")};
    const struct key_spec first = {.name = STR("me"),
                                   .limits = {.rpm = 5, .tpm = 6}};
    const struct key_spec spec = {.name = STR("ignored"),
                                  .models = globs,
                                  .n_models = 1,
                                  .limits = {.rpm = 7, .tpm = 8}};
    char secret[KEY_SECRET_LEN + 1];
    const struct key *k = NULL;

    assert_int_equal(keytab_create(f->tab, &first, 1, secret, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(keytab_update(f->tab, STR("me"),
                                   KEY_SET_MODELS | KEY_SET_RPM, &spec, &k,
                                   &f->why),
                     ERR_OK);
    assert_int_equal(k->spec.limits.rpm, 7);
    assert_int_equal(k->spec.limits.tpm, 6);
    assert_false(key_may_use(k, STR("claude")));
    key_unref(k);
    assert_int_equal(check(f, secret, 0), KEY_OK);
    reopen(f);
    k = keytab_find(f->tab, STR("me"));
    assert_int_equal(k->spec.n_models, 1);
    key_unref(k);
}

static void teams_bind_their_keys(void **state)
{
    struct fixture *f = *state;
    const struct key_spec team = {.name = STR("blue")};
    const struct key_spec key = {.name = STR("me"), .team = STR("blue")};
    const struct key_spec off = {.blocked = true};
    char secret[KEY_SECRET_LEN + 1];
    const struct team **teams;
    size_t n;

    assert_int_equal(keytab_create(f->tab, &key, 1, secret, NULL, &f->why),
                     ERR_NOT_FOUND);
    assert_int_equal(keytab_team_create(f->tab, &team, 1, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(keytab_team_create(f->tab, &team, 1, NULL, &f->why),
                     ERR_EXISTS);
    assert_int_equal(keytab_create(f->tab, &key, 1, secret, NULL, &f->why),
                     ERR_OK);
    reopen(f);
    assert_int_equal(keytab_list_teams(f->tab, &teams, &n), ERR_OK);
    assert_int_equal(n, 1);
    team_unref(teams[0]);
    free(teams);
    assert_int_equal(keytab_team_update(f->tab, STR("blue"), KEY_SET_BLOCKED,
                                        &off, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(check(f, secret, 0), KEY_BLOCKED);
    assert_int_equal(keytab_team_delete(f->tab, STR("blue"), &f->why),
                     ERR_REFUSED);
    assert_int_equal(keytab_delete(f->tab, STR("me"), &f->why), ERR_OK);
    assert_int_equal(keytab_team_delete(f->tab, STR("blue"), &f->why), ERR_OK);
    assert_null(keytab_find_team(f->tab, STR("blue")));
}

static void list_is_oldest_first(void **state)
{
    struct fixture *f = *state;
    const struct key_spec b = {.name = STR("b")};
    const struct key_spec a = {.name = STR("a")};
    char secret[KEY_SECRET_LEN + 1];
    const struct key **keys;
    size_t n;

    assert_int_equal(keytab_create(f->tab, &b, 1, secret, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(keytab_create(f->tab, &a, 2, secret, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(keytab_list(f->tab, &keys, &n), ERR_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(keys[0]->spec.name.p, "b", 1);
    key_unref(keys[0]);
    key_unref(keys[1]);
    free(keys);
}

static void anonymous_is_nobody_with_all_rights(void **state)
{
    struct fixture *f = *state;
    const struct key *k = keytab_anonymous(f->tab);

    assert_memory_equal(k->id.p, "anonymous", 9);
    assert_true(key_may_use(k, STR("anything")));
    key_unref(k);
}

/* Readers check two keys while a changer blocks, rotates and deletes. */
struct race {
    struct fixture *f;
    char steady[KEY_SECRET_LEN + 1];
    char moving[KEY_SECRET_LEN + 1];
    _Atomic(bool) stop;
    _Atomic(unsigned) wrong;
    _Atomic(unsigned) checks;
};

static void *read_keys(void *arg)
{
    struct race *r = arg;

    do {
        const struct key *k = NULL;

        if (keytab_check(r->f->tab, str_from(r->steady), 1, &k) != KEY_OK)
            atomic_fetch_add(&r->wrong, 1);
        key_unref(k);
        const enum key_verdict v =
            keytab_check(r->f->tab, str_from(r->moving), 1, &k);
        if (v == KEY_OK && k->spec.name.len != 6)
            atomic_fetch_add(&r->wrong, 1);
        key_unref(k);
        atomic_fetch_add(&r->checks, 1);
    } while (!atomic_load(&r->stop));
    return NULL;
}

static void lookups_beside_changes_are_whole(void **state)
{
    struct race r = {.f = *state};
    struct keytab *tab = r.f->tab;
    char secret[KEY_SECRET_LEN + 1];
    pthread_t readers[3];

    create(r.f, "steady", r.steady);
    create(r.f, "moving", r.moving);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_keys, &r), 0);
    for (unsigned i = 0; i < 60; i++) {
        const struct key_rotation when = {.now_wall_ms = 0, .grace_ms = i % 2};

        assert_int_equal(
            keytab_block(tab, STR("moving"), i % 2, NULL, &r.f->why), ERR_OK);
        if (i % 7 == 0)
            assert_int_equal(keytab_rotate(tab, STR("moving"), when, secret,
                                           NULL, &r.f->why),
                             ERR_OK);
    }
    assert_int_equal(keytab_delete(tab, STR("moving"), &r.f->why), ERR_OK);
    atomic_store(&r.stop, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(r.wrong, 0);
    assert_true(r.checks > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- limits ------------------------------------------------------------ */

/* Whether one more request of the key <secret> and its team fits now. */
static bool knock(struct fixture *f, const char *secret)
{
    const struct key *k = NULL;
    struct rate_refusal why;
    struct rate_hold h;

    assert_int_equal(keytab_check(f->tab, str_from(secret), 0, &k), KEY_OK);
    rate_hold_init(&h, rate_ref(k->rate),
                   keytab_team_rate(f->tab, k->spec.team));
    key_unref(k);
    const bool fits = rate_enter(&h, clock_now_us(), &why);
    rate_end(&h, 0, clock_now_us());
    return fits;
}

/* Whatever becomes of the record, what was used of its limits stays used. */
static void limits_outlive_the_record(void **state)
{
    struct fixture *f = *state;
    const struct key_spec spec = {.name = STR("me"), .limits = {.rpm = 3}};
    struct key_spec change = {.name = STR("you"), .limits = {.rpm = 4}};
    char secret[KEY_SECRET_LEN + 1];

    assert_int_equal(keytab_create(f->tab, &spec, 1000, secret, NULL, &f->why),
                     ERR_OK);
    assert_true(knock(f, secret));
    assert_int_equal(
        keytab_update(f->tab, STR("me"), KEY_SET_NAME, &change, NULL, &f->why),
        ERR_OK);
    assert_true(knock(f, secret));
    assert_int_equal(keytab_rotate(f->tab, STR("you"),
                                   (struct key_rotation){.grace_ms = 0}, secret,
                                   NULL, &f->why),
                     ERR_OK);
    assert_true(knock(f, secret));
    assert_false(knock(f, secret));
    assert_int_equal(keytab_block(f->tab, STR("you"), false, NULL, &f->why),
                     ERR_OK);
    assert_false(knock(f, secret));
    assert_int_equal(
        keytab_update(f->tab, STR("you"), KEY_SET_RPM, &change, NULL, &f->why),
        ERR_OK);
    assert_true(knock(f, secret)); /* the fourth */
    assert_false(knock(f, secret));
}

static void teams_limit_all_their_keys(void **state)
{
    struct fixture *f = *state;
    const struct key_spec team = {.name = STR("crew"), .limits = {.rpm = 2}};
    const struct key_spec more = {.name = STR("crew"), .limits = {.rpm = 3}};
    const struct key_spec none = {.team = STR("")};
    char a[KEY_SECRET_LEN + 1], b[KEY_SECRET_LEN + 1];

    assert_int_equal(keytab_team_create(f->tab, &team, 0, NULL, &f->why),
                     ERR_OK);
    assert_int_equal(
        keytab_create(f->tab,
                      &(struct key_spec){.name = STR("a"), .team = STR("crew")},
                      0, a, NULL, &f->why),
        ERR_OK);
    assert_int_equal(
        keytab_create(f->tab,
                      &(struct key_spec){.name = STR("b"), .team = STR("crew")},
                      0, b, NULL, &f->why),
        ERR_OK);
    assert_true(knock(f, a));
    assert_true(knock(f, b));
    assert_false(knock(f, a));
    assert_int_equal(keytab_team_update(f->tab, STR("crew"), KEY_SET_RPM, &more,
                                        NULL, &f->why),
                     ERR_OK);
    assert_true(knock(f, a));
    assert_false(knock(f, b));
    assert_int_equal(
        keytab_update(f->tab, STR("b"), KEY_SET_TEAM, &none, NULL, &f->why),
        ERR_OK);
    assert_true(knock(f, b));
    reopen(f); /* a restart fills */
    assert_true(knock(f, a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fresh_key_is_let_in),
        TEST(others_are_not),
        TEST(secret_is_nowhere_on_disk),
        TEST(key_outlives_a_restart),
        TEST(name_is_unique),
        TEST(found_by_id_name_and_secret),
        TEST(block_and_unblock_hold_at_once),
        TEST(expiry_is_judged_by_the_time_given),
        TEST(old_secret_holds_for_its_grace_only),
        TEST(second_rotation_ends_the_first_grace),
        TEST(old_secret_still_names_its_key),
        TEST(block_reaches_the_old_secret_too),
        TEST(deleted_key_is_gone_but_lives_for_its_holders),
        TEST(update_sets_what_is_named_alone),
        TEST(teams_bind_their_keys),
        TEST(list_is_oldest_first),
        TEST(anonymous_is_nobody_with_all_rights),
        TEST(lookups_beside_changes_are_whole),
        cmocka_unit_test_setup_teardown(limits_outlive_the_record, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(teams_limit_all_their_keys, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
