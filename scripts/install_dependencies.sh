#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Install the Debian packages that bole's build, tests and checks need and that are not there yet.
#
#   scripts/install_dependencies.sh [--list] [GROUP...]      groups: build test demo check bench all
#
# Without a group: build. It starts from git, gcc and make; everything else is named here. When nothing is missing
# it only asks dpkg and returns at once. It installs with apt-get as root, or through sudo when that asks no
# password. Where neither is possible it prints what to install and fails. On a system without dpkg it cannot look:
# set SKIP_DEPENDENCIES=1 once the listed libraries are there under their own names.
set -euo pipefail
export LC_ALL=C

build=(cmake ninja-build pkg-config libc6-dev
    libxxhash-dev liblz4-dev libzstd-dev   # hashing, compression
    libinih-dev libjansson-dev             # bole.conf, JSON
    libpopt-dev libedit-dev                # the command: options, shell
    libcairo2-dev                          # the visualizer's SVG and PNG
    scdoc                                  # manual pages
    libcmocka-dev python3)                 # CMake looks for both once, for the tests
test=()
demo=()
check=(clang clang-format g++ gcovr libclang-rt-dev llvm chromium cppcheck valgrind
    fuse3 libfuse3-dev strace)             # checks from outside: power cuts under the kernel, failing system calls
bench=(librocksdb-dev libleveldb-dev liblmdb-dev libwiredtiger-dev libsqlite3-dev g++)

usage() { sed -n '3,10s/^# \{0,1\}//p' "$0"; }

wanted=()
list=no
[ $# -gt 0 ] || set -- build
for word in "$@"; do
    case $word in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${build[@]}" "${test[@]}") ;;
    demo) wanted+=("${build[@]}" "${demo[@]}") ;;
    check) wanted+=("${build[@]}" "${test[@]}" "${check[@]}") ;;
    bench) wanted+=("${build[@]}" "${bench[@]}") ;;
    all) wanted+=("${build[@]}" "${test[@]}" "${demo[@]}" "${check[@]}" "${bench[@]}") ;;
    --list) list=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "install_dependencies: no group '$word' (build test demo check bench all)" >&2; exit 2 ;;
    esac
done
if [ ${#wanted[@]} -eq 0 ]; then
    wanted=("${build[@]}")
fi
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)

if [ "$list" = yes ]; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi
if [ "${SKIP_DEPENDENCIES:-0}" = 1 ]; then
    exit 0
fi
if ! command -v dpkg-query >/dev/null; then
    echo "install_dependencies: this is no Debian system, so it cannot be seen what is missing." >&2
    echo "Install what these Debian packages hold, then run again with SKIP_DEPENDENCIES=1:" >&2
    printf '    %s\n' "${wanted[@]}" >&2
    exit 1
fi

# A virtual package (pkg-config is one on newer systems) counts when something installed provides it.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null |
    sed -n 's/^installed //p' | sed 's/([^)]*)//g; s/,/ /g' | tr -s ' ' '\n' | sort -u)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") <(printf '%s\n' "$installed"))
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        as_root=(none)
    fi
fi
if [ "${as_root[0]:-}" = none ] || ! command -v apt-get >/dev/null; then
    echo "install_dependencies: these packages are missing and cannot be installed from here" \
        "(it takes apt-get and root, or sudo without a password):" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "install_dependencies: installing ${missing[*]}"
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=3 "$@" </dev/null
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt update && apt install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "install_dependencies: apt-get failed; wanted: ${missing[*]}" >&2
    exit 1
fi
