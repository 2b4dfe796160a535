#!/bin/sh
# usage: gpu_check.sh BUILD OUT
# Tests a GPU with the programs of BUILD, a folder that was built in or one of
# contrib/gpu-bundle.sh: every tk_cuda_* of tests/kernels, models on the CPU
# beside the same models on the GPU, a daemon end to end, and the kernels under
# compute-sanitizer, where there is one. A line a step; OUT gets check.log, what they said, and
# check.csv. What fails does not keep the others from running; exits with 1 when
# anything failed. No step is begun after CHECK_S (480) seconds.
set -u

[ $# -eq 2 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
build=$(cd "$1" && pwd) || exit 2
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 2
top=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
data=${TOLLGATE_TEST_DATA:-$top/../shared/data}
begin=$(date +%s)
all=${CHECK_S:-480}
failed=0
passed=0
left=0

# Tests take the GPU there is, not the emulated one.
export TG_TEST_GPU=1 TOLLGATE_TEST_DATA="$data" srcdir="$top"

: >"$out/check.log"
echo "step,seconds,result" >"$out/check.csv"

# tell RESULT SECONDS NAME: a line of result.
tell() {
    printf '%-9s %4ds  %s\n' "$1" "$2" "$3"
    printf '"%s",%d,%s\n' "$3" "$2" "$1" >>"$out/check.csv"
    case $1 in
    ok) passed=$((passed + 1)) ;;
    FAILED) failed=$((failed + 1)) ;;
    *) left=$((left + 1)) ;;
    esac
}

# step NAME SECONDS COMMAND...: run it, at most so long.
step() {
    name=$1
    limit=$2
    shift 2
    now=$(date +%s)
    if [ $((now - begin)) -ge "$all" ]; then
        tell "left out" 0 "$name"
        return
    fi
    printf '\n== %s\n' "$name" >>"$out/check.log"
    timeout -k 5 "$limit" "$@" >"$out/step.tmp" 2>&1
    rc=$?
    # A test that prints a lot is not worth a full disk.
    tail -c 200000 "$out/step.tmp" >>"$out/check.log"
    took=$(($(date +%s) - now))
    case $rc in
    0) tell ok "$took" "$name" ;;
    77) tell skipped "$took" "$name" ;;
    124 | 137) tell FAILED "$took" "$name (not done in $limit s)" ;;
    *)
        tell FAILED "$took" "$name (exit $rc)"
        tail -n 12 "$out/step.tmp" | sed 's/^/           | /'
        ;;
    esac
}

# info NAME COMMAND...: what is said goes to the log alone.
info() {
    printf '\n== %s\n' "$1" >>"$out/check.log"
    shift
    timeout 20 "$@" >>"$out/check.log" 2>&1
}

# --- the machine ---

info "machine" sh -c 'uname -srm; getconf GNU_LIBC_VERSION'
if command -v nvidia-smi >/dev/null; then
    info "device" nvidia-smi
    info "device, in detail" nvidia-smi -q -d CLOCK,POWER,PCIE,ECC,MEMORY
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
fi

step "a GPU that can be used" 100 "$build/tests/bench/b_gpu_same" -n 1 \
    synthetic:tiny:bf16
[ "$failed" -eq 0 ] || { rm -f "$out/step.tmp"; exit 1; }

# --- operations ---

for t in "$build"/tests/kernels/tk_cuda_*; do
    case $t in
    *.o | *.log | *.trs | *.c | *'*') continue ;;
    esac
    [ -f "$t" ] && [ -x "$t" ] && step "${t##*/}" 120 "$t"
done

# --- whole models ---

# same ARGUMENTS...: the GPU beside the CPU.
same() {
    step "same $(printf '%s ' "$@" | sed "s|$data/models/||; s|$top/etc/||; s| \$||")" \
        120 "$build/tests/bench/b_gpu_same" "$@"
}

if [ -r "$data/models/stories260K.gguf" ]; then
    same -n 200 "$data/models/stories260K.gguf"
    same -n 40 -s 9 "$data/models/stories260K.gguf"
else
    tell "left out" 0 "same stories260K.gguf: it is not in $data/models"
fi
same -n 200 "$top/etc/demo.gguf"
for t in f32 f16 bf16 q8_0 q4_0 q4_k q5_k q6_k; do
    same -n 64 -s 3 "synthetic:tiny:$t"
done
same -n 64 synthetic:tiny-qwen2:bf16
same -n 64 synthetic:tiny-qwen3:bf16
# An emulated GPU would take an hour for this one.
[ -n "${TOLLGATE_CUDA_DRIVER:-}" ] ||
    same -n 32 -s 16 synthetic:smollm2-135m:bf16

# --- end to end ---

stories=$data/models/stories260K.gguf
[ -r "$stories" ] || stories=$top/etc/demo.gguf
tokens=100
[ -z "${TOLLGATE_CUDA_DRIVER:-}" ] || tokens=12 # an emulated GPU
if command -v python3 >/dev/null; then
    step "end to end" 120 python3 "$top/tests/gpu_e2e.py" --model "$stories" \
        --tokens $tokens "$build"
else
    tell "left out" 0 "end to end: there is no python3"
fi
# With the clients that people use, where they were installed.
if [ -d "$top/tests/e2e/node_modules" ] && command -v node >/dev/null; then
    step "end to end, suites" 300 env E2E_DEVICE=cuda:0 E2E_REPORTER=dot \
        TOLLGATE_BUILD="$build" "$top/tests/e2e/run.sh" \
        engine-chat.test.mjs engine-text.test.mjs engine-states.test.mjs \
        engine-types.test.mjs
else
    tell "left out" 0 "end to end, suites: no clients in tests/e2e/node_modules"
fi

# --- under compute-sanitizer ---

# under TOOL TEST: run the test under the tool. In a bundle the program itself
# is behind a script, which would be run under the tool in its place.
under() {
    if [ -d "$build/libexec" ]; then
        env LD_LIBRARY_PATH="$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
            timeout -k 5 90 compute-sanitizer --tool "$1" --error-exitcode 99 \
            "$build/libexec/$2"
    else
        timeout -k 5 90 compute-sanitizer --tool "$1" --error-exitcode 99 \
            "$build/tests/kernels/$2"
    fi
}

# sanitize TOOL TEST: what takes too long is no failure.
sanitize() {
    [ -x "$build/tests/kernels/$2" ] || return
    now=$(date +%s)
    if [ $((now - begin)) -ge "$all" ]; then
        tell "left out" 0 "$1 $2"
        return
    fi
    printf '\n== %s %s\n' "$1" "$2" >>"$out/check.log"
    under "$1" "$2" >"$out/step.tmp" 2>&1
    rc=$?
    tail -c 200000 "$out/step.tmp" >>"$out/check.log"
    took=$(($(date +%s) - now))
    case $rc in
    0) tell ok "$took" "$1 $2" ;;
    124 | 137) tell "left out" "$took" "$1 $2: not done in 90 s" ;;
    *)
        tell FAILED "$took" "$1 $2 (exit $rc)"
        grep '=====' "$out/step.tmp" | head -n 12 | sed 's/^/           | /'
        ;;
    esac
}

# Whether the tool can watch this device at all.
sanitizer_works() {
    under memcheck tk_cuda_rows >"$out/step.tmp" 2>&1
    ! grep -qi 'device not supported' "$out/step.tmp"
}

if [ -n "${TOLLGATE_CUDA_DRIVER:-}" ]; then
    tell "left out" 0 "compute-sanitizer: the driver is not a GPU's"
elif ! command -v compute-sanitizer >/dev/null; then
    tell "left out" 0 "compute-sanitizer: there is none"
elif ! sanitizer_works; then
    tell "left out" 0 "compute-sanitizer: it cannot watch this device"
else
    for t in rows heads linear attend sample; do
        sanitize memcheck "tk_cuda_$t"
    done
    for t in rows heads linear attend sample; do
        sanitize racecheck "tk_cuda_$t"
    done
fi

rm -f "$out/step.tmp"
printf '%d passed, %d failed, %d left out\n' "$passed" "$failed" "$left"
[ "$failed" -eq 0 ]
