"""Damaged seeds, for Hypothesis: parts cut out, put in and replaced, by odd bytes or by parts of other seeds."""

from collections.abc import Sequence

from hypothesis import HealthCheck
from hypothesis import strategies as st

UNCHECKED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
"""An input may take long, and seeds are large."""

ODD = [
    b"", b"\0", b"\xff" * 8, b"\x80", b" ", b"\r\n", b"\n\n", b":", b"=", b"-1", b"0", b"1e999", b"NaN", b"null", b"~",
    b"4294967296", b"9" * 5000, b"[" * 2000, b"{" * 2000, b"%0a", b"%2e%2e/", b"%00", b"\xed\xa0\x80", b"a" * 300,
]  # fmt: skip
MOST_BYTES = 200
Edit = tuple[float, int, bytes]


def damaged(corpus: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A seed with up to six edits."""
    parts = st.tuples(st.sampled_from(corpus), st.floats(0, 1), st.integers(1, MOST_BYTES)).map(_part)
    piece = st.one_of(st.binary(max_size=16), st.sampled_from(ODD), parts)
    length = st.one_of(st.integers(0, 8), st.integers(0, MOST_BYTES))
    edits = st.lists(st.tuples(st.floats(0, 1), length, piece), max_size=6)
    return st.builds(_apply, st.sampled_from(corpus), edits)


def _part(choice: tuple[bytes, float, int]) -> bytes:
    data, at, length = choice
    start = int(at * len(data))
    return data[start : start + length]


def _apply(data: bytes, edits: list[Edit]) -> bytes:
    for at, length, piece in edits:
        start = int(at * len(data))
        data = data[:start] + piece + data[start + length :]
    return data
