# contrib: scripts and extras; etc: what a system wants installed.
EXTRA_DIST += \
    contrib/check.sh \
    contrib/completion/tollctl.bash \
    contrib/install-deps.sh \
    contrib/quickstart.sh \
    etc/tollgate.service

# The demo model and how it was made.
pkgdata_DATA = etc/demo.gguf
EXTRA_DIST += \
    contrib/demo-model/README.md \
    contrib/demo-model/bpe.py \
    contrib/demo-model/corpus.py \
    contrib/demo-model/gguf.py \
    contrib/demo-model/train.py \
    etc/demo.gguf
