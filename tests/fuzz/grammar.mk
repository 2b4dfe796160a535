# Fuzz targets of area 'grammar'.

noinst_PROGRAMS += tests/fuzz/fz_schema
FUZZ_TARGETS += tests/fuzz/fz_schema
tests_fuzz_fz_schema_SOURCES = tests/fuzz/fz_schema.c \
    tests/lib/bytevocab.c tests/lib/bytevocab.h
tests_fuzz_fz_schema_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_fuzz_fz_schema_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_schema_LDADD = $(TG_LIBS) $(LDADD_DEPS)
