# Kernel tests: each fast operation against the scalar one.
