#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the benchmark's runner does with bad input: a clear message, its exit status, nothing left behind or touched.
Usage: test_bench.py BOLE_BENCH REPORT     (status 77, skipped, when the runner is not built)"""

import glob
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

if not os.access(sys.argv[1], os.X_OK):
    print("test_bench: skipped: %s is not built (cmake --build ... --target bole_bench)" % sys.argv[1])
    sys.exit(77)
BENCH, REPORT = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
FAILED, USAGE = 1, 2
# A slow machine may take its time: only the test of what is cut off has limits.
SMALL = ["-n", "10000", "--reads", "10000", "-m", "64", "--row-seconds", "1000", "--engine-seconds", "1000"]


def wait_for(what, seconds=200):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError("did not come about")
        time.sleep(0.02)


def processes_with(word):
    """Of this benchmark, still running."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                line = file.read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(line[0]) == b"bole_bench" and word.encode() in line:
            found.append(path)
    return found


class Runner(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="bole-bench-test-")
        self.stores = os.path.join(self.folder, "stores")
        self.json = os.path.join(self.folder, "result.json")
        os.mkdir(self.stores)
        self.foreign = os.path.join(self.stores, "run-of somebody else")
        with open(self.foreign, "w", encoding="utf-8") as file:
            file.write("mine")

    def tearDown(self):
        shutil.rmtree(self.folder)

    def run_bench(self, *words, **more):
        return subprocess.run([BENCH, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=500,
                              check=False, stdin=subprocess.DEVNULL, cwd=self.folder, **more)

    def untouched(self, *also):
        """Nothing but the foreign file is there, and it is as it was."""
        self.assertEqual(os.listdir(self.stores), [os.path.basename(self.foreign)])
        with open(self.foreign, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(["stores", *also]))

    def refused(self, code, says, *words, **more):
        done = self.run_bench(*words, **more)
        self.assertEqual(done.returncode, code, (words, done.stderr))
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertIn("bench: ", done.stderr)
        self.untouched()

    def rounds(self, row, engine):
        with open(self.json, encoding="utf-8") as file:
            return json.load(file)["rows"][row][engine]

    def test_wrong_words(self):
        here = ["-d", self.stores]
        self.refused(USAGE, ["--nosuch", "unknown option"], *here, "--nosuch")
        self.refused(USAGE, ["stray"], *here, "stray")
        self.refused(USAGE, ["no row", '"fillrandon"', "--list"], *here, "-r", "fillseq,fillrandon")
        self.refused(USAGE, ["no engine", '"bolle"', "--list"], *here, "-e", "bolle")
        self.refused(USAGE, ["no key set", '"hexadecimal"', "paths"], *here, "--keyset", "hexadecimal")
        self.refused(USAGE, ["invalid numeric value"], *here, "-n", "many")
        self.refused(USAGE, ["at least 10000 entries"], *here, "-n", "10")
        self.refused(USAGE, ["1 to 15 rounds"], *here, "-k", "16")

    def test_who_cannot_take_part_is_named(self):
        self.refused(USAGE, ["lmdb is left out", "no engine is left"], "-d", self.stores, "-e", "lmdb", "--lz4")
        done = self.run_bench("-d", self.stores, "-j", self.json, "-e", "null,lmdb", "--lz4", "-r", "fillseq", *SMALL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("lmdb is left out", done.stderr)
        with open(self.json, encoding="utf-8") as file:
            result = json.load(file)
        self.assertEqual(list(result["left_out"]), ["lmdb"])
        self.assertEqual(list(result["rows"]["fillseq"]), ["null"])
        self.untouched("result.json")

    def test_where_nothing_can_be_made(self):
        small = ["-e", "bole", "-r", "fillseq", *SMALL]
        below_nothing = os.path.join(self.folder, "no", "such")
        self.refused(FAILED, [below_nothing, "No such file"], "-d", below_nothing, *small)
        self.refused(FAILED, [self.foreign, "Not a directory"], "-d", self.foreign, *small)
        self.refused(FAILED, [below_nothing, "cannot be written"], "-d", self.stores, "-j", below_nothing, *small)

    def test_a_directory_without_permission(self):
        def as_somebody_else():
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)

        program = os.path.join(self.folder, "bole_bench")
        shutil.copy(BENCH, program)  # whoever it runs as must reach it
        os.chmod(self.folder, 0o755)
        os.chmod(self.stores, 0o555)
        done = subprocess.run([program, "-d", self.stores, "-e", "bole", "-r", "fillseq", *SMALL], text=True,
                              timeout=200, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, cwd="/",
                              preexec_fn=as_somebody_else)
        os.chmod(self.stores, 0o755)
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("Permission denied", done.stderr)
        self.untouched("bole_bench")

    def test_a_directory_of_its_own_goes_again(self):
        own = os.path.join(self.folder, "own")
        done = self.run_bench("-d", own, "-j", self.json, "-e", "bole", "-r", "fillseq", *SMALL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.untouched("result.json")

    def full_disk(self, directory, **more):
        """bole fails in the middle of a row; the null engine after it does not care."""
        done = self.run_bench("-d", directory, "-j", self.json, "-e", "bole,null", "-r", "fillrandom,readrandom", "-n",
                              "400000", "--reads", "10000", "-m", "64", "--row-seconds", "1000", **more)
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("bole", done.stderr)
        self.assertIn("fillrandom", done.stderr)
        self.assertEqual([one["kind"] for one in self.rounds("fillrandom", "bole")], ["failed"])
        self.assertEqual([one["kind"] for one in self.rounds("readrandom", "null")], ["measured"])

    def test_a_full_disk(self):
        small = os.path.join(self.folder, "small")
        os.mkdir(small)
        mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "bole-bench-test", small]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode != 0:
            print("test_bench: no file system can be mounted: files of 2 MB at most instead", file=sys.stderr)
            self.full_disk(self.stores,
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20)))
        else:
            try:
                with open(os.path.join(small, "mine"), "w", encoding="utf-8") as file:
                    file.write("mine")
                self.full_disk(small)
                self.assertEqual(os.listdir(small), ["mine"])
            finally:
                subprocess.run(["umount", small], check=True)
        os.rmdir(small)
        self.untouched("result.json")

    def interrupt(self, number, row):
        with open(self.json, "w", encoding="utf-8") as file:
            file.write("of before")
        words = [BENCH, "-d", self.stores, "-j", self.json, "-e", "bole", "-r", row, "-n", "20000000", "-m", "64",
                 "--row-seconds", "1000"]
        with subprocess.Popen(words, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            wait_for(lambda: glob.glob(os.path.join(self.stores, "run-*", "bole-0", "*", "*")))
            running.send_signal(number)
            said = running.communicate(timeout=200)[1]
        self.assertEqual(running.returncode, 128 + number, said)
        self.assertIn("interrupted by signal %d" % number, said)
        wait_for(lambda: not processes_with(self.stores))
        self.untouched("result.json")
        with open(self.json, encoding="utf-8") as file:
            self.assertEqual(file.read(), "of before")

    def test_interrupted(self):
        self.interrupt(signal.SIGINT, "fillrandom")
        self.interrupt(signal.SIGTERM, "fillrandom")

    def test_interrupted_while_a_row_has_a_child(self):
        self.interrupt(signal.SIGTERM, "reopen_killed")

    def test_what_takes_too_long_is_cut_off(self):
        done = self.run_bench("-d", self.stores, "-j", self.json, "-e", "bole", "-r", "fillseq,fillrandom", "-n",
                              "500000000", "--value-bytes", "16", "--row-seconds", "1", "--engine-seconds", "1", "-m",
                              "64")
        self.assertEqual(done.returncode, 0, done.stderr)
        cut, = self.rounds("fillseq", "bole")
        self.assertEqual(cut["kind"], "cut off")
        self.assertGreater(cut["per_second"], 0)
        self.assertLess(cut["operations"], 500000000)
        later, = self.rounds("fillrandom", "bole")
        self.assertEqual(later["kind"], "not run")
        self.untouched("result.json")

    def test_every_row_and_key_set(self):
        words = ["-d", self.stores, "-j", self.json, "-e", "bole,null", *SMALL]
        for more in (["--keyset", "binary", "-k", "2"], ["--keyset", "decimal"], ["--keyset", "paths", "--lz4"]):
            done = self.run_bench(*words, *more)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(self.json, encoding="utf-8") as file:
                result = json.load(file)
            self.assertEqual(list(result["rows"]), result["order"])
            for row, engines in result["rows"].items():
                for engine, rounds in engines.items():
                    wanted = "not run" if row.startswith("limited_") else "measured"
                    self.assertEqual({one["kind"] for one in rounds}, {wanted}, (row, engine))
            self.untouched("result.json")

    def test_the_report(self):
        def measure(name, *words):
            path = os.path.join(self.folder, name)
            done = self.run_bench("-d", self.stores, "-j", path, *SMALL, *words)
            self.assertEqual(done.returncode, 0, done.stderr)
            return path

        def report(*words):
            return subprocess.run([sys.executable, REPORT, *words], text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, check=False, timeout=200)

        one = measure("one.json", "-e", "bole", "-r", "readrandom,fillseq", "-k", "2")
        two = measure("two.json", "-e", "null", "-r", "fillseq")
        other = measure("other.json", "-e", "bole", "-r", "fillseq", "--keyset", "decimal")
        pictures = [os.path.join(self.folder, name) for name in ("bars.svg", "latency.svg")]
        done = report(one, two, other, "--bars", pictures[0], "--latency", pictures[1], "--latency-rows", "readrandom")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "| row | bole | null | to the best | target | reached |")
        self.assertTrue(lines[2].startswith("| fillseq | ") and ".." in lines[2], "both runs, median and spread")
        self.assertTrue(lines[3].startswith("| readrandom | "), "rows in the order in which they run")
        self.assertIn("| row | binary | decimal | target |", lines)
        for picture in pictures:
            with open(picture, encoding="utf-8") as file:
                self.assertTrue(file.read().rstrip().endswith("</svg>"))
        broken = os.path.join(self.folder, "broken.json")
        with open(broken, "w", encoding="utf-8") as file:
            file.write('{"rows": {}}')
        for path in (broken, os.path.join(self.folder, "no such.json")):
            done = report(path)
            self.assertEqual(done.returncode, 1)
            self.assertTrue(done.stderr.startswith("bench_report: %s: " % path), done.stderr)


if __name__ == "__main__":
    unittest.main()
