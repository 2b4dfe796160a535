#!/bin/sh
# usage: install-deps.sh [--build-only | --quickstart | --bench]
# Installs what tollgate needs on Debian 12: to build, run and test it (make
# check, lint, check-e2e, fuzz-smoke). --build-only: to build and run it alone;
# --quickstart: and what contrib/quickstart.sh starts beside it; --bench: all,
# and what `make bench` compares it with. May be run again at any time; what is
# there already is left alone.
set -eu

# The compiler, autotools, and the libraries of configure.ac. uthash, jansson
# and the rest come from Debian; nothing is fetched from elsewhere.
build="gcc libc6-dev make autoconf automake pkg-config ca-certificates \
    libevent-dev libssl-dev libcurl4-openssl-dev liblmdb-dev libjansson-dev \
    libyaml-dev libutf8proc-dev libxxhash-dev uthash-dev"
# Unit tests, a C++ compiler for the emulated GPU, a second compiler with
# sanitizers and libFuzzer, the checks of `make lint`, what the end-to-end tests
# start, and two other HTTP parsers for the fuzz target that compares with them.
check="git g++ libcmocka-dev clang-14 clang libclang-rt-14-dev llvm-14 \
    clang-format-14 python3 mandoc curl openssl xz-utils \
    libhttp-parser-dev node-llhttp"
# Those that `make bench` puts tollgate beside.
bench="nginx-light haproxy"
# A client.
quickstart=
command -v curl >/dev/null || quickstart=curl
# Node comes from elsewhere on many machines: taken as it is.
command -v node >/dev/null && command -v npm >/dev/null ||
    check="$check nodejs npm"

usage() {
    sed -n '2s/^# //p' "$0" >&2
    exit 2
}

packages="$build $check"
while [ $# -gt 0 ]; do
    case $1 in
    --build-only) packages=$build ;;
    --quickstart) packages="$build $quickstart" ;;
    --bench) packages="$packages $bench" ;;
    *) usage ;;
    esac
    shift
done

if ! command -v apt-get >/dev/null; then
    echo "install-deps: this is for Debian; install by hand: $packages" >&2
    exit 1
fi

missing=
for p in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $p"
done
if [ -z "$missing" ]; then
    echo "install-deps: everything is there"
    exit 0
fi

sudo=
if [ "$(id -u)" -ne 0 ]; then
    sudo=$(command -v sudo) || {
        echo "install-deps: run me as root, or install sudo;" \
            "missing are:$missing" >&2
        exit 1
    }
fi

echo "install-deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends $missing
