#!/usr/bin/env bash
# Runs tests beside busy loops, to find those that need a quiet machine. Arguments go to pytest: files, or none for all.
#   LOOPS   how many loops; 4 by default
#   TIMES   how often the tests run; 1 by default. It stops at the first run that fails.
#   MARK    which tests, as for scripts/unit.sh; "" for all, the slow ones too
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

loops=()
trap 'kill "${loops[@]}" 2>/dev/null; wait 2>/dev/null' EXIT
for _ in $(seq "${LOOPS:-4}"); do
    yes >/dev/null &
    loops+=($!)
done

for number in $(seq "${TIMES:-1}"); do
    scripts/unit.sh "$@" || { echo "run $number of ${TIMES:-1} beside ${LOOPS:-4} loops failed"; exit 1; }
done
