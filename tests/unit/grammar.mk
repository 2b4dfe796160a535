# Unit tests of area 'grammar': constrained decoding, sampling.
grammar_unit_tests = \
    tests/unit/t_grammar \
    tests/unit/t_grammar_tools \
    tests/unit/t_grammar_walk \
    tests/unit/t_sample
check_PROGRAMS += $(grammar_unit_tests)
check_LIBRARIES += tests/unit/libgrammarkit.a
tests_unit_libgrammarkit_a_SOURCES = \
    tests/lib/bytevocab.c \
    tests/lib/bytevocab.h \
    tests/unit/grammar_kit.c \
    tests/unit/grammar_kit.h \
    tests/unit/schema_check.c \
    tests/unit/schema_check.h
tests_unit_libgrammarkit_a_CPPFLAGS = $(unit_cppflags)
tests_unit_libgrammarkit_a_CFLAGS = $(unit_cflags)

tests_unit_t_grammar_SOURCES = tests/unit/t_grammar.c
tests_unit_t_grammar_CPPFLAGS = $(unit_cppflags)
tests_unit_t_grammar_CFLAGS = $(unit_cflags)
tests_unit_t_grammar_LDADD = tests/unit/libgrammarkit.a $(unit_libs)

tests_unit_t_grammar_tools_SOURCES = tests/unit/t_grammar_tools.c
tests_unit_t_grammar_tools_CPPFLAGS = $(unit_cppflags)
tests_unit_t_grammar_tools_CFLAGS = $(unit_cflags)
tests_unit_t_grammar_tools_LDADD = tests/unit/libgrammarkit.a $(unit_libs)

tests_unit_t_grammar_walk_SOURCES = tests/unit/t_grammar_walk.c \
    tests/unit/vocab_files.c tests/unit/vocab_files.h
tests_unit_t_grammar_walk_CPPFLAGS = $(unit_cppflags) \
    -DTG_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_t_grammar_walk_CFLAGS = $(unit_cflags)
tests_unit_t_grammar_walk_LDADD = tests/unit/libgrammarkit.a $(unit_libs)

tests_unit_t_sample_SOURCES = tests/unit/t_sample.c
tests_unit_t_sample_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sample_CFLAGS = $(unit_cflags)
tests_unit_t_sample_LDADD = $(unit_libs) -lm
