# Fuzz targets of area 'vocab'.
noinst_PROGRAMS += tests/fuzz/fz_encode
FUZZ_TARGETS += tests/fuzz/fz_encode
tests_fuzz_fz_encode_SOURCES = tests/fuzz/fz_encode.c \
    tests/lib/vocab_made.c tests/lib/vocab_made.h
tests_fuzz_fz_encode_CPPFLAGS = $(unit_cppflags)
tests_fuzz_fz_encode_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_encode_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_tokenizer_json
FUZZ_TARGETS += tests/fuzz/fz_tokenizer_json
tests_fuzz_fz_tokenizer_json_SOURCES = tests/fuzz/fz_tokenizer_json.c
tests_fuzz_fz_tokenizer_json_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_tokenizer_json_LDADD = $(TG_LIBS) $(LDADD_DEPS)
