# Unit tests of area 'vocab': vocabularies.
vocab_unit_tests = \
    tests/unit/t_vocab_pairs
check_PROGRAMS += $(vocab_unit_tests)

tests_unit_t_vocab_pairs_SOURCES = tests/unit/t_vocab_pairs.c \
    tests/unit/vocab_files.c tests/unit/vocab_files.h
tests_unit_t_vocab_pairs_CPPFLAGS = $(unit_cppflags) \
    -DTG_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_t_vocab_pairs_CFLAGS = $(unit_cflags)
tests_unit_t_vocab_pairs_LDADD = $(unit_libs)
