# Model files.
src_engine_libengine_a_SOURCES += \
    src/engine/digest_cache.c \
    src/engine/digest_cache.h \
    src/engine/gguf.c \
    src/engine/gguf.h \
    src/engine/gguf_value.c \
    src/engine/model.c \
    src/engine/model.h \
    src/engine/model_bind.c \
    src/engine/model_digest.c \
    src/engine/model_fault.c \
    src/engine/model_fault.h \
    src/engine/model_gguf.c \
    src/engine/model_hf.c \
    src/engine/model_hf_config.c \
    src/engine/model_hf_text.c \
    src/engine/model_json.c \
    src/engine/model_json.h \
    src/engine/model_map.c \
    src/engine/model_params.c \
    src/engine/model_priv.h \
    src/engine/model_synthetic.c \
    src/engine/model_vocab.c \
    src/engine/safetensors.c \
    src/engine/safetensors.h
