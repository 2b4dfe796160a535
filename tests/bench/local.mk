# tests/bench: programs are built on demand, not by all.
EXTRA_PROGRAMS += tests/bench/b_http1
tests_bench_b_http1_SOURCES = tests/bench/b_http1.c
tests_bench_b_http1_LDADD = $(TG_LIBS) $(LDADD_DEPS)
CLEANFILES += $(EXTRA_PROGRAMS)

PHONY_TARGETS += bench-http1
bench-http1: tests/bench/b_http1$(EXEEXT)
	tests/bench/b_http1

# What limits cost a request.
EXTRA_PROGRAMS += tests/bench/b_rate
tests_bench_b_rate_SOURCES = tests/bench/b_rate.c
tests_bench_b_rate_LDADD = $(TG_LIBS) $(LDADD_DEPS)

PHONY_TARGETS += bench-rate
bench-rate: tests/bench/b_rate$(EXEEXT)
	tests/bench/b_rate

# What budgets cost a request.
EXTRA_PROGRAMS += tests/bench/b_accounts
tests_bench_b_accounts_SOURCES = tests/bench/b_accounts.c
tests_bench_b_accounts_LDADD = $(TG_LIBS) $(LDADD_DEPS)

PHONY_TARGETS += bench-accounts
bench-accounts: tests/bench/b_accounts$(EXEEXT)
	rm -rf tests/bench/b_accounts.state
	tests/bench/b_accounts tests/bench/b_accounts.state
	rm -rf tests/bench/b_accounts.state

EXTRA_PROGRAMS += tests/bench/b_upstream
tests_bench_b_upstream_SOURCES = tests/bench/b_upstream.c \
    tests/lib/rawserver.c tests/lib/rawserver.h tests/lib/upfix.c \
    tests/lib/upfix.h
tests_bench_b_upstream_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_bench_b_upstream_LDADD = $(TG_LIBS) $(LDADD_DEPS)

PHONY_TARGETS += bench-upstream
bench-upstream: tests/bench/b_upstream$(EXEEXT)
	tests/bench/b_upstream

EXTRA_PROGRAMS += tests/bench/b_provider tests/bench/b_load
tests_bench_b_provider_SOURCES = tests/bench/b_provider.c
tests_bench_b_load_SOURCES = tests/bench/b_load.c
EXTRA_DIST += tests/bench/profile.py tests/bench/run.py tests/bench/slow.py

# tollgate beside nginx and haproxy, into a page of its own under doc/perf.
PHONY_TARGETS += bench
bench: tollgate$(EXEEXT) tollctl$(EXEEXT) \
    tests/bench/b_provider$(EXEEXT) tests/bench/b_load$(EXEEXT)
	$(PYTHON) $(top_srcdir)/tests/bench/run.py . \
	    $(top_srcdir)/doc/perf/gateway-`date -u +%Y-%m-%d`.md

# What hard budgets cost a request.
EXTRA_DIST += tests/bench/budget.py
PHONY_TARGETS += bench-budget
bench-budget: tollgate$(EXEEXT) tollctl$(EXEEXT) \
    tests/bench/b_provider$(EXEEXT) tests/bench/b_load$(EXEEXT)
	$(PYTHON) $(top_srcdir)/tests/bench/budget.py . \
	    $(top_srcdir)/doc/perf/budgets-`date -u +%Y-%m-%d`.md
bench: bench-budget

# Stored replies beside nginx's proxy_cache.
EXTRA_DIST += tests/bench/cache.py
PHONY_TARGETS += bench-cache
bench-cache: tollgate$(EXEEXT) tollctl$(EXEEXT) tests/bench/b_load$(EXEEXT)
	$(PYTHON) $(top_srcdir)/tests/bench/cache.py . \
	    $(top_srcdir)/doc/perf/cache-`date -u +%Y-%m-%d`.md
bench: bench-cache

# What providers that fail do to clients; short, or as long as its targets say
# with FAULTS_FULL=1.
EXTRA_DIST += tests/bench/faults.py tests/bench/faultrig.py
PHONY_TARGETS += bench-faults
bench-faults: tollgate$(EXEEXT) tollctl$(EXEEXT) \
    tests/bench/b_provider$(EXEEXT) tests/bench/b_load$(EXEEXT)
	$(PYTHON) $(top_srcdir)/tests/bench/faults.py . \
	    $(top_srcdir)/doc/perf/faults-`date -u +%Y-%m-%d`.md
bench: bench-faults

# Where the instructions of a request go; needs valgrind.
PHONY_TARGETS += bench-profile
bench-profile: tollgate$(EXEEXT) tollctl$(EXEEXT) \
    tests/bench/b_provider$(EXEEXT) tests/bench/b_load$(EXEEXT)
	$(PYTHON) $(top_srcdir)/tests/bench/profile.py . \
	    $(top_srcdir)/doc/perf/profile-`date -u +%Y-%m-%d`.md

# Models of random weights, as the engine's benches want them.
EXTRA_PROGRAMS += tests/bench/mkgguf
tests_bench_mkgguf_SOURCES = tests/bench/mkgguf.c tests/lib/ggufm.c \
    tests/lib/ggufm.h tests/lib/ggufm_fill.c \
    tests/lib/ggufm_vocab.c tests/lib/ggufw.c \
    tests/lib/ggufw.h
tests_bench_mkgguf_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_bench_mkgguf_LDADD = $(TG_LIBS) $(LDADD_DEPS)

# Products of matrices beside what the machine can read and multiply.
EXTRA_PROGRAMS += tests/bench/b_kernels
tests_bench_b_kernels_SOURCES = tests/bench/b_kernels.c \
    tests/bench/machine.c tests/bench/machine.h
tests_bench_b_kernels_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/bench
tests_bench_b_kernels_LDADD = $(TG_LIBS) $(LDADD_DEPS)
PHONY_TARGETS += bench-kernels
bench-kernels: tests/bench/b_kernels$(EXEEXT)
	tests/bench/b_kernels > \
	    $(top_srcdir)/doc/perf/kernels-`date -u +%Y-%m-%d`.md

# The engine's graph on models of random weights, into a page of its own.
EXTRA_PROGRAMS += tests/bench/b_engine
tests_bench_b_engine_SOURCES = tests/bench/b_engine.c tests/bench/machine.c \
    tests/bench/machine.h
tests_bench_b_engine_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/bench
tests_bench_b_engine_LDADD = $(TG_LIBS) $(LDADD_DEPS)
EXTRA_DIST += tests/bench/engine.sh
PHONY_TARGETS += bench-engine
bench-engine: tests/bench/b_engine$(EXEEXT) tests/bench/mkgguf$(EXEEXT)
	$(top_srcdir)/tests/bench/engine.sh . \
	    $(top_srcdir)/doc/perf/engine-`date -u +%Y-%m-%d`.md
bench: bench-engine

# How quick the event loops stay while the engine computes.
EXTRA_DIST += tests/bench/engine_load.py
PHONY_TARGETS += bench-engine-load
bench-engine-load: tollgate$(EXEEXT) tollctl$(EXEEXT) \
    tests/bench/b_provider$(EXEEXT) tests/bench/b_load$(EXEEXT) \
    tests/bench/mkgguf$(EXEEXT)
	$(PYTHON) $(top_srcdir)/tests/bench/engine_load.py . \
	    $(top_srcdir)/doc/perf/engine-load-`date -u +%Y-%m-%d`.md
bench: bench-engine-load

# Time to the first token with prefixes on disk.
EXTRA_DIST += tests/bench/prefix_ttft.py
PHONY_TARGETS += bench-prefix
bench-prefix: tollgate$(EXEEXT) tollctl$(EXEEXT) tests/bench/mkgguf$(EXEEXT)
	$(PYTHON) $(top_srcdir)/tests/bench/prefix_ttft.py . \
	    $(top_srcdir)/doc/perf/prefix-ttft-`date -u +%Y-%m-%d`.md
bench: bench-prefix

# The store of prefixes: much written through it, and traffic beside an ideal
# one, into a page of its own.
EXTRA_PROGRAMS += tests/bench/b_kv_churn tests/bench/b_kv_replay
tests_bench_b_kv_churn_SOURCES = tests/bench/b_kv_churn.c
tests_bench_b_kv_churn_LDADD = $(TG_LIBS) $(LDADD_DEPS)
tests_bench_b_kv_replay_SOURCES = tests/bench/b_kv_replay.c \
    tests/lib/kvreplay.c tests/lib/kvreplay.h
tests_bench_b_kv_replay_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_bench_b_kv_replay_LDADD = $(TG_LIBS) $(LDADD_DEPS)
EXTRA_DIST += tests/bench/prefix_store.sh
PHONY_TARGETS += bench-prefix-store
bench-prefix-store: tests/bench/b_kv_churn$(EXEEXT) \
    tests/bench/b_kv_replay$(EXEEXT)
	$(top_srcdir)/tests/bench/prefix_store.sh . \
	    $(top_srcdir)/doc/perf/prefix-store-`date -u +%Y-%m-%d`.md
bench: bench-prefix-store

# The store of replies with a million entries, and at its bound for a minute, or
# for CHURN_S seconds.
EXTRA_PROGRAMS += tests/bench/b_cache
tests_bench_b_cache_SOURCES = tests/bench/b_cache.c
tests_bench_b_cache_LDADD = $(TG_LIBS) $(LDADD_DEPS)
EXTRA_DIST += tests/bench/cache_store.sh
PHONY_TARGETS += bench-cache-store
bench-cache-store: tests/bench/b_cache$(EXEEXT)
	$(top_srcdir)/tests/bench/cache_store.sh . \
	    $(top_srcdir)/doc/perf/cache-store-`date -u +%Y-%m-%d`.md $(CHURN_S)
bench: bench-cache-store

# A GPU: the graph's steps, single operations, replies over HTTP, and the same
# shape by another program, in one go of ten minutes.
EXTRA_PROGRAMS += tests/bench/b_gpu tests/bench/b_gpu_ops
tests_bench_b_gpu_SOURCES = tests/bench/b_gpu.c tests/bench/gpu_rig.c \
    tests/bench/gpu_rig.h tests/bench/gpu_row.c tests/bench/gpu_row.h
tests_bench_b_gpu_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/bench
tests_bench_b_gpu_LDADD = $(TG_LIBS) $(LDADD_DEPS)
tests_bench_b_gpu_ops_SOURCES = tests/bench/b_gpu_ops.c \
    tests/bench/gpu_ops.h tests/bench/gpu_ops_linear.c \
    tests/bench/gpu_ops_rest.c tests/bench/gpu_row.c tests/bench/gpu_row.h
tests_bench_b_gpu_ops_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/bench
tests_bench_b_gpu_ops_LDADD = $(TG_LIBS) $(LDADD_DEPS)
EXTRA_DIST += tests/bench/gpu_bench.sh tests/bench/gpu_http.py \
    tests/bench/gpu_page.py tests/bench/gpu_transformers.py
