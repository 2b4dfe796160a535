"""The table of errors in doc/http-api.md against the one of src/base/err.c:
status, both types, code and retry hint of every row that a client may see."""
import re
from collections import Counter

from .tree import Problem

SOURCE = "src/base/err.c"
HEADER = "src/base/err.h"
PAGE = "doc/http-api.md"
HEAD = ("status", "OpenAI type", "code", "Anthropic type", "x-should-retry",
        "when")
HINTS = {"RETRY_YES": "true", "RETRY_NO": "false", "RETRY_UNSAID": "-"}

# Codes below the empty line of err.h that no reply carries all the same, and
# one above it that some do.
UNSEEN = ("ERR_CLIENT_GONE",)
SEEN = ("ERR_NOMEM",)

ROW = re.compile(r"^    \[(ERR_\w+)\] = \{(.*?)\},$", re.M | re.S)
TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\w+)')


def seen(text):
    """The codes of err.h that stand for a row of the page."""
    body = text[text.index("enum err {"):]
    second = body[:body.index("};")].split("\n\n", 1)[-1]
    names = re.findall(r"^\s*(ERR_\w+)", second, re.M)
    return set(names) - set(UNSEEN) - {"ERR_COUNT"} | set(SEEN)


def source_rows(text, wanted):
    """(line, row) of each code in <wanted>."""
    words = dict(re.findall(r'^#define (\w+) "(\w+)"$', text, re.M))
    words.update(HINTS, NULL="null")
    for m in ROW.finditer(text):
        if m.group(1) not in wanted:
            continue
        cells = [t.group(1) if t.group(1) is not None
                 else words.get(t.group(2), t.group(2))
                 for t in TOKEN.finditer(m.group(2))]
        yield text.count("\n", 0, m.start()) + 1, tuple(cells[1:6])


def page_rows(text):
    """(line, row) of each line of the page's table."""
    inside = False
    for i, line in enumerate(text.split("\n")):
        cells = tuple(c.strip().strip("`") for c in line.split("|")[1:-1])
        if cells == HEAD:
            inside = True
        elif not cells:
            inside = False
        elif inside and not re.match(r"^-+$", cells[0]):
            yield i + 1, cells[:5]


def compare(path, ours, theirs, where):
    """Problems of rows that <path> has more often than <theirs>."""
    left = Counter(row for _, row in theirs)
    for line, row in ours:
        if left[row] > 0:
            left[row] -= 1
            continue
        yield Problem(path, line, "errors", row[2] if len(row) > 2 else "-",
                      "error %s is not so in %s; make them equal" %
                      (" | ".join(row), where))


def run(tree):
    if SOURCE not in tree.paths or PAGE not in tree.paths:
        return
    wanted = seen(tree.text(HEADER))
    code = list(source_rows(tree.text(SOURCE), wanted))
    page = list(page_rows(tree.text(PAGE)))
    if not code or not page:
        yield Problem(PAGE, 1, "errors", "-", "no table of errors is found")
    yield from compare(PAGE, page, code, SOURCE)
    yield from compare(SOURCE, code, page, PAGE)
