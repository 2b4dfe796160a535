"""How long, deep and wide code is: files of 600 lines, functions of 60 lines,
3 levels of nesting, 7 parameters (but in kernels/, where the interface has
more); one label `out:`, no other goto."""
import re

from .tree import TOKEN, Problem

MAX_FILE, MAX_FUNCTION, MAX_NESTING, MAX_PARAMS = 600, 60, 3, 7


class Nesting:
    """Reads a function's body statement by statement and remembers how deep
    control statements stand inside each other. An else-if stands as deep as
    its if; a block in an expression does not count."""

    def __init__(self, body, first_line):
        self.tokens = []
        for i, line in enumerate(body.split("\n")):
            if not line.lstrip().startswith("#"):
                self.tokens += [(t, first_line + i)
                                for t in TOKEN.findall(line)]
        self.at, self.deepest, self.line = 0, 0, first_line
        while self.at < len(self.tokens):
            self.statement(0)

    def peek(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def balanced(self, opening, closing):
        depth = 0
        while self.at < len(self.tokens):
            t = self.peek()
            self.at += 1
            depth += (t == opening) - (t == closing)
            if depth == 0:
                return

    def control(self, depth):
        if depth + 1 > self.deepest:
            self.deepest, self.line = depth + 1, self.tokens[self.at][1]

    def expression(self):
        """Up to and with the semicolon; a loop macro's block ends it, too."""
        while self.at < len(self.tokens):
            t = self.peek()
            if t == "(":
                self.balanced("(", ")")
                continue
            if t == "{":
                self.balanced("{", "}")
                continue
            if t == "}":
                return
            self.at += 1
            if t == ";":
                return

    def loop_macro(self):
        """Whether a name, parentheses and then no semicolon come: a loop
        macro of <sys/queue.h> or uthash."""
        if not re.match(r"[A-Z][A-Z_]*(FOREACH|ITER)\w*$", self.peek()):
            return False
        return self.peek(1) == "("

    def statement(self, depth):
        t = self.peek()
        if t == "{":
            self.at += 1
            while self.at < len(self.tokens) and self.peek() != "}":
                self.statement(depth)
            self.at += 1
        elif t in ("if", "for", "while", "switch") or self.loop_macro():
            self.control(depth)
            self.at += 1
            self.balanced("(", ")")
            self.statement(depth + 1)
            if t == "if" and self.peek() == "else":
                self.at += 1
                self.statement(depth if self.peek() == "if" else depth + 1)
        elif t == "do":
            self.control(depth)
            self.at += 1
            self.statement(depth + 1)
            self.expression()
        elif t in ("case", "default"):
            while self.at < len(self.tokens) and self.peek() != ":":
                self.at += 1
            self.at += 1
        elif self.peek(1) == ":" and re.match(r"\w+$", t):
            self.at += 2
        else:
            before = self.at
            self.expression()
            self.at += self.at == before


def labels(f):
    for i, line in enumerate(f.body.split("\n")):
        n = f.open_line + 1 + i
        m = re.match(r"\s*(\w+):\s*(;|$)", line)
        if m and m.group(1) not in ("default", "out"):
            yield n, m.group(1), "label %s" % m.group(1)
        m = re.search(r"\bgoto\s+(\w+)", line)
        if m and m.group(1) != "out":
            yield n, m.group(1), "goto %s" % m.group(1)
        elif m and re.search(r"^\s*out:", "\n".join(f.body.split("\n")[:i]),
                             re.M):
            yield n, m.group(1), "goto backwards"


def run(tree):
    for src in list(tree.c_files("src", "tests", "kernels/cuda")) + \
            list(tree.gpu_files()):
        lines = len(src.lines) - (src.lines[-1] == "")
        if lines > MAX_FILE:
            yield Problem(src.path, lines, "file-length", "-",
                          "file has %d lines; split it by subject (at most "
                          "%d)" % (lines, MAX_FILE))
        for f in src.functions():
            length = f.last - f.open_line - 1
            if length > MAX_FUNCTION:
                yield Problem(src.path, f.first, "function-length", f.name,
                              "%s() has %d lines; give its parts names (at "
                              "most %d)" % (f.name, length, MAX_FUNCTION))
            nesting = Nesting(f.body, f.open_line + 1)
            if nesting.deepest > MAX_NESTING:
                yield Problem(src.path, nesting.line, "nesting", f.name,
                              "%s() nests %d levels; return early or name the "
                              "inside (at most %d)" %
                              (f.name, nesting.deepest, MAX_NESTING))
            params = len(f.params())
            if params > MAX_PARAMS and not src.path.startswith(
                    ("kernels/", "tests/kernels/")):
                yield Problem(src.path, f.first, "parameters", f.name,
                              "%s() takes %d parameters; group them in a "
                              "struct (at most %d)" %
                              (f.name, params, MAX_PARAMS))
            for n, key, what in labels(f):
                yield Problem(src.path, n, "goto", f.name,
                              "%s: the one label is `out`, jumped to forwards"
                              % what)
