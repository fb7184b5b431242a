"""The golden data of tests/golden: the largest error of each family's own code against ours, in one table.

Needs the development packages, because the cases are the tests'.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from tests.golden import test_krea, test_longlive, test_lora, test_self_forcing, test_taehv, test_umt5, test_wan_vae
from tests.golden.loading import LIMIT, Model, encode_prompts, errors, load_state, load_vae, model_options, publish

Rows = Iterator[tuple[str, list[float]]]
FAMILIES: dict[str, str] = {
    "Self-Forcing": "Self-Forcing, its 8-bit and diffusers' files, Causal Forcing and Causal-rCM, up to their settings",
    "LongLive": "LongLive; MemFlow without its bank",
    "Krea": "Krea Realtime",
    "Wan VAE": "all",
    "TAEHV": "stage0=taehv, stage0=lighttae",
    "UMT5": "all",
    "LoRA": "LongLive, MemFlow",
}
"""Whose arithmetic a case pins."""


def self_forcing(folder: Path) -> Rows:
    file = test_self_forcing.FILE
    model = Model("model=wan2_1_1_3b", *model_options(file, publish(file, folder)))
    yield "Self-Forcing", errors(test_self_forcing.sample(model), file["expected/latents"])


def longlive(folder: Path) -> Rows:
    file, case = test_longlive.FILE, test_longlive
    options = ["experiment=longlive", "model.lora=null", *model_options(file, publish(file, folder))]
    model = Model(*options)
    model.restart(case.OLD)
    yield "LongLive", errors(case.sample(model, range(10)), file["expected/latents"])
    for variant, mask in case.MASKS.items():
        model = Model(*options, f"context.recache_mask={mask}")
        for at in (2, 6):
            made = case.switched(model, at, 10, case.recache)
            yield f"LongLive, {mask} recache at chunk {at}", errors(made, file[f"expected/switch_{at}/{variant}"])


def krea(folder: Path) -> Rows:
    file, case = test_krea.FILE, test_krea
    options = ["model=krea_14b", *model_options(file, publish(file, folder)), "model.warp=false"]
    for name, steps in case.LISTS.items():
        made = case.sample(Model(*options, case.with_steps(steps)), (), case.recorded(name))
        yield f"Krea, {name.replace('_', ' ')}", errors(made, file[f"expected/{name}/latents"])


def wan_vae(folder: Path) -> Rows:
    file, case = test_wan_vae.FILE, test_wan_vae
    widths = f"stage0.widths={file.config['vae']['widths']}"
    decoder, encoder = load_vae("stage0=wan_vae", f"model.vae={publish(file, folder)}", widths)
    yield "Wan VAE, decoded", errors(case.decoded(decoder, case.LATENTS), case.PIXELS)
    first = encoder.encode(file["inputs/pictures"][0])
    yield "Wan VAE, first frame encoded", errors([first], [file["expected/first_picture_latent"]])


def taehv(folder: Path) -> Rows:
    file, case = test_taehv.FILE, test_taehv
    decoder, encoder = case.load(folder)
    yield "TAEHV, decoded", errors(case.decoded(decoder), case.PIXELS)
    first = case.encoded(encoder, file["inputs/pictures"][0])
    yield "TAEHV, first frame encoded", errors([first], [file["expected/first_picture_latent"]])


def umt5(folder: Path) -> Rows:
    case = test_umt5
    case.write_tokenizer(folder)
    yield "UMT5", errors(encode_prompts(case.prompts(), *case.encoder_options(folder)), case.EXPECTED)


def lora(folder: Path) -> Rows:
    file, case = test_lora.FILE, test_lora
    path = publish(file, folder, file.below("weights/base/"))
    options = ["experiment=longlive", *model_options(file, path), f"model.lora={case.write_changes(folder)}"]
    state: dict[str, Tensor] = load_state(*options)
    yield "LoRA, merged", [case.difference(state, case.MERGED)]


CASES: Sequence[Callable[[Path], Rows]] = (self_forcing, longlive, krea, wan_vae, taehv, umt5, lora)


def table() -> Iterator[str]:
    """Markdown, row by row."""
    yield f"| case | pins | largest error of a chunk | limit {LIMIT:g} |\n|---|---|---|---|"
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            for name, found in case(Path(folder)):
                family, largest = name.split(",")[0], max(found)
                held = "held" if largest < LIMIT else "**not held**"
                yield f"| {name} | {FAMILIES[family]} | {largest:.1e} | {held} |"
