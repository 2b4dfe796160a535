"""Who writes what in struct exchange: each sub-struct belongs to one folder;
the stage and the first failure are set through functions."""
import re

from .tree import Problem

OWNER = {
    "in": ("front", "request"),
    "who": ("admit", "caller"),
    "ask": ("prompt", "ask"),
    "found": ("recall", "recall"),
    "work": ("serve", "work"),
    "made": ("engine", "made"),
    "out": ("relay", "reply"),
    "bill": ("settle", "bill"),
}
# The folder of struct exchange makes and frees all of it.
HOME = "exchange"
# These do not know it; what they call an `ask` is something else.
BELOW = ("base", "conf", "wire", "store", "account", "ctl")

TARGET = r"(?:(?:\.|->)\w+|\[[^\]]*\])*"
WRITE = re.compile(
    r"(?P<inc>\+\+|--)?\s*\b(?:x|exchange|\w*->x)->(?P<sub>%s)\b"
    r"(?P<rest>%s)\s*(?P<op>=(?!=)|\+=|-=|\*=|/=|%%=|\|=|&=|\^=|<<=|>>=|"
    r"\+\+|--)?" % ("|".join(OWNER), TARGET))
OUTPUT = re.compile(r"&\s*(?:x|\w*->x)->(?P<sub>%s)->" % "|".join(OWNER))
ALIAS = re.compile(r"(?P<const>const\s+)?struct\s+(?P<type>%s)\s*\*\s*"
                   r"(?:const\s+)?\w+" %
                   "|".join(t for _, t in OWNER.values()))
SETTER = re.compile(r"\bx->(stage|steps)\s*(=(?!=)|\+\+|\+=)")


def run(tree):
    owner_of = {t: f for f, t in OWNER.values()}
    for src in tree.c_files("src"):
        folder = src.path.split("/")[1]
        if folder == HOME or folder in BELOW:
            continue
        for i, line in enumerate(src.code_lines):
            for m in WRITE.finditer(line):
                owner = OWNER[m.group("sub")][0]
                if (m.group("op") or m.group("inc")) and folder != owner:
                    yield Problem(src.path, i + 1, "owner", m.group("sub"),
                                  "x->%s is written by src/%s alone; let that "
                                  "folder do it" % (m.group("sub"), owner))
            for m in ALIAS.finditer(line):
                owner = owner_of[m.group("type")]
                if not m.group("const") and folder != owner:
                    yield Problem(src.path, i + 1, "owner", m.group("type"),
                                  "struct %s is written by src/%s alone; take "
                                  "a pointer to const" %
                                  (m.group("type"), owner))
            m = SETTER.search(line)
            if m:
                yield Problem(src.path, i + 1, "owner", m.group(1),
                              "x->%s is set in src/exchange/exchange.c alone; "
                              "return a verdict instead" % m.group(1))
