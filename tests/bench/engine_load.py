#!/usr/bin/env python3
"""What the engine's load does to the event loops: `make bench-engine-load`.

usage: engine_load.py BUILD_DIR REPORT [MODEL.gguf]

One daemon has a model of random weights in the shape of SmolLM2-135M and an
upstream, which is b_provider. b_load sends requests for the upstream at a
fixed rate, and measures each from the moment it was to be sent, by turns
while the engine rests and while it generates for eight streams. The daemon's
histogram of loop_delay_seconds tells how late its loops were in the same
spans. The load generator and the provider have the short time slice that the
daemon gives its own loops, so that it is not their delay that is measured;
"direct" shows what is left of it. BENCH_ROUNDS, BENCH_SECONDS and
BENCH_STREAMS of the environment change how much is done.
"""

import ctypes
import json
import os
import platform
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))
STREAMS = int(os.environ.get("BENCH_STREAMS", "8"))
RATE = 200
DEADLINE_S = 60
SLICE_NS = 100_000
LAG_MS, P99_MS = 5, 10
OWN = '{model="own"}'

CONFIG = """listen:
  - address: 127.0.0.1:0
state_dir: {dir}/state
control_socket: {dir}/control.sock
log:
  access: {dir}/access.log
engine:
  models:
    - name: own
      path: {model}
      slots: {streams}
upstreams:
  - name: provider
    base_url: http://127.0.0.1:{upstream}/v1
    models: ["bench*"]
"""


class SchedAttr(ctypes.Structure):
    """struct sched_attr of Linux, as far as it was in its first version."""
    _fields_ = [("size", ctypes.c_uint32), ("policy", ctypes.c_uint32),
                ("flags", ctypes.c_uint64), ("nice", ctypes.c_int32),
                ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64),
                ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64)]


def short_slice():
    """Gives the calling process the time slice of an event loop."""
    number = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
    attr = SchedAttr(size=ctypes.sizeof(SchedAttr), runtime=SLICE_NS)
    if number:
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(attr), 0)


def until(what, test):
    """The first true answer of test, asked again and again for a while."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = test()
        if answer:
            return answer
        time.sleep(0.05)
    raise SystemExit(f"bench: gave up waiting: {what}")


class Streams(threading.Thread):
    """Keeps so many streams of the engine going, and reads them."""

    def __init__(self, port, key, n):
        super().__init__(daemon=True)
        self.port, self.n = port, n
        self.over = False
        self.pick = selectors.DefaultSelector()
        body = json.dumps({
            "model": "own", "stream": True, "ignore_eos": True,
            "temperature": 0.7, "max_tokens": 2000,
            "messages": [{"role": "user", "content": "Tell me a story."}]})
        self.request = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {key}\r\nConnection: close\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port))
        s.sendall(self.request)
        self.pick.register(s, selectors.EVENT_READ)

    def run(self):
        for _ in range(self.n):
            self.connect()
        while not self.over:
            for key, _ in self.pick.select(0.2):
                if key.fileobj.recv(65536):
                    continue
                self.pick.unregister(key.fileobj)
                key.fileobj.close()
                self.connect()
        for key in list(self.pick.get_map().values()):
            key.fileobj.close()

    def stop(self):
        self.over = True
        self.join()


class Delays(threading.Thread):
    """Asks for the worst delay of any loop since the last asking, as often as
    the loops tick: each answer is the worse one of two ticks or so."""

    def __init__(self, bench):
        super().__init__(daemon=True)
        self.bench, self.over, self.ms = bench, threading.Event(), []

    def run(self):
        while not self.over.wait(0.1):
            self.ms.append(self.bench.metrics()["loop_lag_seconds"] * 1000)

    def stop(self):
        self.over.set()
        self.join()
        return self.ms


class Bench:
    def __init__(self, build, folder, model):
        self.build, self.dir = build, folder
        self.model = model
        self.children = []

    def program(self, name):
        return os.path.join(self.build, name)

    def start(self, argv, **options):
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, **options)
        self.children.append(child)
        return child

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def ctl(self, *args):
        out = subprocess.run(
            [self.program("tollctl"), "--socket", f"{self.dir}/control.sock",
             "--json", *args], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=False).stdout
        return json.loads(out) if out.strip() else None

    def open(self):
        if not self.model:
            self.model = os.path.join(self.dir, "135m-Q8_0.gguf")
            subprocess.run([self.program("tests/bench/mkgguf"), "135m",
                            "Q8_0", self.model], check=True)
        child = self.start([self.program("tests/bench/b_provider")],
                           stdout=subprocess.PIPE, text=True,
                           preexec_fn=short_slice)
        self.upstream = int(child.stdout.readline())
        path = os.path.join(self.dir, "tollgate.yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write(CONFIG.format(dir=self.dir, upstream=self.upstream,
                                  model=self.model, streams=STREAMS))
        os.chmod(path, 0o600)
        with open(os.path.join(self.dir, "log"), "w", encoding="ascii") as log:
            self.gate = self.start([self.program("tollgate"), "-c", path],
                                   stdout=log, stderr=log)
        status = until("tollgate is up", lambda: self.ctl("status"))
        self.port = int(status["listen"][0]["address"].rpartition(":")[2])
        self.key = self.ctl("key", "create", "--name", "bench")["key"]
        until("the model is loaded", self.ready)

    def ready(self):
        try:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.port}/readyz") as r:
                return r.status == 200
        except OSError:
            return False

    def metrics(self):
        with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/metrics") as r:
            text = r.read().decode()
        return {m[1]: float(m[2]) for m in
                re.finditer(r"^tollgate_(\S+) (\S+)$", text, re.M)}

    def load(self, port, key):
        argv = [self.program("tests/bench/b_load"), "open", str(port), key,
                "16", str(SECONDS), str(RATE)]
        r = json.loads(subprocess.run(argv, check=True, preexec_fn=short_slice,
                                      stdout=subprocess.PIPE).stdout)
        if r["errors"]:
            raise SystemExit(f"bench: {r}")
        return [r[q] / 1000 for q in ("p50_us", "p99_us", "max_us")]

    def busy(self):
        return self.metrics()["engine_batch" + OWN] == STREAMS

    def span(self, busy):
        """One measured span: figures by name."""
        streams = Streams(self.port, self.key, STREAMS) if busy else None
        if streams:
            streams.start()
            until("all streams run", self.busy)
        direct = self.load(self.upstream, "none")
        before, at, stolen = self.metrics(), time.monotonic(), stolen_s()
        worst = Delays(self)
        worst.start()
        own = self.load(self.port, self.key)
        worst = worst.stop()
        after = self.metrics()
        took = time.monotonic() - at
        if streams:
            streams.stop()
            until("the engine rests",
                  lambda: self.metrics()["engine_batch" + OWN] == 0)
        return {"direct": direct, "proxied": own,
                "tokens": after["engine_tokens_per_second" + OWN],
                "worst": worst,
                "lag": delays(before, after), "stolen": stolen_s() - stolen,
                "took": took}


def delays(before, after):
    """Counts of loop delays between two scrapes, by upper bound in s."""
    pattern = re.compile(r'loop_delay_seconds_bucket\{le="([^"]+)"\}')
    out, below = {}, 0
    for name, value in after.items():
        m = pattern.fullmatch(name)
        if m:
            n = value - before.get(name, 0)
            out[float(m[1])] = n - below
            below = n
    return out


def quantile_ms(counts, q):
    """Upper bound of the bucket that the quantile is in."""
    want, below = q * sum(counts.values()), 0
    for bound in sorted(counts):
        below += counts[bound]
        if below >= want:
            return bound * 1000
    return 0


def stolen_s():
    """Seconds that the machine's host kept processors of this one."""
    with open("/proc/stat", encoding="ascii") as f:
        return int(f.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def show(values, digits=2):
    """Median (least - most)."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f} - {max(values):.{digits}f})")


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        found = re.search(r"^model name\s*: (.*)$", f.read(), re.M)
    return found[1] if found else platform.machine()


def commit():
    out = subprocess.run(
        ["git", "-C", os.path.dirname(__file__) or ".", "describe",
         "--always", "--dirty", "--abbrev=12"], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return out.strip() or "unknown"


def latencies(spans):
    lines = ["| engine | request | p50 ms | p99 ms | most ms |",
             "|---|---|---|---|---|"]
    for busy, of in spans.items():
        for path in ("direct", "proxied"):
            cells = [show([s[path][i] for s in of]) for i in range(3)]
            lines.append(f"| {'8 streams' if busy else 'rests'} | {path} | "
                         .replace("8", str(STREAMS)) +
                         " | ".join(cells) + " |")
    return lines


def exact(values, q):
    """A quantile of single values."""
    return sorted(values)[int(q * (len(values) - 1) + 0.5)]


def all_of(spans, figure):
    return [v for s in spans for v in s[figure]]


def loop_delays(spans):
    lines = ["| engine | samples | p50 ms | p99 ms | of a round | most ms | "
             "ticks | p99 of their histogram, at most ms | tokens/s |",
             "|---|---|---|---|---|---|---|---|---|"]
    for busy, of in spans.items():
        every = {}
        for s in of:
            for bound, n in s["lag"].items():
                every[bound] = every.get(bound, 0) + n
        worst = all_of(of, "worst")
        lines.append(
            f"| {f'{STREAMS} streams' if busy else 'rests'} | {len(worst)} | "
            f"{exact(worst, 0.5):.2f} | {exact(worst, 0.99):.2f} | "
            f"{show([exact(s['worst'], 0.99) for s in of])} | "
            f"{max(worst):.2f} | "
            f"{sum(every.values()):.0f} | {quantile_ms(every, 0.99):.3f} | "
            f"{show([s['tokens'] for s in of], 0)} |")
    return lines


def report(spans, began):
    busy = spans[True]
    lag = exact(all_of(busy, "worst"), 0.99)
    p99 = statistics.median([s["proxied"][1] for s in busy])
    stolen = sum(s["stolen"] for of in spans.values() for s in of)

    def verdict(value, most):
        return "reached" if value < most else "not reached"

    return "\n".join([
        "# Event loops under the engine's load", "",
        f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit "
        f"{commit()}",
        f"- {cpu_name()}, {os.cpu_count()} processors, Linux "
        f"{platform.release()}",
        f"- n = {ROUNDS} rounds of {SECONDS:g} s each, {RATE} requests/s, "
        f"{STREAMS} streams; median (least - most)",
        f"- load average {began[0]:.2f} before and {os.getloadavg()[0]:.2f} "
        f"after; the host kept processors for {stolen:.1f} s meanwhile", "",
        "One daemon with a model of random weights (135M, Q8_0) and an "
        "upstream; the", "provider, the load generator and the reader of the "
        "streams share the processors", "with it. direct: the provider "
        "without the daemon before it. `make",
        "bench-engine-load` makes this page.", "",
        "| target | here | |", "|---|---|---|",
        f"| loop delay p99 < {LAG_MS} ms | {lag:.2f} ms | "
        f"{verdict(lag, LAG_MS)} |",
        f"| proxied requests' p99 < {P99_MS} ms | {p99:.2f} ms | "
        f"{verdict(p99, P99_MS)} |", "",
        "## Requests, from the moment they were to be sent", "",
        *latencies(spans), "", "## Loops, ten ticks a second each", "",
        *loop_delays(spans), "",
        "A sample is the worst of the ticks of all loops since the sample "
        "before, so its", "quantiles lie above those of the ticks; of the "
        "histogram the upper bound of the", "bucket is known."]) + "\n"


def main():
    build, target = os.path.abspath(sys.argv[1]), sys.argv[2]
    model = sys.argv[3] if len(sys.argv) > 3 else None
    began = os.getloadavg()
    spans = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="tg-bench-") as folder:
        bench = Bench(build, folder, model)
        try:
            bench.open()
            for i in range(ROUNDS):
                print(f"bench: round {i + 1} of {ROUNDS}", flush=True)
                for busy in (i % 2 == 1, i % 2 == 0):
                    spans[busy].append(bench.span(busy))
        finally:
            bench.stop()
    text = report(spans, began)
    print(text)
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
