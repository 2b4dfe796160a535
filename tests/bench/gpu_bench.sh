#!/bin/sh
# usage: gpu_bench.sh [-s] [-d DEVICE] [-t SECONDS] BUILD OUT
# Measures a GPU in one go, within SECONDS (600), and writes into the directory
# OUT: bench.csv (rows of gpu_row.h), bench-clocks.csv, bench.log, and
# bench-page.md made of them. What matters most comes first; each part has a time limit of its own, a
# part that fails stops no other, and every row is in OUT as soon as it is
# known. -s: toy sizes, to see that all parts run; with
# TOLLGATE_CUDA_DRIVER=BUILD/tests/fakecuda.so without a GPU.
set -u

toy=no device=cuda:0 seconds=600
while getopts sd:t: o; do
    case $o in
    s) toy=yes ;;
    d) device=$OPTARG ;;
    t) seconds=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 2 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
build=$1 out=$2
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
bin=$build/tests/bench
python=${PYTHON:-python3}
mkdir -p "$out"
csv=$out/bench.csv log=$out/bench.log
: >"$csv"
end=$(($(date +%s) + seconds))
failed=0

{
    echo "date: $(date -u '+%Y-%m-%d %H:%M:%S') UTC"
    echo "commit: $(git -C "$here" describe --always --dirty --abbrev=12 \
        2>/dev/null || cat "$here/../../COMMIT" 2>/dev/null || echo '?')"
    echo "machine: $(uname -srm), $(nproc) processors"
    nvidia-smi -q -d CLOCK,POWER,PERFORMANCE,ECC 2>/dev/null
    nvidia-smi 2>/dev/null
} >"$log"
watch=
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu \
        --format=csv,noheader,nounits -lms 250 >"$out/bench-clocks.csv" &
    watch=$!
fi
trap '[ -z "$watch" ] || kill "$watch" 2>/dev/null' EXIT
trap 'exit 130' INT TERM

# part LIMIT COMMAND...: runs it for LIMIT seconds at most, less where less is
# left; the word SOFT is what the program itself should keep to.
part() {
    limit=$1
    shift
    left=$((end - $(date +%s)))
    [ "$limit" -le "$left" ] || limit=$left
    if [ "$limit" -lt 5 ]; then
        echo "gpu_bench: no time for: $*" | tee -a "$log"
        return
    fi
    echo "# $*" >>"$csv"
    echo "gpu_bench: $(date -u +%T) limit $limit s: $*" | tee -a "$log"
    timeout -k 5 "$limit" "$@" >>"$csv" 2>>"$log"
    rc=$?
    if [ $rc -ne 0 ]; then
        echo "gpu_bench: rc $rc: $*" | tee -a "$log"
        tail -n 3 "$log"
        failed=$((failed + 1))
    fi
}

b_gpu() {
    limit=$1
    shift
    part "$limit" "$bin/b_gpu" -d "$device" -t $((limit - 5)) "$@"
}

b_ops() {
    limit=$1
    shift
    part "$limit" "$bin/b_gpu_ops" -d "$device" -t $((limit - 5)) "$@"
}

http() {
    limit=$1
    shift
    part "$limit" "$python" "$here/gpu_http.py" --device "$device" "$@" "$build"
}

torch() {
    limit=$1
    shift
    part "$limit" "$python" "$here/gpu_transformers.py" \
        --seconds $((limit - 20)) "$@"
}

# without SWITCH: the steps of the first model with that switched off.
without() {
    eval "TOLLGATE_CUDA_$1=0; export TOLLGATE_CUDA_$1"
    b_gpu 20 -b 1,8,64 -c 2048 -p 0 -r 0 llama-3.1-8b:bf16
    unset "TOLLGATE_CUDA_$1"
}

all_parts() {
    b_ops 30 copy
    b_gpu 70 llama-3.1-8b:bf16
    b_gpu 45 -c 128,2048 -p 2048,8192 -r 0 llama-3.1-8b:q8_0
    b_gpu 45 -8 -c 128,2048 -p 2048,8192 -r 0 llama-3.1-8b:bf16
    http 75 --ttft 0
    http 75 --clients 0
    torch 120
    without PDL
    without RECORD
    b_gpu 45 -v -c 2048,8192 -p 8192 llama-3.1-8b:bf16
    b_gpu 30 --deterministic -b 1,64 -c 2048 -p 2048 -r 0 llama-3.1-8b:bf16
    b_gpu 20 -b 1,64 -c 2048 -p 0 -r 0 -e 0.8 llama-3.1-8b:bf16
    b_gpu 20 -b 1,64 -c 2048 -p 0 -r 0 -l llama-3.1-8b:bf16
    for t in q4_k q4_0; do
        b_gpu 45 -c 128,2048 -p 2048,8192 -r 0 "llama-3.1-8b:$t"
    done
    b_ops 30 attend
    b_ops 60 linear
    b_ops 15 rows
    for m in qwen3-8b:bf16 smollm2-1.7b:bf16 smollm2-135m:f16; do
        b_gpu 25 -b 1,64 -c 2048 -p 2048 -k 2048 -r 0 "$m"
    done
}

toy_parts() {
    b_ops 120 -s -n 1 -m 1,12 -y bf16,q8_0,q4_0,q4_k
    for t in bf16 q8_0 q4_0 q4_k; do
        b_gpu 60 -b 1,3 -c 70 -p 70 -k 48 -r 128 -n 1 "tiny:$t"
    done
    for off in PDL RECORD; do
        eval "TOLLGATE_CUDA_$off=0; export TOLLGATE_CUDA_$off"
        b_gpu 60 -b 2 -c 70 -p 0 -r 0 -n 1 tiny:f16
        unset "TOLLGATE_CUDA_$off"
    done
    b_gpu 60 -b 2 -c 70 -p 0 -r 0 -n 1 -e 0.8 tiny:bf16
    b_gpu 60 -b 2 -c 70 -p 0 -r 0 -n 1 -l tiny:bf16
    b_gpu 60 -8 -b 1,12 -c 70 -p 70 -k 48 -r 0 -n 1 tiny:bf16
    b_gpu 60 --deterministic -b 1,12 -c 70 -p 70 -k 48 -r 0 -n 1 tiny:bf16
    b_gpu 60 -v -b 1,12 -c 70 -p 70 -k 48 -r 128 -n 1 --synthetic tiny:bf16
    http 120 --model tiny:q8_0 --vocab 1024 --clients 1,2 --prompt 70 \
        --tokens 12 --ttft 256 --samples 1 --store-size 64MiB
    torch 30 --model tiny
}

if [ $toy = yes ]; then
    toy_parts
else
    all_parts
fi
[ -z "$watch" ] || kill "$watch" 2>/dev/null
"$python" "$here/gpu_page.py" "$out" >"$out/bench-page.md" 2>>"$log" ||
    failed=$((failed + 1))
echo "gpu_bench: $failed parts failed" | tee -a "$log"
[ $failed -eq 0 ]
