"""Facts about a process that nobody sees but who pays for them."""

import subprocess
import sys

import pytest

ROUNDS, PIECES, PIECE_BYTES = 20, 6, 12 << 20
FAULTS = f"""
import ctypes, resource, torch
from pp1_orchestrator.processes.process_tuning import tune_malloc
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
AS_IT_BEGINS = "ctypes.CDLL(None).mallopt(-3, 128 * 1024)"
"""glibc's first threshold for large pieces, kept as it is: they are the kernel's again as soon as they are dropped."""


def page_faults(call: str) -> int:
    """Of a process that makes some large tensors and drops them all, again and again."""
    done = subprocess.run([sys.executable, "-c", FAULTS.format(call=call)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives large pieces back by itself")
def test_freed_memory_is_not_fetched_anew():
    assert page_faults(AS_IT_BEGINS) > ROUNDS * PIECES
    assert page_faults("tune_malloc()") < ROUNDS


LEFT_BEHIND = """
import collections, weakref
from pp1_orchestrator.processes.process_tuning import tune_gc
program = [[number] for number in range(400_000)]
tune_gc()
class Part:
    pass
alive, most, here = weakref.WeakSet(), 0, collections.deque(maxlen=4)
for viewer in range(40):
    parts = [Part() for _ in range(5000)]
    for part in parts:
        part.itself = part
    alive.update(parts)
    here.append(parts)
    most = max(most, len(alive))
print(most)
"""


def test_what_viewers_leave_behind_in_cycles_is_let_go_however_large_the_program_is():
    done = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000  # of which 20,000 are in use
