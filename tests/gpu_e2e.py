#!/usr/bin/env python3
"""A daemon whose model is on a GPU, from end to end, where there is no Node.

usage: gpu_e2e.py [--device cuda:0] [--model FILE] [--tokens N] BUILD_DIR

What clients see of a model on a device: the text that the CPU gives, streams,
choices, schemas, vectors, many at once, prefixes that are found again in
memory, after a restart and after kill -9, clients that leave, mistakes. The
model is deterministic, so equal means equal. A line a check; 1 when any failed.
More of it, and with the clients that people use, is tests/e2e/run.sh with
E2E_DEVICE=cuda:0.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

DEADLINE_S = 60
PAGE = 64

CONFIG = """listen:
  - address: 127.0.0.1:0
state_dir: {dir}/state
control_socket: {dir}/control.sock
log:
  access: {dir}/access.log
engine:
  deterministic: true
  models:
    - name: own
      path: {model}
      device: {device}
      kv_dtype: {kv}
      slots: 16
  prefix_store:
    dir: {dir}/store
    size: 64MiB
"""


def until(what, test):
    """The first true answer of test, asked again and again for a while."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = test()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


class Gate:
    """A daemon with one model."""

    def __init__(self, args, folder, device, kv="auto"):
        self.build, self.dir, self.child = args.build, folder, None
        os.makedirs(folder)
        self.config = os.path.join(folder, "tollgate.yaml")
        with open(self.config, "w", encoding="ascii") as f:
            f.write(CONFIG.format(dir=folder, model=args.model, device=device,
                                  kv=kv))
        os.chmod(self.config, 0o600)
        self.open()
        self.key = self.ctl("key", "create", "--name", "e2e")["key"]

    def program(self, name):
        return os.path.join(self.build, name)

    def ctl(self, *args):
        """What tollctl says, or None while there is no daemon."""
        r = subprocess.run(
            [self.program("tollctl"), "--socket", f"{self.dir}/control.sock",
             "--json", *args], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=False)
        return json.loads(r.stdout) if r.returncode == 0 else None

    def open(self):
        with open(f"{self.dir}/log", "ab") as log:
            self.child = subprocess.Popen(
                [self.program("tollgate"), "-c", self.config], stdout=log,
                stderr=log, start_new_session=True)

        def listens():
            if self.child.poll() is not None:
                raise AssertionError(self.log()[-2000:])
            return self.ctl("status")

        address = until("it is up", listens)["listen"][0]["address"]
        self.port = int(address.rpartition(":")[2])
        until("the model is loaded", self.ready)

    def log(self):
        with open(f"{self.dir}/log", encoding="utf-8", errors="replace") as f:
            return f.read()

    def ready(self):
        status, text = self.get("/readyz")
        if status != 200 and "failed" in text:
            raise AssertionError(self.log()[-2000:])
        return status == 200

    def end(self, how=signal.SIGTERM):
        """Ends it, and gives its exit status."""
        if self.child is None:
            return 0
        os.killpg(self.child.pid, how)
        rc = self.child.wait(DEADLINE_S)
        self.child = None
        return rc

    def get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def metric(self, name):
        name = f'tollgate_{name}{{model="own"}} '
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name):
                return float(line[len(name):])
        return None

    def idle(self):
        until("it is idle", lambda: self.metric("engine_batch") == 0 and
              self.metric("engine_queue") == 0)

    def settled(self):
        until("all is stored", lambda: self.metric("prefix_queued_bytes") == 0
              and self.metric("engine_batch") == 0)

    def post(self, path, **body):
        """Status and text of a reply."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            c.request("POST", path, json.dumps({"model": "own", **body}),
                      {"Authorization": f"Bearer {self.key}",
                       "Content-Type": "application/json"})
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def ask(self, path, **body):
        """A good reply."""
        status, text = self.post(path, **body)
        assert status == 200, f"{status}: {text[:300]}"
        return json.loads(text)

    def text(self, prompt, n, **body):
        """Greedy text, and how much of the prompt was known."""
        r = self.ask("/v1/completions", prompt=prompt, max_tokens=n,
                     temperature=0, **body)
        return (r["choices"][0]["text"],
                r["usage"]["prompt_tokens_details"]["cached_tokens"])


# --- checks: functions of a world, in their order ----------------------------

class World:
    def __init__(self, args, folder):
        self.n = args.tokens
        self.args, self.dir = args, folder
        self.gpu = Gate(args, f"{folder}/gpu", args.device)

    def close(self):
        self.gpu.end(signal.SIGKILL)


STORY = "Once upon a time"


def runs_there(w):
    """it runs on the device that was asked for"""
    status = json.dumps(w.gpu.ctl("status"))
    assert w.args.device.partition(":")[0] in status, status


def as_on_the_cpu(w):
    """greedy text is that of the CPU"""
    cpu = Gate(w.args, f"{w.dir}/cpu", "cpu")
    try:
        want, _ = cpu.text(STORY, w.n)
    finally:
        cpu.end()
    got, _ = w.gpu.text(STORY, w.n)
    assert got == want, f"{got!r} for {want!r}"
    assert len(got) > w.n, got


def events(text):
    data = [x[6:] for x in text.splitlines() if x.startswith("data: ")]
    assert data[-1] == "[DONE]", data[-1]
    return [json.loads(x) for x in data[:-1]]


def streams(w):
    """a stream says the same as the whole, and counts the same"""
    body = {"messages": [{"role": "user", "content": STORY}],
            "temperature": 0, "max_tokens": w.n}
    whole = w.gpu.ask("/v1/chat/completions", **body)
    status, text = w.gpu.post("/v1/chat/completions", stream=True,
                              stream_options={"include_usage": True}, **body)
    assert status == 200, text
    parts = events(text)
    said = "".join(c["delta"].get("content") or ""
                   for e in parts for c in e["choices"])
    assert said == whole["choices"][0]["message"]["content"], said
    assert parts[-1]["usage"]["completion_tokens"] == \
        whole["usage"]["completion_tokens"]


def choices(w):
    """three choices of a seed come again; log probabilities fit"""
    body = {"prompt": STORY, "n": 3, "seed": 5, "temperature": 1.2,
            "max_tokens": 12, "logprobs": 3}
    first = w.gpu.ask("/v1/completions", **body)["choices"]
    again = w.gpu.ask("/v1/completions", **body)["choices"]
    assert [c["text"] for c in first] == [c["text"] for c in again]
    assert len({c["text"] for c in first}) > 1
    for c in first:
        assert all(p <= 0 for p in c["logprobs"]["token_logprobs"])
        # The chosen one is there, too; two may be spelt alike.
        assert all(2 <= len(t) <= 4 for t in c["logprobs"]["top_logprobs"])


def schemas(w):
    """a JSON schema holds"""
    schema = {"type": "object", "additionalProperties": False,
              "required": ["ok", "n"],
              "properties": {"ok": {"type": "boolean"},
                             "n": {"type": "integer"}}}
    r = w.gpu.ask(
        "/v1/chat/completions", temperature=1, seed=1, max_tokens=80,
        messages=[{"role": "user", "content": "a number"}],
        response_format={"type": "json_schema", "json_schema": {
            "name": "x", "strict": True, "schema": schema}})
    choice = r["choices"][0]
    if choice["finish_reason"] == "length":  # digits for ever: fits so far
        assert choice["message"]["content"].lstrip().startswith("{")
        return
    got = json.loads(choice["message"]["content"])
    assert isinstance(got["ok"], bool) and isinstance(got["n"], int), got


def vectors(w):
    """embeddings are unit vectors, the same each time"""
    def one():
        r = w.gpu.ask("/v1/embeddings", input=["a cat", "a dog"],
                      encoding_format="float")
        return [d["embedding"] for d in r["data"]]
    a = one()
    assert a == one()
    for v in a:
        assert abs(sum(x * x for x in v) - 1) < 1e-4
    assert a[0] != a[1]


def together(w):
    """sixteen at once are what each is alone"""
    def one(i):
        return w.gpu.text(STORY + " there was" * i, w.n // 4)[0]
    alone = [one(i) for i in range(16)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        got = list(pool.map(one, range(16)))
    assert got == alone


LONG = STORY + " there was a little girl named Lily." * 30


def known(gate, text, least):
    """The text comes again, of a prefix that is known."""
    got, cached = gate.text(LONG, 8)
    assert got == text, f"{got!r} for {text!r}"
    assert cached >= least and cached % PAGE == 0, f"{cached} were known"
    return cached


def prefixes(w, kv="auto"):
    """a prefix is found in memory, after a restart, after kill -9"""
    gate = w.gpu if kv == "auto" else Gate(w.args, f"{w.dir}/{kv}",
                                           w.args.device, kv)
    try:
        text, cached = gate.text(LONG, 8)
        assert cached == 0, cached
        most = known(gate, text, 4 * PAGE)
        gate.settled()
        assert gate.end() == 0, gate.log()[-2000:]
        gate.open()
        until("the store is open", lambda: gate.metric("prefix_store_up") == 1)
        assert known(gate, text, most) == most
        gate.end(signal.SIGKILL)
        gate.open()
        until("the store is open", lambda: gate.metric("prefix_store_up") == 1)
        assert known(gate, text, most) == most
    finally:
        if gate is not w.gpu:
            gate.end(signal.SIGKILL)


def narrow(w):
    """the same with keys and values in 8 bits"""
    prefixes(w, "fp8")


def leavers(w):
    """clients that leave end their work"""
    body = json.dumps({"model": "own", "prompt": STORY, "max_tokens": 400,
                       "stream": True, "ignore_eos": True})
    for _ in range(4):
        s = socket.create_connection(("127.0.0.1", w.gpu.port))
        s.sendall(("POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                   f"Authorization: Bearer {w.gpu.key}\r\n"
                   "Content-Type: application/json\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
        assert s.recv(64).startswith(b"HTTP/1.1 200")
        s.close()
    w.gpu.idle()
    assert w.gpu.text(STORY, 4)[0]


def mistakes(w):
    """mistakes are told as such"""
    for code, body in ((400, {"prompt": STORY, "temperature": -1}),
                       (400, {"prompt": "a cat " * 20000}),
                       (404, {"prompt": STORY, "model": "nobody"})):
        status, text = w.gpu.post("/v1/completions", **body)
        assert status == code, f"{status}: {text[:300]}"
        assert json.loads(text)["error"]["message"]


def ends(w):
    """it ends in peace, with a stream under way"""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(w.gpu.post, "/v1/completions", prompt=STORY,
                            max_tokens=16, stream=True, ignore_eos=True)
        until("it works", lambda: w.gpu.metric("engine_batch") or reply.done())
        assert w.gpu.end() == 0, w.gpu.log()[-2000:]
        assert events(reply.result()[1])


# What only GPUs have.
GPU_CHECKS = (narrow,)
CHECKS = (runs_there, as_on_the_cpu, streams, choices, schemas, vectors,
          together, prefixes, narrow, leavers, mistakes, ends)


def run(args, folder):
    failed = 0
    w = World(args, folder)
    try:
        for check in CHECKS:
            if check in GPU_CHECKS and not args.device.startswith("cuda"):
                print(f"left out         {check.__doc__}", flush=True)
                continue
            began = time.monotonic()
            try:
                check(w)
                word = "ok"
            except Exception:  # pylint: disable=broad-except
                failed += 1
                word = "FAILED"
                traceback.print_exc(file=sys.stdout)
            print(f"{word:7} {time.monotonic() - began:6.2f}s  "
                  f"{check.__doc__}", flush=True)
            if failed and w.gpu.child is None:
                break
    finally:
        w.close()
    return failed


def main():
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    p = argparse.ArgumentParser(usage=__doc__.split("\n")[2][7:])
    p.add_argument("--device", default="cuda:0")
    p.add_argument("--model", default=os.path.join(top, "etc/demo.gguf"))
    p.add_argument("--tokens", type=int, default=100)
    p.add_argument("build")
    args = p.parse_args()
    args.build = os.path.abspath(args.build)
    args.model = os.path.abspath(args.model)
    folder = tempfile.mkdtemp(prefix="tg-gpu-")
    try:
        failed = run(args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
