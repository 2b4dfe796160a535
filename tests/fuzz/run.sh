#!/bin/sh
# usage: run.sh SECONDS[s]|RUNSr TARGET...
#
# Runs fuzz targets one after the other, each for so many seconds ("60s") or
# executions ("1000000r"). TARGET is a program, or the name of one in
# tests/fuzz of the current build tree. Seeds are corpus/NAME beside this
# script; what is found on top goes to fuzz-found/NAME of the current
# directory, crashes to fuzz-crash/NAME-*. The dictionary is NAME.dict,
# AREA.dict or AREA.dict without its digits, where AREA is the first word of
# NAME. FUZZ_ARGS are handed to every target. Ends with 1 if any one failed.
set -eu

[ $# -ge 2 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
amount=$1
shift
case $amount in
*r) limit=-runs=${amount%r} ;;
*) limit=-max_total_time=${amount%s} ;;
esac
mkdir -p fuzz-crash
failed=0
for target; do
    [ -x "$target" ] || target=tests/fuzz/$target
    name=$(basename "$target")
    name=${name#fz_}
    area=${name%%_*}
    seeds=$here/corpus/$name
    found=fuzz-found/$name
    mkdir -p "$found"
    set -- "$limit" -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="fuzz-crash/$name-"
    for dict in "$name" "$area" "${area%%[0-9]*}"; do
        if [ -r "$here/$dict.dict" ]; then
            set -- "$@" -dict="$here/$dict.dict"
            break
        fi
    done
    [ ! -d "$seeds" ] || set -- "$@" "$found" "$seeds"
    [ -d "$seeds" ] || set -- "$@" "$found"
    echo "== $name"
    # shellcheck disable=SC2086
    if ! "$target" ${FUZZ_ARGS-} "$@" >"fuzz-crash/$name.log" 2>&1; then
        tail -60 "fuzz-crash/$name.log"
        echo "== $name FAILED"
        failed=1
    fi
    grep -a -E '^stat::(number_of_executed_units|average_exec_per_sec)' \
        "fuzz-crash/$name.log" || true
done
exit $failed
