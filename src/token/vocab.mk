# Vocabularies: text to tokens and back.
src_token_libtoken_a_SOURCES += \
    src/token/vocab.h
