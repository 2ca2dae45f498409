#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Configure (once) and build one preset of CMakePresets.json into build/PRESET.
#
#   scripts/build.sh PRESET [TARGET...]
#
# Ninja when it is there, else make. JOBS limits how many compilers run at once; CMAKE_FLAGS goes to cmake.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:?usage: scripts/build.sh PRESET [TARGET...]}
shift
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
quiet=()
if [ "${VERBOSE:-0}" = 0 ]; then
    quiet=(--log-level=WARNING)
fi

if [ ! -f "build/$preset/CMakeCache.txt" ] || [ -n "${CMAKE_FLAGS:-}" ]; then
    if [ ! -f "build/$preset/CMakeCache.txt" ] && [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null; then
        export CMAKE_GENERATOR=Ninja
    fi
    # shellcheck disable=SC2086
    cmake "${quiet[@]}" --preset "$preset" ${CMAKE_FLAGS:-} >/dev/null
fi
targets=()
for target in "$@"; do
    targets+=(--target "$target")
done
exec cmake --build "build/$preset" -j "$jobs" "${targets[@]}"
