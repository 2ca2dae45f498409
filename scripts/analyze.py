#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Read every source with three static analyzers: `clang --analyze`, `gcc -fanalyzer`, cppcheck. None may find anything.

    scripts/analyze.py [--self-test] [--jobs N] [NAME...]      NAME: only sources whose path contains it

Each source of src/ is compiled as build/clang/compile_commands.json says, with costly asserts, which tell the analyzers
the invariants; scripts/analyze.h goes before it and tells them what they cannot see from one file. A finding is settled
in the source, by an assert that states why it cannot be, or by what is simpler; what is not asked for is in GCC_OFF and
CPPCHECK_OFF.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEFORE = ROOT / "scripts" / "analyze.h"
INCLUDES = ["-I", str(ROOT / "src"), "-I", str(ROOT / "include")]
# What gcc 12 takes for a pointer that may be NULL is the pointer of a slice whose size is not 0; clang tells those.
GCC_OFF = ["-Wno-analyzer-null-dereference", "-Wno-analyzer-null-argument"]
CPPCHECK_OFF = ["--suppress=varFuncNullUB"]  # NULL is a pointer with both compilers
MADE_IN = re.compile(r"^#define (bl_\w+)\(", re.MULTILINE)


def sources(names):
    """[(path, folder, arguments)] of what the build compiles in src/."""
    database = ROOT / "build" / "clang" / "compile_commands.json"
    if not database.is_file():
        sys.exit("analyze: build/clang is not there; scripts/build.sh clang makes it")
    found = {}
    for entry in json.loads(database.read_text()):
        path = Path(entry["file"])
        if ROOT / "src" not in path.parents or path in found or not any(name in str(path) for name in names or [""]):
            continue
        words = shlex.split(entry["command"])[1:]
        kept = [word for at, word in enumerate(words)
                if word not in ("-o", "-c", "-Werror", str(path)) and words[at - 1] != "-o"]
        found[path] = (path, entry["directory"], kept)
    if not found:
        sys.exit(f"analyze: no source is called {' or '.join(names)}")
    return sorted(found.values())


def before(path):
    """The options that put analyze.h before a source: but for the command's, which sees the public interface, and for
    those that define what it makes macros of."""
    defines = MADE_IN.findall(BEFORE.read_text())
    text = path.read_text()
    if "/cli/" in str(path) or any(re.search(rf"^\w+ {name}\(", text, re.MULTILINE) for name in defines):
        return []
    return ["-Wno-pedantic", "-Wno-gnu-statement-expression", "-Wno-unused-value", *INCLUDES, "-include", str(BEFORE)]


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def compiled(command, source):
    path, folder, arguments = source
    with tempfile.TemporaryDirectory() as nowhere:  # not /dev/null, which clang removes where root runs it
        return run([*command, *arguments, *before(path), str(path), "-o", str(Path(nowhere) / "out")], folder)


def clang(source):
    return compiled(["clang", "--analyze", "-Xclang", "-analyzer-output=text"], source)


def gcc(source):
    return compiled(["gcc", "-fanalyzer", "-fdiagnostics-plain-output", *GCC_OFF, "-c"], source)


def cppcheck(source):
    path, folder, _ = source
    return run(["cppcheck", "--quiet", "--std=c11", "--enable=warning,portability,performance", "--error-exitcode=1",
                "-D__cppcheck__", "-DBL_CHECKS", "-D_GNU_SOURCE", f"--include={BEFORE}", *CPPCHECK_OFF, *INCLUDES,
                str(path)], folder)


TOOLS = {"clang": clang, "gcc": gcc, "cppcheck": cppcheck}


def findings(tool, source):
    code, text = TOOLS[tool](source)
    found = re.findall(r"^.*(?:warning|error): .*$", text, re.MULTILINE)
    return [text] if found or code != 0 else []


MISTAKES = """#include <stdlib.h>
int twice(int n);
int twice(int n)
{
    char *text = malloc(10);
    if (text == NULL)
        return 1;
    free(text);
    free(text);
    return n;
}
"""
NONE = """#include <bole/bole.h>
#include "base/status.h"
#include <stddef.h>
static bole_status make(int wanted, const int **out, bole_error *error)
{
    static const int one = 1;
    if (wanted == 0)
        return bl_fail(error, BOLE_INVALID, "none is wanted");
    *out = &one;
    return BOLE_OK;
}
int use(int wanted, bole_error *error);
int use(int wanted, bole_error *error)
{
    const int *made;
    return make(wanted, &made, error) == BOLE_OK ? *made : 0;
}
"""


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        for name, text, wanted in (("mistakes.c", MISTAKES, True), ("none.c", NONE, False)):
            path = Path(folder) / name
            path.write_text(text)
            for tool in TOOLS:
                found = findings(tool, (path, folder, ["-std=gnu11", "-Wall", "-O1"]))
                if bool(found) != wanted:
                    print(*found)
                    sys.exit(f"analyze: self-test: {tool} finds {'nothing' if wanted else 'something'} in {name}")
    print("analyze: self-test passed")


def main():
    parser = argparse.ArgumentParser(description="static analyzers over every source")
    parser.add_argument("--self-test", action="store_true", help="see that each tool finds a planted mistake")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or os.cpu_count() or 2))
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        sys.exit(f"analyze: not here: {', '.join(missing)}")
    if options.self_test:
        self_test()
        return 0
    work = [(tool, source) for source in sources(options.names) for tool in TOOLS]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda part: findings(*part), work))
    counts = dict.fromkeys(TOOLS, 0)
    for (tool, (path, _, _)), found in zip(work, results):
        for text in found:
            counts[tool] += 1
            print(f"---- {tool}: {path.relative_to(ROOT)}\n{text}")
    told = ", ".join(f"{tool} {count}" for tool, count in counts.items())
    print(f"analyze: {len(work) // len(TOOLS)} sources, with findings: {told}")
    return any(counts.values())


if __name__ == "__main__":
    sys.exit(main())
