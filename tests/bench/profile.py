#!/usr/bin/env python3
"""Tells where the instructions of a request go: `make bench-profile`.

usage: profile.py BUILD_DIR REPORT

tollgate runs under callgrind between the scripted provider and the load of
`make bench`: small chat requests on 32 connections. An instruction belongs to
the part whose code it is; one of the C library, or of a library that only
tollgate's own code calls, belongs to the part that called. Instructions are
counted in user space only and do not depend on what else the machine does;
they are no times: the kernel's work and waiting for memory are not in them.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run

SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))

# Who does what for a request, in the order of its way.
PARTS = (
    ("front", "sockets, HTTP/1.1 parser, replies"),
    ("admit, account", "the key's digest and its record; the usage row"),
    ("prompt", "which body, what may be changed in it"),
    ("serve", "route, target, the attempt"),
    ("upstream", "around libcurl: options, headers, deadlines, the reply"),
    ("libcurl", "request, connection, reply"),
    ("relay", "head and body to the client"),
    ("settle", "the bill, the access log line, metrics"),
    ("wire", "JSON and HTTP texts, for all of the above"),
    ("exchange, base", "stages, memory, clocks, buffers"),
    ("store", "the ledger's thread: rows into LMDB"),
    ("libevent", "the loop"),
    ("other", "start of threads, daemon, the rest"),
)
FOLDERS = {"front": "front", "admit": "admit, account",
           "account": "admit, account", "prompt": "prompt", "serve": "serve",
           "upstream": "upstream", "relay": "relay", "settle": "settle",
           "wire": "wire", "exchange": "exchange, base",
           "base": "exchange, base", "store": "store"}
LIBRARIES = (("libcurl", "libcurl"), ("libevent", "libevent"),
             ("liblmdb", "store"))


def part_of(ob, fl):
    """The part of a function, or None when it works for its caller."""
    folder = re.search(r"/src/(\w+)/[^/]+\.[ch]$", fl)
    if folder:
        return FOLDERS.get(folder.group(1), "other")
    for name, part in LIBRARIES:
        if name in ob:
            return part
    return None


class Profile:
    """The sums of a callgrind file."""

    def __init__(self, path):
        self.names = {}
        self.cost = {}
        self.total = 0
        with open(path, encoding="utf-8", errors="replace") as f:
            self.read(f)

    def name(self, kind, text):
        """A name, which is written out only the first time."""
        m = re.match(r"\((\d+)\)(?: (.*))?$", text)
        if not m:
            return text
        if m.group(2) is not None:
            self.names[kind, m.group(1)] = m.group(2)
        return self.names[kind, m.group(1)]

    def add(self, part, n):
        self.cost[part] = self.cost.get(part, 0) + n

    def read(self, f):
        ob = fl = cob = cfl = ""
        called = False
        for line in f:
            key, _, text = line.rstrip("\n").partition("=")
            if key == "ob":
                ob = self.name("ob", text)
            elif key in ("fl", "fi", "fe"):
                fl = self.name("fl", text)
            elif key == "fn":
                cob, cfl = ob, fl
            elif key == "cob":
                cob = self.name("ob", text)
            elif key in ("cfi", "cfl"):
                cfl = self.name("fl", text)
            elif key == "calls":
                called = True
            elif line[:1] in "0123456789+-*" and line.strip():
                self.count(int(line.split()[1]), called, ob, fl, cob, cfl)
                if called:
                    called, cob, cfl = False, ob, fl

    def count(self, n, called, ob, fl, cob, cfl):
        part = part_of(ob, fl)
        if not called:
            self.total += n
            if part:
                self.add(part, n)
        elif part and not part_of(cob, cfl):
            self.add(part, n)


def is_idle(pid):
    """Whether what a start leaves to be done is done."""
    before = run.cpu_us(pid)
    time.sleep(1)
    return run.cpu_us(pid) - before < 20000


def measure(build, folder):
    bench = run.Bench(build, folder)
    out = os.path.join(folder, "callgrind.out")
    own = bench.start
    bench.start = lambda argv, **o: own(
        ["valgrind", "--tool=callgrind", "--instr-atstart=no",
         f"--callgrind-out-file={out}", *argv]
        if argv[0].endswith("/tollgate") else argv, **o)
    try:
        bench.direct()
        gate = bench.tollgate()
        control = ["callgrind_control", "--instr=on", str(gate.child.pid)]
        bench.load(gate, "closed", run.CONNS, 1)
        run.until("tollgate is idle", lambda: is_idle(gate.child.pid))
        subprocess.run(control, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        n = bench.load(gate, "closed", run.CONNS, SECONDS)["requests"]
    finally:
        bench.stop()
    return n, Profile(out), gate.version


def report(build, n, profile, version):
    commit = run.first_line(["git", "-C", os.path.dirname(__file__) or ".",
                             "describe", "--always", "--dirty",
                             "--abbrev=12"])
    lines = [
        "# Where the instructions of a request go", "",
        f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit "
        f"{commit}, {version}, built with `{run.cflags(build)}`",
        f"- {run.model()}, under "
        f"{run.first_line(['valgrind', '--version'])}; n = {n:,} requests", "",
        *__doc__.split("\n\n")[2].split("\n"),
        "| part | what | instructions a request | share |",
        "|---|---|---|---|"]
    rest = profile.total - sum(profile.cost.values())
    profile.add("other", rest)
    for part, what in PARTS:
        c = profile.cost.get(part, 0)
        lines.append(f"| {part} | {what} | {c / n:,.0f} | "
                     f"{100 * c / profile.total:.1f} % |")
    lines.append(f"| all | | {profile.total / n:,.0f} | |")
    return "\n".join(lines) + "\n"


def main():
    build, target = os.path.abspath(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory(prefix="tg-bench-") as folder:
        text = report(build, *measure(build, folder))
    print(text)
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
