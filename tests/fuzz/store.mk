# Fuzz targets of area 'store'; what must be refused stands in the unit tests.

noinst_PROGRAMS += tests/fuzz/fz_budget_spec
FUZZ_TARGETS += tests/fuzz/fz_budget_spec
tests_fuzz_fz_budget_spec_SOURCES = tests/fuzz/fz_budget_spec.c
tests_fuzz_fz_budget_spec_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_budget_spec_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_journal
FUZZ_TARGETS += tests/fuzz/fz_journal
tests_fuzz_fz_journal_SOURCES = tests/fuzz/fz_journal.c
tests_fuzz_fz_journal_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_journal_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_store_rec
FUZZ_TARGETS += tests/fuzz/fz_store_rec
tests_fuzz_fz_store_rec_SOURCES = tests/fuzz/fz_store_rec.c
tests_fuzz_fz_store_rec_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_store_rec_LDADD = $(TG_LIBS) $(LDADD_DEPS)
