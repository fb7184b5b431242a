"""Judges the start from an image: whether a stream goes on from it as its prompt says.

    python -m training.evaluate_image --vae vae.safetensors --model run/model.safetensors --out run/report

An image of a scene at rest is repeated as a stream's first chunk, whose latents a clean pass writes to the cache,
either with a blank text or with the image's caption. Then comes a prompt that sets the object in motion. Writes
image.json.
"""

import json
import logging
import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from training import world
from training.captions import plain_caption
from training.common import mixed_precision
from training.evaluate import Evaluator, command, load_evaluator
from training.model import CHUNK_FRAMES
from training.scene_scripts import random_scene
from training.video_figures import follow, mean_figure, place_error
from training.world import MOTIONS, Attribute

_log = logging.getLogger(__name__)
_IMAGE_FRAMES = 1 + 4 * (CHUNK_FRAMES - 1)
TEXTS = ("blank", "caption")
"""What the image's clean pass is written under."""


@dataclass(frozen=True, slots=True)
class ImageEvaluation:
    """What is judged: `images` streams, in the `chunks` chunks after their image."""

    images: int = 200
    chunks: int = 2
    seed: int = 77


class ImageEvaluator:
    """Starts streams from images of random scenes at random places."""

    def __init__(self, evaluator: Evaluator, settings: ImageEvaluation) -> None:
        torch.manual_seed(settings.seed)
        rng, device = random.Random(settings.seed), evaluator.device
        prompts, scenes = zip(*(plain_caption(random_scene(rng)) for _ in range(settings.images)), strict=True)
        captions = [plain_caption(replace(scene, motion="still", speed="normal"))[0] for scene in scenes]
        self._evaluator, self._settings = evaluator, settings
        self._texts = {"blank": [""] * len(captions), "caption": captions}
        self._prompt = evaluator.embed(prompts)
        self._wanted = torch.tensor([scene.ids() for scene in scenes], device=device)
        state = world.canonical_state(settings.images, device)
        state.position = world.random_state(settings.images, device).position
        at_rest = self._wanted.clone()
        at_rest[:, Attribute.MOTION] = MOTIONS.index("still")
        image, _ = world.draw_clip(world.simulate(state, at_rest[:, None]))
        self._latents = evaluator.space.encode(image.expand(-1, _IMAGE_FRAMES, -1, -1, -1))
        per_frame = self._wanted[:, None].expand(-1, 4 * CHUNK_FRAMES * settings.chunks, -1)
        self._poses = world.simulate(state, per_frame, at_rest)

    @torch.no_grad()
    def run(self, text: str) -> dict[str, float]:
        """The figures with one of TEXTS."""
        out, report = self._stream(text), {}
        place = place_error(follow(self._evaluator.judge, out, self._poses), self._poses)
        steady = self._wanted[:, Attribute.MOTION] != MOTIONS.index("bouncing")
        for chunk, clip in enumerate(out.split(4 * CHUNK_FRAMES, 1), start=1):
            correct = self._evaluator.judge.measure((clip + 1) / 2).correct(self._wanted)
            for name, values in correct.items():
                report[f"chunk {chunk}, {name}"] = mean_figure(values)
            report[f"chunk {chunk}, all"] = mean_figure(torch.stack(list(correct.values())).all(0))
        if steady.any():
            report["place_px_mean"] = mean_figure(place[steady])
            report["share_of_streams_within_1_px"] = mean_figure(place[steady].mean(1) <= 1)
        if not steady.all():
            report["place_px_mean_bouncing"] = mean_figure(place[~steady])
        return report

    def _stream(self, text: str) -> Tensor:
        evaluator, stream = self._evaluator, self._evaluator.stream()
        chunks = [self._latents]
        with mixed_precision(evaluator.device):
            stream.commit(self._latents, evaluator.embed(self._texts[text]))
            for _ in range(self._settings.chunks):
                chunks.append(stream.next(self._prompt, self._settings.images, evaluator.device).float())
        return evaluator.space.decode(torch.cat(chunks, 1))[:, _IMAGE_FRAMES:]


def write_image_report(evaluator: Evaluator, settings: ImageEvaluation, folder: Path) -> None:
    """Runs the evaluation and writes image.json to `folder`."""
    runs, report = ImageEvaluator(evaluator, settings), {}
    for text in TEXTS:
        report[text] = runs.run(text)
        _log.info("image under %s text: %s", text, report[text])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.json").write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    defaults = ImageEvaluation()
    parser = command("Judge the start from an image from decoded frames.", defaults.seed)
    parser.add_argument("--images", type=int, default=defaults.images)
    options = parser.parse_args()
    settings = replace(defaults, images=options.images, seed=options.seed)
    write_image_report(load_evaluator(options), settings, options.out)


if __name__ == "__main__":
    main()
