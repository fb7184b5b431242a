"""How a mesh splits a transformer: what every way of doing it can do."""

from typing import Protocol

from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.runner import EagerRunner
from pp1_orchestrator.models.wan.tensor_parallel import Shard


class ParallelPlan(Protocol):
    """Applied to a finished transformer from outside, the same on every rank."""

    def parallelize(self, model: CausalWanModel, shard: Shard) -> CausalWanModel:
        """Keep this rank's part, in place. Raises ValueError if the degree does not divide the model."""
        ...

    def runner(self, model: CausalWanModel, cache: KVCache, shard: Shard) -> EagerRunner:
        """What runs eager passes through a model that `parallelize` returned."""
        ...
