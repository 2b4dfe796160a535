# src/exchange: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/exchange/libexchange.a
TG_LIBS += src/exchange/libexchange.a
src_exchange_libexchange_a_SOURCES = \
    src/exchange/again.c src/exchange/again.h \
    src/exchange/charge.c src/exchange/charge.h \
    src/exchange/client.h \
    src/exchange/cost.c src/exchange/cost.h \
    src/exchange/exchange.c src/exchange/exchange.h \
    src/exchange/leg.c src/exchange/leg.h \
    src/exchange/producer.h \
    src/exchange/quota.c src/exchange/quota.h \
    src/exchange/quota_fit.c \
    src/exchange/quota_grow.c \
    src/exchange/quota_part.c \
    src/exchange/quota_priv.h \
    src/exchange/quota_text.c \
    src/exchange/quota_wait.c \
    src/exchange/sink.c src/exchange/sink.h \
    src/exchange/soft.c src/exchange/soft.h \
    src/exchange/stage.h \
    src/exchange/stats.h \
    src/exchange/stored.c src/exchange/stored.h \
    src/exchange/tape.c src/exchange/tape.h \
    src/exchange/tape_priv.h \
    src/exchange/tape_read.c \
    src/exchange/worker.h
