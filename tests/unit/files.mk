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

tests_unit_t_model_open_SOURCES = tests/unit/t_model_open.c \
    tests/unit/model_rig.h tests/unit/state_dir.h $(ggufm_sources)
tests_unit_t_model_open_CPPFLAGS = $(unit_cppflags) \
    -DTG_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_t_model_open_CFLAGS = $(unit_cflags)
tests_unit_t_model_open_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_model_hf
tests_unit_t_model_hf_SOURCES = tests/unit/t_model_hf.c \
    tests/unit/state_dir.h $(ggufm_sources)
tests_unit_t_model_hf_CPPFLAGS = $(unit_cppflags)
tests_unit_t_model_hf_CFLAGS = $(unit_cflags)
tests_unit_t_model_hf_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_gguf
tests_unit_t_gguf_SOURCES = tests/unit/t_gguf.c $(ggufm_sources)
tests_unit_t_gguf_CPPFLAGS = $(unit_cppflags)
tests_unit_t_gguf_CFLAGS = $(unit_cflags)
tests_unit_t_gguf_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_model_refuse
tests_unit_t_model_refuse_SOURCES = tests/unit/t_model_refuse.c \
    tests/unit/model_rig.h $(ggufm_sources)
tests_unit_t_model_refuse_CPPFLAGS = $(unit_cppflags)
tests_unit_t_model_refuse_CFLAGS = $(unit_cflags)
tests_unit_t_model_refuse_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_model_pairs
tests_unit_t_model_pairs_SOURCES = tests/unit/t_model_pairs.c \
    tests/unit/state_dir.h $(ggufm_sources)
tests_unit_t_model_pairs_CPPFLAGS = $(unit_cppflags)
tests_unit_t_model_pairs_CFLAGS = $(unit_cflags)
tests_unit_t_model_pairs_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_model_synthetic
tests_unit_t_model_synthetic_SOURCES = tests/unit/t_model_synthetic.c
tests_unit_t_model_synthetic_CPPFLAGS = $(unit_cppflags)
tests_unit_t_model_synthetic_CFLAGS = $(unit_cflags)
tests_unit_t_model_synthetic_LDADD = $(unit_libs)
