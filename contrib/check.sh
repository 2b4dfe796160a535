#!/bin/sh
# usage: check.sh [deps|build|check|lint|e2e]...
# Everything a change must pass, one step after the other: the packages, a
# build with fatal warnings, the unit tests, the checks of the tree and the
# end-to-end tests. Without names, all of them. CC, CFLAGS, BUILD (the folder
# to build in: build-check; a tree that was configured in place is configured
# anew there) and CONFIGURE (more switches) are taken from the environment.
set -eu

top=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
# A tree that is configured in place can be built nowhere else.
[ ! -f "$top/config.status" ] || BUILD=$top
build=${BUILD:-$top/build-check}
jobs=$(nproc)

run_deps() {
    "$top/contrib/install-deps.sh"
}

run_build() {
    [ -x "$top/configure" ] || (cd "$top" && autoreconf -fi)
    mkdir -p "$build"
    # shellcheck disable=SC2086 # a list of switches
    (cd "$build" && "$top/configure" -q --enable-werror ${CONFIGURE:-})
    make -C "$build" -s -j"$jobs"
}

run_check() {
    make -C "$build" -s -j"$jobs" check || {
        cat "$build/test-suite.log"
        return 1
    }
}

run_lint() {
    make -C "$build" -s lint
}

run_e2e() {
    make -C "$build" -s check-e2e
}

[ $# -gt 0 ] || set -- deps build check lint e2e
for step; do
    case $step in
    deps | build | check | lint | e2e) ;;
    *)
        sed -n '2s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
done
for step; do
    printf '== %s\n' "$step"
    "run_$step"
done
