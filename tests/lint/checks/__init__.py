"""The checks of `make lint`, one file each; see ../lint.py."""
