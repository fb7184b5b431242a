"""Writes trained weights as the package ships them: in float16 and the layouts of Wan, diffusers and transformers.

python -m training.export --vae vae.safetensors --model run/model.safetensors --out pp1_orchestrator/models/tiny
"""

import argparse
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from pp1_orchestrator.models.checkpoints.manifest import write_manifest
from training.captions import vocabulary
from training.common import load_weights
from training.latent_space import load_vae
from training.model import GENERATOR_CONFIG, STEPS, WINDOW_CHUNKS, TinyModel
from training.tokenizer import build_tokenizer, save_tokenizer
from training.vae_forward import make_vae
from training.world.attributes import RESOLUTION

FRAMES_PER_SECOND = 16
UNDERSTOOD = (
    "One coloured shape that moves on a coloured background. Shapes: circle, square, triangle, star, ring, cross. "
    "Colours: red, orange, yellow, green, cyan, blue, purple, white. "
    "Motions: left, right, up, down, bouncing, standing still, spinning, pulsing. "
    "Also big and small, slowly and fast."
)


def generator_config() -> dict[str, Any]:
    """The content of config.json: sizes, schedule and format."""
    config = GENERATOR_CONFIG
    return {
        "_class_name": "CausalWan",
        "model_type": "t2v",
        "dim": config.dim,
        "ffn_dim": config.ffn_dim,
        "num_heads": config.num_heads,
        "num_layers": config.num_layers,
        "in_dim": config.in_dim,
        "out_dim": config.out_dim,
        "patch_size": list(config.patch_size),
        "text_dim": config.text_dim,
        "text_len": config.text_len,
        "freq_dim": config.freq_dim,
        "eps": config.eps,
        "qk_norm": True,
        "cross_attn_norm": True,
        "chunk_frames": config.chunk_frames,
        "window_chunks": WINDOW_CHUNKS,
        "local_attn_size": config.local_attn_size,
        "denoising_step_list": [int(step) for step in STEPS],
        "timestep_shift": 1.0,
        "height": RESOLUTION,
        "width": RESOLUTION,
        "fps": FRAMES_PER_SECOND,
    }


def export_generator(model: TinyModel, folder: Path) -> None:
    """Writes model.safetensors and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in model.generator.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(generator_config(), indent=1) + "\n")


def export_vae(checkpoint: Path, folder: Path) -> None:
    """Writes the VAE in diffusers' layout, with the statistics of its latents in config.json."""
    vae = make_vae()
    mean, std = load_vae(checkpoint, vae)
    vae.register_to_config(
        latents_mean=[round(v, 5) for v in mean.tolist()], latents_std=[round(v, 5) for v in std.tolist()]
    )
    vae.half().save_pretrained(folder)


def export_prompt_guide(folder: Path) -> None:
    """Writes prompt_guide.json: the words of the captions."""
    guide = {"summary": UNDERSTOOD, "words": vocabulary()}
    (folder / "prompt_guide.json").write_text(json.dumps(guide, indent=1) + "\n")


def export(vae: Path, model: Path, out: Path) -> None:
    """Writes generator, text encoder, tokenizer and VAE."""
    trained = TinyModel()
    load_weights(model, trained)
    export_generator(trained, out / "generator")
    trained.text.half().save_pretrained(out / "text_encoder")
    save_tokenizer(build_tokenizer(), out / "tokenizer")
    export_prompt_guide(out)
    export_vae(vae, out / "vae")
    for part in ("generator", "text_encoder", "vae"):
        folder = out / part
        write_manifest(folder, [path.name for path in folder.glob("*.safetensors")], [], {"by": "training.export"})


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the weights that the package ships.")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    export(options.vae, options.model, options.out)


if __name__ == "__main__":
    main()
