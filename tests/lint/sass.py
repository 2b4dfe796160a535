#!/usr/bin/env python3
"""Reads the machine code of the CUDA kernels and asserts what speed depends on.

usage: sass.py [--page PAGE] CUBIN...

Each CUBIN is a file of one target, NAME.sm_80.cubin or NAME.sm_90a.cubin,
beside NAME...cubin.txt: what `ptxas -v` said of it. For every kernel RULES say
which instructions must be there and which must not. --page writes a table of
registers, shared memory, spills and instructions in Markdown. Needs no tools of
NVIDIA's: sections of the ELF file are runs of instructions of 16 bytes, whose
lowest 12 bits are the operation. Exits with 1 when something is wrong.
"""
import collections
import datetime
import fnmatch
import os
import re
import struct
import sys

# Operations by their lowest 12 bits, for sm_80 and sm_90a. Not all there are:
# those that are asserted and those that a reader wants to see.
OPS = {
    0x23c: "HMMA", 0x83b: "LDSM", 0xfae: "LDGSTS", 0x981: "LDG",
    0x986: "STG", 0x984: "LDS", 0x988: "STS", 0x388: "STS", 0x983: "LDL",
    0x387: "STL", 0x82e: "ACQBULK", 0x82d: "PREEXIT", 0xb1d: "BAR",
    0xf89: "SHFL", 0x308: "MUFU", 0x223: "FFMA",
}
WIDTH_128 = 6  # what bits 73..75 of LDG, LDS and STG hold for 16 bytes

# What kernels must have. A kernel is asked for by each row that its name fits,
# and each row must fit some kernel:
#   mma    least HMMA instructions
#   wide   least LDG of 16 bytes
#   copies least LDGSTS, copies to shared memory in the background
#   matrix least LDSM, loads of whole fragments
#   local  whether LDL and STL (spills, indexed local arrays) are allowed; the
#          last row that says something of it counts
# Attention multiplies a tile of 64 keys: HMMA of a row of warps are
# 2 * (width / 16) * (64 / 8), which are the figures here.
RULES = [
    ("*", dict(local=False)),
    ("tg_gemv_*", dict(mma=8, wide=16)),
    ("tg_gemv_q*", dict(mma=16)),
    ("tg_gemv_fp8", dict(mma=16)),
    ("tg_gemm_*16", dict(mma=16, copies=8)),
    ("tg_gemm_q*", dict(mma=16, wide=8, copies=8)),
    ("tg_gemm_fp8*", dict(mma=16, wide=8, copies=8)),
    ("tg_decode_*_64", dict(mma=16, copies=16, matrix=8)),
    ("tg_decode_*_128", dict(mma=32, copies=32, matrix=16)),
    ("tg_prefill_*_64_*", dict(mma=64, copies=8, matrix=32)),
    ("tg_prefill_*_128_*", dict(mma=128, copies=16, matrix=64)),
    ("tg_prefill_*_256_*", dict(mma=128)),
    ("tg_norm_*", dict(wide=4)),
    ("tg_silu_*", dict(wide=2)),
]


class Kernel:
    """One kernel for one target."""

    def __init__(self, name, target):
        self.name, self.target = name, target
        self.ops = collections.Counter()
        self.wide = self.narrow = self.n = 0
        self.said = {}  # of ptxas: registers, smem, stack, spill

    def count(self, code):
        self.n = len(code) // 16
        for at in range(0, len(code), 16):
            low, high = struct.unpack_from("<QQ", code, at)
            op = OPS.get(low & 0xfff)
            if not op:
                continue
            self.ops[op] += 1
            if op == "LDG":
                if (high >> 9) & 7 == WIDTH_128:
                    self.wide += 1
                else:
                    self.narrow += 1


def sections(data):
    """(name, bytes) of each section of an ELF file of 64 bits."""
    if data[:5] != b"\x7fELF\x02":
        raise SystemExit("sass: not an ELF file of 64 bits")
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, n, names = struct.unpack_from("<HHH", data, 0x3a)
    rows = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size)
            for i in range(n)]
    base = rows[names][4]
    for row in rows:
        end = data.index(b"\0", base + row[0])
        yield data[base + row[0]:end].decode(), data[row[4]:row[4] + row[5]]


def read_ptxas(path):
    """What `ptxas -v` said of each kernel."""
    said, name = {}, None
    if not os.path.exists(path):
        return said
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            if m := re.search(r"Compiling entry function '(\w+)'", line):
                name = m.group(1)
                said[name] = dict(registers=0, smem=0, stack=0, spill=0)
            elif name and (m := re.search(
                    r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                    r"(\d+) bytes spill loads", line)):
                said[name]["stack"] = int(m.group(1))
                said[name]["spill"] = int(m.group(2)) + int(m.group(3))
            elif name and (m := re.search(r"Used (\d+) registers", line)):
                said[name]["registers"] = int(m.group(1))
                if m := re.search(r"(\d+) bytes smem", line):
                    said[name]["smem"] = int(m.group(1))
                name = None
    return said


def read_cubin(path):
    """The kernels of one file."""
    m = re.search(r"\.(sm_\w+)\.cubin$", path)
    if not m:
        raise SystemExit(f"sass: {path}: its name tells no target")
    with open(path, "rb") as f:
        data = f.read()
    said = read_ptxas(path + ".txt")
    for name, code in sections(data):
        if name.startswith(".text."):
            k = Kernel(name[len(".text."):], m.group(1))
            k.count(code)
            k.said = said.get(k.name, {})
            yield k


def check(k):
    """What is wrong with a kernel."""
    want, local = collections.Counter(), False
    for pattern, rule in RULES:
        if not fnmatch.fnmatchcase(k.name, pattern):
            continue
        local = rule.get("local", local)
        for key in ("mma", "wide", "copies", "matrix"):
            want[key] = max(want[key], rule.get(key, 0))
    has = dict(mma=k.ops["HMMA"], wide=k.wide, copies=k.ops["LDGSTS"],
               matrix=k.ops["LDSM"])
    for key, least in want.items():
        if has[key] < least:
            yield f"{has[key]} {key}, not {least} or more"
    if not local and k.ops["LDL"] + k.ops["STL"]:
        yield f"{k.ops['LDL']} LDL and {k.ops['STL']} STL: local memory"
    if not local and k.said.get("spill"):
        yield f"{k.said['spill']} bytes of spills"
    if k.target >= "sm_90" and not k.ops["ACQBULK"]:
        yield "it never waits for the kernel before it (pdl_wait)"


def page(kernels, path):
    """Write the table."""
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"# What kernels are compiled to, {day}\n\n"
                "By `ptxas -v` and the machine code (`tests/lint/sass.py`): "
                "registers of a\nthread, static shared memory and spills in "
                "bytes, then instructions: all, HMMA,\nLDSM, LDGSTS, LDG of "
                "16 bytes and others, LDL and STL, the wait for the kernel\n"
                "before and the word to the next.\n\n"
                "| kernel | target | registers | shared | spills | all | mma "
                "| ldsm | cp.async | ldg 16 | ldg | local | wait | go |\n"
                "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
        for k in sorted(kernels, key=lambda k: (k.name, k.target)):
            s, o = k.said, k.ops
            f.write(f"| {k.name} | {k.target} | {s.get('registers', '?')} | "
                    f"{s.get('smem', '?')} | {s.get('spill', '?')} | {k.n} | "
                    f"{o['HMMA']} | {o['LDSM']} | {o['LDGSTS']} | {k.wide} | "
                    f"{k.narrow} | {o['LDL'] + o['STL']} | {o['ACQBULK']} | "
                    f"{o['PREEXIT']} |\n")


def main(args):
    out = None
    if args[:1] == ["--page"]:
        out, args = args[1], args[2:]
    if not args:
        raise SystemExit(__doc__)
    kernels = [k for path in args for k in read_cubin(path)]
    bad = 0
    for k in kernels:
        for what in check(k):
            print(f"sass: {k.name} ({k.target}): {what}")
            bad += 1
    for pattern, _ in RULES:
        if not any(fnmatch.fnmatchcase(k.name, pattern) for k in kernels):
            print(f"sass: no kernel is called {pattern}: a rule is out of date")
            bad += 1
    if out:
        page(kernels, out)
    print(f"sass: {len(kernels)} kernels, {bad} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
