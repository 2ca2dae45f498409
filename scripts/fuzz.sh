#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Fuzz: libFuzzer (or AFL++) over the targets of fuzz/, each for a time.
#
#   scripts/fuzz.sh [--afl] [TARGET|all] [SECONDS]      default: all, 60 seconds each, JOBS (2) at a time
#   scripts/fuzz.sh --list
#
# What libFuzzer learns is kept in build/fuzz/corpus/TARGET and used again, what fails in build/fuzz/found/TARGET-*: fix
# it, and put the input into fuzz/corpus/TARGET/found-WHAT. Nothing is installed. AFL++ works in build/afl/findings.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

afl=no
if [ "${1:-}" = --afl ]; then
    afl=yes
    shift
fi
mapfile -t targets < <(find fuzz -name 'fuzz_*.c' | sed 's,.*/fuzz_,,; s/\.c$//' | sort)
case ${1:-all} in
--list) printf '%s\n' "${targets[@]}"; exit 0 ;;
-*) sed -n '3,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
all) ;;
*)
    if [ ! -f "fuzz/fuzz_$1.c" ]; then
        echo "fuzz: no target '$1'; there are: ${targets[*]}" >&2
        exit 2
    fi
    targets=("$1")
    ;;
esac
seconds=${2:-60}

if [ $afl = yes ]; then
    compiler=$(command -v afl-clang-fast || command -v afl-gcc-fast || true)
    if [ -z "$compiler" ] || ! command -v afl-fuzz >/dev/null; then
        echo "fuzz: AFL++ is not here (Debian package afl++)" >&2
        exit 1
    fi
    [ -f build/afl/CMakeCache.txt ] || cmake --log-level=WARNING -S . -B build/afl -DCMAKE_BUILD_TYPE=Debug \
        -DBOLE_CHECKS=ON -DCMAKE_C_COMPILER="$compiler" >/dev/null || exit 1
    cmake --build build/afl -j "${JOBS:-2}" --target bole_fuzz || exit 1
    failed=0
    for target in "${targets[@]}"; do
        mkdir -p "build/afl/findings/$target"
        AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 \
            afl-fuzz -V "$seconds" -t 2000 -i "fuzz/corpus/$target" -o "build/afl/findings/$target" -- \
            "build/afl/fuzz/fuzz_$target" >"build/afl/findings/$target.log" 2>&1 || failed=1
        found=$(find "build/afl/findings/$target" -path '*crashes*' -name 'id:*' | wc -l)
        printf 'fuzz: %-14s %s runs, %s crashes\n' "$target" \
            "$(sed -n 's/^execs_done *: //p' "build/afl/findings/$target/default/fuzzer_stats")" "$found"
        [ "$found" = 0 ] || failed=1
    done
    exit $failed
fi

clang=$(command -v clang || true)
if [ -z "$clang" ]; then
    echo "fuzz: clang is not here; run scripts/install_dependencies.sh check" >&2
    exit 1
fi
runtime=$(find "$("$clang" -print-resource-dir)" -name 'libclang_rt.fuzzer*.a' 2>/dev/null | head -n 1)
if [ -z "$runtime" ]; then
    echo "fuzz: clang's libFuzzer is not here (Debian package libclang-rt-dev, or libclang-rt-14-dev for clang 14)" >&2
    exit 1
fi
scripts/build.sh fuzz bole_fuzz || exit 1
mkdir -p build/fuzz/found build/fuzz/log

run_one() {
    local target=$1 log=build/fuzz/log/$1.log status=0
    mkdir -p "build/fuzz/corpus/$target"
    ASAN_OPTIONS=detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1 \
        nice "build/fuzz/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len="${FUZZ_BYTES_MAX:-8192}" -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="build/fuzz/found/$target-" \
        "build/fuzz/corpus/$target" "fuzz/corpus/$target" >"$log" 2>&1 || status=1
    printf 'fuzz: %-14s %s %10s runs, coverage %s%s\n' "$target" "$([ $status = 0 ] && echo ok || echo FAILED)" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 | tr -dc 0-9)" \
        "$([ $status = 0 ] || echo ", see $log")"
    [ $status = 0 ] || grep -aE 'does not hold|runtime error|ERROR:|asked for|Test unit written' "$log" | head -n 5
    return $status
}
failed=0
running=0
for target in "${targets[@]}"; do
    run_one "$target" &
    running=$((running + 1))
    if [ $running -ge "${JOBS:-2}" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
done
while [ $running -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit $failed
