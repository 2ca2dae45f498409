#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Do the tests see a defect? Plant those of tests/defects/*.txt, one at a time, and expect a test to fail.

    scripts/planted_defects.py [--list | --texts] [--work DIR] [--jobs N] [NAME...]

Each of N workers copies the tree and builds it once with costly asserts; the tests that are named for a defect must
pass there. Then, for each defect: its text is replaced in a copy, what depends on it is built, its tests run in order
until one fails (a crash, an assert and a test that does not end count), and the text is put back. When all of them
pass, every other test runs. The result is a table; it fails when a defect survives, when its text does not stand in
the source exactly once, or when a changed source does not compile. --texts looks at the texts only. --work keeps the
copies and their builds.

A test is named as test_faults, or as test_faults:a_failed_log* where only some of its cases are to run. The first
failed case ends it, and so does a time of many times what it took without a defect.
"""
import argparse
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTS = sorted((ROOT / "tests" / "defects").glob("*.txt"))
SECONDS_MAX = 120           # of a test of which nothing is known
SECONDS_MORE, TIMES = 8, 6  # a test that takes so much longer than it took without a defect does not end
LEFT_OUT = 77  # by tests/outside/, where the machine cannot do what they are for
PARTS = ["CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", "cmake", "docs", "fuzz", "include", "man",
         "src", "tests", "web", "scripts"]
FUZZ_MUTATIONS, FUZZ_OPERATIONS = "20000", "1000"  # of a fuzz target's corpus; of fuzz_operations, which is slow


class Defect:
    def __init__(self, name):
        self.name, self.what, self.file, self.tests, self.old, self.new = name, "", "", [], "", ""


def read_lists(paths):
    defects, part = [], None
    for path, line in ((path, line) for path in paths for line in path.read_text().splitlines(keepends=True)):
        word = line.strip()
        if part is None:
            if word.startswith("[") and word.endswith("]"):
                defects.append(Defect(word[1:-1]))
            elif word == "<<<<":
                part = "old"
            elif "=" in word and not word.startswith("#"):
                key, value = (side.strip() for side in word.split("=", 1))
                if key not in ("what", "file", "tests"):
                    sys.exit(f"planted_defects: {path}: no field '{key}'")
                setattr(defects[-1], key, value.split() if key == "tests" else value)
        elif word == "====" and part == "old":
            part = "new"
        elif word == ">>>>" and part == "new":
            part = None
        else:
            setattr(defects[-1], part, getattr(defects[-1], part) + line)
    names = [defect.name for defect in defects]
    for name in names:
        if names.count(name) != 1:
            sys.exit(f"planted_defects: '{name}' stands in the lists twice")
    return defects


def text_problem(root, defect):
    file = root / defect.file
    if not defect.file or not file.is_file():
        return f"there is no file '{defect.file}'"
    count = file.read_text().count(defect.old)
    if not defect.old or not defect.tests or defect.old == defect.new:
        return "it has no text or names no tests"
    return "" if count == 1 else f"its text occurs {count} times in {defect.file}"


class Tree:
    """A copy that is built and changed by one worker."""

    def __init__(self, work):
        self.root, self.build = work / "tree", work / "build"
        self.root.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            source, target = ROOT / part, self.root / part
            if source.is_dir():
                # without times, so that only what differs is built again
                for file in [path for path in source.rglob("*") if path.is_file()]:
                    self.put(target / file.relative_to(source), file.read_bytes(), file.stat().st_mode)
                for file in [path for path in target.rglob("*") if path.is_file()]:
                    if not (source / file.relative_to(target)).is_file():
                        file.unlink()
            elif source.is_file():
                self.put(target, source.read_bytes(), source.stat().st_mode)

    @staticmethod
    def put(path, data, mode):
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    def configure(self):
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        command = ["cmake", "-S", self.root, "-B", self.build, *generator, "-DCMAKE_BUILD_TYPE=Debug",
                   "-DBOLE_CHECKS=ON"]
        return subprocess.run(command, capture_output=True, text=True)

    def make(self, tests):
        command = ["cmake", "--build", self.build, "-j", "1"]
        command += [word for test in tests for word in ("--target", program(test))]
        return subprocess.run(command, capture_output=True, text=True)

    def tests(self):
        return sorted(path.stem for path in (self.root / "tests").glob("test_*.c"))

    def command(self, test):
        if not test.startswith("fuzz_"):
            return [self.build / program(test)]
        mutations = FUZZ_OPERATIONS if test in ("fuzz_operations", "fuzz_import") else FUZZ_MUTATIONS
        corpus = self.root / "fuzz" / "corpus" / test[len("fuzz_"):]
        return [self.build / "fuzz" / test, "--mutations", mutations, corpus]

    def fails(self, test, seconds):
        """How the test fails, or an empty string."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BOLE_TEST_")}
        environment["TMPDIR"] = str(self.build)
        if ":" in test:
            environment["BOLE_TEST_CASE"] = test.split(":")[1]
        process = subprocess.Popen(self.command(test), cwd=self.build, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                   start_new_session=True)
        late = threading.Event()

        def end_it():
            late.set()
            kill_group(process)

        timer = threading.Timer(seconds, end_it)
        timer.start()
        output, case = [], None
        for line in process.stdout:
            output.append(line)
            case = re.match(r"\[  (?:FAILED|ERROR ) +\] (\w+)$", line)
            if case:
                break
        if case:
            kill_group(process)
        process.wait()
        timer.cancel()
        process.stdout.close()
        for leftover in self.build.glob("bole-test-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if case:
            return case.group(1)
        if late.is_set():
            return f"does not end within {seconds:.0f} s"
        output = "".join(output)
        if ":" in test and re.search(r"^\[=+\].*: 0 test\(s\) run", output, re.MULTILINE):
            raise Failed(f"there is no case {test}")
        if process.returncode in (0, LEFT_OUT):
            return ""
        found = re.search(r"does not hold: (.{1,60})", output)
        if found:
            return found.group(1)
        return f"signal {-process.returncode}" if process.returncode < 0 else f"exit {process.returncode}"


def program(test):
    return test.split(":")[0]


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def try_defect(tree, defect, took):
    """(verdict, test, how)"""
    path = tree.root / defect.file
    before = path.read_text()
    path.write_text(before.replace(defect.old, defect.new))
    try:
        tested = []
        for test in defect.tests + [test for test in tree.tests() if test not in defect.tests]:
            built = tree.make([test])
            if built.returncode != 0:
                print(built.stdout[-3000:])
                return "NOT BUILT", test, ""
            how = tree.fails(test, SECONDS_MORE + TIMES * took[test] if test in took else SECONDS_MAX)
            if how:
                return ("caught" if test in defect.tests else "caught elsewhere"), test, how
            tested.append(test)
        return "SURVIVED", "", f"{len(tested)} tests passed"
    finally:
        path.write_text(before)


class Failed(Exception):
    pass


def main():
    parser = argparse.ArgumentParser(description="plant defects and expect tests to fail")
    parser.add_argument("--list", action="store_true", help="the names, and what each defect is")
    parser.add_argument("--texts", action="store_true", help="only see whether the texts still stand in the sources")
    parser.add_argument("--work", type=Path, help="copy and build here, and keep it")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or os.cpu_count() or 2))
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    defects = read_lists(LISTS)
    unknown = set(options.names) - {defect.name for defect in defects}
    if unknown:
        sys.exit(f"planted_defects: no defect {', '.join(sorted(unknown))}")
    defects = [defect for defect in defects if not options.names or defect.name in options.names]
    if options.list:
        for defect in defects:
            print(f"  {defect.name:36} {defect.what}")
        return 0
    bad = 0
    for defect in defects:
        problem = text_problem(ROOT, defect)
        if problem:
            print(f"planted_defects: {defect.name}: {problem}")
            bad += 1
    if options.texts or bad:
        print(f"planted_defects: {len(defects)} defects, {bad} whose text does not apply")
        return bad != 0

    work = (options.work or Path(tempfile.mkdtemp(prefix="bole-defects-"))).resolve()
    try:
        return run(defects, work, max(options.jobs, 1))
    except Failed as failure:
        print(f"planted_defects: {failure}")
        return 1
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)


def in_parallel(workers, task, parts):
    """task(worker, part) for each part, by whichever worker is free; the first exception is raised here."""
    waiting, raised = queue.SimpleQueue(), []
    for part in parts:
        waiting.put(part)

    def work(worker):
        while not raised:
            try:
                part = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                task(worker, part)
            except BaseException as exception:
                raised.append(exception)
    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def run(defects, work, jobs):
    begin = time.monotonic()
    named = sorted({test for defect in defects for test in defect.tests})
    trees = [Tree(work / str(number)) for number in range(min(jobs, len(defects)))]
    took, counts, lock = {}, {}, threading.Lock()

    def build(_, tree):
        for step in (tree.configure, lambda: tree.make(sorted({program(test) for test in named}))):
            done = step()
            if done.returncode != 0:
                raise Failed(f"the copy does not build\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    def without_defect(tree, test):
        start = time.monotonic()
        how = tree.fails(test, SECONDS_MAX)
        if how:
            raise Failed(f"{test} fails without any defect: {how}")
        took[test] = time.monotonic() - start

    def plant(tree, of_one_file):
        for defect in of_one_file:
            start = time.monotonic()
            verdict, test, how = try_defect(tree, defect, took)
            with lock:
                counts[verdict] = counts.get(verdict, 0) + 1
                print(f"  {defect.name:36} {verdict:16} {program(test):28} {how}"
                      f"  ({time.monotonic() - start:.0f} s)", flush=True)

    in_parallel(trees, build, trees)
    in_parallel(trees, without_defect, named)
    by_file = {}  # one after the other, so that a source is not built again between two of its defects
    for defect in defects:
        by_file.setdefault(defect.file, []).append(defect)
    longest_first = sorted(by_file.values(), key=lambda part: (part[0].file.endswith(".h"), len(part)), reverse=True)
    in_parallel(trees, plant, longest_first)
    caught = counts.get("caught", 0) + counts.get("caught elsewhere", 0)
    print(f"planted_defects: {caught} of {len(defects)} caught"
          f" ({counts.get('caught elsewhere', 0)} by a test not named for it),"
          f" {counts.get('SURVIVED', 0)} survived, {counts.get('NOT BUILT', 0)} not built,"
          f" {time.monotonic() - begin:.0f} s")
    return caught != len(defects)


if __name__ == "__main__":
    sys.exit(main())
