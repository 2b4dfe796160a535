"""What the checks look at: files, their text without comments and strings,
functions and file-scope statements. The C here is what clang-format makes of
it: a function's braces stand alone in column 0."""
import os
import re
import subprocess

TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|->|\+\+|--|\S")


class Problem:
    """One finding: `rule` and `key` name it in tests/lint/exceptions."""

    def __init__(self, path, line, rule, key, text):
        self.path, self.line, self.rule = path, line, rule
        self.key, self.text = key, text

    def __str__(self):
        return "%s:%d: %s [%s %s]" % (self.path, self.line, self.text,
                                      self.rule, self.key)


def blank(text):
    """<text> with the inside of comments, strings and characters replaced by
    spaces; lines and columns stay."""
    out, i, n = [], 0, len(text)

    def skip(upto):
        out.append("".join(c if c == "\n" else " " for c in text[i:upto]))
        return upto

    while i < n:
        two = text[i:i + 2]
        if two == "/*":
            end = text.find("*/", i + 2)
            i = skip(n if end < 0 else end + 2)
        elif two == "//":
            end = text.find("\n", i)
            i = skip(n if end < 0 else end)
        elif text[i] in "\"'":
            quote, end = text[i], i + 1
            while end < n and text[end] != quote and text[end] != "\n":
                end += 2 if text[end] == "\\" else 1
            out.append(quote)
            i = i + 1
            i = skip(min(end, n))
            if i < n:
                out.append(text[i])
                i += 1
        else:
            out.append(text[i])
            i += 1
    return "".join(out)


class Function:
    """A function's definition; lines count from 1."""

    def __init__(self, name, head, first, open_line, last, body):
        self.name, self.head, self.first = name, head, first
        self.open_line, self.last, self.body = open_line, last, body

    def params(self):
        """The parameter list's entries."""
        inside = self.head[self.head.index(self.name) + len(self.name):]
        start = inside.index("(")
        depth, parts, cur = 0, [], ""
        for c in inside[start:]:
            depth += (c == "(") - (c == ")")
            if depth == 0:
                break
            if c == "," and depth == 1:
                parts.append(cur)
                cur = ""
            elif not (c == "(" and depth == 1):
                cur += c
        parts.append(cur)
        return [p.strip() for p in parts if p.strip() not in ("", "void")]


class Source:
    """One C file."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8",
                  errors="surrogateescape") as f:
            self.text = f.read()
        self.lines = self.text.split("\n")
        self.code = blank(self.text)
        self.code_lines = self.code.split("\n")
        self._functions = None

    def line_of(self, offset):
        return self.code.count("\n", 0, offset) + 1

    def functions(self):
        if self._functions is None:
            self._functions = list(self._find_functions())
        return self._functions

    def _find_functions(self):
        lines, i = self.code_lines, 0
        while i < len(lines):
            if lines[i] != "{":
                i += 1
                continue
            first = i
            while first > 0 and lines[first - 1].strip() and \
                    not re.search(r"[;}]\s*$|^#", lines[first - 1]):
                first -= 1
            end = i
            while end < len(lines) and lines[end] != "}":
                end += 1
            head = " ".join(lines[first:i])
            plain = re.sub(r"__attribute__\s*\(\(.*?\)\)\s*", "", head)
            m = re.search(r"(\w+)\s*\(", plain)
            if m:
                yield Function(m.group(1), plain, first + 1, i + 1, end + 1,
                               "\n".join(lines[i + 1:end]))
            i = end + 1

    def statements(self):
        """File-scope statements outside functions as (line, text): the text
        has no initialiser and no struct's inside."""
        lines = list(self.code_lines)
        inside = False
        for i, line in enumerate(lines):
            if inside or line.startswith("#"):
                inside = line.endswith("\\")
                lines[i] = ""
        for f in self.functions():
            for i in range(f.first - 1, f.last):
                lines[i] = ""
        text, start, cur, depth = "\n".join(lines), None, "", 0
        for at, c in enumerate(text):
            if start is None and not c.isspace():
                start = at
            depth -= c == "}"
            if depth == 0:
                cur += c
            depth += c == "{"
            if c == ";" and depth == 0:
                yield text.count("\n", 0, start) + 1, " ".join(cur.split())
                start, cur = None, ""


class Tree:
    """The files of a checkout or of an unpacked release."""

    def __init__(self, root):
        self.root = root
        self.paths = sorted(self._list())
        self._sources = {}

    def _list(self):
        paths = self._walk()
        if os.path.exists(os.path.join(self.root, ".git")):
            paths = subprocess.run(
                ["git", "-C", self.root, "ls-files", "-co",
                 "--exclude-standard"],
                check=True, capture_output=True, text=True).stdout.split("\n")
        return [p for p in paths
                if p and os.path.isfile(os.path.join(self.root, p))]

    def _walk(self):
        for top, dirs, files in os.walk(self.root):
            dirs[:] = [d for d in dirs if d != "node_modules"
                       and not d.startswith((".", "build", "autom4te"))]
            for f in files:
                yield os.path.relpath(os.path.join(top, f), self.root)

    def source(self, path):
        if path not in self._sources:
            self._sources[path] = Source(self.root, path)
        return self._sources[path]

    def c_files(self, *tops, ends=(".c", ".h")):
        """Sources and headers below the folders given (default: all)."""
        for p in self.paths:
            if p.endswith(ends) and \
                    (not tops or p.startswith(tuple(t + "/" for t in tops))):
                yield self.source(p)

    def gpu_files(self):
        """Code for GPUs and for what emulates them."""
        return self.c_files("kernels/cuda", "tests",
                            ends=(".cu", ".cuh", ".cc"))

    def text(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8",
                  errors="surrogateescape") as f:
            return f.read()
