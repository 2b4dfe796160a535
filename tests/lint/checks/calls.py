"""Calls that are banned, and where each may stand."""
import re

from .tree import Problem

ALWAYS = {
    "sprintf": "use snprintf or buf_printf",
    "vsprintf": "use vsnprintf",
    "strcpy": "use snprintf, memcpy or arena_dup",
    "stpcpy": "use snprintf, memcpy or arena_dup",
    "strcat": "use snprintf or buf_put",
    "strncat": "use snprintf or buf_put",
    "strncpy": "use snprintf or memcpy",
    "strtok": "use str_split",
    "gets": "use fgets or read",
    "alloca": "use an array of fixed size or the arena",
    "gmtime": "use gmtime_r",
    "localtime": "use gmtime_r; all times are UTC",
    "ctime": "use clock_format_rfc3339",
    "asctime": "use clock_format_rfc3339",
    "mktemp": "use mkstemp",
    "tmpnam": "use mkstemp",
    "sleep": "wait for the event itself",
    "usleep": "wait for the event itself",
    "nanosleep": "wait for the event itself",
    "clock_nanosleep": "wait for the event itself",
    "setjmp": "return an enum err",
    "longjmp": "return an enum err",
}
SOURCE = {  # in src/ only
    "system": "use posix_spawn",
    "popen": "use posix_spawn",
    "atoi": "use str_to_u64, which tells of errors",
    "atol": "use str_to_u64, which tells of errors",
    "atoll": "use str_to_u64, which tells of errors",
    "atof": "use strtod and check its end",
    "abort": "use BUG_ON or PANIC",
    "assert": "use BUG_ON",
    "rand": "use digest_random",
    "srand": "use digest_random",
    "random": "use digest_random",
    "getenv": "read the environment in src/conf or a program's main file",
    "exit": "return an error; only a program's main file ends it",
    "printf": "write to the log; stdout is the programs' main files'",
    "puts": "write to the log; stdout is the programs' main files'",
    "putchar": "write to the log; stdout is the programs' main files'",
    "vprintf": "write to the log; stdout is the programs' main files'",
}
KERNELS = ("abort", "assert", "exit", "printf", "puts", "system", "popen",
           "rand")  # in kernels/, too, which is a library
MEMORY = ("malloc", "calloc", "realloc", "reallocarray", "aligned_alloc",
          "strdup", "strndup", "asprintf", "vasprintf", "free")
# Where a call of SOURCE is at home: prefixes of paths.
HOME = {
    "abort": ("src/base/panic.c",),
    "getenv": ("src/conf/", "src/daemon/main.c", "src/daemon/signals.c",
               "src/ctl/"),
    "exit": ("src/daemon/main.c", "src/ctl/"),
    "printf": ("src/daemon/main.c", "src/ctl/"),
    "puts": ("src/daemon/main.c", "src/ctl/"),
    "putchar": ("src/daemon/main.c", "src/ctl/"),
    "vprintf": ("src/daemon/main.c", "src/ctl/"),
}
BOOT_LIST = "tests/lint/boot_files"

CALL = re.compile(r"(?<![\w.>])([a-z_]\w*)\s*\(")


def boot_files(tree):
    """Files and folders that may allocate: `PATH reason`, one a line."""
    if BOOT_LIST not in tree.paths:
        return []
    lines = [l.strip() for l in tree.text(BOOT_LIST).split("\n")]
    return [l.split()[0] for l in lines if l and not l.startswith("#")]


def advice(name, path, boot):
    """What to do instead of calling <name> in <path>, or None."""
    if name in ALWAYS:
        return ALWAYS[name]
    if path.startswith("kernels/") and name in KERNELS:
        return "answer an enum krn_status"
    if not path.startswith("src/"):
        return None
    if name in SOURCE and not path.startswith(HOME.get(name, ("\0",))):
        return SOURCE[name]
    if name in MEMORY and not path.startswith(("src/base/",) + tuple(boot)):
        return ("requests take memory from their arena, a slab or a struct "
                "buf; a file that only boots may be listed in " + BOOT_LIST)
    return None


def is_declared(line, m):
    """Whether a declaration of that name stands there, not a call."""
    before = line[:m.start()].split()
    return bool(before) and (before[-1] in ("int", "void", "char", "bool", "*",
                                            "size_t", "err")
                             or before[-1].endswith("*"))


def run(tree):
    boot = boot_files(tree)
    for path in boot:
        if not any(p.startswith(path) for p in tree.paths):
            yield Problem(BOOT_LIST, 1, "boot-files", path,
                          "%s is listed but does not exist; drop the line" %
                          path)
    for src in tree.c_files("src", "tests", "kernels"):
        if src.path.startswith("kernels/cuda/emu/"):
            continue
        for i, line in enumerate(src.code_lines):
            for m in CALL.finditer(line):
                how = advice(m.group(1), src.path, boot)
                if how and not is_declared(line, m):
                    yield Problem(src.path, i + 1, "call", m.group(1),
                                  "%s() is banned here; %s" %
                                  (m.group(1), how))
            if src.path.startswith("src/") and \
                    re.search(r"\bf(printf|puts|putc)\b.*\bstdout\b", line) \
                    and not src.path.startswith(HOME["printf"]):
                yield Problem(src.path, i + 1, "call", "stdout",
                              "stdout is the programs' main files'; write to "
                              "the log")
