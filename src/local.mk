# One static library per folder; TG_LIBS is in link order, highest layer first.
include src/ctl/local.mk
include src/daemon/local.mk
include src/serve/local.mk
include src/upstream/local.mk
include src/front/local.mk
include src/admit/local.mk
include src/prompt/local.mk
include src/recall/local.mk
include src/relay/local.mk
include src/settle/local.mk
include src/exchange/local.mk
include src/account/local.mk
include src/store/local.mk
include src/wire/local.mk
include src/conf/local.mk
include src/base/local.mk
