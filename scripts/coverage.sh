#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run all tests in a build that counts lines and branches; what of src/ without cli they reach, and which marks.
#
#   scripts/coverage.sh [--html]      --html: each line, through gcovr, into build/coverage/report
#
# Fails below COVERAGE_LINES and COVERAGE_BRANCHES percent (99.9 and 96 when not set), and when no test hits a mark.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh coverage
find build/coverage -name '*.gcda' -delete
rm -f build/coverage/marks.txt
BL_MARKS=$PWD/build/coverage/marks.txt scripts/run_tests.sh coverage
if [ "${1:-}" = --html ]; then
    if command -v gcovr >/dev/null; then
        mkdir -p build/coverage/report
        gcovr --root . --filter src/ --exclude src/cli/ --object-directory build/coverage \
            --exclude-unreachable-branches --html-details build/coverage/report/index.html
        echo "coverage: each line in build/coverage/report/index.html"
    else
        echo "coverage: no pages of each line: gcovr is not here (Debian package gcovr)" >&2
    fi
fi
scripts/marks.py build/coverage/marks.txt
scripts/coverage_report.py --lines "${COVERAGE_LINES:-99.9}" --branches "${COVERAGE_BRANCHES:-96}"
