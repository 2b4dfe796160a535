# Unit tests of area 'template': chat templates, tool calls.
template_unit_tests = \
    tests/unit/t_template \
    tests/unit/t_toolcall
check_PROGRAMS += $(template_unit_tests)

tests_unit_t_template_SOURCES = tests/unit/t_template.c \
    tests/unit/template_cases.h
tests_unit_t_template_CPPFLAGS = $(unit_cppflags) \
    -DTG_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_t_template_CFLAGS = $(unit_cflags)
tests_unit_t_template_LDADD = $(unit_libs)

tests_unit_t_toolcall_SOURCES = tests/unit/t_toolcall.c
tests_unit_t_toolcall_CPPFLAGS = $(unit_cppflags)
tests_unit_t_toolcall_CFLAGS = $(unit_cflags)
tests_unit_t_toolcall_LDADD = $(unit_libs)
