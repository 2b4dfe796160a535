# doc
include doc/man.mk
