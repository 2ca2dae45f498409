#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kill a real process that writes, open the store again, compare with a model: nothing acknowledged may be missing,
nothing may be there that was not asked for, and what is there must be a prefix of what was sent.

Each cycle runs `bole shell` with tiny memtables and segments, so that flushes, merges and log changes are always
under way, sends it puts and deletes, and kills it with SIGKILL after a random time, also while it recovers. Every
tenth cycle ends with a clean close instead, and every fifth is followed by `bole verify`.

    crash_cycles.py [--bole FILE] [--cycles N] [--seed N] [--keep]
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

KEYS = 400
TINY = ["--set", "memtable_bytes=64KiB", "--set", "segment_bytes=32KiB", "--set", "level0_runs=3",
        "--set", "memory_limit=32MiB"]


class Model:
    """The operations sent since the last state that was seen, and that state."""

    def __init__(self):
        self.base = {}
        self.sent = []       # (key, value or None)
        self.number = 0
        self.acknowledged = 0  # how many of `sent`

    def states(self):
        """(how many of `sent` were done, the store's content then), from the least that must be there."""
        state = dict(self.base)
        for count, (key, value) in enumerate([(None, None)] + self.sent):
            if key is not None:
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
            if count >= self.acknowledged:
                yield count, state

    def settle(self, state):
        self.base, self.sent, self.acknowledged = state, [], 0


class Failure(Exception):
    pass


def command(options, store, *words):
    return [options.bole, words[0], store, *words[1:], *TINY]


def content(options, store):
    if not os.path.isdir(store):
        return {}
    run = subprocess.run(command(options, store, "scan"), capture_output=True, timeout=60)
    if run.returncode == 3:  # killed before the store was there
        return {}
    if run.returncode != 0:
        raise Failure(f"scan returned {run.returncode}: {run.stderr.decode()}")
    return dict(line.split("\t", 1) for line in run.stdout.decode().splitlines())


def send(pipe, model, prng, stop):
    """Feed operations until the reader is gone; each put is read back, which is its acknowledgement."""
    try:
        while not stop.is_set() and len(model.sent) < 20000:
            lines = []
            for _ in range(20):
                key = f"key{prng.randrange(KEYS):05d}"
                if prng.randrange(5) == 0:
                    model.sent.append((key, None))
                    lines.append(f"del {key}\n")
                else:
                    model.number += 1
                    value = f"{model.number}:" + "v" * prng.randrange(200)
                    model.sent.append((key, value))
                    lines.append(f"put {key} {value}\nget {key}\n")
            pipe.write("".join(lines).encode())
            pipe.flush()
    except (BrokenPipeError, ValueError):
        pass


def one_life(options, store, model, prng, cycle):
    """Start, feed, kill; returns how the process was ended."""
    power = prng.randrange(4) == 0
    clean = cycle % 10 == 9
    settings = ["--set", "durability=power"] if power else []
    process = subprocess.Popen(command(options, store, "shell") + settings, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=-1)
    stop = threading.Event()
    feeder = threading.Thread(target=send, args=(process.stdin, model, prng, stop))
    output = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
    feeder.start()
    reader.start()
    time.sleep(prng.random() * (0.02 if cycle % 3 == 0 else 0.3))
    if clean:
        stop.set()
        feeder.join()
        process.stdin.close()
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired as late:
            process.kill()
            raise Failure("a clean end took longer than 120 s") from late
    else:
        process.kill()
        stop.set()
        process.wait()
    feeder.join()
    reader.join()
    errors = process.stderr.read().decode()
    for pipe in (process.stdin, process.stdout, process.stderr):
        try:
            pipe.close()
        except BrokenPipeError:
            pass
    if process.returncode not in (0, -9) or errors:
        raise Failure(f"bole shell ended with {process.returncode}: {errors}")
    # Whole lines of output, in order, answer the puts in order.
    answers = output[0].decode().split("\n")[:-1]
    puts = [i for i, (_, value) in enumerate(model.sent) if value is not None]
    for position, answer in zip(puts, answers):
        if model.sent[position][1] != answer:
            raise Failure(f"read back {answer[:40]!r} where {model.sent[position][1][:40]!r} was written")
    if answers:
        model.acknowledged = puts[len(answers) - 1] + 1
    if clean:
        model.acknowledged = len(model.sent)
    return "closed" if clean else "killed"


def compare(model, found):
    for count, state in model.states():
        if state == found:
            unseen = len(model.sent) - count
            acknowledged = model.acknowledged
            model.settle(dict(state))
            return acknowledged, unseen
    _, least = next(model.states())
    missing = [key for key in least if key not in found]
    extra = [key for key in found if key not in least]
    other = [key for key in least if key in found and least[key] != found[key]]
    raise Failure(f"the store is at no prefix of the {len(model.sent)} operations that holds the "
                  f"{model.acknowledged} acknowledged ones; against exactly those: "
                  f"{len(missing)} missing {missing[:3]}, "
                  f"{len(extra)} extra {extra[:3]}, {len(other)} other {other[:3]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bole", default="build/release/bole")
    parser.add_argument("--cycles", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="leave the store of a failure behind")
    options = parser.parse_args()
    room = tempfile.mkdtemp(prefix="bole-crash-")
    store = os.path.join(room, "crash.bole")
    prng, model = random.Random(options.seed), Model()
    acknowledged = killed = cycle = 0
    failed = None
    try:
        for cycle in range(options.cycles):
            killed += one_life(options, store, model, prng, cycle) == "killed"
            acknowledged += compare(model, content(options, store))[0]
            if cycle % 5 == 4:
                run = subprocess.run(command(options, store, "verify"), capture_output=True, timeout=120)
                if run.returncode != 0:
                    raise Failure(f"verify returned {run.returncode}: {run.stdout.decode()}{run.stderr.decode()}")
    except (Failure, subprocess.TimeoutExpired) as problem:
        failed = problem
    if failed is None or not options.keep:
        shutil.rmtree(room, ignore_errors=True)
    if failed is not None:
        print(f"crash_cycles: FAILED in cycle {cycle} of seed {options.seed}: {failed}")
        if options.keep:
            print(f"crash_cycles: the store is in {store}")
        return 1
    print(f"crash_cycles: seed {options.seed}: {killed} kills in {options.cycles} cycles, {acknowledged} operations "
          f"acknowledged: 0 lost, 0 invented, 0 out of order")
    return 0 if acknowledged > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
