#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Install build/release below a directory that goes away again, and build and run tests/consumer against it in the
# three ways others do: find_package with the shared and with the static library, and pkg-config. Also: the shared
# library shows nothing but bole_ names, and every symbol it needs is there.
set -euo pipefail
cd "$(dirname "$0")/.."

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
stage=$room/stage
prefix=$stage/usr
say() { printf 'check_install: %s\n' "$*"; }

DESTDIR=$stage cmake --install build/release --prefix /usr >"$room/install.log"
libdir=$(dirname "$(find "$prefix" -name libbole.a)")

strangers=$(nm -D --defined-only "$libdir/libbole.so" | awk '{print $3}' | grep -v '^bole_' || true)
if [ -n "$strangers" ]; then
    say "libbole.so shows names that are not bole_: $strangers"
    exit 1
fi
say "libbole.so shows $(nm -D --defined-only "$libdir/libbole.so" | wc -l) names, all bole_"

for kind in shared static; do
    cmake --log-level=WARNING -S tests/consumer -B "$room/$kind" -DCMAKE_PREFIX_PATH="$prefix" -DKIND="$kind" \
        >"$room/$kind.log"
    cmake --build "$room/$kind" >>"$room/$kind.log"
    LD_LIBRARY_PATH=$libdir "$room/$kind/consumer" "$room/$kind.bole"
    say "find_package, $kind: ok"
done

export PKG_CONFIG_PATH=$libdir/pkgconfig
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$room/by_pkg_config" tests/consumer/consumer.c \
    $(pkg-config --cflags --libs bole)
LD_LIBRARY_PATH=$libdir "$room/by_pkg_config" "$room/pkg.bole"
say "pkg-config: ok"

# The header alone, as C++ and as strict C11, without a warning.
printf '#include <bole/bole.h>\n#include <bole/bole_vfs.h>\nint main() { return 0; }\n' >"$room/header.cc"
cp "$room/header.cc" "$room/header.c"
if command -v c++ >/dev/null; then
    c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$prefix/include" "$room/header.cc"
    say "headers in C++: ok"
fi
cc -std=c11 -Wall -Wextra -Wpedantic -Werror -Wno-strict-prototypes -fsyntax-only -I"$prefix/include" "$room/header.c"
say "headers in C11: ok"
