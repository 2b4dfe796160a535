# Constrained decoding.
src_token_libtoken_a_SOURCES += \
    src/token/automaton.c \
    src/token/automaton.h \
    src/token/automaton_finish.c \
    src/token/automaton_number.c \
    src/token/automaton_run.c \
    src/token/automaton_run.h \
    src/token/automaton_store.c \
    src/token/automaton_store.h \
    src/token/automaton_text.c \
    src/token/grammar.c \
    src/token/grammar.h \
    src/token/grammar_priv.h \
    src/token/grammar_tools.c \
    src/token/regex_parse.c \
    src/token/regex_tree.h \
    src/token/schema.c \
    src/token/schema.h \
    src/token/schema_format.c \
    src/token/schema_merge.c \
    src/token/schema_object.c \
    src/token/schema_priv.h \
    src/token/schema_regex.c \
    src/token/schema_regex.h \
    src/token/schema_scalar.c \
    src/token/vocab_index.c \
    src/token/vocab_index.h
