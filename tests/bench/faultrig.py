"""What the runs of faults.py stand on: providers that fail when they are told
to, a daemon before them that can be killed, and traces of load.

All times are of the monotonic clock, which the programs share: seconds here,
microseconds in what the programs print.
"""

import http.client
import json
import math
import os
import re
import statistics
import subprocess
import threading
import time

import run

TRACE_CONNS = 4000
LOST, UNANSWERED, UNSENT = 0, -1, -2

CONFIG = """listen:
  - address: 127.0.0.1:{port}
state_dir: {dir}/state
control_socket: {dir}/control.sock
workers: 2
log:
  level: note
  access: {dir}/access.log
"""

BODY = {"model": "bench", "messages": [{"role": "user", "content":
                                        "Tell me about the fox."}]}
STREAM = {**BODY, "stream": True, "max_tokens": 5, "seed": 1,
          "stream_options": {"include_usage": True}}


class Provider:
    """A b_provider; say() makes it misbehave as its source tells."""

    def __init__(self, bench):
        self.child = bench.start(
            [bench.program("tests/bench/b_provider")],
            stdout=subprocess.PIPE, text=True, bufsize=1)
        self.port = int(self.child.stdout.readline())

    def say(self, *words):
        """Returns when it was told."""
        self.child.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.child.stdin.flush()
        return time.monotonic()

    def log(self):
        """What came since the last call; moments in seconds."""
        self.say("log")
        all_ = json.loads(self.child.stdout.readline())
        for name in ("connections", "requests"):
            all_[name] = [us / 1e6 for us in all_[name]]
        return all_

    def signal(self, number):
        os.kill(self.child.pid, number)


class Record:
    """What became of one request of a trace; times in seconds."""

    __slots__ = ("at", "first", "total", "status", "good")

    def __init__(self, line):
        at, first, total, self.status, whole = map(int, line.split())
        self.at = at / 1e6
        self.first = first / 1e6 if first >= 0 else math.inf
        self.total = total / 1e6 if total >= 0 else math.inf
        self.good = self.status == 200 and whole == 1

    @property
    def end(self):
        return self.at + self.total


class Trace:
    """Load that runs until records() is asked for."""

    def __init__(self, bench, gate, seconds, rate, body, conns=TRACE_CONNS):
        self.child = subprocess.Popen(
            [bench.program("tests/bench/b_load"), "trace", str(gate.port),
             gate.key, str(conns), str(seconds), str(rate),
             json.dumps(body, separators=(",", ":"))],
            stdout=subprocess.PIPE, text=True)

    def records(self):
        out = self.child.communicate()[0]
        if self.child.returncode != 0:
            raise SystemExit("faults: the load generator failed")
        return [Record(line) for line in out.splitlines()]


class Gate:
    """The daemon, in a folder of its own and on a port that stays."""

    def __init__(self, bench, name, config, key_args=()):
        self.bench, self.dir = bench, os.path.join(bench.dir, name)
        os.mkdir(self.dir)
        self.port = run.free_port()
        self.config = os.path.join(self.dir, "tollgate.yaml")
        with open(self.config, "w", encoding="ascii") as f:
            f.write(CONFIG.format(dir=self.dir, port=self.port) + config)
        os.chmod(self.config, 0o600)
        self.start()
        self.key = self.ctl("key", "create", "--name", "bench",
                            *key_args)["key"]

    def start(self):
        with open(os.path.join(self.dir, "log"), "a", encoding="utf8") as log:
            self.child = self.bench.start(
                [self.bench.program("tollgate"), "-c", self.config],
                stdout=log, stderr=log)
        run.until("tollgate is up", lambda: self.ctl("status"))

    def ctl(self, *args):
        r = subprocess.run(
            [self.bench.program("tollctl"), "--socket",
             f"{self.dir}/control.sock", "--json", *args],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return json.loads(r.stdout) if r.stdout.strip() else None

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.bench.children.remove(self.child)

    def stop(self):
        self.child.terminate()
        code = self.child.wait(60)
        self.bench.children.remove(self.child)
        if code != 0:
            raise SystemExit(f"faults: tollgate ended with {code}")

    def metrics(self, conn=None):
        """{name with its labels: value}"""
        conn = conn or http.client.HTTPConnection("127.0.0.1", self.port, 10)
        conn.request("GET", "/metrics")
        text = conn.getresponse().read().decode()
        return {m[1]: float(m[2])
                for m in re.finditer(r"^([a-z]\S*) (\S+)$", text, re.M)}

    def rows(self):
        return self.ctl("ledger", "export")["data"]


class Watch(threading.Thread):
    """Reads metrics again and again; samples are (seconds, metrics)."""

    def __init__(self, gate, gap_s=0.02):
        super().__init__(daemon=True)
        self.gate, self.gap_s = gate, gap_s
        self.samples, self.over = [], threading.Event()

    def run(self):
        conn = None
        while not self.over.wait(self.gap_s):
            try:
                conn = conn or http.client.HTTPConnection(
                    "127.0.0.1", self.gate.port, timeout=10)
                all_ = self.gate.metrics(conn)
                self.samples.append((time.monotonic(), all_))
            except (OSError, http.client.HTTPException):
                conn = None

    def stop(self):
        self.over.set()
        self.join()
        return self.samples

    def first(self, since, test):
        """The moment of the first sample after one that passes."""
        return next((at for at, m in self.samples if at >= since and test(m)),
                    math.inf)


def quantile(values, q):
    if not values:
        return math.nan
    values = sorted(values)
    return values[min(len(values) - 1, math.ceil(q * len(values)) - 1)]


def counts(records):
    """How often each status was answered, most often first."""
    names = {LOST: "lost", UNANSWERED: "unanswered", UNSENT: "unsent"}
    all_ = {}
    for r in records:
        name = names.get(r.status, str(r.status))
        if r.status == 200 and not r.good:
            name = "200, broken off"
        all_[name] = all_.get(name, 0) + 1
    return ", ".join(f"{n} x {name}" for name, n in
                     sorted(all_.items(), key=lambda kv: -kv[1])) or "none"


def spread(values, digits=1, unit=""):
    """Median (least - most) of figures that may be missing."""
    values = [v for v in values if not math.isnan(v)]
    if not values:
        return "-"
    m = f"{statistics.median(values):,.{digits}f}{unit}"
    if len(values) == 1:
        return m
    return f"{m} ({min(values):,.{digits}f} - {max(values):,.{digits}f})"
