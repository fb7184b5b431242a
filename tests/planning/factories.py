"""Settings as the command line would make them, and a machine with round numbers."""

from pathlib import Path
from typing import Any

import msgspec
from hydra import compose, initialize_config_dir

from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.calibrate import LinkSpeed, Machine, Rates
from tests.models.config_file import read_config

CONF = Path(__file__).resolve().parents[2] / "conf"


def settings(*options: str) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return load_settings(compose("config", list(options)))


def with_name(made: Settings, group: str, name: str) -> Settings:
    """Another word in one group, whether it is built in or not."""
    changes: Any = {group: msgspec.structs.replace(getattr(made, group), name=name)}
    return msgspec.structs.replace(made, **changes)


def shipped(made: Settings) -> WanConfig:
    return read_config(made.model.folder / "generator")


def machine(parallel_ranks: int | None = None, memory_bytes: int = 1 << 40) -> Machine:
    """Products at 1 GFLOP/s, the rest free; messages at 1 MB/s."""
    rates = Rates(matmul_flops_s=1e9, attention_flops_s=1e9, conv_flops_s=1e9, other_bytes_s=1e18)
    return Machine(
        device="cpu",
        torch_threads=1,
        parallel_ranks=parallel_ranks,
        memory_bytes=memory_bytes,
        rates=dict.fromkeys(("generator", "decode", "encode", "text"), rates),
        link=LinkSpeed(message_s=0.0, sum_s=0.0, bytes_s=1e6, sum_bytes_s=1e6, method="assumed"),
        calibration_s=0.0,
    )
