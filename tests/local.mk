# Tests: each area keeps its own fragment.
unit_cppflags = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
unit_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
unit_libs = $(TG_LIBS) $(LDADD_DEPS) $(CMOCKA_LIBS)

if HAVE_CMOCKA
include tests/unit/base.mk
include tests/unit/http1.mk
include tests/unit/json.mk
include tests/unit/conf.mk
include tests/unit/store.mk
include tests/unit/front.mk
include tests/unit/upstream.mk
include tests/unit/stages.mk
include tests/unit/serve.mk
include tests/unit/tape.mk
include tests/unit/daemon.mk
include tests/unit/vocab.mk
include tests/unit/template.mk
include tests/unit/grammar.mk
include tests/unit/files.mk
include tests/unit/graph.mk
include tests/unit/kvns.mk
include tests/unit/sched.mk
include tests/unit/engine.mk
include tests/kernels/local.mk
endif

include tests/fuzz/local.mk

include tests/e2e/local.mk
include tests/bench/local.mk
include tests/lint/local.mk
include tests/gpu.mk

# Shared by several programs and the end-to-end suites.
EXTRA_DIST += \
    tests/lib/ggufm.c \
    tests/lib/ggufm.h \
    tests/lib/ggufm_fill.c \
    tests/lib/ggufm_vocab.c \
    tests/lib/ggufw.c \
    tests/lib/ggufw.h \
    tests/lib/hfdir.c \
    tests/lib/hfdir.h \
    tests/lib/http1_vectors.json \
    tests/lib/json_cases.h \
    tests/lib/rawserver.c \
    tests/lib/rawserver.h \
    tests/lib/upfix.c \
    tests/lib/upfix.h
