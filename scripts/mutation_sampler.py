#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Change one thing of a line of src/ and expect a test to fail; many times, lines and changes drawn from a seed.

    scripts/mutation_sampler.py [--samples N] [--seed S] [--only PATTERN] [--work DIR] [--jobs N] [--most N] [--rest]
    scripts/mutation_sampler.py --list [--seed S] [--samples N]      the mutants, nothing is built

The tree is copied once a job, built with costly asserts, and built once more to learn which tests reach which line.
Then for each mutant: what depends on its file is built, and the tests that reach its line run, the likeliest and
quickest first, until one fails (a crash, an assert and a test that does not end count). A mutant that all of them pass
has survived; no other test could tell it from the source (--rest runs the others all the same). Survivors are printed
with their changes. The score is killed / (all - those that do not compile). --work keeps the copies, their builds and
what is known of the lines, for as long as the tree stays the same.

What is drawn: a .c file's line (src/cli is left out), each as likely as any other, and one of the changes that fit it:
relational operators and their bounds, == and !=, && and ||, + and -, a number plus 1, true and false, a condition
negated, a check that never holds, a status taken for BOLE_OK, a call or an assignment dropped. Not drawn, since no test
can or should see them: asserts and marks, text of errors and of the event log, statistics and clocks for them, hints
(prefetch, likely, advice to the system), locks and orders of memory (ThreadSanitizer's), points where a simulated
thread may switch, declarations.
"""
import argparse
import difflib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from coverage_report import gcov  # noqa: E402
from planted_defects import ROOT, Tree, in_parallel  # noqa: E402

LEFT_OUT = re.compile(
    r"sched_yield|nanosleep|bl_assert|bl_debug_assert|BL_STATIC_ASSERT|BL_MARK"
    r"|^\s*(#|static|extern|typedef|enum|case|default|\*|/\*|goto)"
    r"|prefetch|advise|madvise|bl_event|event_log|log_event|bl_corrupt\(|bl_fail\w*\(|bl_error_clear|bl_stat|_stats?\b"
    r"|stats|counter|bl_count|histogram|nanoseconds|clock|bl_point|\bpoint\(|bl_yield|bl_relax|relax\(|_lock\("
    r"|_unlock\(|_wake|_signal|_broadcast|memory_order|atomic_thread_fence|__builtin|snprintf|printf|_text\b")
# Of a statement over several lines: what its other lines give to.
ARGUMENTS_LEFT_OUT = re.compile(
    r"bl_assert|bl_debug_assert|BL_STATIC_ASSERT|bl_event|bl_corrupt\(|bl_fail\w*\(|bl_repair_tell|\btell\w*\(|printf"
    r"|bl_buffer_append_format|prefetch|static const|return \"")
WORDS = [  # what stands there, what may stand there instead
    (r"(?<![<>=!\-+*/&|])<(?![<=])", ["<="]), (r"(?<![<>=!\-])>(?![>=])", [">="]), (r"<=(?!=)", ["<"]),
    (r"(?<![<>\-])>=", [">"]), (r"==", ["!="]), (r"!=", ["=="]), (r"&&", ["||"]), (r"\|\|", ["&&"]),
    (r"(?<=[\w)\]] )\+(?= [\w(])", ["-"]), (r"(?<=[\w)\]] )-(?= [\w(])", ["+"]), (r"\+=", ["-="]), (r"-=", ["+="]),
    (r"\btrue\b", ["false"]), (r"\bfalse\b", ["true"]),
]
NUMBER = re.compile(r"(?<![\w.\"'])(\d+)(?![\w.\"'])")
CALL = re.compile(r"^\s+[a-z_][\w>.\-]*\((?!.*\) [=<>]).*\);(\s*/\*.*\*/)?$")
ASSIGNMENT = re.compile(r"^(\s+)[*(]*[a-z_][\w>.\-\[\]()*& ]*? [+\-|&]?= .*;(\s*/\*.*\*/)?$")
DECLARATION = re.compile(r"^\s+(const |struct |unsigned |_Atomic)?\w+ \**\w+(\[.*\])? = ")
STATUS = re.compile(r"^(\s+)((?:bole_status )?status) = (\w+[\w>.\-]*\(.*\));$")
CHECK = re.compile(r"^(\s*)((?:\} else )?if) \((.*)\)( \{)?$")
EXIT = re.compile(r"^\s*(return|break|continue|goto)\b")
SECONDS_MORE, TIMES_MORE = 15, 5  # a test has this many seconds more, and that many times what it takes, to end
BUILD, TREE = "@BUILD@", "@TREE@"  # in what is known of a test, in the place of where they are
LIMITS = ["prlimit", "--data=6442450944", "--fsize=4294967296"]  # of a mutant's memory and files


def balanced(text):
    return text.count("(") == text.count(")")


def statement(lines, index):
    """The whole of what the line is a part of."""
    first = last = index
    while first > 0 and not re.search(r"([;{}:]|\*/)$", lines[first - 1].rstrip()) and lines[first - 1].strip():
        first -= 1
    while last + 1 < len(lines) and not re.search(r"([;{}:]|\*/)$", lines[last].rstrip()) and lines[last].strip():
        last += 1
    return "\n".join(lines[first:last + 1])


def changes(lines, index):
    """[(what, new line)] of one line."""
    line = lines[index]
    if not line.strip() or not line.startswith("    ") or LEFT_OUT.search(line):
        return []
    if ARGUMENTS_LEFT_OUT.search(statement(lines, index)):
        return []
    code = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])+\'', lambda m: "\0" * len(m.group()), line)
    if "/*" in code or code.count("\0") == len(code.strip()):
        return []
    found = []
    for pattern, words in WORDS:
        for match in re.finditer(pattern, code):
            for word in words:
                found.append((f"{match.group()} is {word}", line[:match.start()] + word + line[match.end():]))
    for match in NUMBER.finditer(re.sub(r"sizeof\([^)]*\)|\{ 0 \}", lambda m: " " * len(m.group()), code)):
        number = str(int(match.group()) + 1)
        found.append((f"{match.group()} is {number}", line[:match.start()] + number + line[match.end():]))
    check = CHECK.match(line)
    if check and balanced(check.group(3)) and "\0" not in code:
        space, word, condition, brace = check.groups()
        brace = brace or ""
        found.append(("the condition is negated", f"{space}{word} (!({condition})){brace}"))
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if EXIT.match(following) or "status" in following or brace:
            found.append(("the check never holds", f"{space}{word} (({condition}) && false){brace}"))
    status = STATUS.match(line)
    if status and balanced(line):
        found.append(("the call is dropped, success is believed", f"{status.group(1)}{status.group(2)} = BOLE_OK;"))
    before = lines[index - 1].rstrip() if index else ""
    whole = before.endswith((";", "{", "}", "*/", ")", "else", ":")) and balanced(line)
    if whole and CALL.match(line):
        found.append(("the call is dropped", re.match(r"\s*", line).group() + ";"))
    elif whole and ASSIGNMENT.match(line) and not DECLARATION.match(line):
        found.append(("the assignment is dropped", re.match(r"\s*", line).group() + ";"))
    if re.match(r"^\s+return status;$", line):
        found.append(("success is returned", line.replace("status", "BOLE_OK")))
    return found


def draw(root, seed, count, only):
    """[(file, line number, what, new line)]"""
    candidates = []
    for path in sorted((root / "src").rglob("*.c")):
        name = str(path.relative_to(root))
        if not name.startswith("src/cli/") and only in name:
            lines = path.read_text().splitlines()
            candidates += [(name, index + 1) for index in range(len(lines)) if changes(lines, index)]
    chance = random.Random(seed)
    mutants = []
    for name, number in chance.sample(candidates, min(count, len(candidates))):
        what, line = chance.choice(changes((root / name).read_text().splitlines(), number - 1))
        mutants.append((name, number, what, line))
    return mutants, len(candidates)


class Tests:
    """What can be run in a build, and which lines of src/ each reaches."""

    def __init__(self, tree, coverage, known, jobs):
        self.root, self.kills = tree.root, {}
        if not known.is_file():
            known.write_text(json.dumps(self.learn(tree, coverage, jobs)))
        data = json.loads(known.read_text())
        self.seconds, self.lines, self.commands = data["seconds"], data["lines"], data["commands"]
        self.code = data["code"]

    @staticmethod
    def learn(tree, coverage, jobs):
        command = ["cmake", "-S", tree.root, "-B", coverage, "-DCMAKE_BUILD_TYPE=Debug", "-DBOLE_CHECKS=ON",
                   "-DBOLE_COVERAGE=ON"] + (["-G", "Ninja"] if shutil.which("ninja") else [])
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", coverage, "-j", str(jobs)], check=True, stdout=subprocess.DEVNULL)
        shown = subprocess.run(["ctest", "--test-dir", coverage, "--show-only=json-v1"], check=True,
                               capture_output=True, text=True)
        commands = {test["name"]: test["command"] for test in json.loads(shown.stdout)["tests"]}
        notes = sorted((coverage / "CMakeFiles" / "bole_objects.dir").rglob("*.gcno"))
        seconds, lines = {}, {}
        code = {}
        for note in notes:
            for path, _, number, _, _ in gcov(note, tree.root):
                code.setdefault(path, set()).add(number)
        for name in commands:
            for data in coverage.rglob("*.gcda"):
                data.unlink()
            begin = time.monotonic()
            done = subprocess.run(["ctest", "--test-dir", coverage, "-R", f"^{name}$"], capture_output=True, text=True)
            seconds[name] = round(time.monotonic() - begin, 2)
            if done.returncode != 0:
                sys.exit(f"mutation_sampler: {name} fails without any change:\n{done.stdout}")
            for note in notes:
                if note.with_suffix(".gcda").is_file():
                    for path, _, number, count, _ in gcov(note, tree.root):
                        if count > 0:
                            tests = lines.setdefault(path, {}).setdefault(str(number), [])
                            if name not in tests:
                                tests.append(name)
        commands = {name: [word.replace(str(coverage), BUILD).replace(str(tree.root), TREE) for word in command]
                    for name, command in commands.items()}
        code = {path: sorted(numbers) for path, numbers in code.items()}
        return {"seconds": seconds, "lines": lines, "commands": commands, "code": code}

    def of(self, path, number):
        code = self.code.get(path, [])
        number = max((line for line in code if line <= number), default=number)  # where its statement begins
        return self.lines.get(path, {}).get(str(number), [])

    def order(self, path, names):
        stem, folder = Path(path).stem, str(Path(path).parent)

        def cost(name):
            likely = 1 + 8 * self.kills.get((path, name), 0) + self.kills.get((folder, name), 0)
            return (self.seconds[name] + 0.3) / likely / (10 if name == f"test_{stem}" else 1)
        return sorted(names, key=cost)

    def killed(self, path, name):
        for key in ((path, name), (str(Path(path).parent), name)):
            self.kills[key] = self.kills.get(key, 0) + 1

    def target(self, name):
        return name if (self.root / "tests" / f"{name}.c").is_file() or name.startswith("fuzz_") else "bole"

    def fails(self, tree, name):
        tree.command = lambda _: LIMITS + [word.replace(BUILD, str(tree.build)).replace(TREE, str(tree.root))
                                           for word in self.commands[name]]
        return tree.fails(name, SECONDS_MORE + TIMES_MORE * self.seconds[name])


def try_mutant(tree, tests, mutant, most, rest):
    """(verdict, test, how)"""
    path, number, _, line = mutant
    file = tree.root / path
    before = file.read_text()
    lines = before.split("\n")
    lines[number - 1] = line
    file.write_text("\n".join(lines))
    try:
        if tree.make(["bole_static"]).returncode != 0:
            return "NOT COMPILED", "", ""
        reach = tests.order(path, tests.of(path, number))
        others = [name for name in tests.commands if name not in reach] if rest else []
        for name in (reach + others)[:most]:
            built = tree.make([tests.target(name)])
            if built.returncode != 0:
                return "killed", name, "does not link"
            how = tests.fails(tree, name)
            if how:
                tests.killed(path, name)
                return "killed", name, how
        return "SURVIVED", "", f"{len(reach)} tests reach the line"
    finally:
        file.write_text(before)


def difference(root, mutant):
    path, number, _, line = mutant
    before = (root / path).read_text().splitlines()
    after = before[:number - 1] + [line] + before[number:]
    return "\n".join(difflib.unified_diff(before, after, path, path, lineterm="", n=3))


def main():
    parser = argparse.ArgumentParser(description="change a line and expect a test to fail")
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="PATTERN", help="files whose path has this")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="go on behind the first N of this seed")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--most", type=int, metavar="N", help="run no more than N tests: the likeliest to see it")
    parser.add_argument("--rest", action="store_true", help="tests that do not reach the line, too")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or os.cpu_count() or 2))
    options = parser.parse_args()
    mutants, candidates = draw(ROOT, options.seed, options.samples, options.only)
    mutants = mutants[options.skip:]
    if options.list:
        for mutant in mutants:
            print(f"{mutant[0]}:{mutant[1]}: {mutant[2]}: {mutant[3].strip()}")
        print(f"mutation_sampler: {len(mutants)} of {candidates} lines")
        return 0
    work = (options.work or Path(tempfile.mkdtemp(prefix="bole-mutants-"))).resolve()
    begin, counts, survivors, lock = time.monotonic(), {}, [], threading.Lock()
    try:
        trees = [Tree(work / str(number)) for number in range(options.jobs)]

        def build(_, tree):
            if tree.configure().returncode != 0 or tree.make(["all"]).returncode != 0:
                sys.exit("mutation_sampler: the copy does not build")

        def change(tree, numbered):
            index, mutant = numbered
            start = time.monotonic()
            verdict, test, how = try_mutant(tree, tests, mutant, options.most, options.rest)
            with lock:
                counts[verdict] = counts.get(verdict, 0) + 1
                print(f"  {index:3} {mutant[0]}:{mutant[1]}: {mutant[2]}: {verdict} {test} {how}"
                      f"  ({time.monotonic() - start:.0f} s)", flush=True)
                if verdict == "SURVIVED":
                    survivors.append((index, mutant))
                    print(difference(ROOT, mutant), flush=True)

        in_parallel(trees, build, trees)
        tests = Tests(trees[0], work / "coverage", work / "known.json", options.jobs)
        in_parallel(trees, change, enumerate(mutants, options.skip))
        killed, survived = counts.get("killed", 0), len(survivors)
        print(f"mutation_sampler: seed {options.seed}: {killed} of {killed + survived} killed"
              f" ({100 * killed / max(1, killed + survived):.1f} %), {counts.get('NOT COMPILED', 0)} not compiled,"
              f" of {candidates} lines, {time.monotonic() - begin:.0f} s; survived: "
              + (" ".join(str(index) for index, _ in survivors) or "none"))
        return 0
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
