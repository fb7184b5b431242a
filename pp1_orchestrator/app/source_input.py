"""What `source` stands for: the file's frames, what a chunk takes of them, their encoder. Resolved at composition."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pp1_orchestrator.app.strategy_registry import SOURCE_MODES, Registry
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.source_settings import SourceSettings
from pp1_orchestrator.contract.envelope import SIZE_MULTIPLE, VAE_TEMPORAL_STRIDE
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.loading.stage0_models import LoadPhases, load_input_encoder
from pp1_orchestrator.media.frames import Frame
from pp1_orchestrator.media.input_requirements import InputRequirements, resolve_input
from pp1_orchestrator.media.source_frames import SourceFrames
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.stage0.input_encoder import InputEncoder, InputFrames
from pp1_orchestrator.stage0.planner import PlannedInput
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.response_timer import ResponseTimer
from pp1_orchestrator.user_paths import user_path


def input_requirements(settings: Settings, config: WanConfig) -> InputRequirements:
    """How many pixel frames a chunk takes, and of which size. Raises ConfigError for what can't be met."""
    size = settings.stream.height, settings.stream.width
    try:
        return resolve_input(settings.source.mode, config.chunk_frames, VAE_TEMPORAL_STRIDE, size, SIZE_MULTIPLE)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def check_source_file(settings: Settings, config: WanConfig) -> None:
    """Resolve the requirements and read the first frame. Raises ConfigError for a file that can't be an input."""
    if settings.source.active:
        input_requirements(settings, config)
        try:
            _source_frames(settings).first()
        except (ValueError, OSError) as error:
            raise ConfigError(f"source.path={error}") from error


class SourceInput:
    """An input that is being encoded. Begins to read and to encode at once, beside whatever loads then."""

    def __init__(
        self,
        settings: Settings,
        config: WanConfig,
        registry: Registry,
        device: torch.device,
        loading: LoadPhases,
        spans: SpanRecorder,
    ) -> None:
        source, deadlines = settings.source, settings.deadlines
        needs, mode = input_requirements(settings, config), SOURCE_MODES[source.mode]
        with loading.phase("input", device) as parts:
            encoder, parts["input_encoder"] = load_input_encoder(settings, config, registry.decoder, device)
        self._name, self._mode, self._frames = source.name, source.mode, _source_frames(settings)
        self.timer = ResponseTimer(deadlines.decode, deadlines.message, warm=2)
        counts = InputFrames(needs.first_frames, needs.later_frames)
        if mode.repeats_first:  # what would begin the epoch begins it before the chunk, which is then as any other
            counts = InputFrames(needs.later_frames, needs.later_frames, repeated=needs.first_frames)
        self.encoder = InputEncoder(
            _tensors(source, self._frames), encoder, counts, device, spans, self.timer, mode.needs_motion
        )
        model = settings.model
        schedule, caption = FlowSchedule(model.shift, model.warp), source.caption if mode.needs_caption else None
        self.planned = PlannedInput(self.encoder, mode(schedule), source.strength, caption)

    def state(self) -> dict[str, Any]:
        """For JSON: the choices, the strength now, and whether the file still plays."""
        return {
            "name": self._name,
            "mode": self._mode,
            "strength": self.planned.strength,
            "state": self._frames.state,
        }


def _source_frames(settings: Settings) -> SourceFrames:
    source, stream = settings.source, settings.stream
    path, size = user_path(source.path or ""), (stream.height, stream.width)
    return SourceFrames(path, stream.fps, size, source.fit, loop=source.end == "loop")


def _tensors(source: SourceSettings, frames: SourceFrames) -> Iterator[Tensor]:
    """Opens the file when the first frame is taken, in the thread that takes it."""
    shown: Iterator[Frame] = frames.still() if source.name == "image" else frames.video()
    for frame in shown:
        yield torch.from_numpy(np.ascontiguousarray(frame))  # pyright: ignore[reportUnknownMemberType]
