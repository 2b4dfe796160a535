# Unit tests of area 'upstream'. One program a module.
upstream_fixture = \
    tests/lib/rawserver.c \
    tests/lib/rawserver.h \
    tests/lib/upfix.c \
    tests/lib/upfix.h

check_PROGRAMS += tests/unit/t_xfer
tests_unit_t_xfer_SOURCES = tests/unit/t_xfer.c $(upstream_fixture)
tests_unit_t_xfer_CPPFLAGS = $(unit_cppflags)
tests_unit_t_xfer_CFLAGS = $(unit_cflags)
tests_unit_t_xfer_LDADD = $(unit_libs)
