#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows bole at work in about a minute, with the command alone: write, read, kill -9 while writing, recover, prove,
# look inside. Every command is printed before it runs; a step that does not hold what it promises ends the demo.
#
#   scripts/demo.sh [DIRECTORY]      the store and the page stay in DIRECTORY (else a temporary one, named at the end)
set -euo pipefail
cd "$(dirname "$0")/.."

bole=${BOLE:-$PWD/build/release/bole}
room=${1:-$(mktemp -d "${TMPDIR:-/tmp}/bole-demo.XXXXXX")}
mkdir -p "$room"
store=$room/demo.bole
entries=${DEMO_ENTRIES:-200000}
step=0
cycles=${DEMO_KILLS:-5}

if [ ! -x "$bole" ]; then
    echo "demo: $bole is not there; run make first" >&2
    exit 1
fi
bold=$(tput bold 2>/dev/null || true)
plain=$(tput sgr0 2>/dev/null || true)
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || bold='' plain=''

title() {
    step=$((step + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"
}
show() { # print a command, then run it
    local shown=${*//"$bole"/bole}
    printf '   $ %s\n' "${shown//"$room"\//}"
    "$@" 2>&1 | sed 's/^/   /'
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

title "Write and read"
show "$bole" put "$store" hello world
show "$bole" get "$store" hello
show "$bole" put "$store" hello again
must "the newer value hides the older" test "$("$bole" get "$store" hello)" = again
show "$bole" del "$store" hello

title "Load $entries entries"
awk -v n="$entries" 'BEGIN {
    for (i = 0; i < n; i++)
        printf "{\"key\": \"user:%07d\", \"value\": \"name %d, visits %d, last seen on day %d\"}\n", \
            (i * 7919) % n, i, i % 97, i % 365
}' >"$room/entries.jsonl"
show "$bole" load "$store" "$room/entries.jsonl"
must "$entries keys are there" test "$("$bole" count "$store" --prefix user:)" = "$entries"

title "Kill -9 while it writes, $cycles times"
# The shell writes and reads back in one process. What it printed was acknowledged, whatever happens to it then.
: >"$room/acknowledged"
for cycle in $(seq "$cycles"); do
    seen=$room/seen.$cycle
    "$bole" shell "$store" >"$seen" < <(awk -v c="$cycle" 'BEGIN {
        for (n = 0; ; n++)
            printf "put kept:%d:%09d value-%d\nget kept:%d:%09d\n", c, n, n, c, n
    }' 2>/dev/null) &
    writer=$!
    until [ -s "$seen" ] && [ "$(wc -c <"$seen")" -gt $((RANDOM * 4)) ]; do
        kill -0 "$writer" 2>/dev/null || { echo "demo: FAILED: the writer stopped by itself" >&2; exit 1; }
        sleep 0.01
    done
    kill -9 "$writer"
    wait "$writer" 2>/dev/null || true
    # The last line may be half a line: it does not count.
    head -n -1 "$seen" | awk -v c="$cycle" '{ n = $0; sub("value-", "", n)
        printf "kept:%d:%09d\t%s\n", c, n, $0 }' >>"$room/acknowledged"
done
"$bole" scan "$store" --prefix kept: >"$room/kept"
lost=$(LC_ALL=C sort "$room/acknowledged" | LC_ALL=C comm -23 - <(LC_ALL=C sort "$room/kept") | wc -l)
must "$(wc -l <"$room/acknowledged") writes were acknowledged before the kills, $lost lost" test "$lost" = 0

title "Prove every checksum and every invariant"
show "$bole" verify "$store"

title "Look inside"
show "$bole" levels "$store"
show "$bole" compact "$store"
show "$bole" levels "$store"
show "$bole" explain "$store" user:0000042
show "$bole" visualize "$store" -o "$room/store.html"
must "the page is whole in one file" test -s "$room/store.html"

title "Damage is told, never served"
cp -r "$store" "$room/damaged.bole"
segment=$(find "$room/damaged.bole" -name '*.seg' -size +8k | sort | head -n 1)
must "there is a segment to damage" test -n "$segment"
printf '\377\377\377\377' | dd of="$segment" bs=1 seek=6000 conv=notrunc status=none
printf '   $ bole verify damaged.bole\n'
if "$bole" verify "$room/damaged.bole" >"$room/verify.out" 2>&1; then
    echo "demo: FAILED: four bytes were changed and verify did not notice" >&2
    exit 1
fi
sed 's/^/   /' "$room/verify.out" | head -n 5
must "four changed bytes were found" grep -q "$(basename "$segment")" "$room/verify.out"

printf '\nThe store, the page and the data are in %s\n' "$room"
