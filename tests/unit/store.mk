# Unit tests of area 'store': the ledger, its journals, keys.
check_PROGRAMS += tests/unit/t_rec
tests_unit_t_rec_SOURCES = tests/unit/t_rec.c tests/unit/state_dir.h
tests_unit_t_rec_CPPFLAGS = $(unit_cppflags)
tests_unit_t_rec_CFLAGS = $(unit_cflags)
tests_unit_t_rec_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_env
tests_unit_t_env_SOURCES = tests/unit/t_env.c tests/unit/state_dir.h
tests_unit_t_env_CPPFLAGS = $(unit_cppflags)
tests_unit_t_env_CFLAGS = $(unit_cflags)
tests_unit_t_env_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_journal
tests_unit_t_journal_SOURCES = tests/unit/t_journal.c tests/unit/state_dir.h
tests_unit_t_journal_CPPFLAGS = $(unit_cppflags)
tests_unit_t_journal_CFLAGS = $(unit_cflags)
tests_unit_t_journal_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_ledger
tests_unit_t_ledger_SOURCES = tests/unit/t_ledger.c tests/unit/state_dir.h \
    tests/unit/ledger_fixture.h
tests_unit_t_ledger_CPPFLAGS = $(unit_cppflags)
tests_unit_t_ledger_CFLAGS = $(unit_cflags)
tests_unit_t_ledger_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_ledger_crash
tests_unit_t_ledger_crash_SOURCES = tests/unit/t_ledger_crash.c tests/unit/state_dir.h \
    tests/unit/ledger_fixture.h
tests_unit_t_ledger_crash_CPPFLAGS = $(unit_cppflags)
tests_unit_t_ledger_crash_CFLAGS = $(unit_cflags)
tests_unit_t_ledger_crash_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_bucket
tests_unit_t_bucket_SOURCES = tests/unit/t_bucket.c
tests_unit_t_bucket_CPPFLAGS = $(unit_cppflags)
tests_unit_t_bucket_CFLAGS = $(unit_cflags)
tests_unit_t_bucket_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_rate
tests_unit_t_rate_SOURCES = tests/unit/t_rate.c
tests_unit_t_rate_CPPFLAGS = $(unit_cppflags)
tests_unit_t_rate_CFLAGS = $(unit_cflags)
tests_unit_t_rate_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_keytab
tests_unit_t_keytab_SOURCES = tests/unit/t_keytab.c tests/unit/state_dir.h
tests_unit_t_keytab_CPPFLAGS = $(unit_cppflags)
tests_unit_t_keytab_CFLAGS = $(unit_cflags)
tests_unit_t_keytab_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_kv_db
tests_unit_t_kv_db_SOURCES = tests/unit/t_kv_db.c tests/unit/kv_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_kv_db_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_db_CFLAGS = $(unit_cflags)
tests_unit_t_kv_db_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_kv_fault
tests_unit_t_kv_fault_SOURCES = tests/unit/t_kv_fault.c tests/unit/kv_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_kv_fault_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_fault_CFLAGS = $(unit_cflags)
tests_unit_t_kv_fault_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_kv_models
tests_unit_t_kv_models_SOURCES = tests/unit/t_kv_models.c tests/unit/state_dir.h
tests_unit_t_kv_models_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_models_CFLAGS = $(unit_cflags)
tests_unit_t_kv_models_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_kv_dir
tests_unit_t_kv_dir_SOURCES = tests/unit/t_kv_dir.c tests/unit/kv_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_kv_dir_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_dir_CFLAGS = $(unit_cflags)
tests_unit_t_kv_dir_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_kv_crash
tests_unit_t_kv_crash_SOURCES = tests/unit/t_kv_crash.c tests/unit/kv_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_kv_crash_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_crash_CFLAGS = $(unit_cflags)
tests_unit_t_kv_crash_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_budget tests/unit/t_window
tests_unit_t_budget_SOURCES = tests/unit/t_budget.c
tests_unit_t_budget_CPPFLAGS = $(unit_cppflags)
tests_unit_t_budget_CFLAGS = $(unit_cflags)
tests_unit_t_budget_LDADD = $(unit_libs)
tests_unit_t_window_SOURCES = tests/unit/t_window.c
tests_unit_t_window_CPPFLAGS = $(unit_cppflags)
tests_unit_t_window_CFLAGS = $(unit_cflags)
tests_unit_t_window_LDADD = $(unit_libs)
check_PROGRAMS += tests/unit/t_kv_replay
tests_unit_t_kv_replay_SOURCES = tests/unit/t_kv_replay.c \
    tests/unit/kv_fixture.h tests/unit/state_dir.h \
    tests/lib/kvreplay.c tests/lib/kvreplay.h
tests_unit_t_kv_replay_CPPFLAGS = $(unit_cppflags)
tests_unit_t_kv_replay_CFLAGS = $(unit_cflags)
tests_unit_t_kv_replay_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_ledger_spend
tests_unit_t_ledger_spend_SOURCES = tests/unit/t_ledger_spend.c \
    tests/unit/ledger_fixture.h tests/unit/state_dir.h
tests_unit_t_ledger_spend_CPPFLAGS = $(unit_cppflags)
tests_unit_t_ledger_spend_CFLAGS = $(unit_cflags)
tests_unit_t_ledger_spend_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_accounts
tests_unit_t_accounts_SOURCES = tests/unit/t_accounts.c \
    tests/unit/accounts_fixture.h tests/unit/ledger_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_accounts_CPPFLAGS = $(unit_cppflags)
tests_unit_t_accounts_CFLAGS = $(unit_cflags)
tests_unit_t_accounts_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_accounts_grow
tests_unit_t_accounts_grow_SOURCES = tests/unit/t_accounts_grow.c \
    tests/unit/accounts_fixture.h tests/unit/ledger_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_accounts_grow_CPPFLAGS = $(unit_cppflags)
tests_unit_t_accounts_grow_CFLAGS = $(unit_cflags)
tests_unit_t_accounts_grow_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_ledger_verify
tests_unit_t_ledger_verify_SOURCES = tests/unit/t_ledger_verify.c \
    tests/unit/accounts_fixture.h tests/unit/ledger_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_ledger_verify_CPPFLAGS = $(unit_cppflags)
tests_unit_t_ledger_verify_CFLAGS = $(unit_cflags)
tests_unit_t_ledger_verify_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_ledger_power
tests_unit_t_ledger_power_SOURCES = tests/unit/t_ledger_power.c \
    tests/lib/iolog.c tests/lib/iolog.h \
    tests/unit/accounts_fixture.h tests/unit/ledger_fixture.h \
    tests/unit/state_dir.h
tests_unit_t_ledger_power_CPPFLAGS = $(unit_cppflags)
tests_unit_t_ledger_power_CFLAGS = $(unit_cflags)
tests_unit_t_ledger_power_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_cache_db
tests_unit_t_cache_db_SOURCES = tests/unit/t_cache_db.c \
    tests/unit/cache_fixture.h tests/unit/state_dir.h
tests_unit_t_cache_db_CPPFLAGS = $(unit_cppflags)
tests_unit_t_cache_db_CFLAGS = $(unit_cflags)
tests_unit_t_cache_db_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_cache_fault
tests_unit_t_cache_fault_SOURCES = tests/unit/t_cache_fault.c \
    tests/unit/cache_fixture.h tests/unit/state_dir.h
tests_unit_t_cache_fault_CPPFLAGS = $(unit_cppflags)
tests_unit_t_cache_fault_CFLAGS = $(unit_cflags)
tests_unit_t_cache_fault_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_cache_crash
tests_unit_t_cache_crash_SOURCES = tests/unit/t_cache_crash.c \
    tests/unit/cache_fixture.h tests/unit/state_dir.h
tests_unit_t_cache_crash_CPPFLAGS = $(unit_cppflags)
tests_unit_t_cache_crash_CFLAGS = $(unit_cflags)
tests_unit_t_cache_crash_LDADD = $(unit_libs)
