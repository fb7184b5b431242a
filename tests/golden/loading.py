"""Opens the golden data, writes it as people publish weights, and loads that as a run does.

The only file of this folder that imports the project. It never puts a weight into a module.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hydra import compose, initialize_config_dir
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pp1_orchestrator.app.strategy_registry import CONTEXTS, Registry, check
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.loading.sources import vae_source
from pp1_orchestrator.loading.stage0_models import load_encoder, load_vae_parts
from pp1_orchestrator.mesh.build_generator import load_weights, make_generator
from pp1_orchestrator.models.vae.base import DecodeState, EncodeState, FrameEncoder, StreamingDecoder, StreamingEncoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.models.wan.tensor_parallel import Place, Shard
from pp1_orchestrator.stage0.context_policies import LatentHistory

__all__ = ["DecodeState", "EncodeState", "FlowSchedule"]

DATA = Path(__file__).parent / "data"
CONF = Path(__file__).resolve().parents[2] / "conf"
LIMIT = 1e-5
"""Largest error of a chunk that still counts as rounding."""
CONTROL = 1e-3
"""Smallest error that a wrong setting must cause."""
CPU = torch.device("cpu")
ALONE = Place(0, 1)
SIZES = ("dim", "ffn_dim", "num_heads", "num_layers", "freq_dim", "text_dim", "text_len")
CHUNK = 3
"""Latent frames of a chunk, in every file."""


class Golden:
    """One file of golden data. Floats are widened to float32; upstream computed with exactly these numbers."""

    def __init__(self, name: str) -> None:
        with safe_open(DATA / f"{name}.safetensors", "pt") as file:
            self.config: dict[str, Any] = json.loads(file.metadata()["config"])
            self._tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is no dictionary

    def __getitem__(self, key: str) -> Tensor:
        """A tensor by its full key, such as `inputs/noise`."""
        tensor = self._tensors[key]
        return tensor.float() if tensor.is_floating_point() else tensor

    def below(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose key starts with `prefix`, under the rest of their keys."""
        return {key.removeprefix(prefix): self[key] for key in self._tensors if key.startswith(prefix)}


def publish(golden: Golden, folder: Path, weights: Mapping[str, Tensor] | None = None, name: str = "published") -> Path:
    """Write weights, those of the file by default, in the form in which upstream publishes them.

    Other sections of a pickle hold other numbers, so a loader that takes the wrong section is caught.
    """
    form = golden.config["published"]
    tensors = dict(golden.below("weights/") if weights is None else weights)
    if form["kind"] == "safetensors":
        path = folder / f"{name}.safetensors"
        save_file(tensors, path)
        return path
    path = folder / (name + form.get("suffix", ".pt"))
    if "section" not in form:
        torch.save(tensors, path)
        return path
    others = {section: {key: 1.5 * value for key, value in tensors.items()} for section in form["other_sections"]}
    torch.save({form["section"]: tensors, **others}, path)
    return path


def make_settings(*options: str) -> tuple[Settings, WanConfig]:
    """Checked settings and the transformer's sizes, as for `run=bench` in one process with float32 weights."""
    fixed = ("run=bench", "layout=inline", "model.dtype=float32")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = load_settings(compose("config", [*fixed, *options]))
    return settings, check(settings, {"bench"})[0]


def model_options(golden: Golden, path: Path, latent_size: tuple[int, int] = (6, 8)) -> list[str]:
    """The transformer in `path`: its sizes, its window, and a stream whose latents have this height and width.

    The schedule is left to the configuration, which is held against upstream that way.
    """
    model, (height, width) = golden.config["model"], latent_size
    window = f"model.window.frames={model['window_frames']}", f"model.window.sink={model['sink_frames']}"
    sizes = [f"model.sizes.{key}={model[key]}" for key in SIZES]
    return [f"model.generator={path}", f"stream.height={8 * height}", f"stream.width={8 * width}", *window, *sizes]


def load_state(*options: str) -> dict[str, Tensor]:
    """The transformer's tensors as a mesh of one rank loads them, by Wan2.1's names."""
    settings, config = make_settings(*options)
    return load_weights(settings, config, Place(0, 1), CPU)


class Model:
    """A generator made from settings, with the frame at which its next chunk starts. shard: a rank of a mesh."""

    def __init__(self, *options: str, shard: Shard = ALONE) -> None:
        self._settings, config = make_settings(*options)
        state = load_weights(self._settings, config, Place(shard.rank, shard.degree), CPU)
        self._generator, _ = make_generator(state, self._settings, config, shard)
        self._window, self._sink = config.local_attn_size, config.sink_frames
        self.start = 0

    def set_text(self, text: Tensor) -> None:
        self._generator.set_text(text)

    def restart(self, text: Tensor) -> None:
        """Forget the history; the next chunk is the first one."""
        self._generator.reset()
        self._generator.set_text(text)
        self.start = 0

    def denoise(self, noise: Tensor, renoise: Tensor, steps: Sequence[float] = (), bias: float = 1.0) -> Tensor:
        """The next chunk. renoise: what is added between steps, [steps − 1 or more, …]. steps: or the configured."""
        nominal = tuple(steps) or self._settings.model.steps
        with _drawing(renoise[: len(nominal) - 1]):
            made = self._generator.denoise(noise, nominal, self.start, self._settings.seed, bias)
        self.start += CHUNK
        return made

    def write_context(self, latents: Tensor) -> None:
        """The clean pass over the chunk that was just made."""
        self._generator.write_context(latents, self.start - CHUNK)

    def rebuild(self, context: Tensor, **how: bool) -> None:
        """Replace the history by latents that end where the next chunk starts. how: as `CausalGenerator.rebuild`."""
        self._generator.rebuild(context, self.start - context.shape[1], **how)

    def recache(self, made: Sequence[Tensor]) -> None:
        """Read history again as a prompt with cut=recache does: all of the window but a sink that stays."""
        context = torch.cat(list(made), dim=1)
        if self.start > self._window:
            context = context[:, self._sink - self._window :]
        together = self._settings.context.recache_mask == "bidirectional"
        self.rebuild(context, keep_sink=self.start > context.shape[1], bidirectional=together)


@contextlib.contextmanager
def _drawing(numbers: Tensor) -> Iterator[None]:
    """Hand out recorded numbers where the generator draws its own between steps, and see that it takes them all.

    `torch.randn` is the one thing that the generator certainly calls for them, whatever its own functions are named.
    """
    left = list(numbers)

    def hand_out(size: Sequence[int], **_: Any) -> Tensor:
        number = left.pop(0)
        assert tuple(size) == tuple(number.shape)
        return number

    with mock.patch.object(torch, "randn", hand_out):
        yield
    assert not left


def anchored(chunks: int, previous: Tensor, anchor: Tensor | None) -> Tensor | None:
    """What context=recompute_anchor rebuilds from after `chunks` chunks. anchor: [1, 1, z, h, w]."""
    history = LatentHistory(1)
    for _ in range(chunks):
        history.add(previous)
    if anchor is not None:
        history.set_anchor(anchor[0])
    return CONTEXTS["recompute_anchor"]().frames(history)


def load_vae(*options: str) -> tuple[StreamingDecoder, FrameEncoder]:
    """The decoder, and the encoder of single frames."""
    settings, config = make_settings(*options)
    decoder, encoder, _ = load_vae_parts(settings, config, Registry(settings).decoder, CPU, with_encoder=True)
    assert encoder is not None
    return decoder, encoder


def load_stream_encoder(*options: str) -> StreamingEncoder:
    settings, _ = make_settings(*options)
    return Registry(settings).decoder.load_encoder(vae_source(settings), CPU, torch.float32)


def encode_prompts(prompts: Sequence[str], *options: str) -> Tensor:
    """-> [N, L, text_dim]."""
    settings, config = make_settings(*options)
    encoder, _ = load_encoder(settings, config, CPU, CPU)
    return torch.cat([encoder.encode(prompt) for prompt in prompts])


def errors(found: Sequence[Tensor] | Tensor, expected: Sequence[Tensor] | Tensor) -> list[float]:
    """‖found − expected‖ / ‖expected‖ of each chunk, in float64."""
    pairs = list(zip(found, expected, strict=True))
    assert all(one.shape == other.shape for one, other in pairs)
    return [float((one.double() - other.double()).norm() / other.double().norm()) for one, other in pairs]
