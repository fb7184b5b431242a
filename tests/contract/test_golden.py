"""The wire format is what the committed files say, byte for byte, until its version changes."""

import json

import pytest

from pp1_orchestrator.contract.envelope import VERSION
from pp1_orchestrator.errors import ContractError
from tests.contract.golden.make import DECODED, FOLDER, decoded
from tests.contract.golden.messages import BROKEN, WHOLE, as_bytes

EXPECTED = json.loads(DECODED.read_text(encoding="utf-8"))


def stored(name: str) -> bytes:
    return (FOLDER / f"{name}.bin").read_bytes()


@pytest.mark.parametrize("name", WHOLE)
def test_a_stored_message_is_read_as_it_was_meant(name):
    assert decoded(stored(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", WHOLE)
def test_a_message_is_written_as_it_is_stored(name):
    """If this fails, the other side of a running pair would misread it: the contract needs a new version."""
    assert as_bytes(WHOLE[name]()) == stored(name)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_is_refused_in_these_words(name):
    damaged, words = BROKEN[name]
    assert stored(f"broken-{name}") == damaged
    with pytest.raises(ContractError) as refused:
        decoded(damaged)
    assert str(refused.value) == words


def test_every_file_is_used():
    names = {path.stem for path in FOLDER.glob("*.bin")}
    assert names == {*WHOLE, *(f"broken-{name}" for name in BROKEN)}
    assert {name.split("-")[0] for name in WHOLE} == {f"v{VERSION}"}
    assert EXPECTED.keys() == WHOLE.keys()
