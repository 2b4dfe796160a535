# contrib: scripts and extras; etc: what a system wants installed.
EXTRA_DIST += \
    contrib/check.sh \
    contrib/completion/tollctl.bash \
    contrib/install-deps.sh \
    contrib/quickstart.sh \
    etc/tollgate.service
