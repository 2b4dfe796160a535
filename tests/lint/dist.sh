#!/bin/sh
# usage: dist.sh TARBALL
# Fails when a file of the repository is missing from the release.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

[ -e "$top/.git" ] || { echo "dist: no repository to compare with"; exit 0; }
tar -tzf "$1" | sed 's|^[^/]*/||; /\/$/d; /^$/d' | sort >"$tmp/has"
git -C "$top" ls-files | grep -v '^\.gitignore$' | sort >"$tmp/wants"
comm -13 "$tmp/has" "$tmp/wants" >"$tmp/missing"
if [ -s "$tmp/missing" ]; then
    echo "dist: missing from the release; name them in an EXTRA_DIST:" >&2
    sed 's/^/    /' "$tmp/missing" >&2
    exit 1
fi
echo "dist: the release is whole ($(wc -l <"$tmp/has") files)"
