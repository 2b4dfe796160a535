# tests/bench: programs are built on demand, not by all.
EXTRA_PROGRAMS = tests/bench/b_http1
tests_bench_b_http1_SOURCES = tests/bench/b_http1.c
tests_bench_b_http1_LDADD = $(TG_LIBS) $(LDADD_DEPS)
CLEANFILES += $(EXTRA_PROGRAMS)

PHONY_TARGETS += bench-http1
bench-http1: tests/bench/b_http1$(EXEEXT)
	tests/bench/b_http1
