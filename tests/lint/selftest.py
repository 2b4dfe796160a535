#!/usr/bin/env python3
"""Feeds the checks small trees: each bad one must be found out, the good one
must pass. Exits with 1 and says which check is blind or wrong."""
import os
import sys
import tempfile

sys.dont_write_bytecode = True

import lint  # noqa: E402

STYLE = """BasedOnStyle: LLVM
IndentWidth: 4
BreakBeforeBraces: Linux
AllowShortFunctionsOnASingleLine: None
"""

HEADER = """/* thing.h - A thing. */
#ifndef TG_RELAY_THING_H
#define TG_RELAY_THING_H

#include "base/err.h"

struct exchange;

/* Sizes. */
#define THING_MIN 1
#define THING_MAX 2

/* What a thing does when it is asked. */
typedef enum err thing_fn(struct exchange *x, void *arg);

/* A thing. */
struct thing {
    int a;       /* owned */
    thing_fn *f; /* may be NULL */
};

/* Things are first and last of their kind. */
extern const struct thing thing_first;
extern const struct thing thing_last;

/* Do it; ERR_IO when it cannot be done. */
enum err thing_do(struct exchange *x, void (*fn)(int, const char *),
                  const char *name) __attribute__((nonnull(1)));

/* Twice <a>. */
static inline int thing_twice(int a)
{
    return 2 * a;
}

#endif
"""

SOURCE = """/* thing.c - A thing: malloc(), goto and TO-DO notes in here are harmless. */
#include "relay/thing.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "exchange/exchange.h"

static const char *const names[] = {"a", "sprintf(1)", "x->who->key = 1;"};
static const int table[2][2] = {{1, 2}, {3, 4}};
const struct thing thing_first = {.a = 1};
static _Thread_local int mine;

static int deep(const struct exchange *x)
{
    if (x->who->key == NULL && x->in->body.len >= 3) {
        for (int i = 0; i < 2; i++) {
            if (table[i][0] == 1)
                return table[i][1];
            else if (table[i][1] == 2)
                return 2;
            else
                return 3;
        }
    }
    return mine;
}

enum err thing_do(struct exchange *x, void (*fn)(int, const char *),
                  const char *name)
{
    static const char words[] = "x";

    x->out->done = true;
    x->out->bytes += 1;
    if (strcmp(name, words) == 0)
        goto out;
    fn(deep(x), names[0]);
out:
    return ERR_OK;
}
"""

ERR_H = """/* err.h - E. */
#ifndef TG_BASE_ERR_H
#define TG_BASE_ERR_H

/* Codes. */
enum err {
    ERR_OK = 0,
    ERR_IO,

    ERR_AUTH,        /* 401 */
    ERR_CLIENT_GONE, /* 499 */
    ERR_COUNT
};

#endif
"""

ERR_C = """/* err.c - E. */
#include "base/err.h"

#define IRE "invalid_request_error"

static const struct err_row rows[ERR_COUNT] = {
    [ERR_OK] = {"ok", 200, "", NULL, "", RETRY_UNSAID, OUTCOME_E, ""},
    [ERR_IO] = {"io", 500, "x", NULL, "y", RETRY_UNSAID, OUTCOME_H, "z"},
    [ERR_AUTH] = {"auth", 401, IRE, "bad_key", "auth_error", RETRY_NO,
                  OUTCOME_Z, "Send 'a', {b}, \\"c\\"."},
    [ERR_CLIENT_GONE] = {"gone", 499, IRE, NULL, IRE, RETRY_UNSAID, OUTCOME_C,
                         "Gone."},
};
"""

PAGE = """# Errors

| status | OpenAI type | code | Anthropic type | x-should-retry | when |
| --- | --- | --- | --- | --- | --- |
| 401 | `invalid_request_error` | `bad_key` | `auth_error` | false | x |

| header | where |
| --- | --- |
| `a` | b |
"""

GOOD = {
    "src/base/err.h": ERR_H,
    "src/base/err.c": ERR_C,
    "doc/http-api.md": PAGE,
    "src/base/includes.allow": "",
    "src/exchange/includes.allow": "base # for errors\n",
    "src/relay/includes.allow": "base\nexchange\n",
    "src/relay/thing.h": HEADER,
    "src/relay/thing.c": SOURCE,
    "tests/e2e/lib/until.mjs":
        "await new Promise((r) => setTimeout(r, 10));\n",
    "tests/e2e/a.test.mjs": "server.listen(0);\n",
    "kernels/cuda/k_a.cu": "/* k_a.cu - A kernel. */\n"
                           '#include "kernels/cuda/a.cuh"\n',
    "kernels/cuda/a.cuh": "/* a.cuh - A. */\n#ifndef TG_KERNELS_CUDA_A_CUH\n"
                          "#define TG_KERNELS_CUDA_A_CUH\n\n/* One. */\n"
                          "#define A 1\n\n#endif\n",
    "tests/kernels/abi_cuda.c": "/* abi_cuda.c - A. */\n#include <cuda.h>\n",
    "tests/unit/t_a.c": "/* t_a.c - A test. */\n#include <stdlib.h>\n\n"
                        "static int count;\n\nint main(void)\n{\n"
                        "    free(malloc(count));\n    return 0;\n}\n",
    "tests/lint/exceptions": "at-most 0\n",
    ".clang-format": STYLE,
}

BODY = "static void f(struct exchange *x)\n{\n%s\n}\n"


def body(text):
    """A source of src/relay with a function that does <text>."""
    return {"src/relay/bad.c":
            "/* bad.c - Bad. */\n" + BODY % ("    " + text)}


def top(text, path="src/relay/bad.c"):
    """A file with <text> at file scope."""
    guard = "TG_" + "_".join(path.split("/")[1:]).replace(".", "_").upper()
    if path.endswith(".h"):
        text = "#ifndef %s\n#define %s\n%s\n#endif" % (guard, guard, text)
    return {path: "/* bad - Bad. */\n" + text + "\n"}


def nest(levels):
    lines = ["%sif (x)" % ("    " * (n + 1)) for n in range(levels)]
    return "\n".join(lines).strip() + "\n" + "    " * (levels + 1) + "f(x);"


# (rule, key, files that differ from GOOD)
BAD = [
    ("include", "front/conn.h", top('#include "front/conn.h"')),
    ("include", "lmdb.h", top("#include <lmdb.h>")),
    ("include", "bad.h", top('#include "bad.h"')),
    ("include-order", "stdio.h",
     top('#include "relay/thing.h"\n#include "base/err.h"\n\n'
         '#include <stdio.h>')),
    ("include-order", "string.h",
     top('#include <string.h>\n\n#include "relay/bad.h"')),
    ("includes-allow", "new", top("", "src/new/a.c")),
    ("include-cycle", "exchange-relay-exchange", {
        "src/exchange/includes.allow": "base\nrelay\n",
        "src/exchange/a.c": '/* a.c - A. */\n#include "relay/thing.h"\n'}),
    ("file-length", "-", top("\n" * 600)),
    ("function-length", "f", body("\n".join(["g();"] * 61))),
    ("nesting", "f", body(nest(4))),
    ("nesting", "f", body("for (;;)\n while (x)\n  do\n   switch (x) {\n"
                          "case 1:\n f(x);\n }\n while (x);")),
    ("parameters", "f",
     top("int f(int a, int b, int c, int d, int e, int g, int h, int i)\n"
         "{\n    return 0;\n}")),
    ("goto", "f", body("goto fail;\nfail:\n    return;")),
    ("goto", "f", body("out:\n    f(x);\n    goto out;")),
    ("call", "malloc", body("x = malloc(3);")),
    ("call", "free", body("if (x)\n        free(x);")),
    ("call", "strdup", body("return strdup(x);")),
    ("call", "sprintf", body("sprintf(x, x);")),
    ("call", "strcpy", body("strcpy(x, x);")),
    ("call", "strcat", body("strcat(x, x);")),
    ("call", "gets", body("gets(x);")),
    ("call", "system", body("system(x);")),
    ("call", "popen", body("popen(x);")),
    ("call", "abort", body("abort();")),
    ("call", "usleep", body("usleep(1);")),
    ("call", "printf", body("printf(x);")),
    ("call", "stdout", body("fprintf(stdout, x);")),
    ("call", "atoi", body("return atoi(x);")),
    ("call", "sleep", {"tests/unit/t_a.c":
                       "/* t_a.c - A. */\n" + BODY % "    sleep(1);"}),
    ("boot-files", "src/gone.c", {"tests/lint/boot_files": "src/gone.c x\n"}),
    ("owner", "who", body("x->who->key = NULL;")),
    ("owner", "in", body("x->in->body.len += 1;")),
    ("owner", "bill", body("x->bill->n++;")),
    ("owner", "ask", body("++x->ask->n;")),
    ("owner", "work", body("x->work = NULL;")),
    ("owner", "in", body("c->x->in->head.a[3] |= 1;")),
    ("owner", "request", body("struct request *in = x->in;")),
    ("owner", "stage", body("x->stage = 3;")),
    ("guard", "TG_RELAY_BAD_H",
     {"src/relay/bad.h": "/* bad.h - B. */\n#ifndef BAD_H\n#define BAD_H\n"
                         "#endif\n"}),
    ("file-comment", "-", {"src/relay/bad.c": "#include <stdio.h>\n"}),
    ("header-comment", "f", top("\nint f(int a);", "src/relay/bad.h")),
    ("header-comment", "thing", top("\nstruct thing {\n    int a;\n};",
                                    "src/relay/bad.h")),
    ("header-comment", "g",
     top("\n/* F. */\nint f(int a);\n\nint g(int a);", "src/relay/bad.h")),
    ("header-comment", "twice",
     top("\nstatic inline int twice(int a)\n{\n    return a;\n}",
         "src/relay/bad.h")),
    ("header-comment", "BAD_MAX", top("\n#define BAD_MAX 3",
                                      "src/relay/bad.h")),
    ("ascii", "e9", top("/* caf\u00e9 */")),
    ("note", "TO" "DO", top("/* TO" "DO: more */")),
    ("note", "FIX" "ME", {"doc/a.md": "FIX" "ME later\n"}),
    ("blank", "-", top("int f(void); ")),
    ("typedef", "thing;", top("typedef struct thing thing;")),
    ("typedef", "number;", top("typedef int number;")),
    ("macro", "TRY", top("#define TRY(e) \\\n    if (e) \\\n        return e")),
    ("mutable", "count", top("static int count;")),
    ("mutable", "count", top("int count = 3;")),
    ("mutable", "names", top('static const char *names[] = {"a"};')),
    ("mutable", "fn", top("static void (*fn)(int);")),
    ("mutable", "st", top("static struct state {\n    int a;\n} st = {1};")),
    ("mutable", "once", body("static int once;")),
    ("file-comment", "-", {"kernels/cuda/k_a.cu": "#define A 1\n"}),
    ("header-comment", "dot",
     {"kernels/cuda/a.cuh": "/* a.cuh - A. */\n#ifndef TG_KERNELS_CUDA_A_CUH\n"
      "#define TG_KERNELS_CUDA_A_CUH\n\nDEV int dot(int a)\n{\n"
      "    return a;\n}\n\n#endif\n"}),
    ("include", "cuda_fp16.h",
     {"kernels/cuda/k_a.cu": "/* k_a.cu - A. */\n#include <cuda_fp16.h>\n"}),
    ("include", "cuda.h",
     {"tests/unit/t_b.c": "/* t_b.c - B. */\n#include <cuda.h>\n"}),
    ("function-length", "f", top("extern \"C\" void f(void)\n{\n" +
                                 "g();\n" * 61 + "}", "kernels/cuda/k_a.cu")),
    ("mutable", "count", top("static int count;", "kernels/a.c")),
    ("call", "abort", {"kernels/a.c":
                       "/* a.c - A. */\n" + BODY % "    abort();"}),
    ("wait", "setTimeout", {"tests/e2e/b.test.mjs":
                            "await new Promise((r) => setTimeout(r, 50));\n"}),
    ("wait", "setTimeout", {"tests/e2e/b.test.mjs":
                            "import { setTimeout } from 'timers/promises';\n"}),
    ("wait", "sleep", {"tests/e2e/run.sh": "start &\nsleep 1\n"}),
    ("port", "8080", {"tests/unit/t_b.c":
                      "/* t_b.c - B. */\n" + BODY %
                      "    a.sin_port = htons(8080);"}),
    ("port", "4141", {"tests/e2e/b.test.mjs":
                      "fetch('http://127.0.0.1:4141/')\n"}),
    ("errors", "bad_key", {"doc/http-api.md": PAGE.replace("401", "403")}),
    ("errors", "bad_key", {"doc/http-api.md": PAGE.replace("false", "true")}),
    ("errors", "bad_key", {"src/base/err.c": ERR_C.replace("RETRY_NO",
                                                           "RETRY_YES")}),
    ("errors", "bad_key", {"src/base/err.c": ERR_C.replace("auth_error",
                                                           "api_error")}),
    ("errors", "worse_key",
     {"doc/http-api.md": PAGE.replace("`bad_key`", "`worse_key`")}),
    ("errors", "null",
     {"src/base/err.h": ERR_H.replace("\n    ERR_AUTH", "    ERR_AUTH")
      .replace("    ERR_IO,", "\n    ERR_IO,")}),
    ("errors", "-", {"doc/http-api.md": "# No table\n"}),
    ("format", "-", top("int  f(void);")),
    ("exceptions", "-", {"tests/lint/exceptions":
                         "at-most 1\nmutable src/a.c b -- gone\n"}),
    ("exceptions", "-", {"tests/lint/exceptions":
                         "at-most 0\nmutable src/a.c b -- one more\n"}),
    ("exceptions", "-", {"tests/lint/exceptions": "at-most 3\n"}),
    ("exceptions", "-", {"tests/lint/exceptions":
                         "at-most 1\nmutable src/a.c b because\n"}),
]


def problems(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
        # The format is one process a call: only where it is asked for.
        names = lint.CHECKS if FORMAT in files else lint.CHECKS[:-1]
        return lint.lint(root, names)


FORMAT = "src/relay/format"


def main():
    failed = 0
    found = problems(dict(GOOD, **{FORMAT: ""}))
    for p in found:
        failed += 1
        print("selftest: the good tree is blamed: %s" % p)
    skipped = 0
    for rule, key, files in BAD:
        extra = {FORMAT: ""} if rule in ("format", "exceptions") else {}
        if rule == "format" and not lint.importlib.import_module(
                "checks.format").tool():
            skipped += 1
            continue
        found = problems(dict(GOOD, **files, **extra))
        if not any(p.rule == rule and p.key == key for p in found):
            failed += 1
            print("selftest: %s %s is not found in:\n%s" %
                  (rule, key, "\n".join(files.values())))
    print("lint selftest: %d of %d bad snippets are found%s" %
          (len(BAD) - skipped - failed, len(BAD),
           ", the format was not tried" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
