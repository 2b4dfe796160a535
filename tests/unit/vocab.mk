# Unit tests of area 'vocab': vocabularies.
vocab_unit_tests = \
    tests/unit/t_hf_tokenizer \
    tests/unit/t_pretok \
    tests/unit/t_vocab \
    tests/unit/t_vocab_pairs
check_PROGRAMS += $(vocab_unit_tests)
EXTRA_DIST += tests/unit/pretok_cases.py

tests_unit_t_hf_tokenizer_SOURCES = tests/unit/t_hf_tokenizer.c
tests_unit_t_hf_tokenizer_CPPFLAGS = $(unit_cppflags)
tests_unit_t_hf_tokenizer_CFLAGS = $(unit_cflags)
tests_unit_t_hf_tokenizer_LDADD = $(unit_libs)

tests_unit_t_pretok_SOURCES = tests/unit/t_pretok.c tests/unit/pretok_cases.h
tests_unit_t_pretok_CPPFLAGS = $(unit_cppflags)
tests_unit_t_pretok_CFLAGS = $(unit_cflags)
tests_unit_t_pretok_LDADD = $(unit_libs)

tests_unit_t_vocab_SOURCES = tests/unit/t_vocab.c \
    tests/lib/vocab_made.c tests/lib/vocab_made.h
tests_unit_t_vocab_CPPFLAGS = $(unit_cppflags)
tests_unit_t_vocab_CFLAGS = $(unit_cflags)
tests_unit_t_vocab_LDADD = $(unit_libs)

tests_unit_t_vocab_pairs_SOURCES = tests/unit/t_vocab_pairs.c \
    tests/unit/vocab_files.c tests/unit/vocab_files.h
tests_unit_t_vocab_pairs_CPPFLAGS = $(unit_cppflags) \
    -DTG_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_t_vocab_pairs_CFLAGS = $(unit_cflags)
tests_unit_t_vocab_pairs_LDADD = $(unit_libs)
