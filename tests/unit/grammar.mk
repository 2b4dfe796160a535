# Unit tests of area 'grammar': constrained decoding, sampling.
grammar_unit_tests = \
    tests/unit/t_sample
check_PROGRAMS += $(grammar_unit_tests)

tests_unit_t_sample_SOURCES = tests/unit/t_sample.c
tests_unit_t_sample_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sample_CFLAGS = $(unit_cflags)
tests_unit_t_sample_LDADD = $(unit_libs) -lm
