#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run the tests of a built preset through ctest; output only of those that fail, ctest's closing line always.
#
#   scripts/run_tests.sh PRESET [NAME_PATTERN]       CTEST_FLAGS goes to ctest, for example -L simulation
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:?usage: scripts/run_tests.sh PRESET [NAME_PATTERN]}
pattern=${2:-}
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
# shellcheck disable=SC2086
exec ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$jobs" \
    ${pattern:+-R "$pattern"} ${CTEST_FLAGS:-}
