"""The causal Wan generator once more, in float64 and for reading: what the fast one must compute.

It shares no code with the package: names of weights and the configuration are all it takes. Every frame's keys and
values are kept by frame number, unrotated; which of them a chunk may see is decided at the attention. One stream, no
batch. Shapes: F frames, P tokens a frame, S = F·P tokens, C width, H heads, D head size, L text tokens.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.config import WanConfig


def noise_levels(steps: Sequence[float], shift: float, warp: bool) -> list[tuple[float, float]]:
    """(time that the model is told, σ of its input) for each nominal step."""

    def shifted(u: float) -> float:
        return shift * u / (1 + (shift - 1) * u)

    table = [shifted(1 - j / 1000) for j in range(1000)]
    times = [1000 * shifted(step / 1000) if warp else float(step) for step in steps]
    return [(t, min(table, key=lambda sigma: abs(1000 * sigma - t))) for t in times]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def layer_norm(x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps)


def attention(q: Tensor, k: Tensor, v: Tensor, added: Tensor | None = None) -> Tensor:
    """q [S, H, D], k and v [K, H, D] -> [S, H·D]. added [K]: to every query's scores of a key."""
    scores = torch.einsum("shd,khd->hsk", q, k) / math.sqrt(q.shape[-1])
    if added is not None:
        scores = scores + added
    return torch.einsum("hsk,khd->shd", torch.softmax(scores, -1), v).flatten(1)


class ReferenceWan:
    """window and sink count frames: a chunk sees the first `sink` frames and the last `window − sink`, its own among
    them."""

    relative = False
    """Frames are numbered by their place among those that are seen, not by their place in the stream."""

    def __init__(self, config: WanConfig, state: Mapping[str, Tensor], window: int, sink: int) -> None:
        self.config, self.window, self.sink = config, window, sink
        self.weights = {name: tensor.double() for name, tensor in state.items()}
        self.keys: list[dict[int, Tensor]] = [{} for _ in range(config.num_layers)]
        self.values: list[dict[int, Tensor]] = [{} for _ in range(config.num_layers)]
        self.text = torch.empty(0)
        self.origin, self.bias = 0, 1.0

    def set_text(self, embeds: Tensor) -> None:
        """embeds [L, text_dim]."""
        hidden = gelu(self.linear("text_embedding.0", embeds.double()))
        self.text = self.linear("text_embedding.2", hidden)

    def forget(self, origin: int) -> None:
        """No frame was before `origin`: it is the first of the sink, and the one that a bias spares."""
        self.origin = origin
        for kept in (*self.keys, *self.values):
            kept.clear()

    def chunk(
        self, noise: Tensor, levels: Sequence[tuple[float, float]], start: int, draws: Sequence[Tensor]
    ) -> Tensor:
        """noise [F, c, h, w] -> clean latents. draws: the noise between the steps, one fewer than there are steps."""
        x = clean = noise.double()
        for index, (time, sigma) in enumerate(levels):
            clean = x - sigma * self.flow(x, time, start)
            if index + 1 < len(levels):
                following = levels[index + 1][1]
                x = (1 - following) * clean + following * draws[index].double()
        return clean

    def flow(self, latents: Tensor, time: float, start: int) -> Tensor:
        """One pass: [F, c, h, w] at one diffusion time -> the same shape; the frames' keys and values are kept."""
        frames, _, height, width = latents.shape
        rows, columns = height // 2, width // 2
        embedded = self.embed_time(time)
        modulation = self.linear("time_projection.1", silu(embedded)).view(6, -1)
        x = self.linear("patch_embedding", self.patches(latents))
        for layer in range(self.config.num_layers):
            x = self.block(layer, x, modulation, start, frames, rows, columns)
        shift, scale = self.weights["head.modulation"][0] + embedded
        out = self.linear("head.head", layer_norm(x, self.config.eps) * (1 + scale) + shift)
        # The inside of a patch is row, column, channel.
        pixels = out.view(frames, rows, columns, 2, 2, self.config.out_dim)
        return torch.einsum("frcyxo->forycx", pixels).reshape(frames, self.config.out_dim, height, width)

    def block(
        self, layer: int, x: Tensor, modulation: Tensor, start: int, frames: int, rows: int, columns: int
    ) -> Tensor:
        name, eps = f"blocks.{layer}", self.config.eps
        shift1, scale1, gate1, shift2, scale2, gate2 = self.weights[f"{name}.modulation"][0] + modulation
        y = layer_norm(x, eps) * (1 + scale1) + shift1
        x = x + gate1 * self.self_attention(layer, y, start, frames, rows, columns)
        y = layer_norm(x, eps) * self.weights[f"{name}.norm3.weight"] + self.weights[f"{name}.norm3.bias"]
        x = x + self.cross_attention(f"{name}.cross_attn", y)
        y = layer_norm(x, eps) * (1 + scale2) + shift2
        return x + gate2 * self.linear(f"{name}.ffn.2", gelu(self.linear(f"{name}.ffn.0", y)))

    def self_attention(self, layer: int, x: Tensor, start: int, frames: int, rows: int, columns: int) -> Tensor:
        name = f"blocks.{layer}.self_attn"
        q, k = self.normed(name, "q", x), self.normed(name, "k", x)
        own = range(start, start + frames)
        self.keys[layer].update(zip(own, k.chunk(frames), strict=True))
        self.values[layer].update(zip(own, self.heads(self.linear(f"{name}.v", x)).chunk(frames), strict=True))
        oldest = own.stop - (self.window - self.sink)
        seen = [f for f in range(self.origin, own.stop) if f < self.origin + self.sink or f >= oldest]
        place = {frame: at if self.relative else frame for at, frame in enumerate(seen)}
        keys = torch.cat([self.rotated(self.keys[layer][frame], place[frame], rows, columns) for frame in seen])
        values = torch.cat([self.values[layer][frame] for frame in seen])
        queries = torch.cat(
            [self.rotated(part, place[f], rows, columns) for f, part in zip(own, q.chunk(frames), strict=True)]
        )
        biased = [f not in own and f != self.origin for f in seen]
        added = math.log(self.bias) * torch.tensor(biased, dtype=torch.float64).repeat_interleave(rows * columns)
        return self.linear(f"{name}.o", attention(queries, keys, values, added))

    def cross_attention(self, name: str, x: Tensor) -> Tensor:
        q, k = self.normed(name, "q", x), self.normed(name, "k", self.text)
        return self.linear(f"{name}.o", attention(q, k, self.heads(self.linear(f"{name}.v", self.text))))

    def normed(self, name: str, which: str, x: Tensor) -> Tensor:
        """Queries or keys [S, H, D], divided by their root mean square over all heads together."""
        y = self.linear(f"{name}.{which}", x)
        y = y / torch.sqrt((y**2).mean(-1, keepdim=True) + self.config.eps)
        return self.heads(y * self.weights[f"{name}.norm_{which}.weight"])

    def rotated(self, x: Tensor, frame: int, rows: int, columns: int) -> Tensor:
        """One frame's [P, H, D]: neighbouring numbers are a complex one, turned by its position on its axis."""
        pairs = self.config.head_dim // 2
        row_pairs = column_pairs = pairs // 3
        axes = [(pairs - row_pairs - column_pairs, 0), (row_pairs, 1), (column_pairs, 2)]
        turns = torch.empty(rows * columns, 1, pairs, dtype=torch.complex128)
        for token in range(rows * columns):
            position = (frame, token // columns, token % columns)
            angles = [position[axis] * 10000.0 ** (-i / count) for count, axis in axes for i in range(count)]
            turns[token, 0] = torch.exp(1j * torch.tensor(angles, dtype=torch.float64))
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turns).flatten(-2)

    def embed_time(self, time: float) -> Tensor:
        half = self.config.freq_dim // 2
        angles = [time * 10000.0 ** (-i / half) for i in range(half)]
        waves = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        hidden = self.linear("time_embedding.0", torch.tensor(waves, dtype=torch.float64))
        return self.linear("time_embedding.2", silu(hidden))

    def patches(self, latents: Tensor) -> Tensor:
        """[F, c, h, w] -> [S, c·4], in the order of the patch embedding's kernel: channel, row, column."""
        f, c, h, w = latents.shape
        return torch.einsum("fcrysx->frscyx", latents.reshape(f, c, h // 2, 2, w // 2, 2)).reshape(-1, c * 4)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.config.num_heads, self.config.head_dim))

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].flatten(1).T + self.weights[f"{name}.bias"]
