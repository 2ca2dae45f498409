#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What each component of bole costs alone: nanoseconds an operation, and instructions with --instructions.

    scripts/micro.py [--instructions] [--json FILE] [NAME...]      names: bloom, log, memtable ... (bench/micro_NAME.c)

Builds and runs the programs of bench/micro_*.c. Times are of the fastest round and of the median one. --instructions
runs each once more under callgrind, with a twentieth of the operations. Prints Markdown.
"""
import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILT = os.path.join(ROOT, "build/release/bench")


def run(name, place):
    """{operation: [best, median]}, in the program's order."""
    words = [os.path.join(BUILT, "micro_" + name)] + ([place] if name == "log" else [])
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("micro: micro_%s failed (%d)" % (name, done.returncode))
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return {line[0]: [float(line[1]), float(line[2])] for line in lines}


def count(name, place):
    """{operation: instructions}, the least of its rounds."""
    out = os.path.join(place, "callgrind.out")
    words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, os.path.join(BUILT, "micro_" + name)]
    done = subprocess.run(words + ([place] if name == "log" else []), stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("micro: micro_%s failed under valgrind:\n%s" % (name, done.stderr[-2000:]))
    counts = {}
    for path in glob.glob(out + "*"):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        os.remove(path)
        reason = re.search(r"^desc: Trigger: Client Request: (.*)\|(\d+)$", text, re.M)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
        if reason and total:
            each = int(total.group(1)) / int(reason.group(2))
            counts[reason.group(1)] = min(each, counts.get(reason.group(1), each))
    if not counts:
        sys.exit("micro: nothing was counted: valgrind's headers were not there when micro_%s was built" % name)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    known = sorted(os.path.basename(path)[len("micro_"):-len(".c")]
                   for path in glob.glob(os.path.join(ROOT, "bench/micro_*.c")))
    for name in given.names:
        if name not in known:
            sys.exit('micro: there is no "%s": %s' % (name, ", ".join(known)))
    if given.instructions and shutil.which("valgrind") is None:
        sys.exit("micro: --instructions: valgrind is not installed")
    if subprocess.run([os.path.join(ROOT, "scripts/build.sh"), "release", "bole_micro"], stdout=subprocess.DEVNULL,
                      check=False).returncode != 0:
        sys.exit("micro: bole_micro does not build")
    results = {}
    print("| component | operation | ns, best | ns, median |" + (" instructions |" if given.instructions else ""))
    print("|---|---|--:|--:|" + ("--:|" if given.instructions else ""))
    with tempfile.TemporaryDirectory(prefix="bole-micro-") as place:
        for name in given.names or known:
            times = run(name, place)
            counts = count(name, place) if given.instructions else {}
            results[name] = {what: {"best_ns": best, "median_ns": median, "instructions": counts.get(what)}
                             for what, (best, median) in times.items()}
            for what, (best, median) in times.items():
                line = "| %s | %s | %.1f | %.1f |" % (name, what, best, median)
                if given.instructions:
                    line += " %s |" % (format(round(counts[what]), ",") if what in counts else "-")
                print(line, flush=True)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
