#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Build and run the benchmark of bench/ beside the other engines that are installed.
#
#   scripts/bench.sh [--full] [ARGUMENT...]      arguments as `build/release/bench/bole_bench --help` says
#
# What was measured is kept in build/bench/result.json. Whoever misses an engine here is told so when CMake runs.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p build/bench
scripts/build.sh release bole_bench >build/bench-build.log 2>&1 || { cat build/bench-build.log >&2; exit 1; }
exec build/release/bench/bole_bench --json build/bench/result.json "$@"
