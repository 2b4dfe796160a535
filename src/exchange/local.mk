# src/exchange: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/exchange/libexchange.a
# TG_LIBS += src/exchange/libexchange.a
# src_exchange_libexchange_a_SOURCES = \
#     src/exchange/NAME.c src/exchange/NAME.h
