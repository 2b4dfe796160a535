# src/ctl: the program tollctl.
bin_PROGRAMS += tollctl
tollctl_SOURCES = \
    src/ctl/ctl_budget.c src/ctl/ctl_budget.h \
    src/ctl/ctl_cache.c src/ctl/ctl_cache.h \
    src/ctl/ctl_cmds.c src/ctl/ctl_cmds.h \
    src/ctl/ctl_export.c src/ctl/ctl_export.h \
    src/ctl/ctl_io.c src/ctl/ctl_io.h \
    src/ctl/ctl_main.c \
    src/ctl/ctl_prefix.c src/ctl/ctl_prefix.h \
    src/ctl/ctl_prefix_table.c src/ctl/ctl_prefix_table.h \
    src/ctl/ctl_store.c src/ctl/ctl_store.h \
    src/ctl/ctl_text.c src/ctl/ctl_text.h \
    src/ctl/ctl_top.c src/ctl/ctl_top.h
tollctl_LDADD = src/conf/libconf.a src/store/libstore.a src/base/libbase.a \
    $(LDADD_DEPS)
