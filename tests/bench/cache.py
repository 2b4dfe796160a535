#!/usr/bin/env python3
"""Stored replies beside nginx's proxy_cache: `make bench-cache`.

usage: cache.py BUILD_DIR REPORT

tollgate with one worker, a key, rows and an access log, and nginx with one
worker, an access log and proxy_cache for the same POST, both before a provider
that is asked once: a reply of 1 KiB, and a stream of 200 events. They take
turns within each round. BENCH_ROUNDS and BENCH_SECONDS change how much is
done.
"""

import http.server
import json
import os
import statistics
import sys
import tempfile
import threading
import time

import run

RATE = 5000
EVENTS = 200
REPLAYS = 400
TOLLGATE = """cache:
  responses: {{enabled: true, keep: always}}
"""
NGINX = """    proxy_cache_path {dir}/cache keys_zone=replies:10m;
    proxy_cache replies;
    proxy_cache_methods POST;
    proxy_cache_valid 200 1h;
    proxy_cache_key "$request_uri$http_authorization$request_body";
    upstream provider {{"""


def reply(size):
    """A completion of so many bytes."""
    def text(n):
        return json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1,
            "model": "bench", "choices": [{
                "index": 0, "finish_reason": "stop", "message": {
                    "role": "assistant", "content": "x" * n}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 99,
                      "total_tokens": 108}}).encode()
    return text(size - len(text(0)))


def stream():
    """An event stream of EVENTS events and [DONE]."""
    out = []
    for i in range(EVENTS):
        last = i == EVENTS - 1
        out.append("data: " + json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion.chunk",
            "created": 1, "model": "bench", "choices": [{
                "index": 0, "finish_reason": "stop" if last else None,
                "delta": {} if last else {"content": f"word{i} "}}]}) + "\n\n")
    return "".join(out + ["data: [DONE]\n\n"]).encode()


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers every POST; counts them."""
    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Provider.asked += 1
        events = body.get("stream", False)
        data = stream() if events else reply(1024)
        self.send_response(200)
        self.send_header("Content-Type",
                         "text/event-stream" if events else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def trace(bench, c, body, conns, seconds, rate):
    """Microseconds to the end of each answer at that rate."""
    out = run.subprocess.run(
        [bench.program("tests/bench/b_load"), "trace", str(c.port), c.key,
         str(conns), str(seconds), str(rate), body], check=True,
        stdout=run.subprocess.PIPE, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    bad = [r for r in rows if r[3] != "200" or r[4] != "1"]
    if bad:
        raise SystemExit(f"bench: {c.name}: {len(bad)} of {len(rows)}: {bad[0]}")
    return sorted(int(r[2]) for r in rows)


def at(sorted_, part):
    return sorted_[min(len(sorted_) - 1, int(len(sorted_) * part))]


def turn(bench, c, body):
    before = run.cpu_us(c.child.pid)
    r = bench.load(c, "closed", run.CONNS, run.SECONDS)
    c.note("rate", r["rate"])
    c.note("cpu", (run.cpu_us(c.child.pid) - before) / r["requests"])
    r = bench.load(c, "open", run.CONNS, run.SECONDS, RATE)
    c.note("p50", r["p50_us"])
    c.note("p99", r["p99_us"])
    replays = trace(bench, c, body, 1, REPLAYS / 100, 100)
    c.note("stream p50", at(replays, .5))
    c.note("stream p99", at(replays, .99))


def report(bench, all_):
    figures = (("rate", "hits/s", 0), ("cpu", "CPU us/hit", 1),
               ("p50", f"p50 us at {RATE}/s", 0),
               ("p99", f"p99 us at {RATE}/s", 0),
               ("stream p50", f"p50 us, {EVENTS} events", 0),
               ("stream p99", f"p99 us, {EVENTS} events", 0))
    lines = [f"# Stored replies, {time.strftime('%Y-%m-%d')}", "",
             f"Commit {run.first_line(['git', 'rev-parse', '--short', 'HEAD'])},"
             " `make bench-cache`, "
             + ", ".join(c.version for c in all_)
             + f"; {run.model()}, {os.cpu_count()} cores; load after: "
             + " ".join(f"{v:.2f}" for v in os.getloadavg())
             + f". {run.ROUNDS} rounds of {run.SECONDS:g} s by turns; median "
             "(least - most).", "",
             f"Hits of a reply of 1 KiB, back to back on {run.CONNS} "
             f"connections, then {RATE}/s on {run.CONNS}; hits of a stream of "
             f"{EVENTS} events, 100/s on one. One worker each, access log on; "
             "tollgate with a key and a row of usage each. The provider was "
             f"asked {Provider.asked} times in all.", "",
             "| | " + " | ".join(f[1] for f in figures) + " | hits/s to nginx |",
             "|---|" + "---|" * (len(figures) + 1)]
    nginx = next((c for c in all_ if c.name == "nginx"), None)
    for c in all_:
        cells = [run.show(c.figures[f], d) for f, _, d in figures]
        cells.append(run.show(run.ratio(c, nginx), 2) if nginx else "-")
        lines.append(f"| {c.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines + [""] + bench.notes + [""])


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        bench = run.Bench(os.path.abspath(sys.argv[1]), folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bench.upstream = server.server_address[1]
        run.TOLLGATE += TOLLGATE
        user = "user root;\n" if os.geteuid() == 0 else ""
        nginx = user + run.NGINX.replace("    upstream provider {{", NGINX)
        body = json.dumps({"model": "bench", "stream": True,
                           "messages": [{"role": "user", "content": "go"}]})
        try:
            all_ = [c for c in (
                bench.tollgate(),
                bench.other("nginx", nginx, ["-c"], "-v")) if c]
            for c in all_:
                trace(bench, c, body, 1, 0.1, 10)
                bench.load(c, "closed", 1, 0.5)
            asked = Provider.asked
            for _ in range(run.ROUNDS):
                for c in all_:
                    turn(bench, c, body)
            if Provider.asked != asked:
                bench.notes.append(f"{Provider.asked - asked} of them in the "
                                   "rounds.")
            text = report(bench, all_)
        finally:
            bench.stop()
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(text)
    print(text)


main()
