# Fuzz targets of area 'json'; what must be refused stands in the unit tests.

noinst_PROGRAMS += tests/fuzz/fz_jscan
FUZZ_TARGETS += tests/fuzz/fz_jscan
tests_fuzz_fz_jscan_SOURCES = tests/fuzz/fz_jscan.c
tests_fuzz_fz_jscan_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_jscan_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_jsplice
FUZZ_TARGETS += tests/fuzz/fz_jsplice
tests_fuzz_fz_jsplice_SOURCES = tests/fuzz/fz_jsplice.c
tests_fuzz_fz_jsplice_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_jsplice_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_multipart
FUZZ_TARGETS += tests/fuzz/fz_multipart
tests_fuzz_fz_multipart_SOURCES = tests/fuzz/fz_multipart.c
tests_fuzz_fz_multipart_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_multipart_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_sse
FUZZ_TARGETS += tests/fuzz/fz_sse
tests_fuzz_fz_sse_SOURCES = tests/fuzz/fz_sse.c
tests_fuzz_fz_sse_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_sse_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_usage
FUZZ_TARGETS += tests/fuzz/fz_usage
tests_fuzz_fz_usage_SOURCES = tests/fuzz/fz_usage.c
tests_fuzz_fz_usage_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_usage_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_bound
FUZZ_TARGETS += tests/fuzz/fz_bound
tests_fuzz_fz_bound_SOURCES = tests/fuzz/fz_bound.c
tests_fuzz_fz_bound_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_bound_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_fold
FUZZ_TARGETS += tests/fuzz/fz_fold
tests_fuzz_fz_fold_SOURCES = tests/fuzz/fz_fold.c
tests_fuzz_fz_fold_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_fold_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_canon
FUZZ_TARGETS += tests/fuzz/fz_canon
tests_fuzz_fz_canon_SOURCES = tests/fuzz/fz_canon.c
tests_fuzz_fz_canon_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_canon_LDADD = $(TG_LIBS) $(LDADD_DEPS)
