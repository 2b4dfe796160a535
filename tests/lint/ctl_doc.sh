#!/bin/sh
# usage: ctl_doc.sh TOLLCTL
# Fails when `tollctl help` and tollctl(8) do not tell the same commands and
# options.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
man=$top/doc/man/tollctl.8
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail=0

# Compare two lists; what only one of them has is a fault.
compare() {
    sort -u "$2" -o "$2"
    sort -u "$3" -o "$3"
    if ! diff "$2" "$3" >"$tmp/diff"; then
        echo "ctl_doc: $1 (< tollctl help, > tollctl.8):" >&2
        grep '^[<>]' "$tmp/diff" | sed 's/^/    /' >&2
        fail=1
    fi
}

"$1" help >"$tmp/help"
# A command's name ends where its arguments, in capitals, or two blanks begin.
sed -n 's/^  \([a-z]\)/\1/p' "$tmp/help" |
    sed 's/  .*//; s/ [A-Z].*//' >"$tmp/commands"
sed -n 's/^\.It Ic //p' "$man" | sed 's/ \(Ar\|O[op]\) .*//' >"$tmp/man.commands"
compare commands "$tmp/commands" "$tmp/man.commands"

sed -n 's/^      \[\(--[a-z-]*\).*/\1/p' "$tmp/help" >"$tmp/options"
{
    # Options of all commands alike.
    echo --socket
    echo --json
} >>"$tmp/options"
grep -o 'Fl Fl [a-z-]*' "$man" | sed 's/Fl Fl /--/' >"$tmp/man.options"
compare options "$tmp/options" "$tmp/man.options"
exit $fail
