#!/bin/sh
# What the kernels were compiled to: the files of kernels/cuda in the folder
# that this runs in, where there was a compiler for them.
set -u

src=${srcdir:-.}
set --
for f in kernels/cuda/k_*.sm_*.cubin; do
    name=${f##*/}
    [ -f "$f" ] && [ -f "$src/kernels/cuda/${name%%.*}.cu" ] && set -- "$@" "$f"
done
[ $# -gt 0 ] || { echo "no CUDA code was compiled"; exit 77; }
command -v "${PYTHON:-python3}" >/dev/null || { echo "no Python 3"; exit 77; }
exec "${PYTHON:-python3}" "$src/tests/lint/sass.py" "$@"
