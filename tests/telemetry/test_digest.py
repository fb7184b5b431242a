"""ArrayDigest: the bytes count, not how they came in."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.telemetry.summary import ArrayDigest


def digest(*arrays):
    whole = ArrayDigest()
    for array in arrays:
        whole.update(array)
    return whole.hexdigest()


@given(st.binary(max_size=200), st.integers(0, 200))
def test_where_the_stream_is_cut_makes_no_difference(data, cut):
    array = np.frombuffer(data, np.uint8)
    assert digest(array[:cut], array[cut:]) == digest(array) == hashlib.sha256(data).hexdigest()


def test_a_view_counts_by_its_own_order():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    turned = array.transpose(2, 0, 1)
    assert digest(turned) == digest(turned.copy())
    assert digest(turned) != digest(array)


@pytest.mark.parametrize("index", [0, 11, 23])
def test_one_changed_value_changes_the_digest(index):
    array = np.zeros(24, np.float32)
    before = digest(array)
    array[index] = 1e-30
    assert digest(array) != before
