"""What each rank uses, as metrics: memory of a GPU and of the host under their own names."""

import os
from typing import Any, cast

import pytest

from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.stage0.session import Session
from pp1_orchestrator.supervision.resource_monitor import ResourceMonitor
from pp1_orchestrator.telemetry.metrics import Metrics


class Ready:
    """The part of a session that is sampled."""

    paused = False

    def ready(self) -> bool:
        return True


def rank(device: str) -> dict[str, Any]:
    memory = {"generator": 7, "text_encoder": 5, "peak": 9, "resident": 11}
    return {"pid": os.getpid(), "device": device, "state": "up", "memory": memory}


@pytest.mark.parametrize(
    ("device", "on_host", "expected"),
    [
        ("cpu", (), {"generator", "text_encoder", "peak", "resident"}),
        ("cuda:0", (), {"resident"}),
        ("cuda:0", ("text_encoder",), {"text_encoder", "resident"}),
    ],
)
def test_memory_of_the_host_is_not_that_of_a_gpu(device, on_host, expected):
    metrics = Metrics()
    monitor = ResourceMonitor(cast(Session, Ready()), lambda: {"1": rank(device)}, metrics, EventBus(), on_host)
    monitor.close()
    samples = {
        name: metrics.registry.get_sample_value("pp1_host_memory_bytes", {"rank": "1", "component": name})
        for name in rank(device)["memory"]
    }
    assert {name for name, count in samples.items() if count is not None} == expected
