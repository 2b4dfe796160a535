#!/usr/bin/env python3
"""What hard budgets cost a request: `make bench-budget`.

usage: budget.py BUILD_DIR REPORT

One daemon with one worker before the scripted provider of run.py, and two
keys: one without budgets, and one with four, in a team with two more, all of
which are held, journaled and settled for every request. The keys take turns
within each round; what is added is taken within the round. Leases and commits
are counted over each turn: every lease is one write to the disk that is
waited for, and commits of the ledger are made by requests without budgets,
too. BENCH_ROUNDS and BENCH_SECONDS change how much is done.
"""

import os
import statistics
import sys
import tempfile
import time
import urllib.request

import run

RATE = 1000
KEY = ["--budget", "1000G-tokens/minute", "--budget", "1000G-tokens/day",
       "--budget", "$1000000/month", "--budget", "1000G-output-tokens/total"]
TEAM = ["--budget", "1000G-tokens/hour", "--budget", "$1000000/total"]
PRICES = """updated: {today}
prices:
  - model: "bench*"
    target: provider
    input: 0.25
    output: 2
"""
COUNTERS = ("tollgate_budget_leases_total", "tollgate_ledger_commits_total")


def counters(port):
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as r:
        text = r.read().decode()
    out = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name in COUNTERS:
            out[name] = float(value)
    return out


def turn(bench, c, figures):
    before, cpu, t0 = counters(c.port), run.cpu_us(c.child.pid), time.time()
    r = bench.load(c, "closed", run.CONNS, run.SECONDS)
    used = run.cpu_us(c.child.pid) - cpu
    spent_s, after = time.time() - t0, counters(c.port)
    open_ = bench.load(c, "open", 16, run.SECONDS, RATE)
    figures["rate"].append(r["rate"])
    figures["cpu"].append(used / r["requests"])
    figures["p50"].append(open_["p50_us"])
    figures["p99"].append(open_["p99_us"])
    for name in COUNTERS:
        figures[name].append((after[name] - before[name]) / spent_s)


def report(bench, all_, c):
    none, held = all_
    lines = [f"# What hard budgets cost a request, {time.strftime('%Y-%m-%d')}",
             "",
             f"Commit {run.first_line(['git', 'rev-parse', '--short', 'HEAD'])},"
             f" `make bench-budget`, {c.version}, one worker; {run.model()}, "
             f"{os.cpu_count()} cores; load after: "
             + " ".join(f"{v:.2f}" for v in os.getloadavg())
             + f". {run.ROUNDS} rounds of {run.SECONDS:g} s; median (least - "
             "most).", "",
             f"Requests back to back on {run.CONNS} connections, then "
             f"{RATE}/s on 16. With budgets: four of the key, two of its team, "
             "tokens and money, all hard.", "",
             "| | without | with | added |", "|---|---|---|---|"]
    names = (("rate", "requests/s", 0), ("cpu", "CPU us/request", 1),
             ("p50", "p50 us at 1000/s", 1), ("p99", "p99 us at 1000/s", 1),
             (COUNTERS[0], "leases/s", 2), (COUNTERS[1], "commits/s", 2))
    for figure, title, digits in names:
        diff = [b - a for a, b in zip(none[figure], held[figure])]
        lines.append(f"| {title} | {run.show(none[figure], digits)} | "
                     f"{run.show(held[figure], digits)} | "
                     f"{run.show(diff, digits)} |")
    lines += ["", "The added CPU time is "
              f"{statistics.median(held['cpu']) / statistics.median(none['cpu']):.2f}"
              " times that of a request without budgets in the median.", ""]
    return "\n".join(lines)


def main():
    with tempfile.TemporaryDirectory() as folder:
        bench = run.Bench(os.path.abspath(sys.argv[1]), folder)
        prices = bench.file("prices.yaml", PRICES.format(
            today=time.strftime("%Y-%m-%d")))
        run.TOLLGATE += f"prices: {prices}\n"
        try:
            bench.direct()
            c = bench.tollgate()
            plain = c.key
            bench.ctl("team", "create", "bench", *TEAM)
            rich = bench.ctl("key", "create", "--name", "held", "--team",
                             "bench", *KEY)["key"]
            all_ = [{n: [] for n in ("rate", "cpu", "p50", "p99", *COUNTERS)}
                    for _ in range(2)]
            for _ in range(run.ROUNDS):
                for key, figures in zip((plain, rich), all_):
                    c.key = key
                    turn(bench, c, figures)
            text = report(bench, all_, c)
        finally:
            bench.stop()
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(text)
    print(text)


main()
