#!/bin/sh
# usage: conf_doc.sh [BUILDDIR]
# Fails when the option table, etc/tollgate.yaml and the man page
# tollgate.yaml(5) do not tell the same keys, defaults and flags.
# BUILDDIR (default: build, else the current one) holds tests/lint/conf_dump.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-}
if [ -z "$build" ]; then
    build=$top/build
    [ -x "$build/tests/lint/conf_dump" ] || build=.
fi
dump=$build/tests/lint/conf_dump
sample=$top/etc/tollgate.yaml
man=$top/doc/man/tollgate.yaml.5
[ -x "$dump" ] || { echo "conf_doc: no $dump; build it first" >&2; exit 1; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail=0

# Compare two sorted lists; what only one of them has is a fault.
compare() {
    if ! diff "$2" "$3" >"$tmp/diff"; then
        echo "conf_doc: $1 (< table, > document):" >&2
        grep '^[<>]' "$tmp/diff" | sed 's/^/    /' >&2
        fail=1
    fi
}

"$dump" >"$tmp/table"
cut -f1 "$tmp/table" | sort >"$tmp/keys"
# key, default: only keys that have one
awk -F'\t' '$3 != "" { print $1 "\t" $3 }' "$tmp/table" | sort >"$tmp/defaults"
cut -f1,2 "$tmp/table" | sort >"$tmp/types"
# key, flag: rows of maps and of keys alike
awk -F'\t' '{ n = split($5, f, " ")
    for (i = 1; i <= n; i++) if (f[i] != "-") print $1 "\t" f[i] }' \
    "$tmp/table" | sort >"$tmp/flags"

# --- the sample: "#key: value" lines, nested by indentation; a list may go on
# in the next line -----------------------------------------------------------
awk '
list != "" {
    sub(/^# */, ""); list = list " " $0
    if (/]$/) { print list; list = "" }
    next
}
/: \[.*,$/ { list = $0; next }
{ print }
' "$sample" >"$tmp/lines"
awk '
/^#([a-z]|  )/ {
    line = substr($0, 2)
    match(line, /^ */); depth = RLENGTH
    text = substr(line, depth + 1)
    item = 0
    if (text ~ /^- /) { item = 1; depth += 2; text = substr(text, 3) }
    comment = ""
    if (match(text, / +# /)) {
        comment = substr(text, RSTART + RLENGTH)
        text = substr(text, 1, RSTART - 1)
    }
    colon = index(text, ":")
    key = substr(text, 1, colon - 1)
    value = substr(text, colon + 1)
    sub(/^ +/, "", value)
    while (n > 0 && at[n] >= depth) n--
    if (item && n > 0) list[n] = 1
    path = ""
    for (i = 1; i <= n; i++) path = path name[i] (list[i] ? "[]" : "") "."
    n++; at[n] = depth; name[n] = key; list[n] = 0
    example = comment ~ /^example/ ? "example" : "default"
    print path key "\t" example "\t" value
}' "$tmp/lines" >"$tmp/sample"
# A list shows itself by its entries, also where the table takes one map.
cut -f1 "$tmp/sample" | sort -u >"$tmp/sample.keys"
compare "keys of etc/tollgate.yaml" "$tmp/keys" "$tmp/sample.keys"
awk -F'\t' '$2 == "default" && $3 != "" { print $1 "\t" $3 }' "$tmp/sample" |
    sort -u >"$tmp/sample.defaults"
compare "defaults of etc/tollgate.yaml" "$tmp/defaults" "$tmp/sample.defaults"

# --- the man page: ".It Ic KEY Pq TYPE", "Default:" and ".Cm VALUE", two sentences --
awk '
/^\.It Ic / {
    key = $3; type = $0; sub(/.* Pq /, "", type)
    print "key\t" key "\t" type; want = 0; next
}
/^\.Sh /    { key = "" }
key == ""   { next }
/^Default:$/ { want = 1; next }
want && /^\.(Cm|Pa) / {
    value = $0
    sub(/^\.(Cm|Pa) /, "", value); sub(/ \.$/, "", value)
    gsub(/\\\(dq/, "\"", value)
    print "default\t" key "\t" value; want = 0
}
/^No effect yet\.$/    { print "flag\t" key "\tlater" }
/^Needs a restart\.$/  { print "flag\t" key "\trestart" }
/^Required\.$/         { print "flag\t" key "\trequired" }
' "$man" >"$tmp/man"
awk -F'\t' '$1 == "key" { print $2 "\t" $3 }' "$tmp/man" | sort \
    >"$tmp/man.types"
compare "keys and types of tollgate.yaml.5" "$tmp/types" "$tmp/man.types"
awk -F'\t' '$1 == "default" { print $2 "\t" $3 }' "$tmp/man" | sort \
    >"$tmp/man.defaults"
compare "defaults of tollgate.yaml.5" "$tmp/defaults" "$tmp/man.defaults"
awk -F'\t' '$1 == "flag" { print $2 "\t" $3 }' "$tmp/man" | sort \
    >"$tmp/man.flags"
compare "flags of tollgate.yaml.5" "$tmp/flags" "$tmp/man.flags"

if command -v mandoc >/dev/null 2>&1; then
    # a page that is not installed here is no fault of this one
    mandoc -Tlint "$man" | grep -v 'referenced manual not found' >&2 && fail=1
fi
exit $fail
