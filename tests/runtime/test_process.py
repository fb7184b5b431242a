"""Facts about a process that nobody sees but who pays for them."""

import subprocess
import sys

import pytest

ROUNDS, PIECES, PIECE_BYTES = 20, 6, 12 << 20
FAULTS = f"""
import resource, torch
from pp1_orchestrator.runtime.process import keep_freed_memory
{{call}}
def count():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    return [torch.ones({PIECE_BYTES}, dtype=torch.uint8) for _ in range({PIECES})]
for _ in range(3):
    work()
start = count()
for _ in range({ROUNDS}):
    work()
print(count() - start)
"""


def page_faults(call: str) -> int:
    """Of a process that makes some large tensors and drops them all, again and again."""
    done = subprocess.run([sys.executable, "-c", FAULTS.format(call=call)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives large pieces back by itself")
def test_freed_memory_is_not_fetched_anew():
    kept, given_back = page_faults("keep_freed_memory()"), page_faults("")
    assert given_back > ROUNDS  # huge pages may stand for many small ones
    assert kept < given_back / 4
