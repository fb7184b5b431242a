"""The fingerprint of this process: what must be equal on all ranks, before a weight is loaded."""

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import handshake
from pp1_orchestrator.loading.checkpoint import as_config_error
from pp1_orchestrator.models.checkpoints.manifest import DigestCache, fingerprint
from pp1_orchestrator.models.wan.ops.split_kv_attention import FLASH, flash_version
from pp1_orchestrator.user_paths import cache_folder, user_path


def fingerprint_rank(settings: Settings) -> handshake.RankFingerprint:
    """The fingerprint of this rank. Raises ConfigError if the checkpoint can't be read."""
    model = settings.model
    versions = {"torch": str(torch.__version__), FLASH: flash_version()}
    if model.weights == "random":
        return handshake.make_fingerprint(settings, versions, model.weights)
    with as_config_error(settings):
        cache = DigestCache(cache_folder() / "digests.json")
        found = fingerprint(model.part("generator"), cache)
        if model.lora is not None:
            found = f"{found}+{fingerprint(user_path(model.lora), cache)}"
    return handshake.make_fingerprint(settings, versions, found)
