"""Which degrees of tensor parallelism fit a model. What a fitting one computes is tested on real processes."""

import pytest
import torch

from pp1_orchestrator.models.wan.config import WanConfig, check_degree
from pp1_orchestrator.models.wan.tensor_parallel import Place, ShardPlan, parallelize
from tests.models.wan.small_model import random_model


def sizes(heads: int, ffn_dim: int) -> WanConfig:
    return WanConfig(dim=heads * 8, ffn_dim=ffn_dim, num_heads=heads, num_layers=1)


@pytest.mark.parametrize(
    ("heads", "ffn_dim", "degree", "possible"),
    [
        (4, 96, 3, "1, 2, 4"),
        (4, 96, 8, "1, 2, 4"),
        (12, 8960, 3, "1, 2, 4"),
        (40, 13824, 5, "1, 2, 4, 8"),
        (4, 96, 0, "1, 2, 4"),
        (4, 96, -2, "1, 2, 4"),
    ],
)
def test_a_degree_that_does_not_fit_is_refused(heads, ffn_dim, degree, possible):
    with pytest.raises(ValueError, match=f"^{degree} tensor-parallel ranks cannot share {heads} heads") as refusal:
        check_degree(sizes(heads, ffn_dim), degree)
    assert str(refusal.value).endswith(f"feed-forward of {ffn_dim}; possible: {possible}")


@pytest.mark.parametrize(("heads", "ffn_dim", "degree"), [(4, 96, 1), (4, 96, 4), (12, 8960, 2), (40, 13824, 8)])
def test_a_degree_that_fits_is_taken(heads, ffn_dim, degree):
    check_degree(sizes(heads, ffn_dim), degree)


def test_a_model_is_whole_after_a_refusal():
    model = random_model()
    modules = list(model.modules())
    with pytest.raises(ValueError, match="cannot share"):
        parallelize(model, Place(0, 3), ShardPlan())
    assert list(model.modules()) == modules


def test_degree_1_leaves_the_model_untouched():
    model = random_model()
    modules, parameters = list(model.modules()), dict(model.named_parameters())
    assert parallelize(model, Place(0, 1), ShardPlan()) is model
    assert list(model.modules()) == modules
    after = dict(model.named_parameters())
    assert after.keys() == parameters.keys()
    assert all(after[name] is parameters[name] for name in parameters)
    assert all(torch.equal(after[name], tensor) for name, tensor in random_model().named_parameters())
