# Unit tests of area 'files': model files.
check_PROGRAMS += tests/unit/t_model_open

# The writer of models, for other areas' tests, too.
ggufm_sources = \
    tests/lib/ggufm.c \
    tests/lib/ggufm.h \
    tests/lib/ggufm_fill.c \
    tests/lib/ggufm_vocab.c \
    tests/lib/ggufw.c \
    tests/lib/ggufw.h \
    tests/lib/hfdir.c \
    tests/lib/hfdir.h

tests_unit_t_model_open_SOURCES = tests/unit/t_model_open.c $(ggufm_sources)
tests_unit_t_model_open_CPPFLAGS = $(unit_cppflags)
tests_unit_t_model_open_CFLAGS = $(unit_cflags)
tests_unit_t_model_open_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_model_hf
tests_unit_t_model_hf_SOURCES = tests/unit/t_model_hf.c $(ggufm_sources)
tests_unit_t_model_hf_CPPFLAGS = $(unit_cppflags)
tests_unit_t_model_hf_CFLAGS = $(unit_cflags)
tests_unit_t_model_hf_LDADD = $(unit_libs)
