# Unit tests of area 'conf'. One program a module:
check_PROGRAMS += tests/unit/t_conf_parse
tests_unit_t_conf_parse_SOURCES = tests/unit/t_conf_parse.c
tests_unit_t_conf_parse_CPPFLAGS = $(unit_cppflags)
tests_unit_t_conf_parse_CFLAGS = $(unit_cflags)
tests_unit_t_conf_parse_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_conf_mistakes
tests_unit_t_conf_mistakes_SOURCES = tests/unit/t_conf_mistakes.c
tests_unit_t_conf_mistakes_CPPFLAGS = $(unit_cppflags)
tests_unit_t_conf_mistakes_CFLAGS = $(unit_cflags)
tests_unit_t_conf_mistakes_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_conf
tests_unit_t_conf_SOURCES = tests/unit/t_conf.c
tests_unit_t_conf_CPPFLAGS = $(unit_cppflags)
tests_unit_t_conf_CFLAGS = $(unit_cflags)
tests_unit_t_conf_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_conf_cache
tests_unit_t_conf_cache_SOURCES = tests/unit/t_conf_cache.c
tests_unit_t_conf_cache_CPPFLAGS = $(unit_cppflags)
tests_unit_t_conf_cache_CFLAGS = $(unit_cflags)
tests_unit_t_conf_cache_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_conf_show
tests_unit_t_conf_show_SOURCES = tests/unit/t_conf_show.c
tests_unit_t_conf_show_CPPFLAGS = $(unit_cppflags)
tests_unit_t_conf_show_CFLAGS = $(unit_cflags)
tests_unit_t_conf_show_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_conf_sample
tests_unit_t_conf_sample_SOURCES = tests/unit/t_conf_sample.c
tests_unit_t_conf_sample_CPPFLAGS = $(unit_cppflags) \
    -DTG_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_t_conf_sample_CFLAGS = $(unit_cflags)
tests_unit_t_conf_sample_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_conf_prices
tests_unit_t_conf_prices_SOURCES = tests/unit/t_conf_prices.c
tests_unit_t_conf_prices_CPPFLAGS = $(unit_cppflags) \
    -DTG_SRCDIR='"$(abs_top_srcdir)"'
tests_unit_t_conf_prices_CFLAGS = $(unit_cflags)
tests_unit_t_conf_prices_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_price
tests_unit_t_price_SOURCES = tests/unit/t_price.c tests/unit/price_kit.h
tests_unit_t_price_CPPFLAGS = $(unit_cppflags)
tests_unit_t_price_CFLAGS = $(unit_cflags)
tests_unit_t_price_LDADD = $(unit_libs)

check_PROGRAMS += tests/unit/t_price_bound
tests_unit_t_price_bound_SOURCES = tests/unit/t_price_bound.c \
    tests/unit/price_kit.h
tests_unit_t_price_bound_CPPFLAGS = $(unit_cppflags)
tests_unit_t_price_bound_CFLAGS = $(unit_cflags)
tests_unit_t_price_bound_LDADD = $(unit_libs)
