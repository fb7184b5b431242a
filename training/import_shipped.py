"""Reads the shipped weights back into the files that training starts from: the opposite of `training.export`.

python -m training.import_shipped --model pp1_orchestrator/models/tiny --out run/shipped

Writes vae.safetensors and model.safetensors to `--out`.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from training.common import save_weights
from training.latent_space import save_vae
from training.model import TinyModel
from training.vae_forward import make_vae


def import_vae(folder: Path, out: Path) -> None:
    """Writes a VAE of diffusers' layout, and the statistics of its latents, as a checkpoint."""
    vae = make_vae()
    vae.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    save_vae(out, vae, torch.tensor(config["latents_mean"]), torch.tensor(config["latents_std"]))


def import_model(folder: Path, out: Path) -> None:
    """Writes generator and text encoder as a checkpoint."""
    model = TinyModel()
    model.generator.load_state_dict(load_file(folder / "generator" / "model.safetensors"))
    text = load_file(folder / "text_encoder" / "model.safetensors")
    shared = text["shared.weight"]
    model.text.load_state_dict({"encoder.embed_tokens.weight": shared, **text})
    save_weights(out, model)


def main() -> None:
    parser = argparse.ArgumentParser(description="Read the shipped weights back into checkpoints.")
    parser.add_argument("--model", type=Path, required=True, help="the folder with the four parts")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    import_vae(options.model / "vae", options.out / "vae.safetensors")
    import_model(options.model, options.out / "model.safetensors")


if __name__ == "__main__":
    main()
