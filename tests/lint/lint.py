#!/usr/bin/env python3
"""Checks the rules of doc/hacking.md over the whole tree.

usage: lint.py [--root DIR] [CHECK...]

Prints one line a finding - file:line: what; what to do [rule key] - and
exits with 1 when there is one. Known ones stand in tests/lint/exceptions."""
import argparse
import importlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from checks.tree import Problem, Tree  # noqa: E402

CHECKS = ("includes", "shape", "calls", "owners", "headers", "errors", "words",
          "waits", "format")
EXCEPTIONS = "tests/lint/exceptions"


class Exceptions:
    """tests/lint/exceptions: `at-most N`, then `RULE PATH KEY -- reason`."""

    def __init__(self, tree):
        self.rows, self.used, self.problems = {}, set(), []
        if EXCEPTIONS not in tree.paths:
            return
        limit = None
        for i, line in enumerate(tree.text(EXCEPTIONS).split("\n")):
            words = line.split()
            if not words or line.startswith("#"):
                continue
            if words[0] == "at-most":
                limit = int(words[1])
            elif len(words) < 5 or words[3] != "--":
                self.say(i + 1, "not RULE PATH KEY -- reason; write it so")
            else:
                self.rows[tuple(words[:3])] = i + 1
        if limit is None or len(self.rows) > limit:
            self.say(1, "%d exceptions, at most %s allowed; the list may only "
                     "shrink" % (len(self.rows), limit))
        elif len(self.rows) < limit:
            self.say(1, "only %d exceptions are left; lower at-most to it" %
                     len(self.rows))

    def say(self, line, text):
        self.problems.append(Problem(EXCEPTIONS, line, "exceptions", "-", text))

    def covers(self, p):
        row = (p.rule, p.path, p.key)
        if row in self.rows:
            self.used.add(row)
        return row in self.rows

    def unused(self):
        for row, line in self.rows.items():
            if row not in self.used:
                yield Problem(EXCEPTIONS, line, "exceptions", "-",
                              "%s is no longer needed; drop the line" %
                              " ".join(row))


def lint(root, names=CHECKS):
    """All problems of the tree at <root> that no exception covers."""
    tree = Tree(root)
    exceptions = Exceptions(tree)
    found = list(exceptions.problems)
    for name in names:
        check = importlib.import_module("checks." + name)
        found += [p for p in check.run(tree) if not exceptions.covers(p)]
    if tuple(names) == CHECKS:
        found += exceptions.unused()
    return sorted(found, key=lambda p: (p.path, p.line, p.rule))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=os.path.join(here, "..", ".."))
    parser.add_argument("checks", nargs="*", default=CHECKS, metavar="CHECK",
                        help="one of " + " ".join(CHECKS))
    args = parser.parse_args()
    found = lint(os.path.abspath(args.root), tuple(args.checks))
    for p in found:
        print(p)
    print("lint: %s" % ("%d problems" % len(found) if found else "clean"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
