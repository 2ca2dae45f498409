#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run all tests in a build that counts lines and branches; a report on src/ without cli in build/coverage/report, a
# summary here.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v gcovr >/dev/null; then
    echo "coverage: gcovr is not here (Debian package gcovr)" >&2
    exit 1
fi
scripts/build.sh coverage
find build/coverage -name '*.gcda' -delete
scripts/run_tests.sh coverage
mkdir -p build/coverage/report
gcovr --root . --filter src/ --exclude src/cli/ --object-directory build/coverage --exclude-unreachable-branches \
    --html-details build/coverage/report/index.html --txt build/coverage/report/summary.txt --print-summary
