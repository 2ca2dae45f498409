#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turn the JSON of a benchmark run into tables (Markdown) and a picture of ratios (SVG).

    scripts/bench_report.py build/bench/result.json [--svg docs/images/benchmark.svg] > tables.md

Ratios are bole's operations a second to the best peer's and to RocksDB's; medians over the rounds."""

import argparse
import json
import math
from html import escape

NO_PEER = {("compact", "lmdb")}  # it has nothing to compact and returns at once


def figure(cell, name):
    return cell[name]["median"] if cell else 0


def ratios(columns):
    own = figure(columns.get("bole"), "sustained_per_second")
    row = columns["row"]
    peers = {name: figure(cell, "sustained_per_second") for name, cell in columns.items()
             if name not in ("bole", "null", "row") and (row, name) not in NO_PEER}
    best = max(peers.values(), default=0)
    rocksdb = peers.get("rocksdb", 0)
    return own / best if best else None, own / rocksdb if rocksdb else None


def verdict(run, row, to_best, to_rocksdb):
    if row not in run["targets"]:
        return "", ""
    best, rocksdb = run["targets"][row]["best"], run["targets"][row]["rocksdb"]  # 0: no such target
    wanted = ", ".join(text for text in (best and "%gx best" % best, rocksdb and "%gx RocksDB" % rocksdb) if text)
    missed = (best and to_best is not None and to_best < best) or \
             (rocksdb and to_rocksdb is not None and to_rocksdb < rocksdb)
    return wanted, "no" if missed else "yes"


def number(value):
    return "-" if not value else "{:,.0f}".format(value) if value >= 100 else "%.3g" % value


def table(run, name, title):
    engines = [e for e in run["versions"] if e != "null"]
    print("\n### %s\n\n| row | %s |\n|---|%s" % (title, " | ".join(engines), "--:|" * len(engines)))
    for row, columns in run["rows"].items():
        values = [figure(columns.get(e), name) for e in engines]
        if any(values):
            print("| %s | %s |" % (row, " | ".join(number(v) for v in values)))


def rates(run):
    engines = list(run["versions"])
    print("| row | %s | to the best | to RocksDB | target | reached |" % " | ".join(engines))
    print("|---|%s--:|--:|---|---|" % ("--:|" * len(engines)))
    for row, columns in run["rows"].items():
        to_best, to_rocksdb = ratios(dict(columns, row=row))
        wanted, reached = verdict(run, row, to_best, to_rocksdb)
        cells = ["-" if (row, e) in NO_PEER else number(figure(columns.get(e), "sustained_per_second"))
                 for e in engines]
        print("| %s | %s | %s | %s | %s | %s |" % (
            row, " | ".join(cells), "%.2f" % to_best if to_best else "-",
            "%.2f" % to_rocksdb if to_rocksdb else "-", wanted, reached))


def picture(run, path):
    rows = [(row, ratios(dict(columns, row=row))[0]) for row, columns in run["rows"].items() if row in run["targets"]]
    rows = [(row, ratio) for row, ratio in rows if ratio]
    left, wide, high = 150, 520, 20

    def place(ratio):  # logarithmic, 1/4 to 16
        return left + wide * (math.log2(min(max(ratio, 0.25), 16)) + 2) / 6

    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">'
           % (left + wide + 60, high * len(rows) + 60),
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           '<text x="%d" y="18">bole\'s operations a second to the best peer\'s</text>' % left]
    for power in range(-2, 5):
        x = place(2.0 ** power)
        out.append('<line x1="%.0f" y1="30" x2="%.0f" y2="%d" stroke="%s"/><text x="%.0f" y="%d" '
                   'text-anchor="middle" fill="#57606a">%gx</text>'
                   % (x, x, 34 + high * len(rows), "#24292f" if power == 0 else "#d0d7de", x,
                      50 + high * len(rows), 2.0 ** power))
    for i, (row, ratio) in enumerate(rows):
        y, one, x = 34 + high * i, place(1), place(ratio)
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (left - 8, y + 13, escape(row)))
        out.append('<rect x="%.0f" y="%d" width="%.0f" height="14" fill="%s"/>'
                   % (min(one, x), y + 2, abs(x - one), "#1f6feb" if ratio >= 1 else "#bc4c00"))
        out.append('<text x="%.0f" y="%d" text-anchor="%s">%.2f</text>'
                   % (x + (4 if ratio >= 1 else -4), y + 13, "start" if ratio >= 1 else "end", ratio))
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json")
    parser.add_argument("--svg")
    given = parser.parse_args()
    with open(given.json, encoding="utf-8") as file:
        run = json.load(file)
    rates(run)
    for name, title in (("p99_us", "p99, microseconds"), ("p999_us", "p99.9, microseconds"),
                        ("max_us", "longest, microseconds"),
                        ("write_amplification", "bytes to the device / bytes given"),
                        ("space_amplification", "bytes on disk / bytes given"),
                        ("cpu_seconds", "processor seconds"), ("resident_mib", "resident MiB"),
                        ("device_flushes", "device flushes")):
        table(run, name, title)
    if given.svg:
        picture(run, given.svg)


if __name__ == "__main__":
    main()
