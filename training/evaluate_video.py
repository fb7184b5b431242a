"""Judges video to video: how well streams follow an input, and show what their prompts ask for.

    python -m training.evaluate_video --vae vae.safetensors --model run/model.safetensors --out run/report

Each input is a clip of the world. Colour, shape and background of both prompts differ from the input's; the words for
the motion match it, contradict it or are left out. Inputs are encoded by the program's streaming encoder. Writes
video.json, with figures for each strength, and video.png: inputs and outputs in turn, every sixth frame.
"""

import json
import logging
import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pp1_orchestrator.models.vae.base import EncodeState
from pp1_orchestrator.models.wan.attention import KeyValue
from training import world
from training.common import mixed_precision
from training.evaluate import Evaluator, command, load_evaluator, save_samples
from training.latent_space import LatentSpace
from training.model import CHUNK_FRAMES
from training.scene_scripts import random_scene
from training.streaming import Start, strength_levels
from training.video_figures import at_borders, changes, follow, jumps, mean_figure, place_error, velocity_correlation
from training.video_scripts import MOTION_WORDS, other_prompt
from training.world import SHAPES, Attribute

_log = logging.getLogger(__name__)
_SHOWN = 6  # pairs in video.png


@dataclass(frozen=True, slots=True)
class VideoEvaluation:
    """What is judged: `pairs` streams of `chunks` chunks, with the second prompt from chunk `switch` on."""

    pairs: int = 200
    chunks: int = 8
    switch: int = 4
    strengths: tuple[float, ...] = (0.7, 0.75, 0.8)
    seed: int = 77


@dataclass(slots=True)
class Pairs:
    """N inputs and the prompts for them.

    Args:
        shown: the input's scenes, [N, 6].
        wanted: what the two prompts ask for, [N, 2, 6].
        texts: of the two prompts, encoded.
        words: the index of MOTION_WORDS of each pair, [N].
    """

    shown: Tensor
    wanted: Tensor
    texts: tuple[list[KeyValue], list[KeyValue]]
    words: Tensor


def make_pairs(evaluator: Evaluator, count: int, rng: random.Random) -> Pairs:
    """Random pairs. A third of them has each kind of words for the motion."""
    shown, wanted, texts = [], [], []
    for index in range(count):
        source, words = random_scene(rng), MOTION_WORDS[index % len(MOTION_WORDS)]
        first_text, first = other_prompt(source, words, [source], rng)
        second_text, second = other_prompt(source, words, [source, first], rng)
        shown.append(source.ids())
        wanted.append([first.ids(), second.ids()])
        texts.append((first_text, second_text))
    first_texts, second_texts = zip(*texts, strict=True)
    device = evaluator.device
    embedded = (evaluator.embed(first_texts), evaluator.embed(second_texts))
    words_of = torch.arange(count, device=device) % len(MOTION_WORDS)
    return Pairs(torch.tensor(shown, device=device), torch.tensor(wanted, device=device), embedded, words_of)


def encode_streams(space: LatentSpace, clips: Tensor, of_frame: Tensor) -> Tensor:
    """Clips [N, T, 3, H, W] chunk by chunk -> latents [N, F, c, h, w]. of_frame: the chunk of every frame, [T]."""
    encoder, latents = space.streaming_encoder(), []
    counts = of_frame.bincount().tolist()
    for clip in clips:
        state = EncodeState()
        latents.append(torch.cat([encoder.encode(part, state) for part in clip.split(counts)]))
    return torch.stack(latents)


class VideoEvaluator:
    """Streams all pairs at one strength after another."""

    def __init__(self, evaluator: Evaluator, settings: VideoEvaluation) -> None:
        torch.manual_seed(settings.seed)
        self._evaluator, self._settings, device = evaluator, settings, evaluator.device
        self._pairs = make_pairs(evaluator, settings.pairs, random.Random(settings.seed))
        self._of_frame = torch.tensor(world.chunk_of_frame(settings.chunks), device=device)
        shown = self._pairs.shown[:, None].expand(-1, len(self._of_frame), -1)
        self._poses = world.simulate(world.random_state(settings.pairs, device), shown)
        second = (self._of_frame >= settings.switch).long()
        self._right = self._poses.with_attributes(self._pairs.wanted[:, second])
        self._frames, _ = world.draw_clip(self._poses)
        self._latents = encode_streams(evaluator.space, self._frames, self._of_frame)

    @torch.no_grad()
    def run(self, strength: float) -> tuple[dict[str, float], Tensor]:
        """The figures at one strength, and frames of inputs and outputs in turn, [2·n, T, 3, H, W]."""
        out = self._stream(strength)
        shown = torch.stack([self._frames[:_SHOWN], out[:_SHOWN]], 1).flatten(0, 1)[:, 2::6]
        return {**self._attributes(out), **self._motion(out)}, shown

    def _stream(self, strength: float) -> Tensor:
        settings, evaluator = self._settings, self._evaluator
        stream, chunks = evaluator.stream(), []
        levels = strength_levels(torch.full((settings.pairs,), strength, device=evaluator.device))
        for index, latents in enumerate(self._latents.split(CHUNK_FRAMES, 1)):
            text = self._pairs.texts[index >= settings.switch]
            with mixed_precision(evaluator.device):
                made = stream.next(text, settings.pairs, evaluator.device, Start(latents, levels))
            chunks.append(made.float())
        return evaluator.space.decode(torch.cat(chunks, 1))

    def _attributes(self, out: Tensor) -> dict[str, float]:
        """Shares of chunks that show what the prompt asks for, and of first chunks after the change that show all."""
        settings = self._settings
        right: dict[str, list[Tensor]] = {"shape": [], "color": [], "background": []}
        for chunk in range(settings.chunks):
            wanted = self._pairs.wanted[:, int(chunk >= settings.switch)]
            verdict = self._evaluator.judge.measure((out[:, self._of_frame == chunk] + 1) / 2).correct(wanted)
            for name, values in right.items():
                values.append(verdict[name])
            self._log_misses(chunk, ~verdict["shape"], wanted[:, Attribute.SHAPE])
        of = {name: torch.stack(values, 1) for name, values in right.items()}
        after = [values[:, settings.switch] for values in of.values()]
        shares = {name: mean_figure(values) for name, values in of.items()}
        return {**shares, "all_first_chunk_after_change": mean_figure(after[0] & after[1] & after[2])}

    def _log_misses(self, chunk: int, missed: Tensor, wanted: Tensor) -> None:
        names = (*SHAPES, "none")
        for row in missed.nonzero().flatten().tolist():
            shown = names[int(self._pairs.shown[row, Attribute.SHAPE])]
            _log.info("  chunk %d of pair %d: no %s, where a %s goes in", chunk, row, names[int(wanted[row])], shown)

    def _motion(self, out: Tensor) -> dict[str, float]:
        poses, seen = self._poses, follow(self._evaluator.judge, out, self._poses)
        borders = [int((self._of_frame < chunk).sum()) for chunk in range(1, self._settings.chunks)]
        switch = borders[self._settings.switch - 1]
        error = place_error(seen, poses)
        figures = {"place_px_mean": mean_figure(error), "place_px_median": round(error.median().item(), 3)}
        for index, words in enumerate(MOTION_WORDS):
            figures[f"place_px_words_{words}"] = mean_figure(error[self._pairs.words == index])
        figures["velocity_correlation"] = round(velocity_correlation(seen, poses), 4)
        across, inside = at_borders(jumps(seen, poses), borders, switch)
        figures |= {"jump_px_at_borders": mean_figure(across), "jump_px_inside": mean_figure(inside)}
        for name, clips in (("", out), ("_of_the_truth", world.draw_clip(self._right)[0])):
            across, inside = at_borders(changes(clips), borders, switch)
            figures[f"change_at_borders_over_inside{name}"] = round((across.mean() / inside.mean()).item(), 4)
        return {**figures, "frames_with_stray_shape": mean_figure(seen.stray)}


def write_video_report(evaluator: Evaluator, settings: VideoEvaluation, folder: Path) -> None:
    """Runs the evaluation and writes video.json and video.png to `folder`."""
    runs, report, shown = VideoEvaluator(evaluator, settings), {}, None
    for strength in settings.strengths:
        report[f"strength {strength}"], shown = runs.run(strength)
        _log.info("strength %s: %s", strength, report[f"strength {strength}"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "video.json").write_text(json.dumps(report, indent=1) + "\n")
    if shown is not None:
        save_samples(shown, folder / "video.png")


def main() -> None:
    defaults = VideoEvaluation()
    parser = command("Judge video to video from decoded frames.", defaults.seed)
    parser.add_argument("--pairs", type=int, default=defaults.pairs)
    parser.add_argument("--strengths", type=float, nargs="+", default=defaults.strengths, metavar="STRENGTH")
    options = parser.parse_args()
    settings = replace(defaults, pairs=options.pairs, strengths=tuple(options.strengths), seed=options.seed)
    write_video_report(load_evaluator(options), settings, options.out)


if __name__ == "__main__":
    main()
