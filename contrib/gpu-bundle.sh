#!/bin/sh
# usage: gpu-bundle.sh BUILD OUT PROGRAM...
# Makes the folder OUT for a machine with a GPU that lacks this tree: the
# PROGRAMs of the folder BUILD, the libraries that they need, models and
# scripts, and run.sh, which tests and measures. Needs binutils; the folder is
# at most 60 MiB, or this fails. OUT.tar.xz is the same in a quarter of that,
# where there is xz: "tar -xJf" or "python3 -m tarfile -e" unpacks it.
#
# The C library is not in it, nor the compiler's: the driver's library and
# cuBLASLt come from the machine, were linked with its C library, and a process
# has but one. A program runs on any C library that is not older than the one it
# was built with, so run.sh compares the two. Where that fails, build on an
# older system.
set -eu

[ $# -ge 3 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
build=$(cd "$1" && pwd)
out=$2
shift 2
top=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
data=${TOLLGATE_TEST_DATA:-$top/../shared/data}
most_kib=$((60 * 1024))

rm -rf "$out"
mkdir -p "$out/lib" "$out/libexec" "$out/etc" "$out/data/models" \
    "$out/tests/kernels" "$out/tests/bench"
out=$(cd "$out" && pwd)

# wrap PROGRAM: itself into libexec, a script that starts it where it was.
wrap() {
    name=${1##*/}
    strip -o "$out/libexec/$name" "$build/$1"
    up=$(dirname "$1" | sed 's|[^/.][^/]*|..|g')
    cat >"$out/$1" <<END
#!/bin/sh
top=\$(CDPATH= cd -- "\$(dirname -- "\$0")/$up" && pwd)
LD_LIBRARY_PATH=\$top/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec "\$top/libexec/$name" "\$@"
END
    chmod +x "$out/$1"
}

for p; do
    wrap "$p"
done

# What they are linked with, but for what is the machine's.
ldd "$out"/libexec/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    while read -r lib; do
        case ${lib##*/} in
        libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | \
            libresolv.so* | libutil.so* | libanl.so* | libnsl.so* | \
            libmvec.so* | ld-linux* | libgcc_s.so* | libstdc++.so*) ;;
        *) cp -L "$lib" "$out/lib/" ;;
        esac
    done
chmod u+w "$out"/lib/*

cp "$top"/tests/gpu_check.sh "$top"/tests/gpu_e2e.py "$out/tests/"
cp "$top"/tests/bench/*.py "$out/tests/bench/"
for f in "$top"/tests/bench/gpu_*.sh; do
    [ ! -f "$f" ] || cp "$f" "$out/tests/bench/"
done
cp "$top/etc/demo.gguf" "$top/etc/tollgate.yaml" "$out/etc/"
for m in stories260K.gguf stories260K.greedy.jsonl; do
    [ ! -r "$data/models/$m" ] || cp "$data/models/$m" "$out/data/models/"
done

git -C "$top" describe --always --dirty --abbrev=12 >"$out/COMMIT" 2>/dev/null ||
    rm -f "$out/COMMIT"

# The newest C library that any of it asks for.
objdump -T "$out"/libexec/* "$out"/lib/* 2>/dev/null |
    sed -n 's/.*(\{0,1\}GLIBC_\([0-9.]*\).*/\1/p' | sort -uV | tail -n 1 \
    >"$out/glibc"

cat >"$out/run.sh" <<'END'
#!/bin/sh
# usage: run.sh check-gpu|bench-gpu [OUT [SWITCH...]]
# Tests or measures this machine's GPU; results go to OUT (gpu-results). The
# switches are those of tests/bench/gpu_bench.sh. Needs
# the NVIDIA driver, cuBLASLt of a toolkit or of a Python package for prompts,
# and python3 for some measurements.
set -u
top=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
need=$(cat "$top/glibc")
have=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/.* //')
if [ "$(printf '%s\n' "$need" "${have:-0}" | sort -V | tail -n 1)" != \
    "${have:-0}" ]; then
    echo "run.sh: this needs glibc $need, here is ${have:-another C library}" >&2
    exit 2
fi
export TOLLGATE_TEST_DATA="$top/data"
what=${1:-}
results=${2:-gpu-results}
if [ $# -ge 2 ]; then shift 2; else shift $#; fi
case $what in
check-gpu) exec sh "$top/tests/gpu_check.sh" "$top" "$results" ;;
bench-gpu) exec sh "$top/tests/bench/gpu_bench.sh" "$@" "$top" "$results" ;;
esac
sed -n '2s/^# //p' "$0" >&2
exit 2
END
chmod +x "$out/run.sh"

kib=$(du -sk "$out" | cut -f1)
echo "gpu-bundle: $out: $((kib / 1024)) MiB, for glibc $(cat "$out/glibc") or later"
if [ "$kib" -gt "$most_kib" ]; then
    echo "gpu-bundle: more than $((most_kib / 1024)) MiB" >&2
    exit 1
fi
if command -v xz >/dev/null; then
    tar -C "$(dirname "$out")" -cf - "$(basename "$out")" | xz -4 >"$out.tar.xz"
    echo "gpu-bundle: $out.tar.xz: $(($(du -sk "$out.tar.xz" | cut -f1) / 1024)) MiB"
fi
