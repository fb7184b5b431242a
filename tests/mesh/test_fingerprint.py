"""What ranks compare before they load: versions of all that computes."""

from importlib import metadata

import pytest

from pp1_orchestrator.contract import handshake
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.mesh.fingerprint import fingerprint_rank
from pp1_orchestrator.models.wan.ops import split_kv_attention
from tests.config.test_conf import settings


def test_a_rank_without_the_others_attention_kernel_is_named(monkeypatch):
    without = fingerprint_rank(settings())
    assert without["flash-attn-4"] == "none"
    monkeypatch.setattr(split_kv_attention, "FLASH", "numpy")  # a package that is here
    with_it = fingerprint_rank(settings())
    told = f"^ranks disagree on flash-attn-4: 'none' on rank 1, '{metadata.version('numpy')}' on rank 0$"
    with pytest.raises(ContractError, match=told):
        handshake.compare(1, without, 0, with_it)
