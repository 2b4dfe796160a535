#!/usr/bin/env python3
"""Slow readers: what each costs the daemon while its provider pushes.

usage: slow.py BUILD_DIR [READERS [SECONDS]]

A provider answers each request with an endless event stream, as fast as the
socket takes it. READERS clients ask for one each and read 4 KiB a second.
Every second the daemon's resident memory is taken; the last line is JSON with
all of it. Fails when a stream ends, when memory grows past what may wait for
all clients together and PER_READER_MAX bytes for each, or when it still grows
in the second half of the time.

Kernel buffers of both ends are kept small, so that what backs up does so in
the daemon.
"""

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

QUEUED_MAX = 256 << 20  # as src/front/conn_out.c has it
PER_READER_MAX = 56 * 1024
READ_BYTES = 4096
DEADLINE_S = 60
BATCH = 100  # readers that are let in at once

CONFIG = """listen:
  - address: 127.0.0.1:0
state_dir: {dir}/state
control_socket: {dir}/control.sock
workers: 2
limits:
  connections: 20000
log:
  level: warn
  access: "off"
upstreams:
  - name: provider
    base_url: http://127.0.0.1:{port}/v1
    models: ["*"]
"""

DATA = (b'data: {"id":"c","object":"chat.completion.chunk","choices":'
        b'[{"index":0,"delta":{"content":"' + b"word " * 30 +
        b'"},"finish_reason":null}]}\n\n')
CHUNK = b"%x\r\n%s\r\n" % (len(DATA), DATA)
BLOCK = CHUNK * 64
HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n")


def small(s, which):
    s.setsockopt(socket.SOL_SOCKET, which, 4096)
    s.setblocking(False)


class Provider:
    """Pushes into every connection whatever it takes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]

    def run(self):
        ep = select.epoll()
        self.listener.setblocking(False)
        ep.register(self.listener, select.EPOLLIN)
        conns = {}
        while True:
            for fd, what in ep.poll():
                if fd == self.listener.fileno():
                    self.accept(ep, conns)
                elif not self.serve(ep, conns[fd], what):
                    ep.unregister(fd)
                    conns.pop(fd)[0].close()

    def accept(self, ep, conns):
        while True:
            try:
                s, _ = self.listener.accept()
            except BlockingIOError:
                return
            small(s, socket.SO_SNDBUF)
            conns[s.fileno()] = [s, b"", 0]
            ep.register(s, select.EPOLLIN)

    @staticmethod
    def serve(ep, c, what):
        s = c[0]
        try:
            if what & select.EPOLLIN:
                got = s.recv(65536)
                if not got:
                    return False
                if c[1] == b"":
                    c[1] = HEAD
                    ep.modify(s, select.EPOLLIN | select.EPOLLOUT)
            if what & select.EPOLLOUT:
                at = c[2]
                rest = c[1][at:] if c[1] is HEAD else BLOCK[at:]
                at += s.send(rest)
                if c[1] is HEAD and at == len(HEAD):
                    c[1], at = BLOCK, 0
                c[2] = at % len(BLOCK) if c[1] is BLOCK else at
            return not what & (select.EPOLLHUP | select.EPOLLERR)
        except BlockingIOError:
            return True
        except OSError:
            return False


def rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise SystemExit("slow: the daemon is gone")


def ctl(build, folder, *args):
    out = subprocess.run(
        [os.path.join(build, "tollctl"), "--socket",
         f"{folder}/control.sock", "--json", *args],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return json.loads(out.stdout) if out.returncode == 0 else None


def until(what, test):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = test()
        if answer:
            return answer
        time.sleep(0.05)
    raise SystemExit(f"slow: gave up waiting: {what}")


def open_readers(port, key, n):
    body = b'{"model":"m","messages":[],"stream":true}'
    request = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
               b"Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n%s" % (key.encode(), len(body), body))
    readers = []
    end = time.monotonic() + DEADLINE_S
    while len(readers) < n:
        some = [open_reader(port, request)
                for _ in range(min(BATCH, n - len(readers)))]
        let_in = [s for s in some if s.recv(12, socket.MSG_PEEK)[9:] == b"200"]
        for s in let_in:
            s.setblocking(False)
        readers += let_in
        for s in set(some) - set(let_in):
            s.close()
        if len(let_in) < len(some):
            time.sleep(0.2)  # it is overloaded, and says so
        if time.monotonic() > end:
            raise SystemExit("slow: gave up waiting: all are let in")
    return readers


def open_reader(port, request):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(DEADLINE_S)
    s.connect(("127.0.0.1", port))
    s.sendall(request)
    return s


def read_some(readers):
    """A little from each; how many have ended."""
    ended = 0
    for s in readers:
        try:
            ended += s.recv(READ_BYTES) == b""
        except BlockingIOError:
            pass
        except OSError:
            ended += 1
    return ended


def watch(pid, readers, seconds):
    samples = []
    for _ in range(seconds):
        begin = time.monotonic()
        if read_some(readers):
            raise SystemExit("slow: a stream has ended")
        samples.append(rss_bytes(pid))
        time.sleep(max(0, 1 - (time.monotonic() - begin)))
    return samples


def measure(build, folder, n, seconds):
    provider = Provider()
    child = os.fork()
    if child == 0:
        provider.run()
    provider.listener.close()
    path = os.path.join(folder, "tollgate.yaml")
    with open(path, "w", encoding="ascii") as f:
        f.write(CONFIG.format(dir=folder, port=provider.port))
    gate = subprocess.Popen([os.path.join(build, "tollgate"), "-c", path])
    try:
        status = until("start", lambda: ctl(build, folder, "status"))
        key = ctl(build, folder, "key", "create", "--name", "slow")["key"]
        port = int(status["listen"][0]["address"].rpartition(":")[2])
        idle = rss_bytes(gate.pid)
        readers = open_readers(port, key, n)
        until("all streams run", lambda: ctl(
            build, folder, "status")["in_flight"] == n)
        samples = watch(gate.pid, readers, seconds)
        return {"readers": n, "idle_bytes": idle, "rss_bytes": samples,
                "per_reader_bytes": (max(samples) - idle) // n}
    finally:
        gate.terminate()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        gate.kill()
        gate.wait()


def main():
    build = sys.argv[1]
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="tg-slow-") as folder:
        result = measure(build, folder, n, seconds)
    print(json.dumps(result))
    samples = result["rss_bytes"]
    if max(samples) - result["idle_bytes"] > QUEUED_MAX + n * PER_READER_MAX:
        sys.exit("slow: too much memory")
    if samples[-1] > 1.03 * samples[len(samples) // 2]:
        sys.exit("slow: memory goes on growing")


if __name__ == "__main__":
    main()
