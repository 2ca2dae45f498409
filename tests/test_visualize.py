#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The picture equals the store: segments, key ranges and byte sums of the page, the SVG and the text are those of
`bole --json stats`. Usage: test_visualize.py BOLE

The page is asked through a browser when chromium is there (what it draws), and always through its model. Keys with
markup, zero bytes and bytes that are no UTF-8 must come out escaped, and nothing in any form may reach the network."""

import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from html.parser import HTMLParser
from xml.etree import ElementTree

BOLE = os.path.abspath(sys.argv.pop(1))
HOSTILE = [b"</script><script>document.title='taken'</script>", b"<img src=x onerror=alert(1)>", b"&quot;\"'",
           b"\x00\x01\xff\xfe", b"back\\slash", b"line\nbreak", b"]]></metadata>", "\u202egnp".encode(), b"",
           b"z" * 3000]


def escape(key):
    """The escaped form, written once more here so that the command's own is checked."""
    plain = {0x5C: "\\\\", 0x0A: "\\n", 0x09: "\\t"}
    return "".join(plain.get(c) or (chr(c) if 0x20 <= c < 0x7F else "\\x%02x" % c) for c in key)


def key_of(value):
    return value.encode() if isinstance(value, str) else bytes.fromhex(value["hex"])


def as_json(key):
    try:
        return key.decode()
    except UnicodeDecodeError:
        return {"hex": key.hex()}


class Rects(HTMLParser):
    """The data-* attributes of every segment of the page, by the element that carries them."""

    def __init__(self):
        super().__init__()
        self.found, self.outside, self.title, self.inside_title = {"rect": [], "tr": []}, [], "", False

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.inside_title = tag == "title"
        if tag in self.found and "data-number" in attributes:
            self.found[tag].append(tuple(attributes["data-" + n] for n in
                                         ("number", "level", "run", "lo", "hi", "bytes", "entries")))
        if any(n in attributes for n in ("src", "href", "onerror")) or tag == "img":
            self.outside.append((tag, attributes))

    def handle_data(self, data):
        if self.inside_title:
            self.title += data

    def handle_endtag(self, tag):
        self.inside_title = False


class Picture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="bole-visualize-")
        cls.store = os.path.join(cls.folder, "store")
        chance = random.Random(7)
        for turn in range(3):
            path = os.path.join(cls.folder, "turn%d.jsonl" % turn)
            with open(path, "w", encoding="ascii") as lines:
                for number in range(6000):
                    key = b"key:%06d" % chance.randrange(20000)
                    lines.write(json.dumps({"key": as_json(key), "value": "v" * chance.randrange(50, 150)}) + "\n")
                for key in HOSTILE:
                    lines.write(json.dumps({"key": as_json(key), "value": "hostile"}) + "\n")
            cls.run_bole("--set", "memtable_bytes=1MiB", "--set", "segment_bytes=512KiB", "load", cls.store, path)
            cls.run_bole("flush", cls.store)
        cls.run_bole("put", cls.store, "only:in:the:memtable", "x")
        cls.stats = json.loads(cls.run_bole("--json", "stats", cls.store))
        cls.expected = sorted((s["number"], s["level"], s["run"], escape(key_of(s["smallest"])),
                               escape(key_of(s["largest"])), s["file_bytes"], s["entries"])
                              for s in cls.stats["segments"])
        for form in ("html", "svg", "png", "txt"):
            cls.run_bole("visualize", cls.store, "-o", cls.at(form))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def run_bole(cls, *words, **more):
        done = subprocess.run([BOLE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **more)
        if done.returncode != 0:
            raise AssertionError("%s: %d\n%s" % (words, done.returncode, done.stderr.decode()))
        return done.stdout.decode()

    @classmethod
    def at(cls, form):
        return os.path.join(cls.folder, "picture." + form)

    def read(self, form):
        with open(self.at(form), encoding="utf-8") as file:
            return file.read()

    def model(self):
        inside = re.search(r'<script type="application/json" id="model">(.*?)</script>', self.read("html"), re.S)
        return json.loads(inside.group(1))

    def check_segments(self, found):
        self.assertGreater(len(self.expected), 2)
        self.assertEqual(sorted(found), self.expected)
        for level in self.stats["levels"]:
            own = [s for s in found if s[1] == level["level"]]
            self.assertEqual(len(own), level["segments"])
            self.assertEqual(sum(s[5] for s in own), level["bytes"])
            self.assertEqual(sum(s[6] for s in own), level["entries"])

    def test_model_of_the_page_equals_stats(self):
        self.check_segments([(s["number"], s["level"], s["run"], s["smallest"], s["largest"], s["bytes"], s["entries"])
                             for t in self.model()["tables"] for l in t["levels"] for r in l["runs"]
                             for s in r["segments"]])

    def test_ranks_are_the_order_of_keys(self):
        keys = {}
        for s in self.model()["tables"][0]["levels"]:
            for r in s["runs"]:
                for segment in r["segments"]:
                    keys[segment["smallest_rank"]] = segment["smallest"]
                    keys[segment["largest_rank"]] = segment["largest"]
        real = sorted({key_of(s[end]) for s in self.stats["segments"] for end in ("smallest", "largest")})
        self.assertEqual([keys[rank] for rank in sorted(keys)], [escape(key) for key in real])
        self.assertEqual(sorted(keys), list(range(len(real))))

    def test_sums_of_the_model_are_sums_of_its_segments(self):
        for table in self.model()["tables"]:
            for name in ("bytes", "raw_bytes", "entries", "tombstones"):
                for level in table["levels"]:
                    for run in level["runs"]:
                        self.assertEqual(run[name], sum(s[name] for s in run["segments"]))
                    self.assertEqual(level[name], sum(r[name] for r in level["runs"]))
                self.assertEqual(table[name], sum(l[name] for l in table["levels"]))

    def test_segment_bytes_are_those_of_the_files(self):
        for number, _, _, _, _, size, _ in self.expected:
            self.assertEqual(os.path.getsize(os.path.join(self.store, "%06d.seg" % number)), size)

    def test_filters_are_measured_near_what_is_expected(self):
        for level in self.model()["tables"][0]["levels"]:
            f = level["filter"]
            self.assertGreater(f["probes"], 1000)
            self.assertAlmostEqual(f["measured"], f["false_positives"] / f["probes"], places=6)
            spread = 8 * (f["expected"] / f["probes"]) ** 0.5
            self.assertLess(abs(f["measured"] - f["expected"]), f["expected"] + spread)

    def test_memtable_holds_what_was_not_flushed(self):
        self.assertEqual(sum(m["entries"] for m in self.model()["memtables"]), 1)

    def test_svg_lists_and_draws_the_segments(self):
        root = ElementTree.parse(self.at("svg")).getroot()
        found = json.loads(root.find("{http://www.w3.org/2000/svg}metadata").text)["segments"]
        self.check_segments([(s["number"], s["level"], s["run"], s["smallest"], s["largest"], s["bytes"], s["entries"])
                             for s in found])
        self.assertIsNone(root.find(".//{http://www.w3.org/2000/svg}image"))
        for s in found:
            self.assertGreater(s["width"], 0)
        lanes = {}
        for s in sorted(found, key=lambda s: s["x"]):
            lanes.setdefault((s["level"], s["run"]), []).append(s)
        for lane in lanes.values():
            self.assertEqual(len({s["y"] for s in lane}), 1)
            for a, b in zip(lane, lane[1:]):
                self.assertLess(a["x"] + a["width"], b["x"] + 0.61)
        self.assertEqual(len({lane[0]["y"] for lane in lanes.values()}), len(lanes))

    def test_png_is_an_image(self):
        with open(self.at("png"), "rb") as file:
            head = file.read(24)
        self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(struct.unpack(">I", head[16:20])[0], 1400)

    def test_text_says_the_same(self):
        words = self.read("txt")
        self.assertIn("%s segments" % format(len(self.expected), ","), words)
        self.assertIn("%s entries" % format(sum(s[6] for s in self.expected), ","), words)

    def test_text_is_ascii_unless_the_locale_is_utf8(self):
        clean = {n: v for n, v in os.environ.items() if n not in ("LC_ALL", "LC_CTYPE", "LANG", "FORCE_COLOR", "TERM")}
        plain = self.run_bole("visualize", self.store, env={**clean, "LC_ALL": "C"})
        dumb = self.run_bole("visualize", self.store, env={**clean, "LC_ALL": "C.UTF-8", "TERM": "dumb"})
        rich = self.run_bole("visualize", self.store, env={**clean, "LC_ALL": "C.UTF-8", "TERM": "xterm"})
        self.assertTrue(plain.isascii() and dumb.isascii())
        self.assertIn("\u2588", rich)
        self.assertTrue(all(c == "\n" or ord(c) >= 32 for c in rich), "control characters")

    def test_nothing_reaches_the_network(self):
        for form in ("html", "svg"):
            self.assertEqual(set(re.findall(r"https?://[^\s\"'<>]*", self.read(form))) -
                             {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, set())

    def test_hostile_keys_are_inert_in_the_source(self):
        page = self.read("html")
        self.assertEqual(page.count("<script"), 2)
        self.assertNotIn("<img", page)

    def test_table_that_is_named_is_the_only_one(self):
        self.assertEqual([t["name"] for t in json.loads(self.run_bole(
            "--json", "visualize", self.store, "--table", "default"))["tables"]], ["default"])

    def test_unknown_forms_are_refused(self):
        for name in ("picture.pdf", "picture"):
            done = subprocess.run([BOLE, "visualize", self.store, "-o", name], cwd=self.folder, check=False,
                                  stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 2)
            self.assertFalse(os.path.exists(os.path.join(self.folder, name)))
        done = subprocess.run([BOLE, "visualize", self.store, "-o", "no/such/folder.svg"], cwd=self.folder, check=False,
                              stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 5)

    def test_page_draws_every_segment_in_a_browser(self):
        browser = shutil.which("chromium")
        if browser is None:
            self.skipTest("chromium is not here")
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--user-data-dir=" + os.path.join(self.folder, "browser"), "--enable-logging=stderr", "--dump-dom",
             "file://" + self.at("html")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, timeout=90)
        self.assertNotIn(b"CONSOLE", done.stderr)
        page = Rects()
        page.feed(done.stdout.decode())
        for kind in ("rect", "tr"):
            self.check_segments([(int(s[0]), int(s[1]), int(s[2]), s[3], s[4], int(s[5]), int(s[6]))
                                 for s in page.found[kind]])
        self.assertEqual(page.outside, [])
        self.assertNotEqual(page.title, "taken")


if __name__ == "__main__":
    unittest.main()
