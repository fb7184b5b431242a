"""A file's digest is of all its bytes, and a file that has not changed is read once."""

import hashlib
import os

import msgspec
import pytest

from pp1_orchestrator.models.checkpoints.manifest import MAX_CACHED_DIGESTS, CachedDigest, DigestCache

SIZE = 3 * 2**20


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache" / "digests.json"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_byte_in_the_middle_is_seen_even_where_the_times_are_put_back(weights, place):
    before, stat = DigestCache(place, min_bytes=SIZE).digest(weights), weights.stat()
    with weights.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"\1")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = DigestCache(place, min_bytes=SIZE).digest(weights)
    assert (after == sha256(weights), after != before) == (True, True)


def test_a_file_that_has_not_changed_is_not_read_again(weights, place):
    """What is remembered is believed: it is put wrong here, to see that it is used."""
    cache = DigestCache(place, min_bytes=SIZE)
    cache.digest(weights)
    seen = msgspec.json.decode(place.read_bytes(), type=dict[str, CachedDigest])
    wrong = {name: msgspec.structs.replace(entry, sha256="remembered") for name, entry in seen.items()}
    place.write_bytes(msgspec.json.encode(wrong))
    assert cache.digest(weights) == "remembered"


@pytest.mark.parametrize("content", [b"", b"no json", b'{"a": 1}'])
def test_a_memory_that_can_not_be_read_costs_time_and_nothing_else(weights, place, content):
    place.parent.mkdir()
    place.write_bytes(content)
    assert DigestCache(place, min_bytes=SIZE).digest(weights) == sha256(weights)


def test_a_memory_that_can_not_be_written_costs_time_and_nothing_else(weights, place):
    place.parent.write_text("in the way")
    assert DigestCache(place, min_bytes=SIZE).digest(weights) == sha256(weights)


def test_the_newest_files_alone_are_remembered(weights, place):
    place.parent.mkdir()
    old = {f"/{number}": CachedDigest(1, 1, 1, "x") for number in range(MAX_CACHED_DIGESTS)}
    place.write_bytes(msgspec.json.encode(old))
    DigestCache(place, min_bytes=SIZE).digest(weights)
    kept = list(msgspec.json.decode(place.read_bytes()))
    assert (len(kept), kept[0], kept[-1]) == (MAX_CACHED_DIGESTS, "/1", str(weights.resolve()))


def test_a_small_file_is_not_worth_remembering(weights, place):
    assert DigestCache(place, min_bytes=SIZE + 1).digest(weights) == sha256(weights)
    assert not place.exists()
