# tests/lint: `make lint` checks the rules of the house and the documents.
PHONY_TARGETS += lint

EXTRA_DIST += \
    tests/lint/boot_files \
    tests/lint/checks/__init__.py \
    tests/lint/checks/calls.py \
    tests/lint/checks/errors.py \
    tests/lint/checks/format.py \
    tests/lint/checks/headers.py \
    tests/lint/checks/includes.py \
    tests/lint/checks/owners.py \
    tests/lint/checks/shape.py \
    tests/lint/checks/tree.py \
    tests/lint/checks/waits.py \
    tests/lint/checks/words.py \
    tests/lint/ctl_doc.sh \
    tests/lint/dist.sh \
    tests/lint/exceptions \
    tests/lint/lint.py \
    tests/lint/sass.py \
    tests/lint/selftest.py

lint: lint-conf-doc tollctl$(EXEEXT)
	$(AM_V_at)$(SHELL) $(top_srcdir)/tests/lint/ctl_doc.sh ./tollctl$(EXEEXT)
	$(AM_V_at)$(PYTHON) $(top_srcdir)/tests/lint/lint.py
	$(AM_V_at)$(PYTHON) $(top_srcdir)/tests/lint/selftest.py
	$(AM_V_at)if command -v mandoc >/dev/null; then \
	    cd $(top_srcdir) && mandoc -Tlint -Wwarning $(dist_man_MANS); fi

# What the CUDA kernels were compiled to; skipped where nothing was.
dist_check_SCRIPTS += tests/lint/sass.sh
if HAVE_CUDA
check_DATA += $(cuda_cubins)

# The same in a table, into a page.
PHONY_TARGETS += sass-page
sass-page: $(cuda_cubins)
	$(MKDIR_P) $(top_srcdir)/doc/perf/gpu
	$(PYTHON) $(top_srcdir)/tests/lint/sass.py --page \
	    $(top_srcdir)/doc/perf/gpu/ptxas-`date -u +%Y-%m-%d`.md $(cuda_cubins)
endif
