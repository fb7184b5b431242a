#!/usr/bin/env bash
# Runs the tests: most of them side by side, then those marked `alone` one after another. Arguments go to pytest.
#   WORKERS  how many run side by side (2)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export OMP_NUM_THREADS=1
none_picked=5 interrupted=2

python -m pytest -m "not alone" -n "${WORKERS:-2}" --dist loadfile "$@"
together=$?
if [ $together = $interrupted ]; then exit $together; fi
python -m pytest -m alone "$@"
alone=$?

# What is picked may all be of one kind.
if [ $together = $none_picked ]; then exit $alone; fi
if [ $alone = $none_picked ]; then exit $together; fi
exit $((together != 0 ? together : alone))
