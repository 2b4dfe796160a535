# Man pages and the sample configuration.
dist_man_MANS += \
    doc/man/tollctl.8 \
    doc/man/tollgate.8 \
    doc/man/tollgate.yaml.5

confsampledir = $(pkgdatadir)
dist_confsample_DATA = etc/tollgate.yaml etc/tollgate-minimal.yaml \
    etc/prices.yaml

EXTRA_DIST += tests/lint/conf_doc.sh

# The option table, the sample and the man page must tell the same.
lint-conf-doc: tests/lint/conf_dump
	$(AM_V_at)$(SHELL) $(top_srcdir)/tests/lint/conf_doc.sh $(top_builddir)
PHONY_TARGETS += lint-conf-doc
