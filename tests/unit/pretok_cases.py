#!/usr/bin/env python3
"""usage: pretok_cases.py [SEED [CASES]] > pretok_cases.h

Cuts random texts with the published regular expressions of pre-tokenizers by
way of Python's `regex` module, which knows nothing of tollgate's scanners.
With other seeds and more cases it is a property test: write the header over
the one in the tree, run t_pretok, put the old one back."""
import random
import sys

import regex

HEAD = r"[^\r\n\p{L}\p{N}]?"
SYM = r" ?[^\s\p{L}\p{N}]+"
WHITE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
ANY = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UP = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOW = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT2 = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+|" + SYM +
        r"|\s+(?!\S)|\s+")


def cased(suffix):
    return (HEAD + UP + "*" + LOW + "+" + suffix + "|" + HEAD + UP + "+" +
            LOW + "*" + suffix + "|")


CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
RULES = [
    [GPT2],
    [ANY + "|" + HEAD + r"\p{L}+|\p{N}{1,3}|" + SYM + r"[\r\n]*|" + WHITE],
    [ANY + "|" + HEAD + r"\p{L}+|\p{N}|" + SYM + r"[\r\n]*|" + WHITE],
    [ANY + "|" + HEAD + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" +
     WHITE],
    [ANY + "|" + HEAD + r"\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + WHITE],
    [ANY + "|" + HEAD + r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|" + SYM +
     r"[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    [cased(ANY + "?") + r"\p{N}{1,3}|" + SYM + r"[\r\n/]*|" + WHITE],
    [cased("") + r"\p{N}|" + SYM + r"[\r\n/]*|" + WHITE],
    [r"\p{N}", GPT2],
    [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
     r'''[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|'''
     r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + WHITE],
    [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    [r"[\r\n]", r"\s+$", CJK, r"\p{N}+"],
    [BLOOM],
    [GPT2, "[0-9][0-9][0-9]"],
]
# What the module reads otherwise than the tokenizers do.
PYTHON = {BLOOM: BLOOM.replace("|[", "|").replace("])]", ")]"),
          r"\s+$": r"\s+\Z"}
POOLS = [
    "abcXYZ", "0123456789", " ", " \t\n\r\x0b", "!\"#$%&'()*+,-./:;<=>?@[]_`|~",
    "\xe9\xc9\xdf\u01c5\u0416\u044f\u03a9", "\u4f60\u597d\u754c\u9fa5\u9fa6",
    "\u3042\u30ab\u30fc", "\uac00\ud7a3", "\u0e01\u0e34\u0928\u092e\u0947",
    "\u0663\u06f4\xb2\xbd\u2167\u2460", "\u0301\u20dd", "\u2014\u2026\u3002",
    "\u20ac\u221e\xa9", "\U0001f600\u200d\ufe0f", "\xa0\u2003\u3000\x85\u2028",
    "\U00020000\U00010400", "\ufffd\ue000\x01\x7f", "\u02b0\xaa",
]
WORDS = ["'s", "'S", "'re", "'LL", "don't", " the", "HTTPServer", "camelCase",
         "12345", "3.14", "\n\n", "\r\n", "   ", "\n    ", "//", "/*\n", "...",
         " '", " \n", "http://a.b/c?d=1", "a b c", "A'M"]


def cut(rules, text):
    pieces = [text]
    for re in rules:
        parts = []
        for piece in pieces:
            at = 0
            for m in regex.finditer(PYTHON.get(re, re), piece):
                if m.end() == m.start():
                    continue
                parts += [piece[at:m.start()], m.group()]
                at = m.end()
            parts.append(piece[at:])
        pieces = [p for p in parts if p]
    return pieces


def quote(byte):
    c = chr(byte)
    if c in "\"\\":
        return "\\" + c
    return c if 32 <= byte <= 126 and c != "?" else "\\%03o" % byte


def wrap(data, indent):
    lines = [""]
    for byte in data:
        c = quote(byte)
        if len(lines[-1]) + len(c) > 74 - indent:
            lines.append("")
        lines[-1] += c
    return ("\n" + " " * indent).join('"' + x + '"' for x in lines)


def text(rnd):
    s = ""
    for _ in range(rnd.randint(1, 9)):
        if rnd.random() < 0.4:
            s += rnd.choice(WORDS)
        else:
            pool = rnd.choice(POOLS)
            s += "".join(rnd.choice(pool) for _ in range(rnd.randint(1, 3)))
    return s


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    rnd = random.Random(seed)
    print("/* pretok_cases.h - Written by pretok_cases.py: texts and the bytes"
          " of the\n * words that published regular expressions cut them into."
          " */")
    print("#ifndef TG_TESTS_UNIT_PRETOK_CASES_H\n"
          "#define TG_TESTS_UNIT_PRETOK_CASES_H\n")
    print("/* clang-format off */")
    print("static const struct pretok_rule_case rules[] = {")
    for rule in RULES:
        res = ",\n      ".join(wrap(re.encode(), 6) for re in rule)
        print("    {{%s}},\n" % res, end="")
    print("};\n\nstatic const struct pretok_case cases[] = {")
    for _ in range(n):
        for i, rule in enumerate(RULES):
            s = text(rnd)
            lens = [len(p.encode()) for p in cut(rule, s)]
            print("    {%d, %s,\n     {%s}}," % (
                i, wrap(s.encode(), 8),
                ", ".join(str(x) for x in lens[:40])))
    print("};\n/* clang-format on */\n\n#endif")


main()
