"""Tests wait for what they expect, never for a time; and they take the port
the system gives them."""
import re

from .tree import Problem

PORT = re.compile(r"(?:htons\(\s*|(?:localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)"
                  r":|\.listen\(\s*|\bport\s*[:=]\s*)([1-9]\d{2,4})\b")
TIMER = re.compile(r"timers/promises|\bnew Promise\(.*\bsetTimeout\b|"
                   r"^\s*setTimeout\(\s*(r|res|resolve|done)\b")
SLEEP = re.compile(r"(?:^|[;&|(]|\bdo\b)\s*sleep\s+[\d.$\"]")


def waits(path, i, line):
    if path.endswith(".mjs") and TIMER.search(line) and "/lib/" not in path:
        yield Problem(path, i, "wait", "setTimeout",
                      "a test waits for a time; wait for the event "
                      "(lib/until.mjs)")
    if path.endswith(".sh") and SLEEP.search(line):
        yield Problem(path, i, "wait", "sleep",
                      "a script waits for a time; wait for the event")
    m = PORT.search(line)
    if m and "/* port: text */" not in line:
        yield Problem(path, i, "port", m.group(1),
                      "port %s is fixed; listen on 0 and ask which it is" %
                      m.group(1))


def run(tree):
    for path in tree.paths:
        if not path.startswith("tests/") or \
                path.startswith(("tests/lint/", "tests/fuzz/corpus/")) or \
                not path.endswith((".c", ".h", ".mjs", ".sh")):
            continue
        is_c = path.endswith((".c", ".h"))
        lines = tree.source(path).code_lines if is_c \
            else tree.text(path).split("\n")
        for i, line in enumerate(lines):
            if not line.lstrip().startswith(("//", "#", "*")):
                yield from waits(path, i + 1, line)
