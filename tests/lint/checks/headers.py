"""Headers: a guard named after the path, a comment on top (sources have one,
too), and one before every declaration but forward ones and list heads. In
kernels/cuda, where its emulator's names are CUDA's, one comment may stand
before several that no empty line parts, and what is NVIDIA's by its name is
explained in NVIDIA's documents."""
import re

from .tree import Problem


def guard_of(path):
    parts = path.split("/")
    if parts[0] == "src":
        parts = parts[1:]
    return "TG_" + re.sub(r"\W", "_", "_".join(parts)).upper()


def has_comment(src, i):
    """Whether line <i> (from 0) has a comment of its own or one that ends
    just above it."""
    if "/*" in src.lines[i] and src.lines[i] != src.code_lines[i]:
        return True
    return i > 0 and src.lines[i - 1].rstrip().endswith("*/") and \
        src.code_lines[i - 1].strip() == ""


def declarations(src):
    """(line from 0, name) of what needs a comment."""
    lines, depth, i = src.code_lines, 0, 0
    while i < len(lines):
        line = lines[i]
        start = i
        if line.startswith("#"):
            m = re.match(r"#\s*define\s+(\w+)", line)
            while lines[i].endswith("\\"):
                i += 1
            if m and depth == 0:
                yield start, m.group(1)
            i += 1
            continue
        if depth == 0 and line.strip() and line[0] not in "{} \t":
            text, j = line, i
            while not re.search(r"[;{]", lines[j]) and j + 1 < len(lines):
                j += 1
                text += " " + lines[j]
            if not re.match(r"(struct|enum|union)\s+\w+\s*;|"
                            r"(S?TAILQ|S?LIST)_HEAD\(", text):
                m = re.search(r"(\w+)\s*[({;=[]", re.sub(
                    r"__attribute__\s*\(\(.*?\)\)|^_Noreturn", "", text))
                yield start, m.group(1) if m else text.strip()
            i = j
        depth += lines[i].count("{") - lines[i].count("}")
        i += 1


def is_in_group(src, i):
    """Whether line <i> goes on a block of #defines or of prototypes, without
    an empty line between, that has its comment."""
    while i > 0 and re.search(r"^#|^ |;$", src.code_lines[i - 1]) and \
            not src.code_lines[i - 1].startswith("}"):
        i -= 1
        if has_comment(src, i):
            return True
    return False


def is_in_paragraph(src, i):
    """Whether line <i> stands behind a commented one without an empty line
    between."""
    while i > 0 and src.lines[i - 1].strip():
        i -= 1
        if src.lines[i].rstrip().endswith("*/"):
            return True
    return False


def is_explained(src, i, name):
    """Whether the declaration of <name> in line <i> has its comment."""
    if has_comment(src, i) or is_in_group(src, i):
        return True
    if re.match(r"typedef (enum|struct|union) \{", src.code_lines[i]):
        end = next(l for l in src.code_lines[i:] if l.startswith("}"))
        name = end[1:].strip(" ;")
    return src.path.startswith("kernels/") and \
        (re.match(r"CU|cu[A-Z]|cuda[A-Z]|cudaError_enum|cublas[A-Z]", name)
         is not None or is_in_paragraph(src, i))


def run(tree):
    for src in list(tree.c_files("src", "tests", "kernels")) + \
            list(tree.gpu_files()):
        if not src.text.startswith("/* "):
            yield Problem(src.path, 1, "file-comment", "-",
                          "file does not begin with a comment; say what it "
                          "decides: /* name.c - ... */")
        if not re.match(r"(src/.*\.h|kernels/cuda/[^/]*\.(h|cuh))$", src.path):
            continue
        guard = guard_of(src.path)
        if not re.search(r"^#ifndef %s\n#define %s$" % (guard, guard),
                         src.code, re.M):
            yield Problem(src.path, 1, "guard", guard,
                          "guard is missing or misnamed; call it %s" % guard)
        for i, name in declarations(src):
            if name == guard or is_explained(src, i, name):
                continue
            yield Problem(src.path, i + 1, "header-comment", name,
                          "%s has no comment; say what it does, its units, "
                          "who owns what, and how it fails" % name)
