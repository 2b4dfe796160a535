"""Who may include whom. Each folder of src/ has a file includes.allow: one
line an allowed folder ("exchange"), header of a folder ("upstream/xfer.h") or
outside library ("<lmdb.h>", "<event2/"). A folder's own headers are always
allowed. Among the folders no cycle may arise. Each .c file includes its own
header first, then the system's, then ours. NVIDIA's headers are included by
tests of the ABI alone: what is built anywhere cannot need them."""
import os
import re

from .tree import Problem

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')

# Libraries that have a home; all others are free.
HOMED = ("lmdb.h", "curl/", "event2/", "yaml.h", "openssl/", "uthash.h",
         "jansson.h", "xxhash.h", "cuda", "cublas")


# NVIDIA's, and the tests that may include them.
NVIDIA = re.compile(r"(cuda|cublas|driver_types|nv|thrust/|cub/)")
ABI = re.compile(r"tests/kernels/(tk_cuda_)?abi\w*\.[ch]$")


def allowed(tree, folder):
    path = "src/%s/includes.allow" % folder
    if path not in tree.paths:
        return None
    lines = (l.split("#")[0].strip() for l in tree.text(path).split("\n"))
    return {l for l in lines if l}


def may(allow, folder, kind, name):
    if kind == "<":
        return not name.startswith(HOMED) or any(
            name.startswith(a[1:].rstrip(">")) for a in allow
            if a.startswith("<"))
    if "/" not in name:
        return name == "config.h"
    target = name.split("/")[0]
    return target == folder or target in allow or name in allow


def order(src, folder):
    """Own header first, then the system's, then ours."""
    found = [(i + 1,) + INCLUDE.match(l).groups()
             for i, l in enumerate(src.lines) if INCLUDE.match(l)]
    own = "%s/%s.h" % (folder, os.path.basename(src.path)[:-2])
    has_own = any(n == own for _, _, n in found)
    rest = [f for f in found if f[2] != "config.h"]
    if has_own and rest and rest[0][2] != own:
        yield Problem(src.path, rest[0][0], "include-order", rest[0][2],
                      "own header is not the first include; put "
                      '"%s" on top' % own)
    # A file that is one part of a module begins with the module's header.
    first = rest[0][2] if rest else None
    ours_seen = False
    for line, kind, name in rest:
        if kind == '"' and name != first:
            ours_seen = True
        elif kind == "<" and ours_seen:
            yield Problem(src.path, line, "include-order", name,
                          "<%s> stands behind our own headers; put the "
                          "system's before them" % name)


def cycle(graph):
    """A list of folders that include each other in a ring, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for to in sorted(graph.get(node, ())):
            ring = visit(to)
            if ring:
                return ring
        path.pop()
        done.add(node)
        return None

    for node in sorted(graph):
        ring = visit(node)
        if ring:
            return ring
    return None


def nvidia(tree):
    for src in list(tree.c_files("kernels", "tests")) + list(tree.gpu_files()):
        for i, line in enumerate(src.lines):
            m = INCLUDE.match(line)
            if m and m.group(1) == "<" and NVIDIA.match(m.group(2)) and \
                    not ABI.match(src.path):
                yield Problem(src.path, i + 1, "include", m.group(2),
                              "<%s> is NVIDIA's; declare what is used of it in "
                              "kernels/cuda/drv.h or blas.h, and let the tests "
                              "of the ABI compare" % m.group(2))


def run(tree):
    yield from nvidia(tree)
    graph = {}
    for src in tree.c_files("src"):
        folder = src.path.split("/")[1]
        allow = allowed(tree, folder)
        if allow is None:
            yield Problem(src.path, 1, "includes-allow", folder,
                          "src/%s has no includes.allow; list the folders it "
                          "may include, one a line" % folder)
            continue
        for i, line in enumerate(src.lines):
            m = INCLUDE.match(line)
            if not m:
                continue
            kind, name = m.groups()
            if kind == '"' and "/" in name:
                graph.setdefault(folder, set()).add(name.split("/")[0])
            if not may(allow, folder, kind, name):
                yield Problem(src.path, i + 1, "include", name,
                              "src/%s may not include %s; move the code, pass "
                              "a function pointer from below, or argue for a "
                              "line in includes.allow" % (folder, name))
        if src.path.endswith(".c"):
            yield from order(src, folder)
    for folder in graph:
        graph[folder].discard(folder)
    ring = cycle(graph)
    if ring:
        yield Problem("src/%s/includes.allow" % ring[0], 1, "include-cycle",
                      "-".join(ring), "folders include each other in a ring: "
                      "%s; break it" % " -> ".join(ring))
