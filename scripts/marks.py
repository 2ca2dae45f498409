#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which rare paths are marked with BL_MARK in src/, and which tests go there?

    scripts/marks.py FILE       FILE: what the tests of a check build left where BL_MARKS pointed
    scripts/marks.py --run PRESET      run the tests of that preset first, for example debug

Each mark with where it stands and the programs that hit it. Fails when a mark is hit by none, or when FILE names a mark
that src/ does not have (FILE is then of another tree).
"""
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r'\bBL_MARK\("([^"]+)"\)')


def marks_of_source():
    places = {}
    for path in sorted((ROOT / "src").rglob("*.[ch]")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.lstrip().startswith(("/*", "*", "#define")):
                for name in MARK.findall(line):
                    places.setdefault(name, []).append(f"{path.relative_to(ROOT)}:{number}")
    return places


def run_tests(preset):
    file = ROOT / "build" / preset / "marks.txt"
    file.unlink(missing_ok=True)
    subprocess.run([ROOT / "scripts" / "run_tests.sh", preset], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"BL_MARKS": str(file)})
    return file


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--run":
        file = run_tests(arguments[1])
    elif len(arguments) == 1:
        file = Path(arguments[0])
    else:
        sys.exit(__doc__)
    hits = {}
    for line in file.read_text().splitlines() if file.is_file() else []:
        name, program = line.split("\t")
        hits.setdefault(name, set()).add(program)
    places, missed = marks_of_source(), 0
    for name, where in sorted(places.items(), key=lambda item: item[1]):
        programs = sorted(hits.get(name, ()))
        missed += not programs
        print(f"  {name:48} {', '.join(where):40} {' '.join(programs) or 'NO TEST'}")
    strange = [name for name in hits if name not in places and not name.startswith("test: ")]
    for name in strange:
        print(f"marks: src/ has no mark '{name}', but {file} does")
    print(f"marks: {len(places) - missed} of {len(places)} hit by a test")
    return missed != 0 or bool(strange)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
