#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make system calls of real processes fail, each at every position, and see that the store tells it and loses nothing.

strace (-e inject) lets one call return an error, once or from there on for good. What runs under it:

    new      a process that makes a store, writes, flushes, merges, makes checkpoints, reads, closes
    killed   the same on a store whose last process died: it recovers
    closed   the same on one that was closed
    load     `bole load` of a file into a new store          get     `bole scan` of a store whose last process died

Afterwards, without faults, the store must open with all that was acknowledged and nothing that was refused, take a
durable write, and close (outside_store.c). `bole load` that said 0 must have loaded all, and else a prefix of the file;
`bole scan` that said 0 must have printed all, and else nothing that is wrong. No process may crash or hang.

First each scenario runs once without faults, to count its calls; those of the loader, before the store is first named,
are left alone. With --sample N a seed draws N of all (scenario, call, position, errno, once or for good).

    outside_faults.py [--build DIR] [--sample N | --all] [--seed N] [--only SCENARIO:CALL:POSITION:ERRNO:once|on]
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ERRORS = {
    "openat": "EIO EMFILE ENFILE ENOSPC EACCES EINTR", "mkdir": "EIO ENOSPC EDQUOT", "rename": "EIO ENOSPC EDQUOT",
    "linkat": "EIO EMLINK EPERM ENOSPC", "link": "EIO EMLINK EPERM ENOSPC", "unlink": "EIO EBUSY", "rmdir": "EIO EBUSY",
    "read": "EIO EINTR", "pread64": "EIO EINTR",
    "write": "EIO ENOSPC EDQUOT EINTR", "pwrite64": "EIO ENOSPC EDQUOT EINTR",
    "fsync": "EIO ENOSPC EDQUOT EINTR", "fdatasync": "EIO ENOSPC EDQUOT EINTR", "ftruncate": "EIO ENOSPC EINTR",
    "fallocate": "EIO ENOSPC EDQUOT EINTR EOPNOTSUPP", "close": "EIO EINTR", "newfstatat": "EIO", "fstat": "EIO",
    "getdents64": "EIO", "statfs": "EIO EINTR", "fcntl": "ENOLCK", "mmap": "ENOMEM", "munmap": "ENOMEM",
    "madvise": "ENOMEM", "fadvise64": "EIO", "lseek": "EIO", "getrandom": "EINTR",
}
STEPS = {"new": 24, "killed": 10, "closed": 10}
SECONDS = 30
LINES = 300


class Wrong(Exception):
    pass


class Scenario:
    """What runs under strace, and the store that it starts from. An even seed: background work on the same thread."""

    def __init__(self, kind, seed, options, room):
        self.name, self.kind, self.seed = f"{kind}-{seed}", kind, seed
        self.command, self.helper = os.path.join(options.build, "bole"), os.path.join(options.build, "outside_store")
        self.start = os.path.join(room, "start-" + self.name)
        self.lines = os.path.join(room, "lines.tsv")
        os.mkdir(self.start)
        store, record = os.path.join(self.start, "store"), os.path.join(self.start, "record")
        if kind in ("killed", "closed"):
            self.plain([self.helper, "write", store, record, str(seed), "60", *(["die"] if kind == "killed" else [])])
        elif kind == "get":
            # A dead process' store, some in segments and some in the log: the shell that loads it is killed.
            self.plain([self.command, "load", store, self.lines, "--set", "memtable_bytes=16KiB"])
            self.plain([self.command, "flush", store])
            shell = subprocess.Popen([self.command, "shell", store], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            shell.stdin.write(b"put zz last\nget zz\n")
            shell.stdin.flush()
            shell.stdout.readline()
            shell.kill()
            shell.communicate()
            self.truth = self.plain([self.command, "scan", store])
        self.calls = self.count(room)

    @staticmethod
    def plain(command):
        run = subprocess.run(command, capture_output=True, timeout=SECONDS)
        if run.returncode != 0:
            raise Wrong(f"{' '.join(command)} without faults: {run.returncode} {run.stderr.decode()}")
        return run.stdout

    def words(self, place):
        store, record = os.path.join(place, "store"), os.path.join(place, "record")
        if self.kind == "load":
            return [self.command, "load", store, self.lines, "--set", "memtable_bytes=16KiB"]
        if self.kind == "get":
            return [self.command, "scan", store]
        return [self.helper, "write", store, record, str(self.seed), str(STEPS[self.kind])]

    def count(self, room):
        """{call: (positions before the store is named, positions)} of the thread that has most of them."""
        place = tempfile.mkdtemp(dir=room)
        shutil.copytree(self.start, place, dirs_exist_ok=True)
        trace = os.path.join(place, "trace")
        self.plain(["strace", "-f", "-qq", "-o", trace, "-e", "trace=" + ",".join("?" + call for call in ERRORS),
                    *self.words(place)])
        begun, counts, first = False, {}, {}
        with open(trace, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found = re.match(r"(\d+)\s+(\w+)\(", line)
                if not found:
                    continue
                thread, call = found.groups()
                if os.path.join(place, "store") in line and not begun:
                    begun = True
                    first = {name: count for (_, name), count in counts.items()}
                counts[thread, call] = counts.get((thread, call), 0) + 1
        shutil.rmtree(place)
        most = {}
        for (_, call), count in counts.items():
            most[call] = max(most.get(call, 0), count)
        return {call: (first.get(call, 0), count) for call, count in most.items()}

    def faults(self):
        for call, (before, count) in sorted(self.calls.items()):
            if call in ("mmap", "munmap") and self.kind in STEPS and self.seed % 2 == 0:
                continue  # most of them are the stacks of the simulated scheduler, which only tests have
            for position in range(before + 1, count + 1):
                for error in ERRORS[call].split():
                    yield self, call, position, error, "once"
                    if error not in ("EINTR", "EOPNOTSUPP"):  # who carries on an interrupted call would never end
                        yield self, call, position, error, "on"

    def judge(self, place, run, call):
        store, record = os.path.join(place, "store"), os.path.join(place, "record")
        told = run.stderr.decode(errors="replace")
        if self.kind == "get":
            if run.returncode == 0 and run.stdout != self.truth:
                raise Wrong("scan said 0 and printed something else than is there")
            whole = run.stdout[:run.stdout.rfind(b"\n") + 1]
            if call != "write" and not self.truth.startswith(whole):  # a write that fails leaves a hole in the output
                raise Wrong("scan printed what is not there")
        if self.kind in ("get", "load"):
            if run.returncode not in (0, 3, 4, 5) or (run.returncode != 0 and not told and call != "write"):
                raise Wrong(f"exit code {run.returncode}: {told}")
            if run.returncode == 4:
                raise Wrong(f"a failing call is called damage: {told}")
        elif run.returncode not in (0, 1):
            raise Wrong(f"exit code {run.returncode}: {told}")
        if self.kind == "get":
            after = self.plain([self.command, "scan", store])
            if after != self.truth:
                raise Wrong("looking at the store has changed it")
        elif self.kind == "load":
            self.judge_load(store, run.returncode)
        else:
            check = subprocess.run([self.helper, "check", store, record], capture_output=True, timeout=SECONDS)
            if check.returncode != 0:
                raise Wrong(f"afterwards: {check.returncode} {check.stderr.decode()}")

    def judge_load(self, store, code):
        after = subprocess.run([self.command, "scan", store], capture_output=True, timeout=SECONDS)
        if after.returncode == 3 and code != 0:
            return  # no store came to be
        if after.returncode != 0:
            raise Wrong(f"scan afterwards: {after.returncode} {after.stderr.decode()}")
        with open(self.lines, "rb") as file:
            lines = file.read()
        if code == 0 and after.stdout != lines:
            raise Wrong("load said 0 and has not loaded all")
        if not lines.startswith(after.stdout):
            raise Wrong("what is there is no prefix of what was loaded")


def try_fault(fault, room):
    """Whether the fault came to pass."""
    scenario, call, position, error, times = fault
    place = tempfile.mkdtemp(dir=room)
    try:
        shutil.copytree(scenario.start, place, dirs_exist_ok=True)
        trace = os.path.join(place, "trace")
        inject = f"inject={call}:error={error}:when={position}{'+' if times == 'on' else ''}"
        try:
            run = subprocess.run(["strace", "-f", "-qq", "--seccomp-bpf", "-o", trace, "-e", f"trace={call}",
                                  "-e", inject, *scenario.words(place)], capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as late:
            raise Wrong("it does not end") from late
        scenario.judge(place, run, call)
        with open(trace, encoding="utf-8", errors="replace") as file:
            return "(INJECTED)" in file.read(), run.returncode != 0
    except Wrong as wrong:
        raise Wrong(f"{scenario.name}:{call}:{position}:{error}:{times}: {wrong}") from wrong
    finally:
        shutil.rmtree(place, ignore_errors=True)


def self_test(options, room):
    """A process that claims what it did not do is found out: an acknowledged batch is taken away."""
    store, record = os.path.join(room, "store"), os.path.join(room, "record")
    helper = os.path.join(options.build, "outside_store")
    Scenario.plain([helper, "write", store, record, "0", "20"])
    keep = os.path.join(room, "keep")
    shutil.copytree(store, keep)
    Scenario.plain([helper, "write", store, record, "0", "20"])
    shutil.rmtree(store)
    os.rename(keep, store)
    check = subprocess.run([helper, "check", store, record], capture_output=True, timeout=SECONDS)
    if check.returncode != 2 or b"lost" not in check.stderr:
        raise Wrong(f"a store without its last batches passes: {check.returncode} {check.stderr.decode()}")


def can_trace(command):
    if shutil.which("strace") is None:
        return "strace is missing"
    run = subprocess.run(["strace", "-qq", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", "trace=close", "-e",
                          "inject=close:error=EIO:when=1", "true"], capture_output=True)
    return f"strace cannot trace here: {run.stderr.decode().strip()}" if b"ptrace" in run.stderr else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--sample", type=int, default=400)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", metavar="FAULT")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or os.cpu_count() or 2))
    options = parser.parse_args()
    missing = can_trace(options)
    if missing is not None:
        print(f"outside_faults: LEFT OUT: {missing}")
        return 77
    room = tempfile.mkdtemp(prefix="bole-faults-")
    try:
        with open(os.path.join(room, "lines.tsv"), "w", encoding="utf-8") as file:
            file.writelines(f"key{i:05d}\t{i}:{'v' * (i * 37 % 400)}\n" for i in range(LINES))
        self_test(options, room)
        scenarios = [Scenario(kind, seed, options, room) for kind, seed in (
            ("new", 0), ("new", 2), ("new", 1), ("killed", 0), ("killed", 2), ("killed", 3), ("closed", 0),
            ("load", 0), ("get", 0))]
        faults = [fault for scenario in scenarios for fault in scenario.faults()]
        total = len(faults)
        if options.only:
            words = options.only.split(":")
            faults = [(scenario, words[1], int(words[2]), words[3], words[4]) for scenario in scenarios
                      if scenario.name == words[0]]
        elif not options.all:
            faults = random.Random(options.seed).sample(faults, min(options.sample, total))
        done, injected, told = 0, 0, 0
        problems = []
        with ThreadPoolExecutor(options.jobs) as pool:
            def one(fault):
                try:
                    return try_fault(fault, room)
                except Wrong as wrong:
                    print(f"outside_faults: {wrong}", flush=True)
                    problems.append(wrong)
                    return True, False
            for hit, failed in pool.map(one, faults):
                if done % 1000 == 999:
                    print(f"outside_faults: {done + 1} of {len(faults)}", file=sys.stderr, flush=True)
                done, injected, told = done + 1, injected + hit, told + failed
        calls = len({call for scenario in scenarios for call in scenario.calls})
        verdict = f"FAILED: {len(problems)} of" if problems else "seed"
        print(f"outside_faults: {verdict} {options.seed}: {done} of {total} faults of {calls} system calls in "
              f"{len(scenarios)} scenarios, {injected} came to pass, {told} told by an exit code, "
              f"{len(problems)} wrong")
        if problems:
            print("outside_faults: again: outside_faults.py --only " + str(problems[0]).split(": ", maxsplit=1)[0])
        if injected < done * 0.9:
            print(f"outside_faults: FAILED: only {injected} of {done} faults came to pass")
            return 1
        return bool(problems)
    finally:
        shutil.rmtree(room, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Wrong as failure:
        print(f"outside_faults: FAILED: {failure}")
        sys.exit(1)
