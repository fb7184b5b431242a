#!/usr/bin/env bash
# Runs tests beside busy loops, to find those that need a quiet machine. Arguments go to pytest: files, or none for all.
#   LOOPS   how many loops; 4 by default
#   TIMES   how often each test runs; 1 by default
#   MARK    which tests, as for scripts/unit.sh; "" for all, the slow ones too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

loops=()
trap 'kill "${loops[@]}" 2>/dev/null || true' EXIT
for _ in $(seq "${LOOPS:-4}"); do
    yes >/dev/null &
    loops+=($!)
done

TIMES=${TIMES:-1} scripts/unit.sh "$@"
