#!/usr/bin/env bash
# Runs the tests, three at a time where there are two cores, each file in one process. Arguments go to pytest.
#   WORKERS  how many at a time; 1: one after another in this process, for a debugger
#   MARK     which tests: "not slow" by default, "slow" for `make slow`, "" for all
#   TIMES    how often each test runs; 1 by default
#   COVERAGE not empty: measure what the tests and their processes run; `make coverage` reports it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export OMP_NUM_THREADS=1
unset PYTHONDONTWRITEBYTECODE  # dozens of processes would each compile the package anew
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
workers=${WORKERS:-$((cores >= 2 ? 3 : 1))}  # one more than cores: many tests wait, for a deadline or a browser
test=(python ${COVERAGE:+-m coverage run} -m pytest -m "${MARK-not slow}")

if [ "$workers" = 1 ]; then exec "${test[@]}" "$@"; fi
# In the order of tests/conftest.py and not by size: tests of one folder share a browser or a Prometheus.
exec "${test[@]}" -n "$workers" --dist loadfile --no-loadscope-reorder "$@"
