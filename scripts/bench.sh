#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Build the benchmark of bench/, run it beside the other engines that are installed, and show tables.
#
#   scripts/bench.sh [--as NAME] [ARGUMENT...]   arguments as `build/release/bench/bole_bench --help` says
#   scripts/bench.sh all [ARGUMENT...]           the long benchmark: the pieces below, one after the other; arguments go
#                                                to each. WiredTiger, by far the slowest, has one round of its own
#
# What was measured is kept in build/bench/NAME.json (result.json). Several of them become one report by
#   scripts/bench_report.py build/bench/main.json build/bench/paths.json ...
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p build/bench
scripts/build.sh release bole_bench >build/bench-build.log 2>&1 || { cat build/bench-build.log >&2; exit 1; }

measure() { # NAME ARGUMENT...
    local name=$1
    shift
    build/release/bench/bole_bench --json "build/bench/$name.json" "$@"
}

# All rows in three rounds; WiredTiger's in one; then what another key set or compression may change, in one round of
# fewer entries.
some_rows=fillrandom,overwrite,compact,readrandom,multiget16,readmissing,readseq,seekrandom10,ycsb_a,ycsb_b,ycsb_e
case ${1:-} in
all)
    shift
    status=0
    kept=()
    piece() { # one that was interrupted ends all; one in which a row failed does not
        measure "$@" || status=$?
        [ "$status" -le 1 ] || exit "$status"
        kept+=("build/bench/$1.json")
    }
    piece main --full -e bole,rocksdb,leveldb,lmdb,null "$@"
    if ! build/release/bench/bole_bench --list | grep -q 'wiredtiger *(not found)'; then
        piece wiredtiger --full "$@" -k 1 -e wiredtiger
    fi
    piece decimal -k 1 -r "$some_rows" --keyset decimal "$@"
    piece paths -k 1 -r "$some_rows" --keyset paths "$@"
    piece lz4 -k 1 -r "$some_rows" --lz4 "$@"
    scripts/bench_report.py "${kept[@]}" --bars build/bench/bars.svg --latency build/bench/latency.svg \
        >build/bench/report.md
    scripts/bench_report.py --text "${kept[@]}"
    echo "kept: ${kept[*]}, build/bench/report.md, bars.svg, latency.svg"
    exit "$status"
    ;;
--as)
    name=${2:?usage: scripts/bench.sh --as NAME [ARGUMENT...]}
    shift 2
    ;;
*) name=result ;;
esac
for argument in "$@"; do # these only tell something
    case $argument in --help | -\? | --usage | --list | -l) exec build/release/bench/bole_bench "$argument" ;; esac
done
status=0
measure "$name" "$@" || status=$?
if [ "$status" -le 1 ]; then # 1: a row failed, the others were measured
    scripts/bench_report.py --text "build/bench/$name.json"
fi
exit "$status"
