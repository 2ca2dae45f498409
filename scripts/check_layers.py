#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Read every #include and say which ones break the layers of docs/design.md.

    base <- platform <- core <- { log | memory | segment | value } <- version <- compaction <- engine <- tools <- cli

A file includes from its own folder and from folders left of it; log, memory, segment and value never see each
other. Front ends (cli, bench) see include/bole/ and their own folder; cli may also ask src/tools. The operating
system is called in platform/ only, the heap through base/alloc.h only, and each foreign library has one home.

    check_layers.py [--self-test] [ROOT]
"""
import os
import re
import sys
import tempfile

RANK = {"base": 0, "platform": 1, "core": 2, "log": 3, "memory": 3, "segment": 3, "value": 3, "version": 4,
        "compaction": 5, "engine": 6, "tools": 7}

# Headers through which the operating system is reached. <stdio.h> is not among them (snprintf), so its file
# functions are looked for by name below.
SYSTEM_HEADERS = re.compile(r"^(sys/.*|linux/.*|netinet/.*|arpa/.*|fcntl\.h|unistd\.h|pthread\.h|threads\.h|time\.h"
                            r"|signal\.h|sched\.h|dirent\.h|poll\.h|semaphore\.h|ucontext\.h|setjmp\.h|termios\.h"
                            r"|dlfcn\.h|syscall\.h|stropts\.h|glob\.h|ftw\.h|pwd\.h|spawn\.h|wordexp\.h)$")
SYSTEM_CALLS = re.compile(r"\b(fopen|fdopen|freopen|tmpfile|remove|rename|system|popen|getenv|secure_getenv|time|clock"
                          r"|clock_gettime|rand|srand|random|abort|exit|sleep|usleep|nanosleep)\s*\(")
HEAP_CALLS = re.compile(r"\b(malloc|calloc|realloc|free|strdup|strndup|asprintf|vasprintf|aligned_alloc"
                        r"|posix_memalign|memalign)\s*\(")

# Where a foreign library may be met: {header: folders or files below src/}.
LIBRARY_HOMES = {
    "xxhash.h": ("base",),
    "lz4.h": ("segment/compression.c", "base"), "lz4hc.h": ("segment/compression.c",),
    "zstd.h": ("segment/compression.c",), "zdict.h": ("segment/compression.c",),
    "ini.h": ("core/config_source.c", "cli"),
    "jansson.h": ("core", "tools", "cli"),
    "popt.h": ("cli",), "histedit.h": ("cli",), "editline/readline.h": ("cli",),
    "cairo.h": ("cli",), "cairo-svg.h": ("cli",), "cairo-pdf.h": ("cli",),
}

# Exceptions by name, each with its reason.
SYSTEM_EXCEPTIONS = {
    "base/assert.c": "a broken invariant ends the process: abort",
    "base/alloc.c": "the one door to the heap",
}
HEAP_EXCEPTIONS = {
    "base/alloc.c": "the one door to the heap",
}
# Folders that are programs of their own: they talk to the terminal and the system, and never run inside a store.
PROGRAMS = {"cli", "bench"}
# bench/micro_*.c time one part from the inside, as the tests look at it from the inside; the benchmark itself, beside
# other engines, sees what they would see.
INSIDE = re.compile(r"^bench/micro_\w+\.[ch]$")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)


def blank(text):
    """The code without comments and strings, its lines where they were."""
    return COMMENT_OR_STRING.sub(lambda m: "".join("\n" if c == "\n" else " " for c in m.group()), text)


def may_include(folder, target):
    if folder == target:
        return True
    if folder == "cli":
        return target == "tools"
    if folder == "bench":
        return False
    if target not in RANK or folder not in RANK:
        return False
    return RANK[target] < RANK[folder]


def home_allows(path, folder, homes):
    return any(home == folder or home == path for home in homes)


def check_file(path, folder, text):
    """Yield (line, message) for one file; path is relative to src/ (or to the root for bench and include)."""
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, name = match.groups()
        if kind == '"':
            target = name.split("/")[0] if "/" in name else folder
            if name.startswith("../") or "/../" in name:
                yield number, f'"{name}": includes are written from src/, never with ..'
            elif not may_include(folder, target):
                yield number, f'{folder} may not see {target} ("{name}")'
            elif folder != "bench" and "/" not in name:
                yield number, f'"{name}": write the folder too, as in "{folder}/{name}"'
        else:
            if SYSTEM_HEADERS.match(name) and folder != "platform" and folder not in PROGRAMS \
                    and path not in SYSTEM_EXCEPTIONS:
                yield number, f"<{name}>: only platform/ calls the operating system"
            homes = LIBRARY_HOMES.get(name)
            if homes and folder not in PROGRAMS - {"cli"} and not home_allows(path, folder, homes):
                yield number, f"<{name}>: at home in {', '.join(homes)} only"
    if folder in PROGRAMS:
        return
    for number, line in enumerate(blank(text).splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for match in SYSTEM_CALLS.finditer(line):
            before = line[:match.start()].rstrip()
            member = before.endswith(("->", ".", "*", "(*"))
            if not member and folder != "platform" and path not in SYSTEM_EXCEPTIONS:
                yield number, f"{match.group(1)}(): only platform/ calls the operating system"
        for match in HEAP_CALLS.finditer(line):
            member = line[:match.start()].rstrip().endswith(("->", ".", "*"))
            if not member and path not in HEAP_EXCEPTIONS:
                yield number, f"{match.group(1)}(): heap memory goes through base/alloc.h"


def check_public(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match and (match.group(1) == '"' or not re.match(r"^(bole/.*|std\w+\.h)$", match.group(2))):
            yield number, f"a public header includes only the C standard's std*.h and <bole/...>, not {match.group(2)}"


def check_tree(root):
    found = []
    for top in ("src", "bench", "include/bole"):
        base = os.path.join(root, top)
        for directory, _, names in sorted(os.walk(base)):
            for name in sorted(names):
                if not name.endswith((".c", ".h")):
                    continue
                full = os.path.join(directory, name)
                shown = os.path.relpath(full, root)
                with open(full, encoding="utf-8") as file:
                    text = file.read()
                if top == "include/bole":
                    problems = check_public(text)
                elif top == "bench":
                    problems = [] if INSIDE.match(shown) else check_file(shown, "bench", text)
                else:
                    path = os.path.relpath(full, base)
                    folder = path.split(os.sep)[0]
                    if os.sep not in path or (folder not in RANK and folder != "cli"):
                        found.append(f"{shown}:1: lies in no layer")
                        continue
                    problems = check_file(path, folder, text)
                found.extend(f"{shown}:{number}: {message}" for number, message in problems)
    return found


PLANTED = [  # file, text, what must be said ("" for nothing)
    ("src/base/a.c", '#include "platform/epoch.h"\n', "base may not see platform"),
    ("src/log/a.c", '#include "memory/memtable.h"\n', "log may not see memory"),
    ("src/segment/a.h", '#include "value/value_file.h"\n', "segment may not see value"),
    ("src/version/a.c", '#include "engine/open.h"\n', "version may not see engine"),
    ("src/cli/a.c", '#include "engine/open.h"\n', "cli may not see engine"),
    ("src/cli/b.c", '#include "tools/inspect.h"\n#include <unistd.h>\n#include <bole/bole.h>\n', ""),
    ("bench/a.c", '#include "base/hash.h"\n', "bench may not see base"),
    ("bench/micro_hash.c", '#include "base/hash.h"\n', ""),
    ("src/engine/a.c", "#include <fcntl.h>\n", "only platform/ calls the operating system"),
    ("src/engine/b.c", "void f(void)\n{\n    fopen(0, 0);\n}\n", "fopen(): only platform/"),
    ("src/engine/c.c", "/* malloc( */\nint x; // free(\nvoid f(void) { vfs->rename(vfs); g(\"exit(\"); }\n", ""),
    ("src/engine/d.c", "void f(void)\n{\n    char *p = malloc(1);\n}\n", "malloc(): heap memory"),
    ("src/engine/e.c", '#include "../log/a.h"\n', "never with .."),
    ("src/engine/f.c", '#include "local.h"\n', "write the folder too"),
    ("src/engine/g.c", '#include <zstd.h>\n', "at home in segment/compression.c"),
    ("src/engine/h.c", '#include "base/hash.h"\n#include "log/log.h"\n#include "engine/x.h"\n#include <math.h>\n', ""),
    ("src/platform/a.c", "#include <fcntl.h>\n#include <sys/mman.h>\nint f(void) { return time(0); }\n", ""),
    ("src/stray.c", "int x;\n", "lies in no layer"),
    ("include/bole/a.h", "#include <pthread.h>\n", "public header"),
    ("include/bole/b.h", "#include <stdint.h>\n#include <bole/bole.h>\n", ""),
]


def self_test():
    """Each planted file alone in a tree must give exactly the complaint that is expected of it."""
    wrong = 0
    for name, text, expected in PLANTED:
        with tempfile.TemporaryDirectory() as root:
            full = os.path.join(root, name)
            os.makedirs(os.path.dirname(full))
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
            found = check_tree(root)
        good = not found if expected == "" else len(found) == 1 and expected in found[0]
        if not good:
            wrong += 1
            print(f"self-test: {name}: expected {expected or 'nothing'!r}, got {found}", file=sys.stderr)
    print(f"check_layers self-test: {len(PLANTED) - wrong} of {len(PLANTED)} as expected")
    return wrong


def main(arguments):
    if "--self-test" in arguments:
        return 1 if self_test() else 0
    root = arguments[0] if arguments else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    found = check_tree(root)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
