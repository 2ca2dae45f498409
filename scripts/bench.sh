#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Build and run the benchmark of bench/ beside the other engines that are installed.
#
#   scripts/bench.sh [--full] [ARGUMENT...]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -f bench/CMakeLists.txt ]; then
    echo "bench: bench/ holds no benchmark in this tree" >&2
    exit 1
fi
scripts/build.sh release
exec build/release/bench/bole_bench "$@"
