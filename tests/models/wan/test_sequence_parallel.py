"""Which degrees of sequence parallelism fit a model, and how its tokens are cut. What processes compute: tests/mesh."""

import pytest
import torch

from pp1_orchestrator.models.checkpoints.random_weights import InitialWeights
from pp1_orchestrator.models.wan.config import WanConfig, check_head_degree
from pp1_orchestrator.models.wan.load_generator import read_part, whole_shapes
from pp1_orchestrator.models.wan.sequence_parallel import SequencePlan, token_slices
from pp1_orchestrator.models.wan.tensor_parallel import Place
from tests.models.wan.small_model import CONFIG, random_model


def sizes(heads: int) -> WanConfig:
    return WanConfig(dim=heads * 8, ffn_dim=91, num_heads=heads, num_layers=1)


@pytest.mark.parametrize(
    ("heads", "degree", "possible"),
    [(4, 3, "1, 2, 4"), (4, 8, "1, 2, 4"), (12, 5, "1, 2, 3, 4, 6, 12"), (4, 0, "1, 2, 4"), (4, -2, "1, 2, 4")],
)
def test_a_degree_that_does_not_divide_the_heads_is_refused(heads, degree, possible):
    with pytest.raises(ValueError, match=f"^{degree} sequence-parallel ranks cannot share {heads} heads") as refusal:
        check_head_degree(sizes(heads), degree)
    assert str(refusal.value).endswith(f"possible: {possible}")


@pytest.mark.parametrize(("heads", "degree"), [(4, 1), (4, 4), (12, 3), (40, 5)])
def test_only_the_heads_must_divide(heads, degree):
    check_head_degree(sizes(heads), degree)


def test_a_model_is_whole_after_a_refusal():
    model = random_model()
    modules = list(model.modules())
    with pytest.raises(ValueError, match="cannot share"):
        SequencePlan().parallelize(model, Place(0, 3))
    assert list(model.modules()) == modules


def test_degree_1_leaves_the_model_untouched():
    model = random_model()
    modules = list(model.modules())
    assert SequencePlan().parallelize(model, Place(0, 1)) is model
    assert list(model.modules()) == modules


def test_every_rank_reads_whole_weights_under_their_own_names():
    source, cpu = InitialWeights(whole_shapes(CONFIG), seed=3), torch.device("cpu")
    alone, rank = (
        read_part(CONFIG, source, place, SequencePlan(), cpu, torch.float32) for place in (Place(0, 1), Place(1, 2))
    )
    assert rank.keys() == alone.keys() == random_model().state_dict().keys()
    assert all(torch.equal(rank[name], alone[name]) for name in alone)


@pytest.mark.parametrize(("tokens", "ranks"), [(12, 4), (10, 4), (5, 4), (9, 2), (7, 1)])
def test_slices_are_equal_and_joined_again_they_are_the_tokens(tokens, ranks):
    x = torch.arange(1.0, tokens * 3 + 1).view(1, tokens, 3)
    slices = token_slices(x, ranks)
    length = -(-tokens // ranks)
    assert slices.shape == (1, ranks, length, 3)
    joined = slices.flatten(1, 2)
    assert torch.equal(joined[:, :tokens], x)
    assert not joined[:, tokens:].any()
