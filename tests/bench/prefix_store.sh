#!/bin/sh
# usage: prefix_store.sh BUILD PAGE [RUNS]
# Measures the store of prefixes and writes the page: 20 GB through 2 GiB, RUNS
# times (3), and traffic beside an ideal store. Needs 3 GiB in TMPDIR, which
# must not be in memory. BUILD has tests/bench/{b_kv_churn,b_kv_replay}.
set -eu

build=$1
page=$2
runs=${3:-3}
top=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
rc=0

{
    echo "# The prefix store, $(date -u +%Y-%m-%d)"
    echo
    echo "Commit $(git -C "$top" rev-parse --short HEAD 2>/dev/null || echo '?')," \
        "\`make bench-prefix-store\`; load before:" \
        "$(cut -d' ' -f1-3 /proc/loadavg)." \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
        "$(nproc) cores," \
        "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" \
        "GiB; files on $(stat -f -c %T "$dir")."
    echo
    echo "## Much more written than there is room for"
    echo
    echo "Pages of 368,640 bytes (16 tokens of the 135M shape) through a store" \
        "of 2 GiB, up to 16 a transaction, in texts of 1 to 64 pages; every" \
        "other time a text of any age is used again, so that what is given up" \
        "stands anywhere in the file. $runs runs, each from nothing."
} >"$page"
i=0
while [ "$i" -lt "$runs" ]; do
    i=$((i + 1))
    printf '\nRun %s:\n\n' "$i" >>"$page"
    "$build/tests/bench/b_kv_churn" "$dir/churn" >>"$page" || rc=1
    rm -rf "$dir/churn"
done
{
    echo
    echo "## Traffic beside an ideal store"
    echo
    echo "10,000 requests, always the same: a quarter of one turn, the rest" \
        "conversations of which up to 150 go on at once, with one of 60 system" \
        "prompts of Zipf popularity. Ideal is a list of as many pages as the" \
        "store has room for, of which the longest unused always goes first." \
        "Pages of 4,096 bytes; every page that is found is read and compared." \
        "With admission second a page is stored when it is seen again."
    echo
} >>"$page"
"$build/tests/bench/b_kv_replay" "$dir/replay" >>"$page" || rc=1
cat "$page"
exit $rc
