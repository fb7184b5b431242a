#!/usr/bin/env bash
# Runs the tests: two at a time where there are two cores, each file in one process; then, one after another, those marked
# `alone`. Arguments go to pytest.
#   WORKERS  so many at a time; 1: all one after another
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export OMP_NUM_THREADS=1
none_picked=5 interrupted=2
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
workers=${WORKERS:-$((cores >= 2 ? 2 : 1))}

if [ "$workers" = 1 ]; then exec python -m pytest "$@"; fi

# By name and not by size: tests of one folder share a browser or a Prometheus, and the last files are short.
python -m pytest -m "not alone" -n "$workers" --dist loadfile --no-loadscope-reorder "$@"
together=$?
if [ $together = $interrupted ]; then exit $together; fi
echo "Now the tests that say how long something may take, one after another."
python -m pytest -m alone "$@"
alone=$?

# What is picked may all be of one kind.
if [ $together = $none_picked ]; then exit $alone; fi
if [ $alone = $none_picked ]; then exit $together; fi
exit $((together != 0 ? together : alone))
