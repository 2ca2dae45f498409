#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions an operation, counted by callgrind, bole beside other engines.

    scripts/instructions.py [--bench build/release/bench/bole_bench] [--engines bole,rocksdb,...] [--entries 50000]

Each figure is the difference of two runs of the benchmark that differ in the number of operations alone, divided by
that difference, less the same of the engine that does nothing (the runner's own cost; seek, next and merging keep it).
All threads count, so a put pays for what the background did meanwhile. Reads are from a store that was merged into one
run, and from the cache. Prints a Markdown table. Valgrind shows no AVX-512 to a program.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def collected(given, engine, rows, entries, reads):
    """All instructions of one run, or None when the engine cannot do the row."""
    with tempfile.TemporaryDirectory() as place:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", given.bench, "-n", str(entries),
                   "--reads", str(reads), "-m", "256", "--row-seconds", "100000", "--engine-seconds", "100000",
                   "-e", engine, "-r", rows, "-d", os.path.join(place, "stores")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    counts = [int(count) for count in re.findall(r"Collected : (\d+)", done.stdout)]
    if done.returncode != 0 or not counts:
        return None
    return sum(counts)


def difference(given, engine, rows, by_entries):
    """Instructions for each operation more."""
    n, r = given.entries, given.entries
    low = collected(given, engine, rows, n, r)
    high = collected(given, engine, rows, n * 2 if by_entries else n, r if by_entries else r * 2)
    return None if low is None or high is None else (high - low) / n


def measure(given, engine):
    put = difference(given, engine, "fillrandom", True)
    hit = difference(given, engine, "compact,readrandom", False)
    miss = difference(given, engine, "compact,readmissing", False)
    ten = difference(given, engine, "compact,seekrandom10", False)
    hundred = difference(given, engine, "compact,seekrandom100", False)
    loaded = difference(given, engine, "readhot", True)
    merged = difference(given, engine, "compact,readhot", True)
    row = {"put": put, "get hit": hit, "get miss": miss}
    if ten is not None and hundred is not None:
        step = (hundred * 40 - ten * 4) / 90  # a seek for 4 and for 40 reads asked for
        row["next"] = step
        row["seek"] = ten * 4 - 10 * step
    if loaded is not None and merged is not None:
        row["flushed and merged entry"] = merged - loaded
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default=os.path.join(ROOT, "build/release/bench/bole_bench"))
    parser.add_argument("--engines", default="bole,rocksdb,leveldb,lmdb")
    parser.add_argument("--entries", type=int, default=50000)
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("instructions: valgrind is not installed")
    if not os.access(given.bench, os.X_OK):
        sys.exit("instructions: %s is not there: make bench builds it" % given.bench)
    if given.entries < 1000:
        sys.exit("instructions: fewer than 1000 entries say nothing")
    runner = measure(given, "null")
    engines = given.engines.split(",")
    table = {engine: measure(given, engine) for engine in engines}
    print("| operation | " + " | ".join(engines) + " | the runner, taken off |")
    print("|---|" + "--:|" * (len(engines) + 1))
    for what in ("put", "get hit", "get miss", "seek", "next", "flushed and merged entry"):
        own = runner.get(what) if what in ("put", "get hit", "get miss") else None
        cells = []
        for engine in engines:
            count = table[engine].get(what)
            cells.append("-" if count is None else format(round(count - (own or 0)), ","))
        print("| %s | %s | %s |" % (what, " | ".join(cells), "-" if own is None else format(round(own), ",")))


if __name__ == "__main__":
    main()
