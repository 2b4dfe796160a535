# Unit tests of area 'daemon'. One program a module:
# check_PROGRAMS += tests/unit/t_NAME
# tests_unit_t_NAME_SOURCES = tests/unit/t_NAME.c
# tests_unit_t_NAME_CPPFLAGS = $(unit_cppflags)
# tests_unit_t_NAME_CFLAGS = $(unit_cflags)
# tests_unit_t_NAME_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_status_prefix
tests_unit_t_status_prefix_SOURCES = tests/unit/t_status_prefix.c
tests_unit_t_status_prefix_CPPFLAGS = $(unit_cppflags)
tests_unit_t_status_prefix_CFLAGS = $(unit_cflags)
tests_unit_t_status_prefix_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_watch
tests_unit_t_watch_SOURCES = tests/unit/t_watch.c
tests_unit_t_watch_CPPFLAGS = $(unit_cppflags)
tests_unit_t_watch_CFLAGS = $(unit_cflags)
tests_unit_t_watch_LDADD = $(unit_libs)
