# One static library per folder; TG_LIBS is in link order, highest layer first.
include src/ctl/local.mk
include src/daemon/local.mk
include src/serve/local.mk
include src/upstream/local.mk
include src/engine/local.mk
include src/front/local.mk
include src/admit/local.mk
include src/prompt/local.mk
include src/recall/local.mk
include src/relay/local.mk
include src/settle/local.mk
include src/exchange/local.mk
include src/account/local.mk
include src/store/local.mk
include src/token/local.mk
include src/wire/local.mk
include src/conf/local.mk
include kernels/local.mk
include src/base/local.mk

# Who may include whom; read by `make lint`.
EXTRA_DIST += \
    src/account/includes.allow \
    src/admit/includes.allow \
    src/base/includes.allow \
    src/conf/includes.allow \
    src/ctl/includes.allow \
    src/daemon/includes.allow \
    src/engine/includes.allow \
    src/exchange/includes.allow \
    src/front/includes.allow \
    src/prompt/includes.allow \
    src/recall/includes.allow \
    src/relay/includes.allow \
    src/serve/includes.allow \
    src/settle/includes.allow \
    src/store/includes.allow \
    src/token/includes.allow \
    src/upstream/includes.allow \
    src/wire/includes.allow
