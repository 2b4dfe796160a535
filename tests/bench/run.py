#!/usr/bin/env python3
"""Compares tollgate with nginx and haproxy on this machine: `make bench`.

usage: run.py BUILD_DIR REPORT

Every contender stands before the same scripted provider (b_provider) and gets
the same load (b_load); "direct" is the provider without anything before it.
The contenders take turns within each round, so that a machine that changes
its speed changes it for all; a figure is the median of the rounds, and what
is "added" is taken against the direct figure of the same round. BENCH_ROUNDS,
BENCH_SECONDS and BENCH_STREAMS of the environment change how much is done.
"""

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
STREAMS = int(os.environ.get("BENCH_STREAMS", "5000"))
CONNS = 32
RATE = 2000
GAP_MS = 20
DEADLINE_S = 20
TICK = os.sysconf("SC_CLK_TCK")

NGINX = """daemon off;
worker_processes 1;
error_log {dir}/nginx-error.log;
pid {dir}/nginx.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
http {{
    access_log {dir}/nginx-access.log;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 100000000;
    client_max_body_size 64m;
    client_body_buffer_size 2m;
    upstream provider {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

HAPROXY = """global
    nbthread 1
    maxconn 9000
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option http-no-delay
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend f
    bind 127.0.0.1:{port}
    default_backend b
backend b
    http-reuse always
    server s 127.0.0.1:{upstream}
"""

TOLLGATE = """listen:
  - address: 127.0.0.1:0
state_dir: {dir}/state
control_socket: {dir}/control.sock
workers: 1
log:
  access: {dir}/tollgate-access.log
upstreams:
  - name: provider
    base_url: http://127.0.0.1:{upstream}/v1
    models: ["bench*"]
"""


def until(what, test):
    """The first true answer of test, asked again and again for a while."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = test()
        if answer:
            return answer
        time.sleep(0.02)
    raise SystemExit(f"bench: gave up waiting: {what}")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tree(pid):
    """A process and those that it started."""
    path = f"/proc/{pid}/task/{pid}/children"
    pids = [pid]
    with open(path, encoding="ascii") as f:
        for child in f.read().split():
            pids += tree(int(child))
    return pids


def cpu_us(pid):
    ticks = 0
    for p in tree(pid):
        with open(f"/proc/{p}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 1e6 / TICK


def rss_kib(pid):
    total = 0
    for p in tree(pid):
        with open(f"/proc/{p}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total


class Contender:
    """A program between load and provider, or the provider alone."""

    def __init__(self, name, version, child, port, key="none"):
        self.name, self.version = name, version
        self.child, self.port, self.key = child, port, key
        self.figures = {}

    def note(self, figure, value):
        self.figures.setdefault(figure, []).append(value)


class Bench:
    def __init__(self, build, folder):
        self.build, self.dir = build, folder
        self.children, self.notes = [], []

    def start(self, argv, **options):
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, **options)
        self.children.append(child)
        return child

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def program(self, name):
        return os.path.join(self.build, name)

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def direct(self):
        child = self.start([self.program("tests/bench/b_provider")],
                           stdout=subprocess.PIPE, text=True)
        self.upstream = int(child.stdout.readline())
        return Contender("direct", "", child, self.upstream)

    def other(self, name, config, argv, version):
        found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
        if not found:
            self.notes.append(f"{name} is not installed: no row for it.")
            print(f"bench: {name} is not installed, its row is left out")
            return None
        port = free_port()
        path = self.file(f"{name}.conf", config.format(
            dir=self.dir, port=port, upstream=self.upstream))
        text = subprocess.run([found, version], text=True, check=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT).stdout
        with open(os.path.join(self.dir, f"{name}.log"), "w") as log:
            child = self.start([found, *argv, path], stdout=log, stderr=log)
        until(f"{name} listens", lambda: accepts(port))
        return Contender(name, text.splitlines()[0], child, port)

    def ctl(self, *args):
        out = subprocess.run(
            [self.program("tollctl"), "--socket", f"{self.dir}/control.sock",
             "--json", *args], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=False).stdout
        return json.loads(out) if out.strip() else None

    def tollgate(self):
        path = self.file("tollgate.yaml", TOLLGATE.format(
            dir=self.dir, upstream=self.upstream))
        os.chmod(path, 0o600)
        with open(os.path.join(self.dir, "tollgate.log"), "w") as log:
            child = self.start([self.program("tollgate"), "-c", path],
                               stdout=log, stderr=log)
        status = until("tollgate is up", lambda: self.ctl("status"))
        port = int(status["listen"][0]["address"].rpartition(":")[2])
        key = self.ctl("key", "create", "--name", "bench")["key"]
        text = subprocess.run([self.program("tollgate"), "-V"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        version = text.partition(" (")[0]
        c = Contender("tollgate", version, child, port, key)
        c.idle_kib = rss_kib(child.pid)
        return c

    def load(self, c, mode, *args):
        argv = [self.program("tests/bench/b_load"), mode, str(c.port), c.key]
        out = subprocess.run(argv + [str(a) for a in args], check=True,
                             stdout=subprocess.PIPE).stdout
        result = json.loads(out)
        if result["errors"]:
            raise SystemExit(f"bench: {c.name}: {mode}: {result}")
        return result

    def round(self, contenders):
        base = {}
        for c in contenders:
            before = cpu_us(c.child.pid)
            r = self.load(c, "closed", CONNS, SECONDS)
            used = cpu_us(c.child.pid) - before
            c.note("rate", r["rate"])
            c.note("cpu", used / r["requests"])
        for name, mode, args in (
                ("open", "open", (64, SECONDS, RATE)),
                ("event", "stream", (50, SECONDS, GAP_MS)),
                ("big", "big", (1, SECONDS))):
            for c in contenders:
                r = self.load(c, mode, *args)
                for q in ("p50_us", "p99_us"):
                    figure = f"{name} {q}"
                    c.note(f"{figure} whole", r[q])
                    base.setdefault(figure, r[q])
                    c.note(figure, r[q] - base[figure])
        for c in contenders:
            c.note("rss", rss_kib(c.child.pid))

    def hold(self, c):
        """KiB of memory for each stream that stays open."""
        before = rss_kib(c.child.pid)
        child = subprocess.Popen(
            [self.program("tests/bench/b_load"), "hold", str(c.port), c.key,
             str(STREAMS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        r = json.loads(child.stdout.readline())
        after = rss_kib(c.child.pid)
        child.stdin.close()
        child.wait()
        if r["ready"] != STREAMS or r["errors"]:
            self.notes.append(f"{c.name}: of {STREAMS} streams {r['ready']} "
                              f"opened, {r['errors']} errors.")
        c.note("stream", (after - before) / max(r["ready"], 1))
        c.note("held", r["ready"])


def show(values, digits=0):
    """Median (least - most)."""
    m = statistics.median(values)
    return (f"{m:,.{digits}f} "
            f"({min(values):,.{digits}f} - {max(values):,.{digits}f})")


def first_line(argv):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, check=True,
                              stderr=subprocess.DEVNULL,
                              text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def table(contenders):
    columns = (("rate", "requests/s", 0), ("cpu", "CPU us/request", 1),
               ("rss", "RSS KiB", 0))
    lines = ["| | " + " | ".join(c[1] for c in columns) +
             " | rate / nginx |", "|---|" + "---|" * 4]
    nginx = next((c for c in contenders if c.name == "nginx"), None)
    for c in contenders:
        cells = [show(c.figures[f], d) for f, _, d in columns]
        cells.append(show(ratio(c, nginx), 2) if nginx else "-")
        lines.append(f"| {c.name} | " + " | ".join(cells) + " |")
    return lines


def ratio(c, nginx):
    return [a / b for a, b in zip(c.figures["rate"], nginx.figures["rate"])]


def added(contenders, figure):
    lines = ["| | p50 us | p99 us |", "|---|---|---|"]
    for c in contenders:
        tail = " whole" if c.name == "direct" else ""
        cells = [show(c.figures[f"{figure} {q}{tail}"])
                 for q in ("p50_us", "p99_us")]
        name = "direct, in all" if tail else f"{c.name}, added"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def targets(gate, nginx):
    def row(what, want, value, good):
        return (f"| {what} | {want} | {value} | "
                f"{'reached' if good else 'not reached'} |")

    median = {k: statistics.median(v) for k, v in gate.figures.items()}
    lines = ["| of tollgate | target | here | |", "|---|---|---|---|"]
    if nginx:
        r = statistics.median(ratio(gate, nginx))
        lines.append(row("throughput / nginx", ">= 0.4", f"{r:.2f}",
                         r >= 0.4))
    for q, most in (("p50_us", 120), ("p99_us", 400)):
        v = median[f"open {q}"]
        lines.append(row(f"added latency {q[:3]}", f"<= {most} us",
                         f"{v:.0f} us", v <= most))
    v = median["stream"]
    lines.append(row("memory per open stream", "<= 40 KiB", f"{v:.1f} KiB",
                     v <= 40 and median["held"] == STREAMS))
    v = gate.idle_kib / 1024
    lines.append(row("memory when idle", "<= 16 MiB", f"{v:.1f} MiB",
                     v <= 16))
    return lines


def busy_note(load):
    """What to think of the figures if the machine did other work too."""
    return (f"The machine did other work (load {load:.2f} on "
            f"{os.cpu_count()} processors before the start): p99 shows how "
            "long that kept a processor, for direct too, and judges no "
            "contender; the ratios are better than the figures.")


def report(bench, contenders, began):
    if began[0] > os.cpu_count() / 4:
        bench.notes.append(busy_note(began[0]))
    by_name = {c.name: c for c in contenders}
    gate, nginx = by_name["tollgate"], by_name.get("nginx")
    commit = first_line(["git", "-C", os.path.dirname(__file__) or ".",
                         "describe", "--always", "--dirty", "--abbrev=12"])
    text = [
        "# The gateway beside nginx and haproxy", "",
        f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, "
        f"commit {commit}, built with `{bench.cflags()}`",
        f"- {model()}, {os.cpu_count()} processors, Linux "
        f"{platform.release()}",
        *(f"- {c.name}: {c.version}" for c in contenders if c.version),
        f"- n = {ROUNDS} rounds of {SECONDS:g} s for each figure; median "
        "(least - most)",
        f"- load average {began[0]:.2f} before and "
        f"{os.getloadavg()[0]:.2f} after",
        *(f"- {n}" for n in bench.notes), "",
        "Provider, load generator and contender share the processors, and "
        "nothing is",
        "pinned: ratios and differences carry over to other machines, "
        "absolute figures",
        "do not. Every contender has one event loop, keeps connections alive "
        "on both",
        "sides and writes an access log to a file; tollgate also checks a "
        "key, reads the",
        "usage of each reply, writes a row to its ledger and counts metrics, "
        "which the",
        "two others do not. `make bench` makes this page.", "",
        "## Targets", "", *targets(gate, nginx), "",
        f"## {CONNS} connections, requests back to back", "",
        *table(contenders), "",
        "CPU and memory are of all processes of the contender; for direct, "
        "of the", "provider itself.", "",
        f"## {RATE:,} requests/s, latency from the intended moment", "",
        *added(contenders, "open"), "",
        f"## 50 streams, an event each {GAP_MS} ms: time from write to read",
        "", *added(contenders, "event"), "",
        "## Bodies of 1 MiB, one connection", "",
        *added(contenders, "big"), "",
        f"## {STREAMS:,} open streams", "", "| | KiB per stream | opened |",
        "|---|---|---|",
        *(f"| {c.name} | {statistics.median(c.figures['stream']):.1f} | "
          f"{c.figures['held'][0]:,} |" for c in contenders
          if c.name != "direct"), "",
        "After the load above, so memory that it left behind and that is "
        "used again does", "not count. n = 1."]
    return "\n".join(text) + "\n"


def cflags(build):
    with open(os.path.join(build, "Makefile"), encoding="utf-8") as f:
        for line in f:
            if line.startswith("CFLAGS ="):
                return line.partition("=")[2].strip()
    return "unknown"


def main():
    build, target = os.path.abspath(sys.argv[1]), sys.argv[2]
    began = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="tg-bench-") as folder:
        bench = Bench(build, folder)
        bench.cflags = lambda: cflags(build)
        try:
            contenders = [bench.direct()]
            contenders.append(bench.other("nginx", NGINX, ["-c"], "-v"))
            contenders.append(bench.other("haproxy", HAPROXY,
                                          ["-db", "-f"], "-v"))
            contenders.append(bench.tollgate())
            contenders = [c for c in contenders if c]
            for i in range(ROUNDS):
                print(f"bench: round {i + 1} of {ROUNDS}", flush=True)
                # direct stays first, the others change places
                others = contenders[1:]
                k = i % len(others)
                bench.round(contenders[:1] + others[k:] + others[:k])
            for c in contenders[1:]:
                bench.hold(c)
            text = report(bench, contenders, began)
        finally:
            bench.stop()
    print(text)
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
