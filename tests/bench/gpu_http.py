#!/usr/bin/env python3
"""What is left of a GPU's speed behind HTTP, and what stored prefixes save.

usage: gpu_http.py [options] BUILD_DIR

A daemon serves a model of random weights that is in no file. Streams of 1, 8
and 64 clients run at once: tokens a second while all of them run, beside what
b_gpu finds for as many sequences. Then time to the first token of a long
prompt: cold, once more (memory), from a second daemon over the same store, and
after a restart. Rows of CSV go to the standard output, with the columns of
tests/bench/gpu_row.h.
"""

import argparse
import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import engine_load  # noqa: E402
import prefix_ttft  # noqa: E402
from engine_load import until  # noqa: E402

COLUMNS = ("what,model,type,how,batch,context,n,ms_median,ms_min,ms_max,"
           "tok_s,gb_s,tflop_s,from,to,note")
TAIL = 16  # tokens behind a prefix that is looked up

CONFIG = """listen:
  - address: 127.0.0.1:0
state_dir: {dir}/state
control_socket: {dir}/control.sock
log:
  access: {dir}/access.log
engine:
  models:
    - name: own
      path: "synthetic:{model}"
      device: {device}
      slots: {slots}
      context: {context}
      prefix_store: {stored}
  prefix_store:
    dir: {store}
    size: {size}
    scope: shared
"""


class Row:
    """Writes rows about one model."""

    def __init__(self, args):
        shape, _, kind = args.model.partition(":")
        self.about = f"{shape},{(kind or 'bf16').upper()}"
        print(COLUMNS, flush=True)

    def put(self, what, how, batch, context, s, tokens, span, note=""):
        ms = [1000 * v for v in s]
        mid = statistics.median(ms)
        print(f"{what},{self.about},{how},{batch},{context},{len(s)},"
              f"{mid:.4f},{min(ms):.4f},{max(ms):.4f},"
              f"{1000 * tokens / mid:.1f},,,{span[0]:.3f},{span[1]:.3f},{note}",
              flush=True)


class Gate(prefix_ttft.Gate):
    """A daemon with the model on a device."""

    def __init__(self, args, folder, slots, context, store=""):
        os.makedirs(folder, exist_ok=True)
        engine_load.Bench.__init__(self, args.build, folder, args.model)
        self.keys = {}
        self.stored = bool(store)
        self.path = os.path.join(folder, "tollgate.yaml")
        with open(self.path, "w", encoding="ascii") as f:
            f.write(CONFIG.format(
                dir=folder, model=args.model, device=args.device, slots=slots,
                context=context, stored="true" if store else "false",
                store=store or f"{folder}/store", size=args.store_size))
        os.chmod(self.path, 0o600)

    def open(self):
        with open(os.path.join(self.dir, "log"), "a", encoding="ascii") as log:
            gate = self.start([self.program("tollgate"), "-c", self.path],
                              stdout=log, stderr=log)

        def up():
            if gate.poll() is not None:
                raise SystemExit("bench: tollgate ended")
            return self.ctl("status")

        try:
            status = until("tollgate is up", up)
            address = status["listen"][0]["address"]
            self.port = int(address.rpartition(":")[2])
            until("the model is loaded", self.ready)
            if self.stored:
                until("the store is open",
                      lambda: self.number("prefix_store_up") == 1)
        except SystemExit:
            with open(os.path.join(self.dir, "log"), encoding="utf-8") as f:
                sys.stderr.write(f.read()[-4000:])
            raise


# --- streams ----------------------------------------------------------------

class Stream:
    """One client's reply: when each part of it came."""

    def __init__(self, port, request):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = time.perf_counter()
        self.sock.sendall(request)
        self.sock.setblocking(False)
        self.events, self.rest = [], b""  # (time, tokens so far)
        self.n = 0

    def read(self):
        """False when the reply is over."""
        part = self.sock.recv(1 << 18)
        if not part:
            return False
        text = self.rest + part
        cut = text.rfind(b"\n") + 1
        self.rest = text[cut:]
        self.n += text[:cut].count(b'"choices":[{')
        self.events.append((time.perf_counter(), self.n))
        return True


def request_of(gate, prompt, tokens):
    body = json.dumps({
        "model": "own", "prompt": prompt, "max_tokens": tokens,
        "stream": True, "temperature": 0, "ignore_eos": True}).encode()
    return ("POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {gate.key('bench')}\r\n"
            "Connection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def rate(streams, tokens):
    """Seconds a token of each stream while all run: from the moment when the
    last one began to when the first one ended. And whether they ran at once;
    if not, it is from the first request to the last token."""
    began = max(next(t for t, n in s.events if n > 0) for s in streams)
    ended = min(s.events[-1][0] for s in streams)
    total = 0.0
    for s in streams:
        first = max([n for t, n in s.events if t <= began], default=0)
        last = max([n for t, n in s.events if t <= ended], default=0)
        total += (last - first) * tokens / s.n  # events may hold several
    if ended > began and total >= len(streams):
        return (ended - began) * len(streams) / total, True
    ended = max(s.events[-1][0] for s in streams)
    return (ended - min(s.began for s in streams)) / tokens, False


def run_streams(gate, prompts, tokens):
    pick = selectors.DefaultSelector()
    streams = [Stream(gate.port, request_of(gate, p, tokens))
               for p in prompts]
    for s in streams:
        pick.register(s.sock, selectors.EVENT_READ, s)
    left = len(streams)
    while left:
        for key, _ in pick.select(120):
            if not key.data.read():
                pick.unregister(key.fileobj)
                key.fileobj.close()
                left -= 1
    if any(s.n < 1 for s in streams):
        raise SystemExit("bench: a stream failed")
    return rate(streams, tokens)


def decode(args, row, folder):
    rng = random.Random(1)
    gate = Gate(args, folder, max(args.clients),
                args.prompt + args.tokens + 64)
    try:
        gate.open()
        for n in args.clients:
            s = []
            for k in range(args.samples + 1):
                if k == 1:
                    began = time.time()
                prompts = [prompt_of(args, rng, args.prompt)
                           for _ in range(n)]
                s.append(run_streams(gate, prompts, args.tokens))
            at_once = all(yes for _, yes in s[1:])
            row.put("http decode", "streams", n, args.prompt,
                    [t for t, _ in s[1:]], n, (began, time.time()),
                    "" if at_once else "streams did not run at once")
    finally:
        gate.close()


def raw(args):
    """b_gpu's figures of as many sequences about as far on."""
    out = subprocess.run(
        [os.path.join(args.build, "tests/bench/b_gpu"), "-d", args.device,
         "-b", ",".join(map(str, args.clients)), "-c",
         str(args.prompt + args.tokens // 2), "-p", "0", "-r", "0", "-n",
         str(max(args.samples, 5)), args.model], stdout=subprocess.PIPE,
        text=True, check=False)
    for line in out.stdout.splitlines():
        if line.startswith("decode,"):
            print(line, flush=True)
    if out.returncode:
        print(f"# b_gpu ended with {out.returncode}", flush=True)


# --- the first token --------------------------------------------------------

def prompt_of(args, rng, n):
    return [rng.randrange(256, args.vocab) for _ in range(n)]


def text_of(answer):
    return "".join(text for text, _ in answer)


def apart(a, b):
    """The greatest difference of log probabilities while texts agree."""
    far = 0.0
    for (text_a, of_a), (text_b, of_b) in zip(a, b):
        if text_a != text_b:
            break
        if of_a and of_b:
            far = max([far] + [abs(x - y) for x, y in zip(
                of_a["token_logprobs"], of_b["token_logprobs"])])
    return far


def first_tokens(args, row, folder):
    rng = random.Random(2)
    store = os.path.join(folder, "store")
    gates = [Gate(args, os.path.join(folder, name), 2, args.ttft + 1024, store)
             for name in ("one", "two")]
    times = {c: [] for c in ("cold", "memory", "store", "restart")}
    far = {c: 0.0 for c in times}
    same = {c: True for c in times}
    prompts = [prompt_of(args, rng, args.ttft + TAIL)
               for _ in range(args.samples + 1)]
    first = []

    def ask(case, gate, i):
        ms, cached, answer = gate.ask(prompts[i])
        if case == "cold":
            first.append(answer)
        else:
            same[case] &= text_of(answer) == text_of(first[i])
            far[case] = max(far[case], apart(answer, first[i]))
        if i > 0:  # the first one warms up
            times[case].append((ms / 1000, cached))

    began = time.time()
    try:
        for gate in gates:
            gate.open()
        for i in range(len(prompts)):
            ask("cold", gates[0], i)
            ask("memory", gates[0], i)
            gates[0].settle()
        for i in range(len(prompts)):
            ask("store", gates[1], i)
        gates[0].close()
        gates[0].open()
        for i in range(len(prompts)):
            ask("restart", gates[0], i)
    finally:
        for gate in gates:
            gate.close()
    for case, of in times.items():
        reused = sorted({c for _, c in of})
        note = (f"reused {' '.join(map(str, reused))}; "
                f"{'the same' if same[case] else 'another'} text; log "
                f"probabilities at most {far[case]:.2g} apart")
        row.put(f"ttft {case}", "http", 1, args.ttft, [s for s, _ in of],
                args.ttft, (began, time.time()), note)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--device", default="cuda:0")
    p.add_argument("--model", default="llama-3.1-8b:bf16")
    p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("--clients", default="1,8,64")
    p.add_argument("--prompt", type=int, default=128)
    p.add_argument("--tokens", type=int, default=256)
    p.add_argument("--ttft", type=int, default=8192,
                   help="tokens of a prompt, 0: leave that part out")
    p.add_argument("--samples", type=int, default=5)
    p.add_argument("--store-size", default="24GiB")
    p.add_argument("build")
    args = p.parse_args()
    args.build = os.path.abspath(args.build)
    args.clients = [int(n) for n in args.clients.split(",") if int(n)]
    row = Row(args)
    with tempfile.TemporaryDirectory(prefix="tg-bench-") as folder:
        if args.clients:
            decode(args, row, os.path.join(folder, "decode"))
            raw(args)
        if args.ttft:
            first_tokens(args, row, folder)


if __name__ == "__main__":
    main()
