#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The manual page and the README say what the command and the compiler say. Usage: test_manual.py BOLE CC LIBRARY

Every command of `bole help` and every option of every `bole help COMMAND` stands in man/bole.1.scd, and the page names
no command that is not there. The README's C example compiles and does what it says it does."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

LIBRARY, CC, BOLE = sys.argv.pop(), sys.argv.pop(), os.path.abspath(sys.argv.pop())
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def told(*words):
    return subprocess.run([BOLE, *words], stdout=subprocess.PIPE, text=True, check=True).stdout


class Manual(unittest.TestCase):
    def setUp(self):
        self.page = read("man", "bole.1.scd")
        listed = told("help").split("Commands:\n")[1].split("\n\n")[0]
        self.commands = [line.split()[0] for line in listed.splitlines()]

    def test_every_command_stands_in_the_page_and_no_other(self):
        section = self.page.split("# COMMANDS")[1].split("# OPTIONS")[0]
        self.assertEqual(re.findall(r"^\*([a-z]+)\*", section, re.M), self.commands)

    def test_every_option_stands_in_the_page(self):
        for command in self.commands:
            for short, name in re.findall(r"^  (-\w, |    )--([a-z-]+)", told("help", command), re.M):
                known = "--" + name in self.page or (short.strip() and "*%s*" % short.strip(", ") in self.page)
                self.assertTrue(known, "%s --%s" % (command, name))

    def test_the_example_of_the_readme_runs(self):
        example = re.search(r"```c\n(.*?)```", read("README.md"), re.S).group(1)
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, "example.c"), os.path.join(folder, "example")
            with open(source, "w", encoding="utf-8") as file:
                file.write(example)
            build = [CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-I" + os.path.join(ROOT, "include"), source,
                     *os.environ.get("BOLE_EXAMPLE_FLAGS", "").split(), LIBRARY, "-lxxhash", "-llz4", "-lzstd",
                     "-linih", "-ljansson", "-lpthread", "-lm", "-o", program]
            subprocess.run(build, check=True)
            done = subprocess.run([program], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
            self.assertEqual(done.stdout, "hello = world\nx = 1\ny = 2\n")


if __name__ == "__main__":
    unittest.main()
