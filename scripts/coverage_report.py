#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Lines and branches of src/ without cli that a run of the tests reached, from a build with BOLE_COVERAGE.

    scripts/coverage_report.py [--build DIR] [--lines PERCENT] [--branches PERCENT] [--files N] [--missed [PATTERN]]

--lines and --branches: fail below that. --files: how many of the files with the most missed branches are listed.
--missed: each line that was never run ('-') or has a branch that was never taken ('!'), with its text, of all files or
of those whose path has PATTERN.

What counts. A branch is an outcome of one condition (each side of && and || is a condition). The same line in several
functions (a text that is included once per instruction set, an inline function of a header in several sources) is one
line with one set of branches: taken in one of them is taken. Not counted are the branches of an assert (bl_assert,
bl_debug_assert, BL_STATIC_ASSERT), since the side that ends the process cannot be reached while the program is right,
and lines of `abort();`, for the same reason. Nothing else is left out, and no comment in a source can leave out a line.
"""
import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASSERT = re.compile(r"\b(bl_assert|bl_debug_assert|BL_STATIC_ASSERT)\(")
ABORT = re.compile(r"^\s*abort\(\);")


def gcov(notes, root=ROOT):
    """gcov's view of one object: [(file, function, line, count, [branch counts])], files below `root`"""
    done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", notes], capture_output=True,
                          text=True, cwd=notes.parent, check=True)
    found = []
    for text in done.stdout.splitlines():
        data = json.loads(text)
        folder = data["current_working_directory"]
        for file in data["files"]:
            path = os.path.relpath(os.path.join(folder, file["file"]), root)
            if path.startswith("src/") and not path.startswith("src/cli/"):
                found += [(path, line.get("function_name", ""), line["line_number"], line["count"],
                           [branch["count"] for branch in line["branches"]]) for line in file["lines"]]
    return found


def not_counted(path):
    """Lines whose branches do not count, lines that do not count at all."""
    asserts, aborts, depth = set(), set(), 0
    for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
        if ABORT.match(line):
            aborts.add(number)
        found = ASSERT.search(line)
        if depth > 0 or found:
            asserts.add(number)
            part = line[found.start():] if depth == 0 else line
            depth += part.count("(") - part.count(")")
    return asserts, aborts


def add(left, right):
    """Of the same conditions: the sums. Copies that the compiler shaped otherwise: side by side."""
    return [a + b for a, b in zip(left, right)] if len(left) == len(right) else None


def collect(build):
    notes = sorted(path for path in build.rglob("*.gcno"))
    if not notes:
        sys.exit(f"coverage_report: no build that counts in {build}")
    with ThreadPoolExecutor(int(os.environ.get("JOBS") or os.cpu_count() or 2)) as pool:
        rows = [row for part in pool.map(gcov, notes) for row in part]
    lines = {}
    for path, _, number, count, branches in rows:
        entry = lines.setdefault(path, {}).setdefault(number, [0, []])
        entry[0] += count
        for index, shape in enumerate(entry[1]):
            if len(shape) == len(branches):
                entry[1][index] = add(shape, branches)
                break
        else:
            if branches:
                entry[1].append(branches)
    files = {}
    for path, numbers in sorted(lines.items()):
        asserts, aborts = not_counted(path)
        files[path] = {number: (count, [] if number in asserts else max(shapes, key=len, default=[]))
                       for number, (count, shapes) in numbers.items() if number not in aborts}
    return files


def tally(numbers):
    branches = [branch for _, found in numbers.values() for branch in found]
    return (sum(count > 0 for count, _ in numbers.values()), len(numbers),
            sum(branch > 0 for branch in branches), len(branches))


def show_missed(files, pattern):
    for path, numbers in files.items():
        if pattern not in path:
            continue
        text = (ROOT / path).read_text().splitlines()
        for number, (count, branches) in sorted(numbers.items()):
            if count == 0 or 0 in branches:
                what = "-" if count == 0 else "".join("." if branch else "!" for branch in branches)
                print(f"{path}:{number}: {what:6} {text[number - 1]}")


def main():
    parser = argparse.ArgumentParser(description="lines and branches that the tests reached")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "coverage")
    parser.add_argument("--lines", type=float, default=0)
    parser.add_argument("--branches", type=float, default=0)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--missed", nargs="?", const="", metavar="PATTERN")
    options = parser.parse_args()
    files = collect(options.build)
    if options.missed is not None:
        show_missed(files, options.missed)
        return 0
    rows = sorted(((tally(numbers), path) for path, numbers in files.items()),
                  key=lambda row: (row[0][2] - row[0][3], row[0][0] - row[0][1]))
    print("  missed branches     of   missed lines     of")
    for (lines, all_lines, branches, all_branches), path in rows[:options.files]:
        print(f"  {all_branches - branches:15} {all_branches:6} {all_lines - lines:14} {all_lines:6}  {path}")
    lines, all_lines, branches, all_branches = (sum(row[0][index] for row in rows) for index in range(4))
    line_part, branch_part = 100 * lines / all_lines, 100 * branches / all_branches
    good = line_part >= options.lines and branch_part >= options.branches
    print(f"coverage: {line_part:.1f} % of {all_lines} lines, {branch_part:.1f} % of {all_branches} branches"
          + ("" if good else f"; at least {options.lines:g} % and {options.branches:g} % are wanted"))
    return not good


if __name__ == "__main__":
    sys.exit(main())
