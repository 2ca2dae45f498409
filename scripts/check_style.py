#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a formatter cannot see: licence line, opening comment, width, tabs, left-over notes, prefetches that gcc drops.

Every text file that git knows, or would add, is read. C code is wrapped at 110 columns by .clang-format; 120 is
where any line ends.

    check_style.py [--self-test] [FILE...]
"""
import os
import re
import subprocess
import sys

COLUMNS_MAX = 120
SPDX = "SPDX-License-Identifier: MIT"
CODE = re.compile(r"(\.(c|h|py|sh|cmake|scd|js|css|html)|(^|/)(CMakeLists\.txt|Makefile|\.clang-format|run))$")
WIDE = re.compile(r"\.(c|h|py|sh|cmake)$|(^|/)(CMakeLists\.txt|Makefile)$")
TEXT = re.compile(r"\.(md|txt|json|in|scd|conf|yml|supp)$")
LEFT_OVER = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|X" + r"XX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root|home/\w+)/")
PREFETCH = re.compile("__builtin_prefe" + "tch")  # base/prefetch.h says why
PREFETCHES = {"src/base/prefetch.h", "bench/keys.c"}
OPENING = {".c": "/* {name} -- ", ".h": "/* {name} -- "}
GENERATED = ("tests/golden/", "tests/compat/")


def check(path, data):
    """Yield (line, message)."""
    if path.startswith(GENERATED):
        return
    is_code, is_text = bool(CODE.search(path)), bool(TEXT.search(path))
    if not is_code and not is_text:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield 1, "is not UTF-8"
        return
    lines = text.split("\n")
    if text and lines[-1] != "":
        yield len(lines), "the last line does not end"
    if is_code and not any(SPDX in line for line in lines[:3]):
        yield 1, f"has no line '{SPDX}' at its top"
    name, suffix = os.path.basename(path), os.path.splitext(path)[1]
    if suffix in OPENING and not (len(lines) > 1 and lines[1].startswith(OPENING[suffix].format(name=name))):
        yield 2, f"does not open with '{OPENING[suffix].format(name=name)}...' saying what it is for"
    for number, line in enumerate(lines, 1):
        if "\t" in line and name != "Makefile" and suffix not in (".txt", ".in"):
            if name != "CMakeLists.txt" and suffix != ".scd":
                yield number, "holds a tab"
        if line != line.rstrip():
            yield number, "ends in white space"
        if WIDE.search(path) and len(line) > COLUMNS_MAX:
            yield number, f"is {len(line)} columns wide ({COLUMNS_MAX} at most)"
        if is_code and LEFT_OVER.search(line):
            yield number, f"holds the left-over note {LEFT_OVER.search(line).group(1)}"
        if PREFETCH.search(line) and suffix in OPENING and path not in PREFETCHES:
            yield number, "prefetches without bl_prefetch (base/prefetch.h)"
        if MACHINE_PATH.search(line):
            yield number, f"names a path of one machine ({MACHINE_PATH.search(line).group(0)})"


GOOD = f"/* {SPDX} */\n/* a.c -- what it is for. */\nint x;\n"
PLANTED = [  # path, text, what must be said ("" for nothing)
    ("src/a.c", GOOD, ""),
    ("src/a.c", GOOD.replace(SPDX, "copyright me"), "has no line"),
    ("src/a.c", f"/* {SPDX} */\nint x;\n", "does not open with"),
    ("src/a.c", GOOD.replace("a.c", "b.c"), "does not open with"),
    ("src/a.c", GOOD + "\tint y;\n", "holds a tab"),
    ("src/a.c", GOOD + "int y; \n", "ends in white space"),
    ("src/a.c", GOOD + "/* " + "x" * 120 + " */\n", "columns wide"),
    ("src/a.c", GOOD + "/* TO" + "DO: later */\n", "left-over note"),
    ("src/a.c", GOOD + "/* FIX" + "ME */\n", "left-over note"),
    ("src/a.c", GOOD + "/* built in /wo" + "rk/main */\n", "path of one machine"),
    ("src/a.c", GOOD + "void f(int *x) { __builtin_prefe" + "tch(x); }\n", "without bl_prefetch"),
    ("src/a.c", GOOD + "int y;", "last line does not end"),
    ("src/a.c", GOOD + "\u00e9".encode("latin-1").decode("latin-1") + "\n", ""),
    ("scripts/a.sh", "#!/bin/sh\necho\n", "has no line"),
    ("Makefile", f"# {SPDX}\nall:\n\ttrue\n", ""),
    ("docs/a.md", "# words\n" + "long " * 40 + "end\n", ""),
    ("tests/golden/a.txt", "trailing \n", ""),
]


def self_test():
    wrong = 0
    for path, text, expected in PLANTED:
        found = [message for _, message in check(path, text.encode("utf-8"))]
        if (found != [] if expected == "" else len(found) != 1 or expected not in found[0]):
            wrong += 1
            print(f"self-test: {path}: expected {expected or 'nothing'!r}, got {found}", file=sys.stderr)
    print(f"check_style self-test: {len(PLANTED) - wrong} of {len(PLANTED)} as expected")
    return wrong


def main(arguments):
    if "--self-test" in arguments:
        return 1 if self_test() else 0
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    files = arguments or subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                        check=True, capture_output=True).stdout.decode().split("\0")
    failed = False
    for path in filter(os.path.isfile, files):
        with open(path, "rb") as file:
            data = file.read()
        for number, message in check(path, data):
            failed = True
            print(f"{path}:{number}: {message}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
