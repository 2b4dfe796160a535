# Unit tests of area 'json'. One program a module:
# check_PROGRAMS += tests/unit/t_NAME
# tests_unit_t_NAME_SOURCES = tests/unit/t_NAME.c
# tests_unit_t_NAME_CPPFLAGS = $(unit_cppflags)
# tests_unit_t_NAME_CFLAGS = $(unit_cflags)
# tests_unit_t_NAME_LDADD = $(unit_libs)
