# src/conf: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/conf/libconf.a
TG_LIBS += src/conf/libconf.a
src_conf_libconf_a_SOURCES = \
    src/conf/conf.c src/conf/conf.h \
    src/conf/conf_bind.c src/conf/conf_bind.h \
    src/conf/conf_cache.c src/conf/conf_check.c \
    src/conf/conf_net.c \
    src/conf/conf_parse.c src/conf/conf_parse.h \
    src/conf/conf_price_text.c \
    src/conf/conf_prices.c src/conf/conf_prices.h \
    src/conf/conf_print.c \
    src/conf/conf_put.c src/conf/conf_put.h \
    src/conf/conf_report.c \
    src/conf/conf_secret.c \
    src/conf/conf_table.c src/conf/conf_table.h \
    src/conf/conf_value.c \
    src/conf/conf_yaml.c src/conf/conf_yaml.h

# Writes the option table for tests/lint/conf_doc.sh.
noinst_PROGRAMS += tests/lint/conf_dump
tests_lint_conf_dump_SOURCES = tests/lint/conf_dump.c
tests_lint_conf_dump_LDADD = src/conf/libconf.a src/base/libbase.a $(LDADD_DEPS)
