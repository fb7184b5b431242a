"""The rules that join settings with facts about the strategies that they choose. Imports no torch.

Those of built-in strategies are asked before torch is imported, those of plug-ins once their classes are.
"""

from collections.abc import Collection

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.stage0.strategy_facts import HOMES, QUEUES, REBUILDS, EncoderHome


def check_built_in(settings: Settings, config: WanConfig) -> None:
    """All rules of the strategies that are built in. Raises ConfigError."""
    if (routing := settings.routing.name) in HOMES:
        check_routing(settings, HOMES[routing])
    if (overlap := settings.overlap.name) in QUEUES:
        check_overlap(settings, QUEUES[overlap])
    if (context := settings.context.name) in REBUILDS:
        check_context(settings, config, REBUILDS[context])


def check_routing(settings: Settings, home: EncoderHome) -> None:
    routing = settings.routing
    if routing.encoder != home:
        raise ConfigError(
            f"routing.encoder={routing.encoder}: routing={routing.name} encodes text elsewhere; possible: {home}"
        )


def check_overlap(settings: Settings, queues: Collection[str]) -> None:
    """queues: the bounds that may be above 1."""
    name = settings.overlap.name
    for key in ("d_in", "d_out"):
        value = getattr(settings.overlap, key)
        if value != 1 and key not in queues:
            raise ConfigError(f"overlap.{key}={value}: overlap={name} allows only one at a time; possible: 1")


def check_context(settings: Settings, config: WanConfig, rebuilds: bool) -> None:
    """rebuilds: whether the context rebuilds the cache before a chunk."""
    context = settings.context
    if not rebuilds:
        for key, value in (("recompute_every", context.recompute_every), ("attention_bias", context.attention_bias)):
            if value != 1:
                raise ConfigError(f"context.{key}={value}: context={context.name} rebuilds no cache; possible: 1")
    elif context.recache_mask != "causal":
        raise ConfigError(
            f"context.recache_mask={context.recache_mask}: context={context.name} rebuilds the cache; possible: causal"
        )
    elif config.local_attn_size < 2 * config.chunk_frames:
        raise ConfigError(
            f"context={context.name}: needs a window of 2 chunks ({2 * config.chunk_frames} latent frames); "
            f"the model's has {config.local_attn_size}"
        )
    elif context.recompute_every > 1 and context.attention_bias != 1:
        raise ConfigError(
            f"context.attention_bias={context.attention_bias}: the cache has no anchor between rebuilds; possible with "
            f"context.recompute_every={context.recompute_every}: 1"
        )
