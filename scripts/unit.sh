#!/usr/bin/env bash
# Runs the tests one after another; arguments go to pytest.
#   WORKERS  2 or more: so many run side by side, and then those marked `alone` one after another
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export OMP_NUM_THREADS=1
none_picked=5 interrupted=2

if [ "${WORKERS:-1}" = 1 ]; then exec python -m pytest "$@"; fi

python -m pytest -m "not alone" -n "$WORKERS" --dist loadfile "$@"
together=$?
if [ $together = $interrupted ]; then exit $together; fi
python -m pytest -m alone "$@"
alone=$?

# What is picked may all be of one kind.
if [ $together = $none_picked ]; then exit $alone; fi
if [ $alone = $none_picked ]; then exit $together; fi
exit $((together != 0 ? together : alone))
