# Fuzz targets of area 'http1'; what must be refused stands in
# tests/lib/http1_vectors.json.
noinst_PROGRAMS += tests/fuzz/fz_endpoint
FUZZ_TARGETS += tests/fuzz/fz_endpoint
tests_fuzz_fz_endpoint_SOURCES = tests/fuzz/fz_endpoint.c
tests_fuzz_fz_endpoint_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_endpoint_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_http1_body
FUZZ_TARGETS += tests/fuzz/fz_http1_body
tests_fuzz_fz_http1_body_SOURCES = tests/fuzz/fz_http1_body.c
tests_fuzz_fz_http1_body_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_http1_body_LDADD = $(TG_LIBS) $(LDADD_DEPS)

noinst_PROGRAMS += tests/fuzz/fz_http1_head
FUZZ_TARGETS += tests/fuzz/fz_http1_head
tests_fuzz_fz_http1_head_SOURCES = tests/fuzz/fz_http1_head.c
tests_fuzz_fz_http1_head_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_http1_head_LDADD = $(TG_LIBS) $(LDADD_DEPS)

if HTTP_ORACLES
# The system's sources, compiled as they are: their warnings are not ours.
noinst_LIBRARIES += tests/fuzz/liboracle.a
tests_fuzz_liboracle_a_SOURCES = tests/fuzz/oracle_llhttp.c \
    tests/fuzz/oracle_llhttp_states.c
tests_fuzz_liboracle_a_CPPFLAGS = $(LLHTTP_CPPFLAGS) -DLLHTTP_STRICT_MODE=1
tests_fuzz_liboracle_a_CFLAGS = $(TG_CFLAGS) -w

noinst_PROGRAMS += tests/fuzz/fz_http1_diff
FUZZ_TARGETS += tests/fuzz/fz_http1_diff
tests_fuzz_fz_http1_diff_SOURCES = tests/fuzz/fz_http1_diff.c \
    tests/fuzz/oracle.h tests/fuzz/oracle_http_parser.c
tests_fuzz_fz_http1_diff_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fz_http1_diff_LDADD = tests/fuzz/liboracle.a -lhttp_parser \
    $(TG_LIBS) $(LDADD_DEPS)
endif
