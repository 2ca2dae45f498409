#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Lay out the C files as .clang-format says, or with --check only tell which are not.
#
#   scripts/format.sh [--check] [FILE...]
#
# Headers are laid out by hand (tables of comments, macro lists) and are left alone. The layout depends on the
# tool's version, so version 14 is asked for, and --check with another one says so.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=(-i)
if [ "${1:-}" = --check ]; then
    mode=(--dry-run --Werror)
    shift
fi
tool=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$tool" ]; then
    echo "format: clang-format is not here; run scripts/install_dependencies.sh check" >&2
    exit 1
fi
case $("$tool" --version) in
*"version 14."*) ;;
*) echo "format: note: $("$tool" --version); the layout is that of version 14" >&2 ;;
esac
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
    mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.c')
fi
[ ${#files[@]} -eq 0 ] || exec "$tool" "${mode[@]}" "${files[@]}"
