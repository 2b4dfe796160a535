# Vocabularies: text to tokens and back.
src_token_libtoken_a_SOURCES += \
    src/token/bpe.c \
    src/token/detok.c \
    src/token/encode.c \
    src/token/hf_pretok.c \
    src/token/hf_pretok.h \
    src/token/hf_regex.c \
    src/token/hf_tokenizer.c \
    src/token/merge.c \
    src/token/merge.h \
    src/token/nfc.c \
    src/token/nfc.h \
    src/token/pretok.c \
    src/token/pretok.h \
    src/token/pretok_names.c \
    src/token/pretok_pass.c \
    src/token/pretok_scan.c \
    src/token/specials.c \
    src/token/specials.h \
    src/token/spm.c \
    src/token/strmap.c \
    src/token/strmap.h \
    src/token/vocab.c \
    src/token/vocab.h \
    src/token/vocab_build.c \
    src/token/vocab_impl.h \
    src/token/vocab_names.c \
    src/token/vocab_new.c \
    src/token/vocab_shown.c
