#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The whole gate, step by step, each named and timed; it goes on after a failed step and tells all of them at the end.
#
#   scripts/check.sh [STEP...]     without a step: all of them
#   scripts/check.sh --list
#
# What a step printed is kept in build/check/STEP.log and shown when the step failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

steps=(format layers style gcc clang analyzers asan tsan valgrind coverage fuzz
    simulation interleavings histories faults damage model crash readers large install
    outside_power outside_faults outside_rot outside_full defects)

step_format() { scripts/format.sh --check; }                                  # C files as .clang-format says
step_layers() { scripts/check_layers.py --self-test && scripts/check_layers.py; } # who may include whom
step_style() { scripts/check_style.py --self-test && scripts/check_style.py; }    # licence lines, widths, left-overs
step_gcc() { scripts/build.sh gcc all bole_bench bole_micro; }                # no warning, costly asserts on
step_clang() { scripts/build.sh clang all bole_bench bole_micro; }            # the same with the other compiler
step_analyzers() { # clang --analyze, gcc -fanalyzer and cppcheck find nothing in any source
    scripts/build.sh clang bole && scripts/analyze.py --self-test && scripts/analyze.py
}
step_asan() { scripts/build.sh asan && scripts/run_tests.sh asan; }           # all tests, address and undefined
step_tsan() { scripts/build.sh tsan && scripts/run_tests.sh tsan; }           # all tests, threads
step_valgrind() { # tests on real threads, as shipped: no uninitialized byte, no leak
    scripts/build.sh release || return
    printf 'build/release/test_%s\n' block_index bloom_filter compat compression crash_threads epoch event_log format \
        frame_cache key_value_store log_reader log_record manifest memtable merge posix_calls readers segment_cursor \
        segment_footer segment_value stats version_edit version_set vfs_memory write_ahead_log write_batch \
        write_behind |
        xargs -P "${JOBS:-$(nproc)}" -I{} valgrind --quiet --error-exitcode=9 --leak-check=full \
            --show-leak-kinds=definite --errors-for-leak-kinds=definite {}
}
step_coverage() { scripts/coverage.sh; }  # 99.9 % of the lines, 96 % of the branches, every mark: reached by a test
step_fuzz() { scripts/fuzz.sh all "${FUZZ_SECONDS:-4}"; }                       # each fuzz target a few seconds
step_simulation() { # 100,000 disks that survived a cut, and 1,000 histories that end with one
    scripts/build.sh release && more test_power_cuts 50 && more test_simulation 10
}
step_interleavings() { scripts/build.sh release && more test_interleavings 50; } # 100,000 orders of threads at once
step_histories() { scripts/build.sh release && more test_histories 2; }        # all short histories, cut at every call
step_faults() { # 19,000 failing calls and allocations, 2,000 levels of free space
    scripts/build.sh release && more test_faults 20 && more test_full_disk 40
}
step_defects() { scripts/planted_defects.py; }                                # each planted defect is seen by a test
step_damage() { scripts/build.sh release && more test_damage 50; }             # 20,000 flipped bits, 80,000 others
step_model() { scripts/build.sh release && more test_model 50; }               # 1,000,000 operations, 50 options
step_crash() { # kill -9: 200 of a writing process, 200 of one with many threads, 60 of the command that loads
    scripts/build.sh release && more test_crash 10 && more test_crash_threads "${CRASH_THREADS:-8}" &&
        scripts/crash_cycles.py --cycles "${CRASH_CYCLES:-60}"
}
step_readers() { scripts/build.sh release && more test_readers 15; } # half a minute of readers beside a writer
step_large() { scripts/build.sh release && more test_large_store 10; }         # 10 million entries in bounded memory
step_outside_power() { # 1,000 power cuts under the real kernel, by a file system of FUSE
    scripts/build.sh release || return
    [ -x build/release/outside_power ] || leave_out "libfuse3-dev is missing" || return
    more outside_power "${OUTSIDE_POWER:-4}"
}
step_outside_faults() { # 400 failing system calls of real processes, by strace
    scripts/build.sh release && tests/outside/outside_faults.py --sample "${OUTSIDE_FAULTS:-400}"
}
step_outside_rot() { # 200 damages to files of each kind, asked about by the command
    scripts/build.sh release && tests/outside/outside_rot.py --damages "${OUTSIDE_ROT:-200}"
}
step_outside_full() { # a real tmpfs and a real ext4 without room, 20 levels
    scripts/build.sh release && more outside_full "${OUTSIDE_FULL:-1}"
}
step_install() { scripts/build.sh release && scripts/check_install.sh; }      # others can build against it

# A test program with more of the same, outside of ctest and its time limit. Each run of the gate takes other seeds
# than the last one; the programs print theirs.
more() {
    BOLE_TEST_EFFORT=$2 BOLE_TEST_SEED=${BOLE_TEST_SEED:-$(date +%s)} "build/release/$1"
}

# For a step that this machine cannot do; it ends with 77, as do programs that cannot do what they are for.
leave_out() {
    echo "LEFT OUT: $1"
    return 77
}

case ${1:-} in
--list)
    for step in "${steps[@]}"; do
        printf '  %-14s %s\n' "$step" "$(sed -n "s/^step_$step() .*# //p" "$0")"
    done
    exit 0
    ;;
*) [ $# -eq 0 ] || steps=("$@") ;;
esac

mkdir -p build/check
failed=()
left_out=()
start=$SECONDS
for step in "${steps[@]}"; do
    if ! declare -F "step_$step" >/dev/null; then
        echo "check: no step '$step'; there are: $(compgen -A function step_ | sed 's/^step_//' | tr '\n' ' ')" >&2
        exit 2
    fi
    log=build/check/$step.log
    begin=$SECONDS
    "step_$step" >"$log" 2>&1 </dev/null
    code=$?
    case $code in
    0) verdict=ok ;;
    77) verdict="LEFT OUT" left_out+=("$step") ;;
    *)
        verdict=FAILED
        failed+=("$step")
        tail -n 100 "$log"
        ;;
    esac
    closing=$(grep -E -e '^[0-9]+% tests passed|^coverage: [0-9]|^crash_[a-z]+: seed|^planted_defects: [0-9]+ of' \
        -e '^outside_|LEFT OUT' "$log" | tail -n 1)
    printf 'check: %-14s %-8s %4d s  %s\n' "$step" "$verdict" $((SECONDS - begin)) "$closing"
done
if [ ${#failed[@]} -ne 0 ]; then
    echo "check: FAILED after $((SECONDS - start)) s: ${failed[*]} (see build/check/)"
    exit 1
fi
if [ ${#left_out[@]} -ne 0 ]; then
    echo "check: left out, for this machine cannot do it: ${left_out[*]}"
fi
echo "check: $((${#steps[@]} - ${#left_out[@]})) of ${#steps[@]} steps passed in $((SECONDS - start)) s"
