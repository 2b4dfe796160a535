#!/bin/sh
# usage: cache_store.sh BUILD PAGE [CHURN_S]
# Measures the store of replies and writes the page: a million entries in 4 GiB,
# then inserts, hits and purges at a bound of 256 MiB for CHURN_S seconds (60).
# Needs 3 GiB in TMPDIR. BUILD has tests/bench/b_cache.
set -eu

build=$1
page=$2
churn=${3:-60}
top=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
rc=0

{
    echo "# The store of replies, $(date -u +%Y-%m-%d)"
    echo
    echo "Commit $(git -C "$top" rev-parse --short HEAD 2>/dev/null || echo '?')," \
        "\`make bench-cache-store\`; load before:" \
        "$(cut -d' ' -f1-3 /proc/loadavg)." \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
        "$(nproc) cores," \
        "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" \
        "GiB; files on $(stat -f -c %T "$dir")."
    echo
    echo "Replies of 1,024 bytes, looked for in any order by one thread: the" \
        "median of 7 times 100,000 lookups, each of which copies the reply and" \
        "proves it, in time of a processor. Then $churn seconds at a bound of 256 MiB: a fourth new" \
        "replies of 16 bytes to 2 MiB, a fourth replaced ones, half lookups," \
        "and a purge of a model now and then. Every reply is compared."
    echo
} >"$page"
"$build/tests/bench/b_cache" "$dir" 1000000 "$churn" >>"$page" || rc=1
echo "Load after it: $(cut -d' ' -f1-3 /proc/loadavg)." >>"$page"
cat "$page"
exit $rc
