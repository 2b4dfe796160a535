# Fuzz targets of area 'conf'. Corpus: tests/fuzz/corpus/NAME/; must-refuse inputs stand in the unit tests.
noinst_PROGRAMS += tests/fuzz/fz_conf
FUZZ_TARGETS += tests/fuzz/fz_conf
tests_fuzz_fz_conf_SOURCES = tests/fuzz/fz_conf.c
tests_fuzz_fz_conf_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_conf_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_prices
FUZZ_TARGETS += tests/fuzz/fz_prices
tests_fuzz_fz_prices_SOURCES = tests/fuzz/fz_prices.c
tests_fuzz_fz_prices_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_prices_LDADD = $(TG_LIBS) $(LDADD_DEPS)
