#!/bin/sh
# usage: engine.sh BUILD PAGE [SHAPE...]
# Measures the engine's graph on models of random weights in the shapes of
# SmolLM2 (135m 360m 1.7b; about 12 GiB of files, made one at a time in TMPDIR)
# and writes the page. BUILD has tests/bench/{b_engine,mkgguf}.
set -eu

build=$1
page=$2
shift 2
[ $# -gt 0 ] || set -- 135m 360m 1.7b
top=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

{
    echo "# The engine's graph, $(date -u +%Y-%m-%d)"
    echo
    echo "Commit $(git -C "$top" rev-parse --short HEAD 2>/dev/null || echo '?')." \
        "Load before: $(cut -d' ' -f1-3 /proc/loadavg). Random weights in" \
        "SmolLM2's shapes, made by mkgguf; one prompt of 512 tokens from" \
        "nothing, then 32 tokens of one sequence and of eight, from nothing."
    echo
} >"$page"
first=yes
for shape; do
    for type in F16 Q8_0 Q4_0; do
        "$build/tests/bench/mkgguf" "$shape" "$type" "$dir/$shape-$type.gguf"
        "$build/tests/bench/b_engine" "$dir/$shape-$type.gguf" >"$dir/out"
        [ "$first" = yes ] || sed -i '1,/^|---/d' "$dir/out"
        first=no
        cat "$dir/out" >>"$page"
        rm "$dir/$shape-$type.gguf"
    done
done
cat "$page"
