"""How the mesh splits the generator, as settings say."""

from collections.abc import Callable, Mapping

from pp1_orchestrator.config.schema import Settings, ShardSettings
from pp1_orchestrator.models.wan.parallel_plan import ParallelPlan
from pp1_orchestrator.models.wan.sequence_parallel import SequencePlan
from pp1_orchestrator.models.wan.tensor_parallel import ShardPlan

PARALLEL: Mapping[str, Callable[[ShardSettings], ParallelPlan]] = {
    "tensor": lambda shard: ShardPlan(shard.qk, shard.cross_attention),
    "sequence": lambda shard: SequencePlan(),
}


def make_parallel_plan(settings: Settings) -> ParallelPlan:
    """The same on every rank."""
    return PARALLEL[settings.parallel.name](settings.layout.shard)
