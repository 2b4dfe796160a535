#!/bin/sh
# Runs the end-to-end suites: finds or installs Node 22 and the clients, then
# runs the files given, or all of them.
#
#   TOLLGATE_BUILD    folder of the tollgate and tollctl programs
#   TOLLGATE_WRAPPER  command put before tollgate, e.g. "valgrind -q
#                     --error-exitcode=97 --leak-check=full
#                     --errors-for-leak-kinds=definite
#                     --run-libc-freeres=no
#                     --suppressions=/path/of/tests/e2e/valgrind.supp";
#                     the children that crash and ctl make (to read a ledger
#                     apart) have not the threads that memory belongs to:
#                     --leak-check=no for those two
#   E2E_DEADLINE_MS   how long a condition may take to come true (20000)
#   E2E_DIRECT=1      clients talk straight to the scripted provider
#   E2E_CONCURRENCY   test files at once (2)
#   E2E_SOAK_S        seconds of the tests that run for long (0: none)
#   E2E_CUT_STEP      a reply that may be stored is cut at one of so many bytes
#                     (3; 1: at each)
#   E2E_KILL_ROUNDS   how often a daemon that keeps budgets is killed (100)
#   E2E_PREFIX_ROUNDS how often stored prefixes are damaged, and half of how
#                     often their daemon is killed (8)
#   E2E_DEVICE        where models run that do not say where: "cuda:0", which is
#                     deterministic then, for the suites engine-chat, -text,
#                     -states and -types: others count on the CPU's pages of 16
#                     tokens; TOLLGATE_CUDA_DRIVER, TOLLGATE_CUBLASLT go with it
#   E2E_REPORTER      how results are shown (spec)
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
cd "$here"

major() {
    "$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0
}

if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    echo "check-e2e: node and npm are needed (apt-get install nodejs npm)" >&2
    exit 1
fi

# The lock that was installed from is kept: another one means install anew.
if ! cmp -s package-lock.json node_modules/.installed-lock; then
    echo "check-e2e: installing the clients into $here/node_modules" >&2
    npm ci --no-audit --no-fund --loglevel=error >&2
    cp package-lock.json node_modules/.installed-lock
fi

node=$(command -v node)
if [ "$(major "$node")" -lt 22 ]; then
    node=
    for n in node_modules/node-linux-*/bin/node; do
        [ -x "$n" ] && [ "$(major "$n")" -ge 22 ] && node=$here/$n
    done
    if [ -z "$node" ]; then
        echo "check-e2e: no Node >= 22, and none could be installed" >&2
        exit 1
    fi
fi

[ $# -gt 0 ] || set -- *.test.mjs
exec "$node" --test --test-concurrency="${E2E_CONCURRENCY:-2}" \
    --test-reporter="${E2E_REPORTER:-spec}" \
    --test-timeout=$((400000 + 1000 * ${E2E_SOAK_S:-0} + \
        20000 * ${E2E_PREFIX_ROUNDS:-0} + \
        3000 * ${E2E_KILL_ROUNDS:-0})) "$@"
