# Unit tests of area 'serve'. One program a module.

check_PROGRAMS += tests/unit/t_delay
tests_unit_t_delay_SOURCES = tests/unit/t_delay.c
tests_unit_t_delay_CPPFLAGS = $(unit_cppflags)
tests_unit_t_delay_CFLAGS = $(unit_cflags)
tests_unit_t_delay_LDADD = $(unit_libs)
