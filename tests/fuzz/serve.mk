# Fuzz targets of area 'serve'.
noinst_PROGRAMS += tests/fuzz/fz_delay
FUZZ_TARGETS += tests/fuzz/fz_delay
tests_fuzz_fz_delay_SOURCES = tests/fuzz/fz_delay.c
tests_fuzz_fz_delay_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_delay_LDADD = $(TG_LIBS) $(LDADD_DEPS)
