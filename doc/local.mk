# doc
include doc/man.mk

EXTRA_DIST += \
    doc/architecture.md \
    doc/budgets.md \
    doc/decisions/0001-record-decisions.md \
    doc/decisions/0002-auth-before-body.md \
    doc/decisions/0003-raw-sockets.md \
    doc/decisions/0004-no-silent-repeat.md \
    doc/decisions/0005-hold-the-last-event.md \
    doc/decisions/0006-upstream-auth-is-502.md \
    doc/decisions/0007-unnamed-models-pass-through.md \
    doc/decisions/0008-throttle-failures-only.md \
    doc/decisions/0009-forms-are-held.md \
    doc/decisions/0010-one-order-of-sums.md \
    doc/decisions/0011-requests-are-prepared-off-the-loop.md \
    doc/decisions/0012-demo-model.md \
    doc/decisions/0013-loops-have-short-slices.md \
    doc/decisions/0014-prefix-store.md \
    doc/decisions/0015-rate-limits.md \
    doc/decisions/0016-prices.md \
    doc/decisions/0017-budgets.md \
    doc/decisions/0018-overload.md \
    doc/decisions/0019-attempts.md \
    doc/decisions/0020-left-alone.md \
    doc/decisions/0021-stored-replies.md \
    doc/decisions/0022-cuda.md \
    doc/faults.md \
    doc/hacking.md \
    doc/http-api.md \
    doc/kernels.md \
    doc/perf \
    doc/principles.md \
    doc/threat-model.md
