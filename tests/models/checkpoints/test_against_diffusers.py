"""A checkpoint that diffusers saved, computed with by diffusers and by us: only right names give the same numbers."""

import pytest
import torch

from benchmarks.numerics import LATENT_SIZE, SMALL, Inputs, compare, error, ours, save_random, theirs
from pp1_orchestrator.models.wan import wan_state_dict as wan_layouts

CPU = torch.device("cpu")
FLOAT32_BOUND, BFLOAT16_BOUND = 1e-5, 1e-2


def test_the_flow_is_diffusers():
    errors = {dtype: (exact, same) for dtype, exact, same in compare(SMALL, LATENT_SIZE["small"], CPU)}
    assert max(errors[torch.float32]) < FLOAT32_BOUND
    assert max(errors[torch.bfloat16]) < BFLOAT16_BOUND


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusers")
    save_random(SMALL, folder, CPU)
    inputs = Inputs(SMALL, LATENT_SIZE["small"], CPU)
    return folder, inputs, theirs(folder, inputs, torch.float32)


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"_attn\.to_([qkv])\.", lambda match: f"_attn.{ {'q': 'k', 'k': 'q', 'v': 'v'}[match[1]] }."),
        (r"_attn\.to_([qkv])\.", lambda match: f"_attn.{ {'q': 'q', 'k': 'v', 'v': 'k'}[match[1]] }."),
    ],
    ids=["queries for keys", "keys for values"],
)
def test_a_swapped_order_would_show(saved, monkeypatch, pattern, instead):
    """All of these matrices have one shape: the comparison above is what tells."""
    folder, inputs, wanted = saved
    rules = tuple((p, instead if p == pattern else r) for p, r in wan_layouts.FROM_DIFFUSERS)
    assert rules != wan_layouts.FROM_DIFFUSERS
    monkeypatch.setattr(wan_layouts, "FROM_DIFFUSERS", rules)
    assert error(ours(folder, SMALL, inputs, torch.float32), wanted) > 1000 * FLOAT32_BOUND
