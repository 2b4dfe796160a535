"""What may stand in the text: ASCII, no left-over notes, no typedef'd
structs, no control flow hidden in macros, no mutable data outside functions."""
import re

from .tree import Problem

NOTE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
TEXT_ENDS = (".c", ".h", ".cu", ".cuh", ".cc", ".S", ".mk", ".am", ".ac", ".sh", ".py", ".md", ".1", ".5",
             ".8", ".yaml", ".service", ".socket")


def lines_of(tree):
    for path in tree.paths:
        name = path.split("/")[-1]
        if path.startswith("tests/fuzz/corpus/") or not (
                name.endswith(TEXT_ENDS) or "." not in name):
            continue
        for i, line in enumerate(tree.text(path).split("\n")):
            yield path, i + 1, line


def plain_text(tree):
    for path, n, line in lines_of(tree):
        bad = [c for c in line if ord(c) > 126 or (ord(c) < 32 and c != "\t")]
        if bad:
            yield Problem(path, n, "ascii", "%x" % ord(bad[0]),
                          "a character that is not ASCII; spell it out or "
                          "escape it")
        m = NOTE.search(line)
        if m and not path.startswith("tests/lint/"):
            yield Problem(path, n, "note", m.group(1),
                          "%s; do it now or open an issue" % m.group(1))
        if line != line.rstrip():
            yield Problem(path, n, "blank", "-",
                          "blanks at the end of the line; remove them")


def macros(src):
    """(line, name, body) of each #define."""
    i = 0
    while i < len(src.code_lines):
        m = re.match(r"#\s*define\s+(\w+)(.*)", src.code_lines[i])
        start = i
        if m:
            body = m.group(2)
            while src.code_lines[i].endswith("\\"):
                i += 1
                body += "\n" + src.code_lines[i]
            yield start + 1, m.group(1), body
        i += 1


def is_mutable(text):
    """Whether the file-scope statement <text> defines data that can change."""
    text = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", text)
    if re.match(r"(typedef|struct \w+;|enum \w+;|union \w+;|_Static_assert)",
                text):
        return False
    left = re.split(r"=(?!=)", text)[0]
    had_init = left != text
    left = re.sub(r"\{\s*\}", "", left).strip().rstrip(";").strip()
    if re.match(r"(struct|enum|union)( \w+)?$", left):
        return False  # the definition of a type
    if re.match(r"[^(]*\((?!\s*\*)", left) and not had_init:
        return False  # a prototype
    left = re.sub(r"\[[^\]]*\]", "", left)
    if "_Thread_local" in left or re.match(r"\w+_fn \w+$", left):
        return False  # a thread's own, or a prototype by its function type
    if left.startswith("extern"):
        return "const" not in left
    if "(*" in left:
        return not re.search(r"\(\*\s*const\b", left)
    if "*" in left:
        return not re.search(r"\*\s*const\b[^*]*$", left)
    return "const" not in left.split()


def name_in(text):
    left = re.split(r"=(?!=)|\[|;", text)[0]
    m = re.search(r"\(\*\s*(\w+)", left) or \
        re.search(r"(\w+)\s*$", left.strip())
    return m.group(1) if m else "?"


def data(src):
    for line, text in src.statements():
        if is_mutable(text):
            yield line, name_in(text)
    for f in src.functions():
        for i, line in enumerate(f.body.split("\n")):
            m = re.match(r"\s+static\s+(?!inline)(.*)", line)
            if m and "_Thread_local" not in line and is_mutable(m.group(1)):
                yield f.open_line + 1 + i, name_in(m.group(1))


def mutable(src):
    for line, name in data(src):
        yield Problem(src.path, line, "mutable", name,
                      "%s is changeable data that nobody owns; put it into a "
                      "struct with an owner" % name)


def source(src):
    for line, text in src.statements():
        if text.startswith("typedef") and "(" not in text:
            yield Problem(src.path, line, "typedef", text.split()[-1],
                          "only function types are typedef'd; write `struct "
                          "thing`")
    if src.path.startswith("src/") and not src.path.startswith("src/base/"):
        for line, name, body in macros(src):
            m = re.search(r"\b(return|break|continue|goto)\b", body)
            if m:
                yield Problem(src.path, line, "macro", name,
                              "macro %s hides a %s; write a function" %
                              (name, m.group(1)))
    if src.path.startswith("src/"):
        yield from mutable(src)


def run(tree):
    yield from plain_text(tree)
    for src in tree.c_files("src", "tests"):
        yield from source(src)
    for src in tree.c_files("kernels"):
        if not src.path.startswith("kernels/cuda/emu/"):
            yield from mutable(src)
