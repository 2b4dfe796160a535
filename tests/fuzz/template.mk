# Fuzz targets of area 'template'.

noinst_PROGRAMS += tests/fuzz/fz_template
FUZZ_TARGETS += tests/fuzz/fz_template
tests_fuzz_fz_template_SOURCES = tests/fuzz/fz_template.c
tests_fuzz_fz_template_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_template_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_toolcall
FUZZ_TARGETS += tests/fuzz/fz_toolcall
tests_fuzz_fz_toolcall_SOURCES = tests/fuzz/fz_toolcall.c
tests_fuzz_fz_toolcall_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_toolcall_LDADD = $(TG_LIBS) $(LDADD_DEPS)
