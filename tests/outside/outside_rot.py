#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Let files of a real store rot, and ask the real command: each damage is told or harmless, never a wrong value.

Two stores are made, one closed, one whose process was killed (what its last life wrote is in its log). Then, one at a
time, in files of every kind: a bit flips, 512 bytes become zeros or noise, the end is cut off, the file is emptied,
removed, or replaced by another of its kind. `bole verify`, `scan` and `get` look.

    told      one of them ends with another code than 0, and nothing that was printed is wrong
    harmless  all say 0 and print what is there
Of the killed store a damage in the log may also be taken for the torn tail of a power cut: then what is shown must be
the store as it was at one moment of its last life, and every command must agree on it.

    outside_rot.py [--build DIR] [--damages N] [--seed N] [--only STORE:FILE:KIND:OFFSET:NOISE]
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

TINY = ["--set", "memtable_bytes=64KiB", "--set", "segment_bytes=32KiB", "--set", "level0_runs=3",
        "--set", "memory_limit=16MiB"]
KINDS = ["flip"] * 8 + ["zero", "noise", "cut", "empty", "remove", "swap"]
ENTRIES, LATER, TAIL = 1200, 150, 60
SECONDS = 60


class Wrong(Exception):
    pass


def entry(i):
    return f"key{i % 700:05d}", f"{i}:{'abcdefgh' * (i * 37 % 60)}"


def kind_of(name):
    return re.sub(r"[0-9]+", "N", name)


class Store:
    """A store, its content, and for the killed one each content that its log's tail may bring back."""

    def __init__(self, name, options, room):
        self.name, self.path, self.command = name, os.path.join(room, name), os.path.join(options.build, "bole")
        lines = "".join("%s\t%s\n" % entry(i) for i in range(ENTRIES))
        self.must("load", "-", "--format", "tsv", given=lines.encode())
        if name == "closed":
            self.must("compact")
        self.write(range(ENTRIES, ENTRIES + LATER), kill=False)
        if name == "killed":
            self.write(range(ENTRIES + LATER, ENTRIES + LATER + TAIL), kill=True)
        self.files = sorted(os.listdir(self.path))
        self.truth = self.must("scan").decode()
        self.states = [self.truth]
        if name == "killed":
            # Each entry of the last life is a batch of its own, and nobody was promised that one is on disk.
            content, self.states = dict(entry(i) for i in range(ENTRIES + LATER)), []
            for i in range(ENTRIES + LATER, ENTRIES + LATER + TAIL + 1):
                self.states.append("".join(f"{key}\t{value}\n" for key, value in sorted(content.items())))
                key, value = entry(i)
                content[key] = value
            if self.truth != self.states[-1]:
                raise Wrong("the killed store does not hold what was written")

    def run(self, word, *words, store=None, given=None):
        return subprocess.run([self.command, word, store or self.path, *words, *TINY], input=given,
                              capture_output=True, timeout=SECONDS)

    def must(self, word, *words, given=None):
        run = self.run(word, *words, given=given)
        if run.returncode != 0:
            raise Wrong(f"bole {word}: {run.returncode} {run.stderr.decode()}")
        return run.stdout

    def write(self, numbers, kill):
        """Puts through the shell, which is killed or ends."""
        shell = subprocess.Popen([self.command, "shell", self.path, *TINY], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for i in numbers:
            shell.stdin.write(("put %s %s\n" % entry(i)).encode())
        shell.stdin.write(("get %s\n" % entry(numbers[-1])[0]).encode())
        shell.stdin.flush()
        shell.stdout.readline()
        if kill:
            shell.kill()
        _, told = shell.communicate()
        if not kill and (shell.returncode != 0 or told):
            raise Wrong(f"bole shell: {shell.returncode} {told.decode()}")


class Damage:
    def __init__(self, store, name, kind, offset, noise):
        self.store, self.name, self.kind, self.offset, self.noise = store, name, kind, offset, noise

    def __str__(self):
        return f"{self.store.name}:{self.name}:{self.kind}:{self.offset}:{self.noise}"

    def apply(self, path):
        """Whether that changes anything."""
        file = os.path.join(path, self.name)
        with open(file, "rb") as handle:
            data = bytearray(handle.read())
        before, prng = bytes(data), random.Random(self.noise)
        if self.kind == "remove":
            os.unlink(file)
            return True
        if self.kind == "flip" and data:
            data[self.offset] ^= 1 << (self.noise % 8)
        elif self.kind in ("zero", "noise"):
            start = self.offset - self.offset % 512
            part = data[start:start + 512]
            data[start:start + 512] = bytes(len(part)) if self.kind == "zero" else prng.randbytes(len(part))
        elif self.kind == "cut":
            del data[self.offset:]
        elif self.kind == "empty":
            data.clear()
        elif self.kind == "swap":
            others = [name for name in self.store.files
                      if kind_of(name) == kind_of(self.name) and name != self.name]
            if others:
                with open(os.path.join(path, prng.choice(others)), "rb") as handle:
                    data = bytearray(handle.read())
        with open(file, "wb") as handle:
            handle.write(data)
        return bytes(data) != before


def draw(prng, stores):
    """A file kind first, so that the small ones come as often as the large; logs by what is used of them."""
    store = prng.choice(stores)
    kinds = sorted({kind_of(name) for name in store.files})
    kind = prng.choice(kinds)
    name = prng.choice([name for name in store.files if kind_of(name) == kind])
    size = os.path.getsize(os.path.join(store.path, name))
    if name.endswith(".log"):
        with open(os.path.join(store.path, name), "rb") as handle:
            size = len(handle.read().rstrip(b"\0")) + 64
    return Damage(store, name, prng.choice(KINDS), prng.randrange(max(size, 1)), prng.randrange(1 << 32))


def judge(damage, path, changed):
    store = damage.store
    verify, scan = store.run("verify", store=path), store.run("scan", store=path)
    for run in (verify, scan):
        if run.returncode not in (0, 2, 3, 4, 5):
            raise Wrong(f"ended by {run.returncode}: {run.stderr.decode()[-600:]}")
        if run.returncode != 0 and not run.stderr and not run.stdout:
            raise Wrong("it failed without a word")
    output = scan.stdout.decode(errors="replace")
    if scan.returncode != 0:
        output = output[:output.rfind("\n") + 1]
    # A log whose tail is torn is a death's work, if nothing says that it was synced.
    states = store.states if damage.name.endswith(".log") or damage.kind == "swap" else [store.truth]
    state = None
    for one in reversed(states):
        if (output == one) if scan.returncode == 0 else one.startswith(output):
            state = one
            break
    if state is None:
        raise Wrong(f"scan ({scan.returncode}) shows what was never there; verify says {verify.returncode}")
    content = dict(line.split("\t", 1) for line in state.splitlines())
    keys = random.Random(damage.noise).sample(sorted(content), 5)
    get = store.run("get", *keys, store=path)
    values = "".join(content[key] + "\n" for key in keys)
    shown = get.stdout.decode(errors="replace")
    if shown != values if get.returncode == 0 else not values.startswith(shown):
        raise Wrong(f"get {' '.join(keys)} ({get.returncode}) prints what scan does not")
    if get.returncode == 1:
        raise Wrong(f"get says that of {' '.join(keys)} one is not there")
    told = verify.returncode != 0 or scan.returncode != 0 or get.returncode != 0
    if told and not changed:
        raise Wrong("a store that is whole is called damaged")
    if scan.returncode != 0 and verify.returncode == 0:
        raise Wrong("verify sees nothing of what scan tells")
    if told:
        return "told"
    return "harmless" if state == store.truth else "torn tail"


def try_damage(damage, room, judged=judge):
    path = os.path.join(tempfile.mkdtemp(dir=room), "store")
    try:
        shutil.copytree(damage.store.path, path)
        changed = damage.apply(path)
        return judged(damage, path, changed)
    except Wrong as wrong:
        raise Wrong(f"{damage}: {wrong}") from wrong
    except subprocess.TimeoutExpired as late:
        raise Wrong(f"{damage}: it does not end") from late
    finally:
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)


def self_test(stores, room):
    """A store that believes its damage is found out: one whose value was really changed."""
    def judged(damage, path, changed):
        if damage.store.run("put", entry(5)[0], "another", store=path).returncode != 0:
            raise Wrong("put")
        try:
            judge(damage, path, changed)
        except Wrong:
            return "seen"
        raise Wrong("a changed value passes")
    for store in stores:
        try_damage(Damage(store, "LOCK", "flip", 0, 1), room, judged)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--damages", type=int, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", metavar="DAMAGE")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or os.cpu_count() or 2))
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    room = tempfile.mkdtemp(prefix="bole-rot-")
    tally, kinds, problems = Counter(), Counter(), []
    try:
        stores = [Store(name, options, room) for name in ("closed", "killed")]
        self_test(stores, room)
        prng = random.Random(options.seed)
        damages = [draw(prng, stores) for _ in range(options.damages)]
        if options.only:
            words = options.only.split(":")
            damages = [Damage(store, words[1], words[2], int(words[3]), int(words[4])) for store in stores
                       if store.name == words[0]]

        def one(damage):
            try:
                return damage, try_damage(damage, room)
            except Wrong as wrong:
                print(f"outside_rot: {wrong}", flush=True)
                problems.append(wrong)
                return damage, "wrong"
        with ThreadPoolExecutor(options.jobs) as pool:
            for damage, verdict in pool.map(one, damages):
                tally[verdict] += 1
                kinds[kind_of(damage.name), verdict] += 1
        for (kind, verdict), count in sorted(kinds.items()):
            print(f"    {kind:14} {verdict:10} {count}")
        files = len({kind for kind, _ in kinds})
        print(f"outside_rot: seed {options.seed}: {len(damages)} damages in files of {files} kinds of a closed and a "
              f"killed store: {tally['told']} told, {tally['harmless']} harmless, {tally['torn tail']} taken for a "
              f"torn tail, {tally['wrong']} believed")
        if problems:
            print("outside_rot: FAILED; again: outside_rot.py --only " + str(problems[0]).split(": ", maxsplit=1)[0])
        return bool(problems)
    finally:
        shutil.rmtree(room, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Wrong as failure:
        print(f"outside_rot: FAILED: {failure}")
        sys.exit(1)
