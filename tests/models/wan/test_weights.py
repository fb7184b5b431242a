"""A rank's part of the weights: the same that splitting the whole gives, read in slices; random ones alike."""

import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.models.checkpoints.random_weights import InitialWeights
from pp1_orchestrator.models.checkpoints.reader import Weights
from pp1_orchestrator.models.wan.load_generator import build_sharded, open_generator, read_part, whole_shapes
from pp1_orchestrator.models.wan.tensor_parallel import Place, ShardPlan, parallelize
from tests.models.wan.small_model import CONFIG, random_model

CPU = torch.device("cpu")
PLANS = [ShardPlan(qk, cross) for qk in (True, False) for cross in (True, False)]
PLACES = [Place(rank, degree) for degree in (1, 2, 4) for rank in range(degree)]


class Noted(Weights):
    """A source that notes how many numbers each read gave."""

    def __init__(self, source) -> None:
        super().__init__(source.path)
        self.source, self.numbers = source, []

    def shapes(self):
        return self.source.shapes()

    def _tensor(self, key, index, device, dtype):
        tensor = self.source._tensor(key, index, device, dtype)
        self.numbers.append(tensor.numel())
        return tensor


def random_source(seed=0):
    return InitialWeights(whole_shapes(CONFIG), seed)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    save_file(random_model().state_dict(), folder / "model.safetensors")
    return open_generator(folder, CONFIG)


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_rank_reads_what_splitting_the_whole_would_leave_it_and_no_more(saved, place, plan):
    source = Noted(saved)
    state = read_part(CONFIG, source, place, plan, CPU, torch.float32)
    assert_same(state, parallelize(random_model(), place, plan).state_dict())
    assert sum(source.numbers) == sum(tensor.numel() for tensor in state.values())


def test_a_model_is_assembled_around_its_part_without_a_copy(saved):
    place, plan = Place(1, 2), ShardPlan()
    state = read_part(CONFIG, saved, place, plan, CPU, torch.bfloat16)
    kept = dict(state)
    model = build_sharded(CONFIG, state, place, plan)
    assert not state
    assert not model.training
    for name, parameter in model.named_parameters():
        assert parameter.data_ptr() == kept[name].data_ptr()
        assert parameter.dtype == torch.bfloat16
        assert not parameter.requires_grad


def test_a_rank_that_has_not_met_the_others_does_not_compute_half_a_sum():
    place = Place(0, 2)
    model = build_sharded(
        CONFIG, read_part(CONFIG, random_source(), place, ShardPlan(), CPU, torch.float32), place, ShardPlan()
    )
    with pytest.raises(RuntimeError, match="rank 0 of 2 has not met the others"):
        model.embed_text(torch.zeros(1, CONFIG.text_len, CONFIG.text_dim))


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_random_weights_are_the_same_whatever_the_degree(place, plan):
    alone = Place(0, 1)
    whole = build_sharded(CONFIG, read_part(CONFIG, random_source(), alone, plan, CPU, torch.float32), alone, plan)
    state = read_part(CONFIG, random_source(), place, plan, CPU, torch.float32)
    assert_same(state, parallelize(whole, place, plan).state_dict())


def test_random_weights_depend_on_the_seed_alone():
    def draw(seed):
        return read_part(CONFIG, random_source(seed), Place(0, 1), ShardPlan(), CPU, torch.float32)

    first = draw(3)
    torch.rand(5)
    assert_same(draw(3), first)
    other = draw(4)
    same = [name for name, tensor in first.items() if torch.equal(tensor, other[name])]
    assert all(".norm" in name for name in same), "nothing else is constant"
    assert first.keys() == random_model().state_dict().keys()


def test_random_weights_keep_a_signals_size():
    drawn = read_part(CONFIG, random_source(), Place(0, 1), ShardPlan(), CPU, torch.float32)
    for name, tensor in drawn.items():
        spread = float(tensor.std()) if tensor.numel() > 1 else 0.0
        if ".norm" in name:
            assert torch.equal(tensor, torch.full_like(tensor, float(name.endswith("weight"))))
        elif name.endswith("modulation"):
            assert spread == pytest.approx(CONFIG.dim**-0.5, rel=0.3)
        elif name.endswith("weight"):
            inputs = tensor[0].numel()
            assert float(tensor.abs().max()) <= inputs**-0.5
            assert spread == pytest.approx((3 * inputs) ** -0.5, rel=0.1)
