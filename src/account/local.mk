# src/account: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/account/libaccount.a
TG_LIBS += src/account/libaccount.a
src_account_libaccount_a_SOURCES = \
    src/account/accounts.c src/account/accounts.h \
    src/account/accounts_grow.c \
    src/account/accounts_lease.c src/account/accounts_priv.h \
    src/account/accounts_room.c \
    src/account/accounts_tell.c \
    src/account/bucket.c src/account/bucket.h \
    src/account/budget.c src/account/budget.h \
    src/account/budget_spec.c src/account/budget_spec.h \
    src/account/hold.c src/account/hold.h \
    src/account/hold_batch.c src/account/hold_batch.h \
    src/account/journal.c src/account/journal.h \
    src/account/key.c src/account/key.h \
    src/account/key_rec.c \
    src/account/keytab.c src/account/keytab.h src/account/keytab_priv.h \
    src/account/keytab_maps.c \
    src/account/keytab_team.c \
    src/account/ledger.c src/account/ledger.h \
    src/account/ledger_fold.c \
    src/account/ledger_priv.h \
    src/account/ledger_query.c \
    src/account/ledger_reconcile.c src/account/ledger_reconcile.h \
    src/account/ledger_recover.c \
    src/account/ledger_scan.c \
    src/account/ledger_spend.c src/account/ledger_spend.h \
    src/account/ledger_verify.c \
    src/account/price.c src/account/price.h \
    src/account/rate.c src/account/rate.h \
    src/account/spend.c src/account/spend.h \
    src/account/window.c src/account/window.h
