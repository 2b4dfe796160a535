# tests/fuzz: one program a codec, built with --enable-fuzzing and clang. Each
# area's fragment appends its programs to FUZZ_TARGETS as well, so that they
# run in the smoke. Seeds stand in corpus/NAME, dictionaries beside the
# targets; see run.sh.
FUZZ_TARGETS =
EXTRA_DIST += tests/fuzz/run.sh tests/fuzz/corpus
# Here and not in the fragments: what a conditional hides is not distributed.
EXTRA_DIST += \
    tests/fuzz/bound.dict \
    tests/fuzz/budget_spec.dict \
    tests/fuzz/conf.dict \
    tests/fuzz/delay.dict \
    tests/fuzz/fold.dict \
    tests/fuzz/gguf.dict \
    tests/fuzz/http.dict \
    tests/fuzz/jscan.dict \
    tests/fuzz/jsplice.dict \
    tests/fuzz/multipart.dict \
    tests/fuzz/prices.dict \
    tests/fuzz/request.dict \
    tests/fuzz/safetensors.dict \
    tests/fuzz/schema.dict \
    tests/fuzz/sse.dict \
    tests/fuzz/usage.dict

if FUZZING
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
include tests/fuzz/base.mk
include tests/fuzz/http1.mk
include tests/fuzz/json.mk
include tests/fuzz/conf.mk
include tests/fuzz/store.mk
include tests/fuzz/vocab.mk
include tests/fuzz/template.mk
include tests/fuzz/grammar.mk
include tests/fuzz/engine.mk
include tests/fuzz/files.mk
include tests/fuzz/serve.mk
endif

# Every target for FUZZ_TIME, one after the other.
FUZZ_TIME = 60s
PHONY_TARGETS += fuzz-smoke
fuzz-smoke: $(FUZZ_TARGETS)
	@test -n "$(FUZZ_TARGETS)" || \
	    { echo "configure with --enable-fuzzing and CC=clang"; exit 1; }
	$(srcdir)/tests/fuzz/run.sh $(FUZZ_TIME) $(FUZZ_TARGETS)
