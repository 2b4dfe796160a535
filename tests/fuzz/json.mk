# Fuzz targets of area 'json'. Corpus: tests/fuzz/corpus/NAME/; must-refuse inputs stand in the unit tests.
# noinst_PROGRAMS += tests/fuzz/fz_NAME
# tests_fuzz_fz_NAME_SOURCES = tests/fuzz/fz_NAME.c
# tests_fuzz_fz_NAME_LDFLAGS = $(fuzz_ldflags)
# tests_fuzz_fz_NAME_LDADD = $(TG_LIBS) $(LDADD_DEPS)
