#!/usr/bin/env python3
"""What providers that fail do to clients: `make bench-faults`.

usage: faults.py BUILD_DIR REPORT [RUN...]

Runs are down, latency, hedge, gone, kill and overload; all of them, if none
is named. FAULTS_FULL=1 makes each as long as its target says (some minutes);
else they are short. FAULTS_ROUNDS is how often what is compared is repeated.
"""

import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import run
from faultrig import (BODY, STREAM, Gate, Provider, Trace, Watch, counts,
                      quantile, spread)

FULL = os.environ.get("FAULTS_FULL", "") not in ("", "0")
ROUNDS = int(os.environ.get("FAULTS_ROUNDS", "5" if FULL else "3"))
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


class Page:
    """What is told: a table of targets, and what was seen besides."""

    def __init__(self):
        self.targets, self.text = [], []

    def target(self, what, want, value, good):
        verdict = "reached" if good else "not reached"
        self.targets.append(f"| {what} | {want} | {value} | {verdict} |")
        print(f"{what}: {value} (want {want}): {verdict}", flush=True)

    def say(self, *lines):
        self.text += lines


def upstream(name, provider, more=""):
    return (f"  - name: {name}\n    base_url: http://127.0.0.1:"
            f"{provider.port}/v1\n    models: [\"*\"]\n{more}")


# --- a provider that is down ------------------------------------------------

RATE = 500
TOTAL_S = 5
OPEN_S = 15 if FULL else 2
BEFORE_S, DOWN_S, AFTER_S = (5, 32, 23) if FULL else (1, 7, 4)

PATIENCE = f"""    timeouts: {{connect: 1s, first_byte: 500ms, total: {TOTAL_S}s}}
    breaker: {{open: {OPEN_S}s}}
"""
NO_BREAKER = PATIENCE.replace("open:", "failures: 0, open:")

DOWN = (("refuses connections", "refuse"), ("resets connections", "reset"),
        ("answers 503", "status 503 1000"), ("answers nothing", "hang"))


class Outage:
    """One provider goes away under load, and comes back."""

    def __init__(self, bench, name, how, second=False, more=PATIENCE):
        self.how, self.provider = how, Provider(bench)
        config = "upstreams:\n" + upstream("first", self.provider, more)
        if second:
            self.other = Provider(bench)
            config += upstream("second", self.other, PATIENCE)
        self.gate = Gate(bench, name, config)
        self.watch = Watch(self.gate)
        self.watch.start()
        trace = Trace(bench, self.gate, BEFORE_S + DOWN_S + AFTER_S, RATE, BODY)
        time.sleep(BEFORE_S)
        self.down = self.provider.say(how)
        time.sleep(DOWN_S)
        self.up = self.provider.say("ok")
        self.records = trace.records()
        self.watch.stop()
        self.log = self.provider.log()
        self.gate.stop()

    def metric(self, name):
        """Samples of a metric of the first target."""
        full = f'tollgate_{name}{{target="first"}}'
        return [(at, m.get(full, math.nan)) for at, m in self.watch.samples]

    def opened_s(self):
        """From the fall to the breaker's opening, as metrics tell."""
        return next((at - self.down for at, v in self.metric("breaker_state")
                     if at >= self.down and v == 1), math.inf)

    def tries(self):
        """When the provider was tried while it was down: as it tells itself,
        or the daemon's metrics, where it does not hear of them."""
        if self.how != "refuse":
            name = "connections" if self.how == "reset" else "requests"
            return [at for at in self.log[name] if self.down <= at < self.up]
        before, all_ = math.inf, []
        for at, v in self.metric("target_attempts_total"):
            if self.down <= at < self.up and v > before:
                all_ += [at] * int(v - before)
            before = v
        return all_

    def probes(self):
        """Tries once the breaker had opened, as seconds since then; a try is
        on its way for some ms, and samples are some ms apart."""
        opened = self.down + self.opened_s()
        return [at - opened for at in self.tries() if at > opened + 0.5]

    def recovered_s(self):
        """From the provider's return to the last request that failed."""
        bad = [r.at for r in self.records if not r.good and r.at >= self.down]
        return max(0, max(bad, default=self.up) - self.up)

    def attempts(self):
        return self.metric("target_attempts_total")[-1][1]

    def section(self, title):
        during = [r for r in self.records if self.down <= r.at < self.up]
        well = self.up + self.recovered_s()
        around = [r for r in self.records if r.at < self.down or r.at >= well]
        waits = [r.total for r in during]
        probes = ", ".join(f"{p:.1f}" for p in self.probes()) or "-"
        opened = (f"breaker open after {self.opened_s():.2f} s; then tried "
                  f"after {probes} s; " if self.opened_s() < math.inf else "")
        return [
            f"- {title}: {opened}good answers for all {self.recovered_s():.2f} "
            "s after it is back.",
            f"  Clients: before and after {counts(around)}; while it is down "
            f"{counts(during)}, waits p50 {quantile(waits, .5) * 1e3:.1f} ms, "
            f"p99 {quantile(waits, .99) * 1e3:.0f} ms, longest "
            f"{max(waits) * 1e3:.0f} ms. Sent upstream: {self.attempts():.0f} "
            f"attempts for {len(self.records)} requests."]


def judge_outage(page, title, o):
    page.target(f"{title}: breaker open", "<= 1 s", f"{o.opened_s():.2f} s",
                o.opened_s() <= 1)
    most = math.ceil(DOWN_S / OPEN_S)
    page.target(f"{title}: probes in {DOWN_S} s", f"<= {most}",
                len(o.probes()), len(o.probes()) <= most)
    longest = max(r.total for r in o.records)
    page.target(f"{title}: longest wait", f"<= {TOTAL_S} s",
                f"{longest:.2f} s", longest <= TOTAL_S)
    page.target(f"{title}: all is well again", f"<= {OPEN_S} s",
                f"{o.recovered_s():.2f} s", o.recovered_s() <= OPEN_S + .1)
    judge_traffic(page, title, o)


def judge_traffic(page, title, o):
    ratio = o.attempts() / len(o.records)
    page.target(f"{title}: attempts for each request", "<= 1.1",
                f"{ratio:.3f}", ratio <= 1.1)


def down(bench, page):
    page.say("", "## A provider that is down", "",
             f"{RATE} requests/s; after {BEFORE_S} s the only provider is down "
             f"for {DOWN_S} s, then {AFTER_S} s more. Breaker as by default, "
             f"but open: {OPEN_S} s; total {TOTAL_S} s, first_byte 500 ms.",
             "Attempts that reach no provider count as sent.", "")
    for i, (title, how) in enumerate(DOWN):
        o = Outage(bench, f"down-{i}", how)
        judge_outage(page, title, o)
        page.say(*o.section(title))
    o = Outage(bench, "down-alone", "status 503 1000", more=NO_BREAKER)
    judge_traffic(page, "answers 503, no breaker", o)
    page.say(*o.section("answers 503, no breaker"))
    o = Outage(bench, "down-second", "refuse", True)
    bad = [r for r in o.records if not r.good]
    # what was sent when it fell may have been worked for, and is not repeated
    late = [r for r in bad if abs(r.at - o.down) > 0.1]
    page.target("refuses connections, another target is well: failed",
                "those under way when it fell",
                f"{len(bad)} of {len(o.records)}, {len(late)} later", not late)
    page.say(*o.section("the first of two refuses connections"))


# --- two upstreams, one slower ----------------------------------------------

def latency(bench, page):
    fast, slow = Provider(bench), Provider(bench)
    fast.say("delay", 20)
    slow.say("delay", 200)
    gate = Gate(bench, "latency", "upstreams:\n" + upstream("fast", fast)
                + upstream("slow", slow) + """routes:
  - model: alone
    targets: [{upstream: fast}]
  - model: both
    targets: [{upstream: fast}, {upstream: slow}]
    strategy: latency
""")
    seconds, rate = (10, 200) if FULL else (4, 200)
    ratios, shares, p99 = [], [], {"alone": [], "both": []}
    for _ in range(ROUNDS):
        for model, values in p99.items():
            slow.log()
            all_ = Trace(bench, gate, seconds, rate,
                         {**BODY, "model": model}).records()
            values.append(quantile([r.total for r in all_], .99) * 1e3)
            if not all(r.good for r in all_):
                raise SystemExit(f"faults: latency: {counts(all_)}")
        shares.append(len(slow.log()["requests"]) / len(all_) * 100)
        ratios.append(p99["both"][-1] / p99["alone"][-1])
    gate.stop()
    m = statistics.median(ratios)
    page.target("p99 of both / of the fast one", "<= 1.2", spread(ratios, 2),
                m <= 1.2)
    page.say("", "## Two upstreams, one ten times slower", "",
             f"20 ms and 200 ms, strategy latency, {rate} requests/s for "
             f"{seconds} s, by turns with the fast one alone, {ROUNDS} rounds. "
             "The first round knows nothing of either.", "",
             f"- p99, the fast one alone: {spread(p99['alone'])} ms",
             f"- p99, both: {spread(p99['both'])} ms",
             f"- of 100 requests to both the slow one got {spread(shares, 2)}")


# --- hedging -----------------------------------------------------------------

def hedge(bench, page):
    providers = [Provider(bench), Provider(bench)]
    gate = Gate(bench, "hedge", "upstreams:\n"
                + upstream("one", providers[0])
                + upstream("two", providers[1]) + """routes:
  - model: plain
    targets: [{upstream: one}, {upstream: two}]
  - model: hedged
    targets: [{upstream: one}, {upstream: two}]
    hedge_after: 250ms
""")
    for p in providers:
        p.say("delay", 20)
        p.say("slow", 50, 2000)
    seconds, rate = (30, 50) if FULL else (8, 50)
    seen = {m: {"p50": [], "p99": [], "asked": [], "rows": []}
            for m in ("plain", "hedged")}
    for _ in range(ROUNDS):
        for model, figures in seen.items():
            hedge_turn(bench, gate, providers, figures,
                       (seconds, rate, {**STREAM, "model": model}))
    gate.stop()
    h = seen["hedged"]
    page.target("hedging: p99 to the first byte", "< 0.5 s",
                spread(h["p99"], 3) + " s", statistics.median(h["p99"]) < .5)
    extra = [(v - 1) * 100 for v in h["asked"]]
    page.target("hedging: more requests upstream", "<= 7 %",
                spread(extra, 1) + " %", statistics.median(extra) <= 7)
    missed = [a - r for a, r in zip(h["asked"], h["rows"])]
    page.target("hedging: requests upstream without a row", "0",
                spread([v * 100 for v in missed], 2) + " %",
                all(abs(v) < 1e-9 for v in missed))
    page.say("", "## A slow first byte", "",
             "Two targets; 5 % of the first bytes of each come after 2 s, the "
             f"others after 20 ms. {rate} streams/s for {seconds} s, without "
             f"and with `hedge_after: 250ms` by turns, {ROUNDS} rounds.", "",
             "| | p50 s | p99 s | asked upstream | rows |",
             "|---|---|---|---|---|")
    for model, f in seen.items():
        page.say(f"| {model} | {spread(f['p50'], 3)} | {spread(f['p99'], 3)} "
                 f"| {spread(f['asked'], 3)} | {spread(f['rows'], 3)} |")


def hedge_turn(bench, gate, providers, figures, load):
    for p in providers:
        p.log()
    had = len(gate.rows())
    seconds, rate, body = load
    all_ = Trace(bench, gate, seconds, rate, body).records()
    if not all(r.good for r in all_):
        raise SystemExit(f"faults: hedge: {counts(all_)}")
    asked = sum(len(p.log()["requests"]) for p in providers)
    run.until("all rows", lambda: len(gate.rows()) - had >= len(all_))
    time.sleep(1)
    first = [r.first for r in all_]
    figures["p50"].append(quantile(first, .5))
    figures["p99"].append(quantile(first, .99))
    figures["asked"].append(asked / len(all_))
    figures["rows"].append((len(gate.rows()) - had) / len(all_))


# --- a client that leaves ----------------------------------------------------

def gone(bench, page):
    out = os.path.join(bench.dir, "gone.jsonl")
    for _ in range(ROUNDS):
        r = subprocess.run(
            ["sh", os.path.join(TOP, "tests/e2e/run.sh"),
             "gone-points.test.mjs"], check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "TOLLGATE_BUILD": bench.build,
                 "E2E_GONE_OUT": out, "E2E_REPORTER": "dot"})
        if r.returncode != 0:
            raise SystemExit(f"faults: gone: {r.stdout[-4000:]}")
    points = {}
    with open(out, encoding="utf8") as f:
        for line in f:
            o = json.loads(line)
            points.setdefault(o["point"], []).append(o["ms"])
    worst = max(max(v) for v in points.values())
    page.target(f"client gone at {len(points)} points: provider told",
                "< 100 ms", f"{worst:.1f} ms at most", worst < 100
                and len(points) >= 12)
    page.say("", "## A client that leaves", "",
             "From the client's leaving (FIN and RST, plain HTTP and TLS) to "
             "the provider's hearing of it, both in the process that measures; "
             "in the end no gauge is up and nothing is held. Three more points "
             "are before anything goes upstream.", "",
             "| point | n | ms |", "|---|---|---|")
    for point, values in points.items():
        page.say(f"| {point} | {len(values)} | {spread(values)} |")


# --- kill -9 -----------------------------------------------------------------

TOKENS = 50  # of each answer of the provider


def kill(bench, page):
    providers = [Provider(bench), Provider(bench)]
    retries = ("    retries: {attempts: 3, backoff: 10ms, backoff_max: 50ms, "
               "retry_ambiguous: true}\n    breaker: {failures: 0}\n")
    gate = Gate(bench, "kill", "upstreams:\n"
                + upstream("one", providers[0], retries)
                + upstream("two", providers[1], retries),
                ("--budget", "1G-tokens/total"))
    for p in providers:
        p.say("delay", 5)
        p.say("status", 500, 300)
        p.say("cut", 100)
    rounds, rng = (30 if FULL else 5), random.Random(20260102)
    good, asked, restarts = 0, 0, []
    for _ in range(rounds):
        trace = Trace(bench, gate, 2, 300, {**BODY, "max_tokens": 40})
        time.sleep(0.3 + rng.random())
        gate.kill()
        began = time.monotonic()
        gate.start()
        restarts.append(time.monotonic() - began)
        all_ = trace.records()
        good += sum(r.good for r in all_)
        asked += len(all_)
    logs = [p.log() for p in providers]
    answered = sum(log["answered"] for log in logs)
    verify, stand = settle_kill(gate)
    rows = gate.rows()
    gate.stop()
    report_kill(page, verify, stand, rows,
                {"rounds": rounds, "asked": asked, "good": good,
                 "answered": answered, "restarts": restarts,
                 "sent": sum(len(log["requests"]) for log in logs)})


def settle_kill(gate):
    stand = run.until("nothing is held", lambda: next(
        (b for b in gate.ctl("key", "show", "bench")["budgets"]
         if b["held"] == 0), None))
    return gate.ctl("ledger", "verify"), stand


def report_kill(page, verify, stand, rows, seen):
    truth = seen["answered"] * TOKENS
    page.target("kill -9: provider's tokens <= spent <= budget",
                f"{truth:,} <= spent", f"{stand['spent']:,} of "
                f"{stand['amount']:,}",
                truth <= stand["spent"] <= stand["amount"])
    page.target("kill -9: answered requests without a row", "0",
                max(0, seen["good"] - len(rows)), seen["good"] <= len(rows)
                and len({r["id"] for r in rows}) == len(rows))
    page.target("kill -9: the ledger is whole", "ok",
                json.dumps(verify)[:60], bool(verify and verify.get("ok")))
    page.target("kill -9: back again", "< 1 s",
                spread(seen["restarts"], 2) + " s",
                statistics.median(seen["restarts"]) < 1)
    page.say("", "## kill -9 under load with retries", "",
             f"{seen['rounds']} times at a random moment, under 300 requests/s "
             "of which each of two providers cuts 10 % off and fails 30 % of the "
             "rest (500); `retry_ambiguous`, a hard budget. "
             f"{seen['asked']:,} requests, {seen['good']:,} answered; "
             f"{seen['sent']:,} sent upstream, {seen['answered']:,} of them "
             f"worked for: {truth:,} tokens; {stand['spent']:,} are spent "
             f"in {len(rows):,} rows.")


# --- more than it can do -----------------------------------------------------

def overload(bench, page):
    """The daemon has a processor for itself, where there are two: else what
    the load generator needs is taken from it."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[1:] or cpus)
    provider = Provider(bench)
    gate = Gate(bench, "overload", "upstreams:\n" + upstream("up", provider))
    for task in os.listdir(f"/proc/{gate.child.pid}/task"):
        os.sched_setaffinity(int(task), cpus[:1])
    try:
        overload_turn(bench, page, gate)
    finally:
        os.sched_setaffinity(0, cpus)
    gate.stop()


def overload_turn(bench, page, gate):
    seconds = 60 if FULL else 10
    peak = max(closed(bench, gate, n) for n in (32, 64, 128, 32, 64, 128))
    used = run.cpu_us(gate.child.pid)
    peak_cpu = closed(bench, gate, 64) * 1e6 / (run.cpu_us(gate.child.pid)
                                                - used)
    rate, calm_rate = int(3 * peak), int(peak / 10)
    calm = [quantile([r.total for r in steady(bench, gate, calm_rate)], .99)
            for _ in range(ROUNDS)]
    before = run.rss_kib(gate.child.pid)
    watch = Watch(gate, 0.25)
    watch.start()
    storm = Trace(bench, gate, seconds, rate, BODY, 8000)
    used = run.cpu_us(gate.child.pid)
    time.sleep(seconds)
    used = (run.cpu_us(gate.child.pid) - used) / 1e6
    tail = steady(bench, gate, calm_rate, 6)
    storm = storm.records()
    samples = watch.stop()
    peak_after = max(closed(bench, gate, n) for n in (32, 64, 128))
    most = max(m["tollgate_resident_bytes"] for _, m in samples) / 1024
    good = [r for r in storm if r.good]
    ratio = (sum(r.end < storm[0].at + seconds for r in good) / seconds
             / statistics.mean((peak, peak_after)))
    page.target("3 times saturation: good answers / peak", ">= 0.9",
                f"{ratio:.2f}", ratio >= .9)
    late = quantile([r.total for r in tail if r.at - tail[0].at >= 2], .99)
    page.target("p99 from 2 s after it / before it", "<= 1.5",
                f"{late / statistics.median(calm):.2f}",
                late <= 1.5 * statistics.median(calm))
    shed = [r.total for r in storm if r.status == 503]
    good = [r.total for r in good]
    page.say("", "## Three times saturation", "",
             "The daemon has one processor; the load generator and the "
             "provider have the other. Peak of closed loops "
             f"{peak:,.0f}/s before and {peak_after:,.0f}/s after; an open "
             f"loop of {rate:,}/s for {seconds} s.", "",
             f"- {counts(storm)}",
             f"- the daemon used {used / seconds * 100:.0f} % of its "
             "processor (the load generator and the provider, which have one "
             f"for both, all of theirs): {ratio * peak / (used / seconds):,.0f}"
             " good answers for each second of it, and 1 s of closed loops "
             f"{peak_cpu:,.0f}",
             f"- good answers: p50 {quantile(good, .5) * 1e3:.1f} ms, p99 "
             f"{quantile(good, .99) * 1e3:.0f} ms; 503: p50 "
             f"{quantile(shed, .5) * 1e3:.1f} ms, p99 "
             f"{quantile(shed, .99) * 1e3:.0f} ms",
             f"- memory: {before / 1024:.0f} MiB before, {most / 1024:.0f} "
             "MiB at most",
             f"- p99 at {calm_rate}/s: before "
             f"{spread([v * 1e3 for v in calm], 2)} ms, from 2 s after "
             f"{late * 1e3:.2f} ms")


def closed(bench, gate, conns):
    argv = [bench.program("tests/bench/b_load"), "closed", str(gate.port),
            gate.key, str(conns), "1"]
    out = subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)["rate"]


def steady(bench, gate, rate, seconds=3):
    return Trace(bench, gate, seconds, rate, BODY).records()


RUNS = {"down": down, "latency": latency, "hedge": hedge, "gone": gone,
        "kill": kill, "overload": overload}


def report(page, began):
    commit = run.first_line(["git", "-C", TOP, "describe", "--always",
                             "--dirty", "--abbrev=12"])
    return "\n".join([
        "# When providers fail", "",
        f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit "
        f"{commit}, `make bench-faults`" + (" with FAULTS_FULL=1" if FULL
                                            else ""),
        f"- {run.model()}, {os.cpu_count()} processors, 2 workers; load "
        f"average {began[0]:.2f} before and {os.getloadavg()[0]:.2f} after",
        "- load is an open loop, and waits count from when a request was to "
        "be sent; median (least - most) of rounds", "",
        "| | target | here | |", "|---|---|---|---|", *page.targets,
        *page.text, ""])


def main():
    if len(sys.argv) < 3 or not set(sys.argv[3:]) <= set(RUNS):
        raise SystemExit(__doc__)
    began, page = os.getloadavg(), Page()
    for name in sys.argv[3:] or RUNS:
        with tempfile.TemporaryDirectory() as folder:
            bench = run.Bench(os.path.abspath(sys.argv[1]), folder)
            try:
                RUNS[name](bench, page)
            finally:
                bench.stop()
    with open(sys.argv[2], "w", encoding="utf8") as f:
        f.write(report(page, began))
    print(f"faults: {sys.argv[2]} is written")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
