#!/usr/bin/env python3
"""Time to the first token with prefixes on disk: `make bench-prefix`.

usage: prefix_ttft.py BUILD_DIR REPORT [MODEL.gguf]

A model of random weights in the shape of SmolLM2-135M answers prompts of token
ids. Each round draws new prompts and asks for each of them

  cold      never seen before
  memory    once more
  store     of a second daemon over the same store, which never computed it
  restart   after a restart of the first
  from disk after a restart, the store's files dropped from the page cache

and every answer must be that of the first time, with the same log
probabilities. Then another key asks for prompts that the first key stored and
for prompts that nobody did, by turns: a rank test tells whether the time to
the first token tells them apart. BENCH_ROUNDS, BENCH_TOKENS (a list),
BENCH_PAIRS and BENCH_PAIR_TOKENS of the environment change how much is done.
"""

import ctypes
import json
import math
import mmap
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import engine_load
from engine_load import commit, cpu_name, show, stolen_s, until

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SIZES = [int(n) for n in
         os.environ.get("BENCH_TOKENS", "256 1024 2048 8144").split()]
PAIRS = int(os.environ.get("BENCH_PAIRS", "60"))
PAIR_TOKENS = int(os.environ.get("BENCH_PAIR_TOKENS", "256"))
SHAPE, TYPE = "135m", os.environ.get("BENCH_TYPE", "F16")
TAIL = 16    # tokens behind the prefix: one page, of which none is reused
VOCAB = 40000
BAR_TOKENS, BAR = 2048, 20
CASES = ["cold", "memory", "store", "restart", "from disk"]

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
      slots: 2
  prefix_store:
    dir: {store}
    size: 8GiB
    scope: {scope}
"""


class Gate(engine_load.Bench):
    """A daemon over a store."""

    def __init__(self, build, folder, model, store, scope):
        super().__init__(build, folder, model)
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "tollgate.yaml")
        with open(self.path, "w", encoding="ascii") as f:
            f.write(CONFIG.format(dir=folder, model=model, store=store,
                                  scope=scope))
        os.chmod(self.path, 0o600)
        self.keys = {}

    def open(self):
        with open(os.path.join(self.dir, "log"), "a", encoding="ascii") as log:
            self.start([self.program("tollgate"), "-c", self.path],
                       stdout=log, stderr=log)
        status = until("tollgate is up", lambda: self.ctl("status"))
        self.port = int(status["listen"][0]["address"].rpartition(":")[2])
        until("the model is loaded", self.ready)
        until("the store is open", lambda: self.number("prefix_store_up") == 1)

    def close(self):
        self.stop()
        self.children = []

    def key(self, name):
        if name not in self.keys:
            made = self.ctl("key", "create", "--name", name)
            self.keys[name] = made["key"]
        return self.keys[name]

    def number(self, name):
        return self.metrics().get(name + engine_load.OWN)

    def settle(self):
        """Waits until nothing computes and all that was offered is stored."""
        until("all is stored", lambda: self.number("prefix_queued_bytes") == 0
              and self.number("engine_batch") == 0)

    def ask(self, tokens, key="bench"):
        """Milliseconds to the first token, tokens reused, the answer."""
        body = json.dumps({
            "model": "own", "prompt": tokens, "max_tokens": 4, "stream": True,
            "temperature": 0, "logprobs": 3, "ignore_eos": True,
            "stream_options": {"include_usage": True}}).encode()
        head = ("POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {self.key(key)}\r\n"
                "Connection: close\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began, first, text = time.perf_counter(), None, b""
            s.sendall(head + body)
            while True:
                part = s.recv(1 << 16)
                if not part:
                    break
                text += part
                if first is None and b'"choices":[{' in text:
                    first = time.perf_counter()
        return parse(text, None if first is None else (first - began) * 1000)


def parse(text, ms):
    """What Gate.ask() gives, of a whole reply."""
    answer, cached = [], None
    for line in text.decode().splitlines():
        at = line.find("data: {")
        if at < 0:
            continue
        event = json.loads(line[at + 6:])
        if event.get("usage"):
            cached = event["usage"]["prompt_tokens_details"]["cached_tokens"]
        answer += [(c["text"], c["logprobs"]) for c in event["choices"]]
    if ms is None or cached is None or not answer:
        raise SystemExit(f"bench: no answer: {text[:2000]!r}")
    return ms, cached, answer


# --- the page cache ---------------------------------------------------------

def store_files(store):
    return [os.path.join(at, name) for at, _, names in os.walk(store)
            for name in names if name == "data.mdb"]


def drop_cache(store):
    """Drops the store's files from the page cache; the share that stayed."""
    stay = total = 0
    for path in store_files(store):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        pages = resident(fd)
        os.close(fd)
        stay += sum(pages)
        total += len(pages)
    return stay / max(total, 1)


def resident(fd):
    """Whether each page of a file is in the page cache."""
    size = os.fstat(fd).st_size
    page = mmap.PAGESIZE
    n = (size + page - 1) // page
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                          ctypes.c_int, ctypes.c_int, ctypes.c_long]
    at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    out = (ctypes.c_ubyte * n)()
    libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), out)
    libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size))
    return [b & 1 for b in out]


# --- how long each case takes -----------------------------------------------

class Times:
    """Figures by size and case."""

    def __init__(self):
        self.ms = {(n, c): [] for n in SIZES for c in CASES}
        self.stayed = []

    def ask(self, gate, case, n, prompt, first=None):
        """Asks and keeps the figure; the answer, which must be <first>'s."""
        ms, cached, answer = gate.ask(prompt)
        want = 0 if case == "cold" else n
        if cached != want:
            raise SystemExit(f"bench: {case}, {n} tokens: {cached} of {want} "
                             "tokens were reused")
        if first is not None and answer != first:
            raise SystemExit(f"bench: {case}, {n} tokens: another answer: "
                             f"{answer} instead of {first}")
        self.ms[n, case].append(ms)
        return answer


def prompt_of(rng, n):
    return [rng.randrange(1000, VOCAB) for _ in range(n + TAIL)]


def time_round(rng, one, two, store, times):
    order = SIZES[:]
    rng.shuffle(order)
    prompts = {n: prompt_of(rng, n) for n in order}
    first = {n: times.ask(one, "cold", n, prompts[n]) for n in order}
    one.settle()
    for case, gate in (("memory", one), ("store", two)):
        for n in order:
            times.ask(gate, case, n, prompts[n], first[n])
    one.close()
    one.open()
    for n in order:
        times.ask(one, "restart", n, prompts[n], first[n])
    one.close()
    two.close()
    times.stayed.append(drop_cache(store))
    one.open()
    for n in order:
        times.ask(one, "from disk", n, prompts[n], first[n])
    two.open()


# --- whether another's prefix can be told -----------------------------------

def rank_test(a, b):
    """Mann and Whitney: the share of pairs in which a value of <a> is the
    smaller one, and the probability of a share as odd without a difference."""
    both = sorted([(x, 0) for x in a] + [(x, 1) for x in b])
    ranks = 0.0
    at = 0
    while at < len(both):
        end = at
        while end < len(both) and both[end][0] == both[at][0]:
            end += 1
        mean = (at + 1 + end) / 2
        ranks += mean * sum(1 for i in range(at, end) if both[i][1] == 1)
        at = end
    n, m = len(a), len(b)
    u = ranks - m * (m + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return u / (n * m), math.erfc(abs(z) / math.sqrt(2))


def sign_test(a, b):
    """Pairs in which <a> is smaller, of all, and the probability."""
    less, n = sum(x < y for x, y in zip(a, b)), len(a)
    far = abs(less - n / 2)
    p = sum(math.comb(n, k) for k in range(n + 1) if abs(k - n / 2) >= far)
    return less, min(p / 2 ** n, 1.0)


def time_tenants(rng, gate):
    """Times of prompts that another key stored, and of new ones."""
    theirs = [prompt_of(rng, PAIR_TOKENS) for _ in range(PAIRS)]
    for prompt in theirs:
        gate.ask(prompt, "tenant")
    gate.settle()
    seen, unseen = [], []
    for prompt in theirs:
        turn = [(seen, prompt), (unseen, prompt_of(rng, PAIR_TOKENS))]
        rng.shuffle(turn)
        for into, what in turn:
            ms, cached, _ = gate.ask(what, "stranger")
            if cached:
                raise SystemExit("bench: another key's prefix was reused")
            into.append(ms)
    own = [gate.ask(p, "tenant") for p in theirs[:10]]
    if any(cached != PAIR_TOKENS for _, cached, _ in own):
        raise SystemExit("bench: a key does not find what it stored")
    return seen, unseen, [ms for ms, _, _ in own]


# --- the page ---------------------------------------------------------------

def table(times):
    lines = ["| prefix | " + " | ".join(f"{c}, ms" for c in CASES) +
             " | cold / restart | cold / from disk |",
             "|---" * (len(CASES) + 3) + "|"]
    for n in SIZES:
        mid = {c: statistics.median(times.ms[n, c]) for c in CASES}
        lines.append(f"| {n:,} | " +
                     " | ".join(show(times.ms[n, c], 1) for c in CASES) +
                     f" | {mid['cold'] / mid['restart']:.1f} "
                     f"| {mid['cold'] / mid['from disk']:.1f} |")
    return lines


def verdict(times):
    if BAR_TOKENS not in SIZES:
        return []
    ratio = (statistics.median(times.ms[BAR_TOKENS, "cold"]) /
             statistics.median(times.ms[BAR_TOKENS, "restart"]))
    return ["| target | here | |", "|---|---|---|",
            f"| {BAR_TOKENS:,} tokens after a restart: at most 1/{BAR} of cold "
            f"| 1/{ratio:.1f} | {'' if ratio >= BAR else 'not '}reached |", ""]


def tenants(seen, unseen, own):
    share, p = rank_test(seen, unseen)
    less, sign_p = sign_test(seen, unseen)
    return [
        "## Another key's prefix", "",
        f"{PAIRS} pairs of prompts of {PAIR_TOKENS} tokens, by turns in random "
        "order: one that", "another key stored, one that nobody did.", "",
        "| prompt | ms |", "|---|---|",
        f"| stored by another key | {show(seen, 2)} |",
        f"| never seen | {show(unseen, 2)} |",
        f"| its own, stored | {show(own, 2)} |", "",
        f"Rank test (Mann-Whitney): area under the curve {share:.3f} (0.5: "
        f"nothing to tell), p = {p:.2f}.",
        f"Sign test of the pairs: the other's was faster in {less} of "
        f"{len(seen)}, p = {sign_p:.2f}."]


def report(times, pairs, began):
    return "\n".join([
        "# Time to the first token with prefixes on disk", "",
        f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit "
        f"{commit()}",
        f"- {cpu_name()}, {os.cpu_count()} processors, Linux "
        f"{platform.release()}",
        f"- n = {ROUNDS} rounds; median (least - most)",
        f"- load average {began[0][0]:.2f} before and {os.getloadavg()[0]:.2f} "
        f"after; the host kept processors for {stolen_s() - began[1]:.1f} s "
        "meanwhile", "",
        f"A model of random weights ({SHAPE}, {TYPE}), f16 keys and values: "
        "23,040 bytes a token.", "A prompt is a prefix and "
        f"{TAIL} tokens behind it. store: a second daemon over the same",
        "store, which never computed the prompt; restart: the first requests "
        "after the daemon", "was stopped and started again; from disk: the "
        "same, when the store's files were dropped", "from the page cache "
        f"(at most {100 * max(times.stayed):.1f} % stayed). All answers were "
        "those of the cold request,", "log probabilities included, and "
        "`cached_tokens` was the prefix. `make bench-prefix`", "makes this "
        "page.", "", *verdict(times), *table(times), "",
        *tenants(*pairs)]) + "\n"


def main():
    build, target = os.path.abspath(sys.argv[1]), sys.argv[2]
    model = sys.argv[3] if len(sys.argv) > 3 else None
    began = os.getloadavg(), stolen_s()
    rng = random.Random(20260101)
    times = Times()
    with tempfile.TemporaryDirectory(prefix="tg-bench-") as folder:
        if not model:
            model = os.path.join(folder, f"{SHAPE}-{TYPE}.gguf")
            subprocess.run([os.path.join(build, "tests/bench/mkgguf"), SHAPE,
                            TYPE, model], check=True)
        store = os.path.join(folder, "store")
        gates = [Gate(build, os.path.join(folder, name), model, store,
                      "shared") for name in ("one", "two")]
        apart = Gate(build, os.path.join(folder, "apart"), model,
                     os.path.join(folder, "own"), "key")
        try:
            for gate in gates:
                gate.open()
            for i in range(ROUNDS):
                print(f"bench: round {i + 1} of {ROUNDS}", flush=True)
                time_round(rng, *gates, store, times)
            for gate in gates:
                gate.close()
            print("bench: another key", flush=True)
            apart.open()
            pairs = time_tenants(rng, apart)
        finally:
            for gate in gates + [apart]:
                gate.close()
    text = report(times, pairs, began)
    print(text)
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
