# Fuzz targets of area 'files': model files.

noinst_PROGRAMS += tests/fuzz/fz_gguf
FUZZ_TARGETS += tests/fuzz/fz_gguf
tests_fuzz_fz_gguf_SOURCES = tests/fuzz/fz_gguf.c
tests_fuzz_fz_gguf_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_gguf_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_safetensors
FUZZ_TARGETS += tests/fuzz/fz_safetensors
tests_fuzz_fz_safetensors_SOURCES = tests/fuzz/fz_safetensors.c
tests_fuzz_fz_safetensors_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_safetensors_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_digest_cache
FUZZ_TARGETS += tests/fuzz/fz_digest_cache
tests_fuzz_fz_digest_cache_SOURCES = tests/fuzz/fz_digest_cache.c
tests_fuzz_fz_digest_cache_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_digest_cache_LDADD = $(TG_LIBS) $(LDADD_DEPS)
