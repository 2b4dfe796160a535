# src/daemon: wires everything; the program tollgate.
noinst_LIBRARIES += src/daemon/libdaemon.a
TG_LIBS += src/daemon/libdaemon.a
src_daemon_libdaemon_a_SOURCES = \
    src/daemon/boot.c src/daemon/daemon.h \
    src/daemon/control.c src/daemon/control.h \
    src/daemon/control_args.c src/daemon/control_args.h \
    src/daemon/control_budget.c src/daemon/control_budget.h \
    src/daemon/control_cache.c src/daemon/control_cache.h \
    src/daemon/control_cmds.c \
    src/daemon/control_info.c src/daemon/control_info.h \
    src/daemon/control_keys.c src/daemon/control_keys.h \
    src/daemon/control_price.c src/daemon/control_price.h \
    src/daemon/control_prefix.c src/daemon/control_prefix.h \
    src/daemon/control_reconcile.c src/daemon/control_reconcile.h \
    src/daemon/control_rows.c src/daemon/control_rows.h \
    src/daemon/control_target.c src/daemon/control_target.h \
    src/daemon/local.c src/daemon/local.h \
    src/daemon/no_price.c src/daemon/no_price.h \
    src/daemon/reload.c src/daemon/reload.h \
    src/daemon/signals.c src/daemon/signals.h \
    src/daemon/stages.c src/daemon/stages.h \
    src/daemon/status.c src/daemon/status.h \
    src/daemon/status_cache.c src/daemon/status_cache.h \
    src/daemon/status_engine.c src/daemon/status_engine.h \
    src/daemon/status_prefix.c src/daemon/status_prefix.h \
    src/daemon/status_retry.c src/daemon/status_retry.h \
    src/daemon/status_target.c src/daemon/status_target.h \
    src/daemon/watch.c src/daemon/watch.h \
    src/daemon/worker.c src/daemon/worker.h

bin_PROGRAMS += tollgate
tollgate_SOURCES = src/daemon/main.c
tollgate_LDADD = $(TG_LIBS) $(LDADD_DEPS)
