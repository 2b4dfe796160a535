# End-to-end tests: the official clients against the real daemon.
# `make check-e2e` runs all; E2E="keys.test.mjs" chooses files.
# `make doc-faults` makes doc/faults.md of what they see.
PHONY_TARGETS += check-e2e doc-faults

EXTRA_DIST += \
    tests/e2e/.npmrc \
    tests/e2e/accounting.test.mjs \
    tests/e2e/aisdk.test.mjs \
    tests/e2e/anthropic.test.mjs \
    tests/e2e/breakers.test.mjs \
    tests/e2e/budget-clients.test.mjs \
    tests/e2e/budget-ctl.test.mjs \
    tests/e2e/budget-engine.test.mjs \
    tests/e2e/budget-disconnect.test.mjs \
    tests/e2e/budget-holds.test.mjs \
    tests/e2e/budget-kill.test.mjs \
    tests/e2e/budget-power.test.mjs \
    tests/e2e/budget-streams.test.mjs \
    tests/e2e/budget-ways.test.mjs \
    tests/e2e/budgets.test.mjs \
    tests/e2e/cache-bytes.test.mjs \
    tests/e2e/cache-join.test.mjs \
    tests/e2e/cache-kept.test.mjs \
    tests/e2e/cache-keys.test.mjs \
    tests/e2e/cache-money.test.mjs \
    tests/e2e/cache-modes.test.mjs \
    tests/e2e/cache-store.test.mjs \
    tests/e2e/codex.test.mjs \
    tests/e2e/crash.test.mjs \
    tests/e2e/ctl-rows.test.mjs \
    tests/e2e/ctl.test.mjs \
    tests/e2e/dialects.test.mjs \
    tests/e2e/engine-chat.test.mjs \
    tests/e2e/engine-cuda.test.mjs \
    tests/e2e/engine-hf.test.mjs \
    tests/e2e/engine-life.test.mjs \
    tests/e2e/engine-states.test.mjs \
    tests/e2e/engine-text.test.mjs \
    tests/e2e/engine-types.test.mjs \
    tests/e2e/fallbacks.test.mjs \
    tests/e2e/faults-answers.test.mjs \
    tests/e2e/faults-breaker.test.mjs \
    tests/e2e/faults-connect.test.mjs \
    tests/e2e/faults-doc.test.mjs \
    tests/e2e/faults-host.test.mjs \
    tests/e2e/faults-http2.test.mjs \
    tests/e2e/faults-load.test.mjs \
    tests/e2e/faults-replies.test.mjs \
    tests/e2e/fidelity.test.mjs \
    tests/e2e/gone-points.test.mjs \
    tests/e2e/gone.test.mjs \
    tests/e2e/health.test.mjs \
    tests/e2e/hedge.test.mjs \
    tests/e2e/hostile.test.mjs \
    tests/e2e/http1.test.mjs \
    tests/e2e/keepalive.test.mjs \
    tests/e2e/keys.test.mjs \
    tests/e2e/langchain.test.mjs \
    tests/e2e/legs.test.mjs \
    tests/e2e/lib/bodies.mjs \
    tests/e2e/lib/bootid.c \
    tests/e2e/lib/budget.mjs \
    tests/e2e/lib/certs.mjs \
    tests/e2e/lib/engine.mjs \
    tests/e2e/lib/failhead.c \
    tests/e2e/lib/faultmatrix.mjs \
    tests/e2e/lib/faults/answers.mjs \
    tests/e2e/lib/faults/breaker.mjs \
    tests/e2e/lib/faults/connect.mjs \
    tests/e2e/lib/faults/doc.mjs \
    tests/e2e/lib/faults/hedge.mjs \
    tests/e2e/lib/faults/load.mjs \
    tests/e2e/lib/faults/make.mjs \
    tests/e2e/lib/faults/replies.mjs \
    tests/e2e/lib/faults/table.mjs \
    tests/e2e/lib/gguf.mjs \
    tests/e2e/lib/greedy.mjs \
    tests/e2e/lib/hf.mjs \
    tests/e2e/lib/holdload.c \
    tests/e2e/lib/openai.mjs \
    tests/e2e/lib/prefix.mjs \
    tests/e2e/lib/prng.mjs \
    tests/e2e/lib/provider/anthropic.mjs \
    tests/e2e/lib/provider/faults.mjs \
    tests/e2e/lib/provider/files.mjs \
    tests/e2e/lib/provider/http.mjs \
    tests/e2e/lib/provider/openai.mjs \
    tests/e2e/lib/provider/responses.mjs \
    tests/e2e/lib/provider/text.mjs \
    tests/e2e/lib/provider/ws.mjs \
    tests/e2e/lib/raw.mjs \
    tests/e2e/lib/rig.mjs \
    tests/e2e/lib/stall.c \
    tests/e2e/lib/tollgate.mjs \
    tests/e2e/lib/until.mjs \
    tests/e2e/lib/upstream.mjs \
    tests/e2e/lib/yaml.mjs \
    tests/e2e/lifecycle.test.mjs \
    tests/e2e/nobody.test.mjs \
    tests/e2e/openai-chat.test.mjs \
    tests/e2e/openai-errors.test.mjs \
    tests/e2e/openai-surface.test.mjs \
    tests/e2e/package-lock.json \
    tests/e2e/package.json \
    tests/e2e/passthrough.test.mjs \
    tests/e2e/prefix-ctl.test.mjs \
    tests/e2e/prefix-damage.test.mjs \
    tests/e2e/prefix-faults.test.mjs \
    tests/e2e/prefix-procs.test.mjs \
    tests/e2e/prefix-scope.test.mjs \
    tests/e2e/prefix-size.test.mjs \
    tests/e2e/prefix-space.test.mjs \
    tests/e2e/prefix-store.test.mjs \
    tests/e2e/prices.test.mjs \
    tests/e2e/queue.test.mjs \
    tests/e2e/rates.test.mjs \
    tests/e2e/routing.test.mjs \
    tests/e2e/run.sh \
    tests/e2e/strategies.test.mjs \
    tests/e2e/tls.test.mjs \
    tests/e2e/valgrind.supp

# The driver of an emulated GPU, where it can be built.
if HAVE_EMU
e2e_gpu = tests/fakecuda.so
endif

check-e2e: $(bin_PROGRAMS) $(e2e_gpu)
	TOLLGATE_BUILD="$(abs_top_builddir)" \
	    $(SHELL) $(top_srcdir)/tests/e2e/run.sh $(E2E)

FAULT_SUITES = faults-answers.test.mjs faults-breaker.test.mjs \
    faults-connect.test.mjs faults-load.test.mjs faults-replies.test.mjs

doc-faults: $(bin_PROGRAMS)
	rm -rf tests/e2e/faults.seen
	E2E_FAULTS_OUT="$(abs_top_builddir)/tests/e2e/faults.seen" \
	    TOLLGATE_BUILD="$(abs_top_builddir)" \
	    $(SHELL) $(top_srcdir)/tests/e2e/run.sh $(FAULT_SUITES)
	node $(top_srcdir)/tests/e2e/lib/faults/make.mjs tests/e2e/faults.seen \
	    > tests/e2e/faults.md
	cp tests/e2e/faults.md $(top_srcdir)/doc/faults.md
