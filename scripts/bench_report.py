#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turn what bole_bench measured (JSON) into tables and pictures.

    scripts/bench_report.py [NAME=]FILE.json... [--text] [--bars FILE.svg] [--latency FILE.svg [--latency-rows NAMES]]

Files of runs with the same settings are one column: rows, engines and rounds of all of them are put together, so a long
run may be made in pieces. Files with other settings (key set, LZ4, sizes) stand beside it as columns of their own; the
first one's tables are shown in full. Figures are medians over the rounds, with the least and the most in brackets; a
peer's figure is followed by how many times as fast bole is. Markdown, or with --text for a terminal.
"""
import argparse
import json
import math
import os
import statistics
import sys
from html import escape

ENGINES = ["bole", "rocksdb", "leveldb", "lmdb", "wiredtiger", "null"]
NO_PEER = {("compact", "lmdb")}  # it has nothing to compact and returns at once
# What bole shall reach: of the best peer, of RocksDB; None: nothing is asked.
TARGETS = {
    "fillseq": (2, 5), "fillbatch": (2, None), "fillrandom2": (2, None), "fillsync1": (1, None),
    "fillsync8": (1.5, None), "fillrandom": (3, 6), "overwrite": (3, 6), "compact": (None, 4),
    "readrandom_loaded": (1.5, 4), "readrandom": (1.5, 4), "readhot": (1.5, 4), "readmissing": (2, None),
    "readseq": (1.5, 5), "readreverse": (1.5, 5), "seekrandom10": (1.3, 4), "seekrandom100": (1.3, 4),
    "readwhilewriting": (2, None), "fill4k": (1.2, None), "read4k": (1.2, None), "fill64k": (1.2, None),
    "read64k": (1.2, None), "limited_readrandom": (1, None), "limited_ycsb_b": (1, None),
    **{"ycsb_%s%s" % (letter, rows): (1.5, None) for letter in "abcdef" for rows in ("", "_100")},
}
SETTINGS = ["entries", "reads", "value_bytes", "memory_bytes", "keyset", "lz4"]
FIGURES = [  # name in the JSON, title, in the short text, too?
    ("burst_per_second", "operations a second, burst: until the last call returned", True),
    ("sustained_per_second", "operations a second, sustained: until nothing was left to be done", True),
    ("p50_us", "p50, microseconds", False), ("p99_us", "p99, microseconds", True),
    ("p999_us", "p99.9, microseconds", True), ("p9999_us", "p99.99, microseconds", False),
    ("max_us", "longest, microseconds", True), ("cpu_seconds", "processor seconds", True),
    ("resident_mib", "resident MiB", True), ("read_mib", "MiB read from the device", False),
    ("written_mib", "MiB written to the device", False),
    ("write_amplification", "bytes to the device / bytes given", True),
    ("space_amplification", "bytes on disk / bytes given", True), ("device_flushes", "device flushes", False),
]
CURVE = [("p50_us", "p50"), ("p90_us", "p90"), ("p99_us", "p99"), ("p999_us", "p99.9"), ("p9999_us", "p99.99"),
         ("max_us", "max")]
COLOURS = {"bole": "#1f6feb", "rocksdb": "#bc4c00", "leveldb": "#8250df", "lmdb": "#1a7f37", "wiredtiger": "#9a6700",
           "null": "#8c959f"}


class Column:
    """Runs with the same settings."""

    def __init__(self, name, settings):
        self.name, self.settings = name, settings
        self.versions, self.left_out, self.rows = {}, {}, {}

    def add(self, run):
        self.versions.update(run["versions"])
        self.left_out.update(run.get("left_out", {}))
        for row, engines in run["rows"].items():
            for engine, rounds in engines.items():
                self.rows.setdefault(row, {}).setdefault(engine, []).extend(rounds)
        self.rows = {row: self.rows[row] for row in run["order"] if row in self.rows}

    def engines(self):
        return [engine for engine in ENGINES if engine in self.versions]

    def values(self, row, engine, figure):
        rounds = self.rows.get(row, {}).get(engine, [])
        return [one[figure] for one in rounds if one.get(figure)]

    def median(self, row, engine, figure="per_second"):
        values = self.values(row, engine, figure)
        return statistics.median(values) if values else None

    def was(self, row, engine, kind):
        return any(one["kind"] == kind for one in self.rows.get(row, {}).get(engine, []))

    def best_peer(self, row):
        peers = [self.median(row, engine) for engine in self.engines()
                 if engine not in ("bole", "null") and (row, engine) not in NO_PEER]
        return max((peer for peer in peers if peer), default=None)

    def ratio(self, row, to=None):
        """Of bole to an engine, or to the best peer."""
        own, other = self.median(row, "bole"), self.median(row, to) if to else self.best_peer(row)
        return own / other if own and other else None


def number(value):
    """Three digits and a unit."""
    if value is None:
        return "-"
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return "%.*f%s" % (max(0, 2 - int(math.log10(value / size * 1.0001))), value / size, unit)
    return "%.0f" % value if value >= 100 else "%.3g" % value


def spread(values):
    if not values:
        return "-"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else "%s (%s..%s)" % (middle, number(min(values)), number(max(values)))


def rate_cell(column, row, engine):
    if (row, engine) in NO_PEER:
        return "-"
    text = spread(column.values(row, engine, "per_second"))
    if text == "-":
        for kind in ("failed", "not run"):
            if column.was(row, engine, kind):
                return kind
        return text
    if column.was(row, engine, "cut off"):
        text += " cut off"
    ratio = column.ratio(row, engine)
    return text + " %.2fx" % ratio if ratio and engine not in ("bole", "null") else text


def verdict(column, row):
    best, rocksdb = TARGETS.get(row, (None, None))
    to_best, to_rocksdb = column.ratio(row), column.ratio(row, "rocksdb")
    wanted = ", ".join(text for text in (best and "%gx best" % best, rocksdb and "%gx RocksDB" % rocksdb) if text)
    missed = (best and to_best is not None and to_best < best) or \
             (rocksdb and to_rocksdb is not None and to_rocksdb < rocksdb)
    known = (best and to_best) or (rocksdb and to_rocksdb)
    return wanted, "" if not wanted or not known else "no" if missed else "yes"


def show(lines, text):
    """Lines of cells, the first of them the head; figures to the right."""
    if text:
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
            print("  ".join(cells).rstrip())
        return
    for i, line in enumerate(lines):
        print("| %s |" % " | ".join(line))
        if i == 0:
            print("|---|%s" % ("--:|" * (len(line) - 1)))


def title(words, text):
    print("\n%s" % words if text else "\n### %s\n" % words)


def rates(column, text):
    engines = column.engines()
    lines = [["row"] + engines + ["to the best", "target", "reached"]]
    for row in column.rows:
        ratio = column.ratio(row)
        lines.append([row] + [rate_cell(column, row, engine) for engine in engines] +
                     ["%.2fx" % ratio if ratio else "-"] + list(verdict(column, row)))
    show(lines, text)


def figures(column, name, words, text):
    engines = [engine for engine in column.engines() if engine != "null"]
    lines = [["row"] + engines]
    for row in column.rows:
        values = [None if (row, engine) in NO_PEER else column.median(row, engine, name) for engine in engines]
        if any(values):
            lines.append([row] + [number(value) for value in values])
    if len(lines) > 1:
        title(words, text)
        show(lines, text)


def remarks(column, text):
    """Who was left out, what did not run, and why."""
    lines = ["%s: %s" % pair for pair in column.left_out.items()]
    for row, engines in column.rows.items():
        for engine, rounds in engines.items():
            lines.extend(sorted({"%s, %s: %s: %s" % (row, engine, one["kind"], one.get("note", ""))
                                 for one in rounds if one["kind"] in ("not run", "failed")}))
    if lines:
        title("left out", text)
        for line in lines:
            print("  " + line if text else "- " + line)


def beside(columns, text):
    """bole to the best peer in every column."""
    title("bole to the best peer, by column (bole's rate / the best peer's)", text)
    lines = [["row"] + [column.name for column in columns] + ["target"]]
    for row in dict.fromkeys(row for column in columns for row in column.rows):
        cells = []
        for column in columns:
            ratio = column.ratio(row)
            cells.append("%.2fx (%s / %s)" % (ratio, number(column.median(row, "bole")),
                                              number(column.best_peer(row))) if ratio else "-")
        if set(cells) != {"-"}:
            lines.append([row] + cells + [verdict(columns[0], row)[0]])
    show(lines, text)


# ---- Pictures ----

def write(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def bars(column, path):
    rows = [(row, column.ratio(row)) for row in column.rows if row in TARGETS and column.ratio(row)]
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
    write(path, out + ["</svg>"])


def latency(column, rows, path):
    """A small picture a row: latency over percentile, a line an engine."""
    wide, high, left, top, across = 300, 190, 60, 40, 2
    engines = [engine for engine in column.engines() if engine != "null"]
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">'
           % (across * (wide + left + 20), top + (len(rows) + across - 1) // across * (high + 60)),
           '<rect width="100%" height="100%" fill="#ffffff"/>']
    for i, engine in enumerate(engines):
        out.append('<text x="%d" y="18" fill="%s">&#9632; %s</text>' % (left + 100 * i, COLOURS[engine], engine))
    for i, row in enumerate(rows):
        x0, y0 = left + i % across * (wide + left + 20), top + 16 + i // across * (high + 60)
        lines = {engine: [column.median(row, engine, name) for name, _ in CURVE] for engine in engines}
        seen = [value for line in lines.values() for value in line if value]
        low, top_power = math.floor(math.log10(min(seen))), math.ceil(math.log10(max(seen)) + 0.001)
        out.append('<text x="%d" y="%d" font-weight="bold">%s, microseconds</text>' % (x0, y0 - 6, escape(row)))
        for power in range(low, top_power + 1):
            y = y0 + high - high * (power - low) / (top_power - low)
            out.append('<line x1="%d" y1="%.0f" x2="%d" y2="%.0f" stroke="#d0d7de"/><text x="%d" y="%.0f" '
                       'text-anchor="end" fill="#57606a">%s</text>'
                       % (x0, y, x0 + wide, y, x0 - 5, y + 4, "%g" % 10.0 ** power))
        for j, (_, label) in enumerate(CURVE):
            out.append('<text x="%.0f" y="%d" text-anchor="middle" fill="#57606a">%s</text>'
                       % (x0 + wide * (j + 0.5) / len(CURVE), y0 + high + 14, label))
        for engine, line in lines.items():
            points = ["%.1f,%.1f" % (x0 + wide * (j + 0.5) / len(CURVE),
                                     y0 + high - high * (math.log10(value) - low) / (top_power - low))
                      for j, value in enumerate(line) if value]
            out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>'
                       % (" ".join(points), COLOURS[engine]))
    write(path, out + ["</svg>"])


# ---- The whole ----

def name_of(run, first):
    parts = [run["keyset"]] + (["LZ4"] if run["lz4"] else [])
    for key, words in (("entries", "%s entries"), ("reads", "%s reads"), ("value_bytes", "%s-byte values"),
                       ("memory_bytes", "%s bytes")):
        if first is not None and run[key] != first[key]:
            parts.append(words % number(run[key]))
    return ", ".join(parts)


def read_columns(files):
    columns = []
    for file in files:
        name, path = file.split("=", 1) if "=" in file and not os.path.exists(file) else (None, file)
        try:
            with open(path, encoding="utf-8") as opened:
                run = json.load(opened)
            settings = {key: run[key] for key in SETTINGS}
            found = next((column for column in columns
                          if column.settings == settings and name in (None, column.name)), None)
            if found is None:
                first = columns[0].settings if columns else None
                columns.append(found := Column(name or name_of(run, first), settings))
            found.add(run)
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.exit("bench_report: %s: %s" % (path, "no result of bole_bench" if isinstance(error, KeyError)
                                               else error))
    return columns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", nargs="+", metavar="[NAME=]FILE.json")
    parser.add_argument("--text", action="store_true", help="for a terminal")
    parser.add_argument("--bars", metavar="FILE.svg", help="bole's ratio to the best peer, row by row")
    parser.add_argument("--latency", metavar="FILE.svg", help="latency over percentile, engine by engine")
    parser.add_argument("--latency-rows", default="fillrandom,overwrite,readrandom,readwhilewriting,ycsb_a,ycsb_b_100",
                        metavar="NAMES", help="the rows of that picture (%(default)s)")
    given = parser.parse_args()
    columns = read_columns(given.json)
    first = columns[0]
    if given.text:
        print("\noperations a second; behind a peer's: how many times as fast bole is")
    rates(first, given.text)
    if len(columns) > 1:
        beside(columns, given.text)
    for name, words, short in FIGURES:
        if short or not given.text:
            figures(first, name, words, given.text)
    for column in columns:
        remarks(column, given.text)
    if given.bars:
        bars(first, given.bars)
    if given.latency:
        rows = [row for row in given.latency_rows.split(",") if any(
            first.median(row, engine, "p50_us") for engine in first.engines() if engine != "null")]
        latency(first, rows, given.latency)


if __name__ == "__main__":
    main()
