# Unit tests of area 'json': the codecs of JSON, SSE, usage, errors, multipart.
json_unit_tests = \
    tests/unit/t_canon \
    tests/unit/t_fold \
    tests/unit/t_fold_typed \
    tests/unit/t_jscan \
    tests/unit/t_jsplice \
    tests/unit/t_multipart \
    tests/unit/t_openai_err \
    tests/unit/t_sse \
    tests/unit/t_sse_judge \
    tests/unit/t_unfold \
    tests/unit/t_usage
check_PROGRAMS += $(json_unit_tests)

tests_unit_t_canon_SOURCES = tests/unit/t_canon.c
tests_unit_t_canon_CPPFLAGS = $(unit_cppflags)
tests_unit_t_canon_CFLAGS = $(unit_cflags)
tests_unit_t_canon_LDADD = $(unit_libs)

tests_unit_t_fold_SOURCES = tests/unit/t_fold.c tests/unit/fold_kit.h
tests_unit_t_fold_CPPFLAGS = $(unit_cppflags)
tests_unit_t_fold_CFLAGS = $(unit_cflags)
tests_unit_t_fold_LDADD = $(unit_libs)

tests_unit_t_fold_typed_SOURCES = tests/unit/t_fold_typed.c tests/unit/fold_kit.h
tests_unit_t_fold_typed_CPPFLAGS = $(unit_cppflags)
tests_unit_t_fold_typed_CFLAGS = $(unit_cflags)
tests_unit_t_fold_typed_LDADD = $(unit_libs)

tests_unit_t_jscan_SOURCES = tests/unit/t_jscan.c tests/lib/json_cases.h
tests_unit_t_jscan_CPPFLAGS = $(unit_cppflags)
tests_unit_t_jscan_CFLAGS = $(unit_cflags)
tests_unit_t_jscan_LDADD = $(unit_libs)

tests_unit_t_jsplice_SOURCES = tests/unit/t_jsplice.c
tests_unit_t_jsplice_CPPFLAGS = $(unit_cppflags)
tests_unit_t_jsplice_CFLAGS = $(unit_cflags)
tests_unit_t_jsplice_LDADD = $(unit_libs)

tests_unit_t_multipart_SOURCES = tests/unit/t_multipart.c
tests_unit_t_multipart_CPPFLAGS = $(unit_cppflags)
tests_unit_t_multipart_CFLAGS = $(unit_cflags)
tests_unit_t_multipart_LDADD = $(unit_libs)

tests_unit_t_openai_err_SOURCES = tests/unit/t_openai_err.c
tests_unit_t_openai_err_CPPFLAGS = $(unit_cppflags)
tests_unit_t_openai_err_CFLAGS = $(unit_cflags)
tests_unit_t_openai_err_LDADD = $(unit_libs)

tests_unit_t_sse_SOURCES = tests/unit/t_sse.c
tests_unit_t_sse_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sse_CFLAGS = $(unit_cflags)
tests_unit_t_sse_LDADD = $(unit_libs)

tests_unit_t_sse_judge_SOURCES = tests/unit/t_sse_judge.c
tests_unit_t_sse_judge_CPPFLAGS = $(unit_cppflags)
tests_unit_t_sse_judge_CFLAGS = $(unit_cflags)
tests_unit_t_sse_judge_LDADD = $(unit_libs)

tests_unit_t_unfold_SOURCES = tests/unit/t_unfold.c tests/unit/fold_kit.h
tests_unit_t_unfold_CPPFLAGS = $(unit_cppflags)
tests_unit_t_unfold_CFLAGS = $(unit_cflags)
tests_unit_t_unfold_LDADD = $(unit_libs)

tests_unit_t_usage_SOURCES = tests/unit/t_usage.c
tests_unit_t_usage_CPPFLAGS = $(unit_cppflags)
tests_unit_t_usage_CFLAGS = $(unit_cflags)
tests_unit_t_usage_LDADD = $(unit_libs)
