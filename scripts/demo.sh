#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows bole at work in under a minute, on this machine's own headers, manuals and documentation: load, kill -9 in
# mid-load, recover, prove, read, delete, compact, filters, levels, a picture. No download. Commands are printed before
# they run; a step that does not hold what it promises ends the demo.
#
#   scripts/demo.sh [DIRECTORY]      the store and the pictures go into DIRECTORY (build/demo)
set -euo pipefail
cd "$(dirname "$0")/.."

bole=${BOLE:-$PWD/build/release/bole}
helper=${BOLE_DEMO:-$(dirname "$bole")/bole_demo}
room=${1:-build/demo}
store=$room/store.bole
step=0

for program in "$bole" "$helper"; do
    if [ ! -x "$program" ]; then
        echo "demo: $program is not there; run make first" >&2
        exit 1
    fi
done
bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(tput bold 2>/dev/null || true)
    plain=$(tput sgr0 2>/dev/null || true)
fi

# Only what an earlier demo made is removed.
mkdir -p "$room"
rm -rf "$store" "$room/damaged.bole"
rm -f "$room"/store.html "$room"/store.svg "$room"/store.png "$room"/out

title() {
    step=$((step + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"
}
tell() { # a command as one would type it
    local shown=$*
    printf '   $ %s\n' "${shown//"$bole"/bole}"
}
show() { # print a command, then run it; at most 40 lines and 110 columns of what it says
    tell "$@"
    if ! "$@" >"$room/out" 2>&1; then
        sed 's/^/   /' "$room/out" >&2
        echo "demo: FAILED: $*" >&2
        exit 1
    fi
    sed -n '1,40p' "$room/out" | cut -c 1-110 | sed 's/^/   /'
}
must() { # what, then a test that must hold
    local what=$1
    shift
    if ! "$@"; then
        echo "demo: FAILED: $what" >&2
        exit 1
    fi
    printf '   -> %s\n' "$what"
}

title "Load a machine's documentation, kill -9 the loader, recover"
"$helper" crash "$store"

title "Prove every checksum and every invariant"
show "$bole" verify "$store"

title "Read"
show "$bole" tables "$store"
show "$bole" scan "$store" --table files --keys --limit 3
page=$("$bole" scan "$store" --table lines --keys --limit 1)
page=${page%:*}
show "$bole" scan "$store" --table lines --prefix "$page:" --limit 5
show "$bole" get "$store" "$page:0000002" --table lines
show "$bole" explain "$store" "$page:0000002" --table lines

title "Delete"
show "$bole" del "$store" "$page:0000001" "$page:0000002" --table lines
tell "$bole" get "$store" "$page:0000002" --table lines
must "what was deleted is gone" test -z "$("$bole" get "$store" "$page:0000002" --table lines 2>/dev/null || true)"

title "Compact"
show "$bole" levels "$store"
show "$bole" compact "$store"
show "$bole" levels "$store"

title "Bloom filters: how often they save a read"
"$helper" filters "$store"

title "Damage is told, never served"
cp -r "$store" "$room/damaged.bole"
segment=$(find "$room/damaged.bole" -name '*.seg' -size +8k | sort | head -n 1)
must "a copy of the store, to damage" test -n "$segment"
printf '\377\377\377\377' | dd of="$segment" bs=1 seek=6000 conv=notrunc status=none
tell "$bole" verify "$room/damaged.bole"
if "$bole" verify "$room/damaged.bole" >"$room/out" 2>&1; then
    echo "demo: FAILED: four bytes were changed and verify did not notice" >&2
    exit 1
fi
sed -n '1,3p' "$room/out" | sed 's/^/   /'
must "four changed bytes were found" grep -q "$(basename "$segment")" "$room/out"
rm -rf "$room/damaged.bole"

title "A picture of what is inside"
pictures=()
for picture in html svg png; do
    file=$room/store.$picture
    tell "$bole" visualize "$store" -o "$file"
    if "$bole" visualize "$store" -o "$file" >"$room/out" 2>&1 && [ -s "$file" ]; then
        pictures+=("$file")
    else
        sed -n '1,2p' "$room/out" | sed 's/^/   /'
        if [ "$picture" = html ]; then
            echo "demo: FAILED: no picture was made" >&2
            exit 1
        fi
    fi
done
rm -f "$room/out"

printf '\n%sAll of it held.%s Open in a browser:\n' "$bold" "$plain"
for file in "${pictures[@]}"; do printf "   %s\n" "$(realpath "$file")"; done
cat <<END

Try next:
   $bole shell $store
   $bole stats $store
   $bole segments $store --table lines
   $bole scan $store --table lines --prefix "$page:" --limit 20
   make bench
END
