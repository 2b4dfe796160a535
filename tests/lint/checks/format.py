"""clang-format 14 has nothing to change. Skipped where there is none."""
import os
import re
import shutil
import subprocess

from .tree import Problem

TOOLS = ("clang-format-14", "clang-format")


def tool():
    for name in TOOLS:
        path = shutil.which(name)
        if not path:
            continue
        out = subprocess.run([path, "--version"], capture_output=True,
                             text=True).stdout
        if re.search(r"version 14\.", out):
            return path
    return None


def run(tree):
    path = tool()
    if not path or ".clang-format" not in tree.paths:
        return
    files = [p for p in tree.paths
             if p.endswith((".c", ".h", ".cu", ".cuh", ".cc"))
             and p.startswith(("src/", "kernels/", "tests/"))]
    jobs = []
    n = os.cpu_count() or 1
    for k in range(n):
        part = files[k::n]
        if part:
            jobs.append(subprocess.Popen(
                [path, "--dry-run", "--Werror"] + part, cwd=tree.root,
                stderr=subprocess.PIPE, text=True))
    seen = set()
    for job in jobs:
        for line in job.communicate()[1].split("\n"):
            m = re.match(r"(\S+?):(\d+):\d+: error:", line)
            if m and m.group(1) not in seen:
                seen.add(m.group(1))
                yield Problem(m.group(1), int(m.group(2)), "format", "-",
                              "not as clang-format 14 writes it; run "
                              "clang-format -i %s" % m.group(1))
