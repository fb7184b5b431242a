"""The KV cache's policy, as settings say."""

from pp1_orchestrator.config.schema import CacheSettings
from pp1_orchestrator.models.wan.cache_policies import CACHES, CacheOptions, CachePolicy


def make_cache_policy(chosen: CacheSettings) -> CachePolicy:
    """A new policy; each cache needs its own."""
    options = CacheOptions(
        decay=chosen.decay, threshold=chosen.threshold, bank=chosen.bank, record_every=chosen.record_every
    )
    return CACHES[chosen.name](options)
