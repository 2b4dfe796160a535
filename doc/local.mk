# doc
include doc/man.mk

EXTRA_DIST += \
    doc/decisions/0001-record-decisions.md \
    doc/hacking.md \
    doc/principles.md
