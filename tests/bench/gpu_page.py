#!/usr/bin/env python3
"""Makes a page of what gpu_bench.sh wrote.

usage: gpu_page.py DIRECTORY

Shares are of what this GPU copied within itself in the same run, reads and
writes counted; clocks are medians of nvidia-smi's samples while a figure was
taken.
"""

import csv
import datetime
import os
import statistics
import sys


def read_rows(path):
    """Rows of all parts: lines of names and remarks stand between them."""
    rows, names, remarks = [], None, []
    with open(path, encoding="utf-8", newline="") as f:
        for line in f:
            if line.startswith("#"):
                remarks.append(line[1:].strip())
            elif line.startswith("what,"):
                names = next(csv.reader([line]))
            elif names and line.strip():
                rows.append(dict(zip(names, next(csv.reader([line])))))
    return rows, remarks


def read_clocks(path):
    """(Unix time, SM MHz, W) of each sample."""
    out = []
    try:
        with open(path, encoding="utf-8") as f:
            for row in csv.reader(f):
                try:
                    at = datetime.datetime.strptime(
                        row[0].strip(), "%Y/%m/%d %H:%M:%S.%f")
                    out.append((at.timestamp(), float(row[1]), float(row[3])))
                except (ValueError, IndexError):
                    continue
    except OSError:
        pass
    return out


def clock(clocks, row):
    if not row.get("from"):
        return ""
    seen = [mhz for at, mhz, _ in clocks
            if float(row["from"]) - 0.1 <= at <= float(row["to"]) + 0.1]
    return f"{statistics.median(seen):.0f}" if seen else ""


def number(row, key):
    return float(row[key]) if row.get(key) else 0.0


def ceiling(rows):
    """GB/s of the best copy of pages too large for the cache."""
    return max((number(r, "gb_s") for r in rows if r["what"] == "copy inside"
                and r["model"] in ("8192 KiB", "65536 KiB")), default=0.0)


def table(rows, clocks, best):
    yield ("| what | model | type | how | batch | context | n | ms | least | "
           "most | tok/s | GB/s | of copy | TFLOP/s | MHz | |")
    yield "|---" * 16 + "|"
    for r in rows:
        gb = number(r, "gb_s")
        cells = [r["what"], r["model"], r["type"], r["how"], r["batch"],
                 r["context"], r["n"]]
        if r["ms_median"]:
            cells += [f"{number(r, k):.4g}"
                      for k in ("ms_median", "ms_min", "ms_max")]
            cells += [f"{number(r, 'tok_s'):.0f}" if number(r, "tok_s") else "",
                      f"{gb:.0f}" if gb else "",
                      f"{100 * gb / best:.0f} %" if gb and best else "",
                      f"{number(r, 'tflop_s'):.1f}"
                      if number(r, "tflop_s") >= 0.05 else ""]
        else:
            cells += [""] * 7
        yield "| " + " | ".join(cells + [clock(clocks, r),
                                         r.get("note") or ""]) + " |"


def main():
    folder = sys.argv[1]
    rows, remarks = read_rows(os.path.join(folder, "bench.csv"))
    clocks = read_clocks(os.path.join(folder, "bench-clocks.csv"))
    with open(os.path.join(folder, "bench.log"), encoding="utf-8",
              errors="replace") as f:
        about = [line.strip() for line in f if line.startswith(
            ("date:", "commit:", "machine:"))]
    devices = sorted({r for r in remarks if r.startswith("device:")})
    best = ceiling(rows)
    print("# Speed on a GPU\n")
    for line in about + devices:
        print(f"- {line}")
    if best:
        print(f"- copies within the GPU: {best:.0f} GB/s, reads and writes "
              "counted")
    if clocks:
        watts = [w for _, _, w in clocks]
        print(f"- SM clock {min(c for _, c, _ in clocks):.0f} to "
              f"{max(c for _, c, _ in clocks):.0f} MHz, at most "
              f"{max(watts):.0f} W")
    print("\nn samples after three that do not count; median, least and most. "
          "GB/s are bytes of\nweights, keys and values that a step must read; "
          "logits go to the host. Made by\n`make bench-gpu`.\n")
    groups = {}
    for r in rows:
        word = r["what"].split()[0]
        groups.setdefault({
            "decode": "Models", "prefill": "Models", "save": "Prefixes",
            "restore": "Prefixes", "http": "Over HTTP", "ttft": "Over HTTP",
            "transformers": "The same shape in transformers",
        }.get(word, "Single operations"), []).append(r)
    for name in ("Models", "Prefixes", "Over HTTP",
                 "The same shape in transformers", "Single operations"):
        if name in groups:
            print(f"## {name}\n")
            print("\n".join(table(groups[name], clocks, best)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
