# Fuzz targets of area 'engine'.

noinst_PROGRAMS += tests/fuzz/fz_request
FUZZ_TARGETS += tests/fuzz/fz_request
tests_fuzz_fz_request_SOURCES = tests/fuzz/fz_request.c
tests_fuzz_fz_request_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_request_LDADD = $(TG_LIBS) $(LDADD_DEPS)
