#!/bin/sh
# usage: quickstart.sh [--once] [--no-install]
# From a fresh checkout to a streamed answer: installs the packages, builds,
# starts a scripted provider and tollgate in front of it, makes a key and asks
# a question. Then both run on until Ctrl-C, so that you can go on asking;
# with --once they stop after the first answer. BUILD is the folder to build in
# (build; the tree itself when it was configured in place), ADDRESS where to listen (127.0.0.1:4141).
set -eu

top=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
once=no
install=yes
while [ $# -gt 0 ]; do
    case $1 in
    --once) once=yes ;;
    --no-install) install=no ;;
    *)
        sed -n '2s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

say() {
    printf '\n== %s\n' "$*"
}

# Wait until "$@" succeeds; give up after 30 seconds or when process $1 ends.
await() {
    pid=$1
    shift
    end=$(($(date +%s) + 30))
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null || [ "$(date +%s)" -ge "$end" ]; then
            echo "quickstart: it did not start:" >&2
            cat "$dir"/*.log >&2
            exit 1
        fi
        sleep 0.1
    done
}

[ "$install" = no ] || {
    say "packages"
    "$top/contrib/install-deps.sh" --quickstart
}

# A tree that is configured in place can be built nowhere else.
[ ! -f "$top/config.status" ] || BUILD=$top
build=${BUILD:-$top/build}
address=${ADDRESS:-127.0.0.1:4141}
say "build in $build"
[ -x "$top/configure" ] || (cd "$top" && autoreconf -fi)
mkdir -p "$build"
[ -f "$build/config.status" ] || (cd "$build" && "$top/configure" -q)
make -C "$build" -s -j"$(nproc)" tollgate tollctl

dir=$(mktemp -d)
upstream= gate=
finish() {
    trap - EXIT INT TERM
    for p in $gate $upstream; do
        kill "$p" 2>/dev/null || true
        wait "$p" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

say "a scripted provider that talks like api.openai.com"
node "$top/tests/e2e/lib/upstream.mjs" --port 0 --print-port \
    --key sk-provider --models demo-model >"$dir/port.log" 2>&1 &
upstream=$!
await "$upstream" grep -qx '[0-9][0-9]*' "$dir/port.log"
port=$(cat "$dir/port.log")

cat >"$dir/tollgate.yaml" <<EOF
listen:
  - address: $address
state_dir: $dir/state
upstreams:
  - name: demo
    base_url: http://127.0.0.1:$port/v1
    api_key: file:$dir/provider.key
    models: [demo-model]
log: {access: "off"}
EOF
(umask 077 && echo sk-provider >"$dir/provider.key" && mkdir "$dir/state")
cat "$dir/tollgate.yaml"

say "tollgate on http://$address"
"$build/tollgate" -c "$dir/tollgate.yaml" 2>"$dir/tollgate.log" &
gate=$!
await "$gate" curl -fsS "http://$address/readyz"

tollctl="$build/tollctl --socket $dir/state/control.sock"
say "tollctl key create --name quickstart --json"
$tollctl key create --name quickstart --json | tee "$dir/key.json"
key=$(sed -n 's/.*"key": *"\(sk-tg-[^"]*\)".*/\1/p' "$dir/key.json")
[ -n "$key" ] || {
    echo "quickstart: no key was made" >&2
    exit 1
}

ask() {
    curl -sS -N --fail-with-body "http://$address/v1/chat/completions" \
        -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \
        -d '{"model":"demo-model","stream":true,"messages":
             [{"role":"user","content":"Say hello."}]}'
}
say "curl -N http://$address/v1/chat/completions"
ask | tee "$dir/answer"
grep -q '^data: \[DONE\]' "$dir/answer" || {
    echo "quickstart: the answer is not whole" >&2
    exit 1
}

say "tollctl usage"
$tollctl usage

[ "$once" = no ] || exit 0
say "running; ask yourself, stop with Ctrl-C:"
cat <<EOF
curl -N http://$address/v1/chat/completions \\
    -H 'Authorization: Bearer $key' \\
    -d '{"model":"demo-model","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
$tollctl top
EOF
wait "$gate"
