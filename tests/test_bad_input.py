#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the command says to bad input: one clear line that names the thing, its own exit code, and the store as it was.
Usage: test_bad_input.py BOLE"""

import array
import fcntl
import json
import os
import pty
import resource
import shutil
import subprocess
import sys
import tempfile
import termios
import tty
import unittest

BOLE = os.path.abspath(sys.argv.pop(1))
USAGE, ABSENT, NOT_FOUND, CORRUPT = 2, 3, 1, 4


def contents(store):
    """Every file but those that only tell about the process: the lock, the readers, the event log."""
    found = {}
    for name in sorted(os.listdir(store)):
        if name not in ("LOCK", "readers", "events.jsonl", "reserve"):
            with open(os.path.join(store, name), "rb") as file:
                found[name] = file.read()
    return found


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="bole-bad-input-")
        cls.whole = os.path.join(cls.folder, "whole")
        lines = "".join('{"key":"k%05d","value":"%s"}\n' % (i, "v" * 50) for i in range(4000))
        cls.must("load", cls.whole, "-", given=lines)
        cls.must("flush", cls.whole)
        cls.must("put", cls.whole, "in the log", "x")
        cls.environment = dict(os.environ)

    @classmethod
    def tearDownClass(cls):
        subprocess.run(["chmod", "-R", "u+rwx", cls.folder], check=False)
        shutil.rmtree(cls.folder)

    @staticmethod
    def bole(*words, given=None, **more):
        done = subprocess.run([BOLE, *words], input=given, text=True, errors="replace", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, check=False, **more)
        if done.returncode < 0 or "Sanitizer" in done.stderr:
            raise AssertionError("%s: ended by %d\n%s" % (words, done.returncode, done.stderr))
        return done

    @classmethod
    def must(cls, *words, given=None):
        done = cls.bole(*words, given=given)
        if done.returncode != 0:
            raise AssertionError("%s: %d %s" % (words, done.returncode, done.stderr))
        return done

    def refused(self, code, says, *words, **more):
        done = self.bole(*words, **more)
        self.assertEqual(done.returncode, code, (words, done.stderr))
        self.assertTrue(done.stderr.startswith("bole: "), done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)
        return done

    def copy(self, name):
        to = os.path.join(self.folder, name)
        shutil.copytree(self.whole, to)
        return to

    def test_unknown_words_get_the_nearest_one(self):
        self.refused(USAGE, ['"gett"', 'did you mean "get"?'], "gett", self.whole, "k")
        self.refused(USAGE, ["--tabl", 'did you mean "--table"?'], "get", "--tabl", "x", self.whole, "k")
        self.refused(USAGE, ["memory_limt", "'memory_limit'"], "--set", "memory_limt=1", "get", self.whole, "k")
        self.refused(USAGE, ["memory_limit", "'abc'"], "--set", "memory_limit=abc", "get", self.whole, "k")
        self.refused(USAGE, ["put"], "put", self.whole)
        self.refused(USAGE, ["--limit -1"], "scan", self.whole, "--limit", "-1")
        self.assertNotIn("000000.seg", self.must("explain", self.whole, "zz").stdout)

    def test_what_is_no_store_is_told_apart(self):
        here = os.path.join(self.folder, "no such")
        self.refused(ABSENT, [here, "no such directory"], "get", here, "k")
        self.assertFalse(os.path.exists(here), "a read makes nothing")
        file = os.path.join(self.folder, "a file")
        open(file, "w").close()
        self.refused(USAGE, [file, "is a file"], "get", file, "k")
        empty = os.path.join(self.folder, "empty")
        os.mkdir(empty)
        self.refused(ABSENT, [empty, "CURRENT"], "get", empty, "k")
        self.assertEqual(os.listdir(empty), [])
        self.refused(ABSENT, ['"nosuch"'], "get", "-t", "nosuch", self.whole, "k")

    def test_a_directory_without_permission(self):
        closed = self.copy("closed")
        os.chmod(closed, 0)
        other = {}
        program = BOLE
        if os.geteuid() == 0:  # who may enter everything asks as somebody else, who must reach the program
            other = {"user": 65534}
            program = os.path.join(self.folder, "bole")
            shutil.copy(BOLE, program)
            os.chmod(program, 0o755)
            os.chmod(self.folder, 0o755)
        done = subprocess.run([program, "get", closed, "k00001"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd="/", check=False, **other)
        os.chmod(closed, 0o700)
        self.assertNotIn(done.returncode, (0, NOT_FOUND), done)
        self.assertIn(closed, done.stderr)
        self.assertIn("ermission denied", done.stderr)

    def test_keys_and_values_above_the_limit(self):
        store = self.copy("sizes")
        before = contents(store)
        line = '{"key":"%s","value":"x"}\n' % ("k" * 65536)
        done = self.bole("load", store, "-", given=line)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("65535", done.stderr)
        after = contents(store)
        self.assertEqual({n: before[n] for n in before if n.endswith(".seg")},
                         {n: after[n] for n in after if n.endswith(".seg")})
        self.assertEqual(self.must("get", store, "k00001").stdout, "v" * 50 + "\n")
        self.assertEqual(self.must("get", store, "in the log").stdout, "x\n")

    def test_a_full_disk_is_told_and_nothing_is_lost(self):
        """RLIMIT_FSIZE stands for the disk: what a file may not grow to, the kernel refuses."""
        store = self.copy("full")

        def limit():
            import signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 1024, 200 * 1024))

        lines = "".join('{"key":"n%06d","value":"%s"}\n' % (i, "w" * 1000) for i in range(20000))
        done = self.bole("--set", "memtable_bytes=1MiB", "load", store, "-", given=lines, preexec_fn=limit)
        self.assertNotEqual(done.returncode, 0, "20 MB do not fit")
        self.assertTrue(done.stderr.strip(), "it says why")
        self.assertEqual(self.must("get", store, "k00001").stdout, "v" * 50 + "\n")
        self.must("put", store, "after", "room again")
        self.assertEqual(self.must("get", store, "after").stdout, "room again\n")
        self.must("verify", store)

    def test_repair_says_what_it_keeps_and_loses(self):
        store = self.copy("broken")
        mended = os.path.join(self.folder, "mended")
        self.assertEqual(self.bole("repair", store).returncode, USAGE, "it never writes in place")
        whole = self.must("repair", store, "--dry-run").stdout
        self.assertIn("; 0 losses", whole)
        self.assertFalse(os.path.exists(mended))
        os.remove(os.path.join(store, "CURRENT"))
        for name in os.listdir(store):
            if name.startswith("manifest"):
                os.remove(os.path.join(store, name))
        self.must("repair", store, "-o", mended)
        self.assertEqual(self.must("dump", mended).stdout, self.must("dump", self.whole).stdout)
        self.assertEqual(self.bole("repair", store, "-o", mended).returncode, 6, "it is there")
        segment = max(name for name in os.listdir(store) if name.endswith(".seg"))
        with open(os.path.join(store, segment), "r+b") as file:
            file.seek(4096 + 100)
            file.write(b"rot")
        lossy = self.bole("repair", store, "--dry-run", "--json")
        self.assertEqual(lossy.returncode, CORRUPT)
        lost = [line for line in map(json.loads, lossy.stdout.splitlines()) if line.get("kind") == "LOST"]
        self.assertEqual([(line["file"], line["offset"], line["table"]) for line in lost], [(segment, 4096, "default")])

    def damaged(self, name, change):
        store = self.copy("damaged")
        path = os.path.join(store, name)
        with open(path, "rb") as file:
            data = bytearray(file.read())
        change(data)
        with open(path, "wb") as file:
            file.write(data)
        before = contents(store)
        verified = self.bole("verify", store)
        got = [self.bole("get", store, key) for key in ("k00001", "k02000", "k03999")]
        self.assertEqual(contents(store), before, "%s: looking changes nothing" % name)
        for one in got:  # right, or refused with the file's name; never another value, never absent
            if one.returncode == 0:
                self.assertEqual(one.stdout, "v" * 50 + "\n")
            else:
                self.assertNotEqual(one.returncode, NOT_FOUND, (name, one.stderr))
                self.assertTrue(one.stderr.startswith("bole: "), one.stderr)
        shutil.rmtree(store)
        return verified

    def test_a_flipped_bit_in_each_file_is_found_and_named(self):
        for name in contents(self.whole):
            size = os.path.getsize(os.path.join(self.whole, name))
            used = 4096 + 60 if name.endswith(".log") else size  # behind its records a log is empty
            for at in (0, used // 3, used // 2, used - 1):
                def flip(data, at=at):
                    data[at] ^= 0x10
                done = self.damaged(name, flip)
                if name.endswith(".seg") or name == "CURRENT" or name.startswith("manifest"):
                    where = (name, at, done.stdout, done.stderr)
                    # padding between blocks is covered by nothing and holds nothing
                    if done.returncode == 0 and name.endswith(".seg"):
                        continue
                    self.assertNotEqual(done.returncode, 0, where)
                    self.assertIn(name.split("-")[0], done.stdout + done.stderr, where)

    def test_a_cut_file_of_each_kind_is_found_and_named(self):
        for name in contents(self.whole):
            if name.endswith(".log"):
                continue  # a log that ends early is the torn tail of a crash: tests/test_log_replay.c
            for share in (0, 0.5, 0.99):
                def cut(data, share=share):
                    del data[int(len(data) * share):]
                done = self.damaged(name, cut)
                self.assertNotEqual(done.returncode, 0, (name, share, done.stdout))
                self.assertIn(name.split("-")[0], done.stdout + done.stderr)

    def test_wrong_lines_of_an_import_are_named(self):
        store = os.path.join(self.folder, "import")
        done = self.bole("load", store, "-", given='{"key":"a","value":"1"}\n{"key":7\n')
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("2", done.stderr)

    def test_hex_digits_end_where_their_text_does(self):
        # (Found when the parser of a line was written as a part of its own: what stood behind a NUL was passed over;
        # of --hex and --raw together, every other byte.)
        store = os.path.join(self.folder, "hex")
        done = self.bole("load", store, "-", given='{"key":"a","value":{"hex":"31\\u0000zz"}}\n')
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("hex digit pairs", done.stderr)
        self.must("--hex", "--raw", "put", store, "key", "value")
        self.assertEqual(self.must("--raw", "get", store, "key").stdout, "value")

    def test_half_a_line_before_a_read_error_is_not_loaded(self):
        # Whose other side is gone, the master of a terminal gives what is in it and then EIO. (Found by making a read
        # fail: half a value was loaded.)
        store = os.path.join(self.folder, "half a line")
        master, slave = pty.openpty()
        tty.setraw(slave)
        os.write(slave, b"a\t1\nb\t2 and mo")
        os.close(slave)
        done = subprocess.run([BOLE, "load", store, "-", "--format", "tsv"], stdin=master, stderr=subprocess.PIPE,
                              text=True, timeout=60, check=False)
        os.close(master)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("nput/output error", done.stderr)
        self.assertEqual(self.must("scan", store).stdout, "a\t1\n")

    def test_output_lost_in_the_middle_is_told(self):
        # Nobody reads the pipe while it fills, and then somebody does: what was in between is gone. (Found by making
        # a write fail once: the exit code was 0.)
        whole = self.must("scan", self.whole).stdout
        for _ in range(5):
            reading, writing = os.pipe()
            os.set_blocking(writing, False)
            program = subprocess.Popen([BOLE, "scan", self.whole], stdout=writing, stderr=subprocess.PIPE)
            os.close(writing)
            full, got = array.array("i", [0]), b""
            while full[0] < 60000 and program.poll() is None:
                fcntl.ioctl(reading, termios.FIONREAD, full)
            while (part := os.read(reading, 65536)) != b"":
                got += part
            told = program.communicate()[1].decode()
            if got.decode() != whole:
                self.assertEqual(program.returncode, 5, told)
                self.assertIn("standard output", told)
            os.close(reading)


if __name__ == "__main__":
    unittest.main()
