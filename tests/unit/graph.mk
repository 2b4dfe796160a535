# Unit tests of area 'graph': the graph.
graph_unit_tests = \
    tests/unit/t_graph \
    tests/unit/t_graph_exact \
    tests/unit/t_graph_story
check_PROGRAMS += $(graph_unit_tests)

tests_unit_t_graph_SOURCES = tests/unit/t_graph.c tests/lib/graphrig.c \
    tests/lib/graphrig.h $(ggufm_sources)
tests_unit_t_graph_CPPFLAGS = $(unit_cppflags)
tests_unit_t_graph_CFLAGS = $(unit_cflags)
tests_unit_t_graph_LDADD = $(unit_libs)

tests_unit_t_graph_exact_SOURCES = tests/unit/t_graph_exact.c \
    tests/lib/graphrig.c tests/lib/graphrig.h $(ggufm_sources)
tests_unit_t_graph_exact_CPPFLAGS = $(unit_cppflags)
tests_unit_t_graph_exact_CFLAGS = $(unit_cflags)
tests_unit_t_graph_exact_LDADD = $(unit_libs)

tests_unit_t_graph_story_SOURCES = tests/unit/t_graph_story.c
tests_unit_t_graph_story_CPPFLAGS = $(unit_cppflags)
tests_unit_t_graph_story_CFLAGS = $(unit_cflags)
tests_unit_t_graph_story_LDADD = $(unit_libs)
