# Fuzz targets of area 'serve'.
noinst_PROGRAMS += tests/fuzz/fz_delay
FUZZ_TARGETS += tests/fuzz/fz_delay
tests_fuzz_fz_delay_SOURCES = tests/fuzz/fz_delay.c
tests_fuzz_fz_delay_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_delay_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_record
FUZZ_TARGETS += tests/fuzz/fz_record
tests_fuzz_fz_record_SOURCES = tests/fuzz/fz_record.c
tests_fuzz_fz_record_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_record_LDADD = $(TG_LIBS) $(LDADD_DEPS)
