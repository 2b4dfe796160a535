#!/bin/sh
# usage: quickstart.sh [--once] [--no-install]
# From a fresh checkout to a streamed answer: installs the packages, builds,
# starts tollgate as it is without any configuration (its own demo model, no
# provider), makes a key and asks a question. Then it runs on until Ctrl-C, so
# that you can go on asking; with --once it stops after the first answer. BUILD
# is the folder to build in (build; the tree itself when it was configured in
# place), ADDRESS where to listen (127.0.0.1:4141, the default).
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
gate=
finish() {
    trap - EXIT INT TERM
    [ -z "$gate" ] || {
        kill "$gate" 2>/dev/null || true
        wait "$gate" 2>/dev/null || true
    }
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# State and control socket go below XDG_STATE_HOME. Another address is the one
# thing that needs a file.
export XDG_STATE_HOME="$dir"
set --
[ "$address" = 127.0.0.1:4141 ] || {
    cat >"$dir/tollgate.yaml" <<EOF
listen:
  - address: $address
state_dir: $dir/tollgate
engine:
  models:
    - name: demo
      path: $top/etc/demo.gguf
EOF
    set -- -c "$dir/tollgate.yaml"
}
say "tollgate $* on http://$address"
env -u TOLLGATE_CONFIG "$build/tollgate" "$@" 2>"$dir/tollgate.log" &
gate=$!
await "$gate" curl -fsS "http://$address/readyz"

tollctl="$build/tollctl --socket $dir/tollgate/control.sock"
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
        -d '{"model":"demo","stream":true,"temperature":0,
             "messages":[{"role":"user","content":"Who are you?"}]}'
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
    -d '{"model":"demo","stream":true,"messages":[{"role":"user","content":"What is a river?"}]}'
$tollctl top
EOF
wait "$gate"
