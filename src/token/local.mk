# src/token: each part lists its sources in a fragment of its own.
noinst_LIBRARIES += src/token/libtoken.a
TG_LIBS += src/token/libtoken.a
src_token_libtoken_a_SOURCES =

include src/token/vocab.mk
include src/token/template.mk
include src/token/grammar.mk
